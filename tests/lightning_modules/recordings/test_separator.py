"""Recordings in windows: what the model makes of the whole, at any rate and with any channels, without seams."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering import confidence as measures
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.recordings import recording
from lightning_modules.recordings.separator import Separator
from lightning_modules.recordings.windows import Window
from lightning_modules.spectrogram import HIGHEST_RATE, istft, stft
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

RATE = 8000
SHORT = 0.5  # seconds
TINY: dict[str, Any] = {"sample_rate": RATE, "window": 64, "hop": 32, "network": partial(BLSTM, units=6, layers=1)}


class Nearby(nn.Module):
    """A network that needs five frames: what bidirectional LSTM layers are replaced by where exactness is asked for."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(features, outputs, 5, padding=2)

    def forward(self, features: Tensor) -> Tensor:
        return self.convolution(features).tanh().mT


def class_separator(
    normalisation: str = "mixture", bounded: bool = True, seed: int = 0, **settings: Any
) -> WeakLabelSeparator:
    torch.manual_seed(seed)
    model = WeakLabelSeparator("strong", classes=["horn", "dog"], input_normalisation=normalisation, **settings, **TINY)
    if bounded:
        model.network.recurrent = Nearby(model.geometry.bins, 12)  # type: ignore[assignment]
    return model.eval()


def clustering_model(seed: int = 0, bounded: bool = True, **settings: Any) -> DeepClustering:
    torch.manual_seed(seed)
    network = partial(BLSTM, units=6, layers=1, output_init_scale=8.0)
    model = DeepClustering(**{"domain": f"domain{seed}", "dimensions": 4, **TINY, "network": network, **settings})
    if bounded:
        model.network.recurrent = Nearby(model.geometry.bins, 12)  # type: ignore[assignment]
    return model.eval()


def write(module: SeparatrixModule, path: Path) -> str:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return str(path)


@pytest.fixture
def selection(tmp_path: Path) -> Callable[..., ModelSelection]:
    """A function that makes a selection of untrained models, with some settings each."""

    def make(models: int = 2, bounded: bool = True, settings: Sequence[dict[str, Any]] = ()) -> ModelSelection:
        settings = settings or [{}] * models
        made = [clustering_model(seed, bounded=False, **each) for seed, each in enumerate(settings)]
        selected = ModelSelection([write(model, tmp_path / f"{model.domain}.ckpt") for model in made])
        if bounded:
            for seed, model in enumerate(selected.deep_clustering_models):
                model.network.recurrent = clustering_model(seed, **settings[seed]).network.recurrent
        return selected

    return make


def mixture(seconds: float, channels: int = 1, rate: int = RATE, seed: int = 0) -> Tensor:
    """A hum that swells and falls, under noise in bursts, a little different in each channel."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * rate)) / rate
    hum = (2 * torch.pi * 310 * time).sin() * (2 * torch.pi * 0.4 * time).sin()
    bursts = torch.randn(channels, len(time), generator=generator) * ((3 * time).sin() > 0.3)
    return 0.1 * (hum * torch.linspace(1, 0.5, channels).unsqueeze(-1) + bursts)


def stacked(separator: Separator, samples: Any) -> Tensor:
    return torch.stack(list(separator(samples, RATE).sources.values()))


def error_db(found: Tensor, expected: Tensor) -> float:
    return float(10 * ((found - expected).square().sum() / expected.square().sum()).log10())


def test_one_window_is_a_mixture_however_long_and_a_rate_is_one_of_sound(selection, monkeypatch):
    monkeypatch.setattr(recording, "MOST_FRAMES", 50)  # of what stands for a longer recording
    models, x = selection(), mixture(1.0)
    separated = Separator(models, window=1.0)(x, RATE)
    assert torch.equal(torch.cat(list(separated.sources.values())), models(x)[0])
    for rate in (44, HIGHEST_RATE + 1):
        with pytest.raises(InputError, match=rf"^rate: {rate}; at "):
            Separator(models)(x, rate)


@pytest.mark.parametrize("audible", [0.4, 0.02])
def test_a_recording_of_one_window_is_separated_exactly_as_the_model_does_it(selection, audible):
    x = mixture(0.4)
    x[:, round(audible * RATE) :] = 0  # k-means then asks for more bins than are audible
    model, models = class_separator(bounded=False), selection(3, bounded=False)
    turning = class_separator(bounded=False, mask="complex")
    with torch.inference_mode():
        for each in (model, turning):
            assert torch.equal(stacked(Separator(each, window=SHORT), x)[:-1, 0], each(x)[0])
        expected, selected = models(x)[0], models.select(x, torch.zeros(1, dtype=torch.int64))
    for select in ("file", "segment"):
        separated = Separator(models, select, window=SHORT)(x, RATE)
        assert torch.equal(torch.cat(list(separated.sources.values())), expected)
        (selection,) = separated.selections
        assert selection.picked == models.names[int(selected["picked"])]
        for number, name in enumerate(models.names):
            for score, value in selection.confidences[name]._asdict().items():
                assert torch.equal(value, getattr(selected["refit"], score)[number])


def test_the_number_of_sources_of_a_recording_is_the_most_confident_one_or_that_which_is_given(selection):
    models, x, ids = selection(2, bounded=False), mixture(0.4), torch.zeros(1, dtype=torch.int64)
    found = {}
    with torch.inference_mode():
        for name, model in zip(models.names, models.deep_clustering_models, strict=True):
            for count in (2, 3, 4, 5):
                embedded = model.embed(x)
                separated = model.separate(embedded, ids, x.shape[-1], count)
                score = measures.confidence(embedded.embedding, embedded.magnitude, ids, count)
                found[f"{name}, {count} sources"] = score, separated.estimates[0]
    separated = Separator(models, window=SHORT, sources="auto")(x, RATE)
    (selected,) = separated.selections
    assert selected.picked == max(found, key=lambda name: float(found[name][0].confidence))
    assert torch.equal(torch.cat(list(separated.sources.values())), found[selected.picked][1])
    assert selected.confidences == {name: score for name, (score, _) in found.items()}
    three = Separator(selection(1, bounded=False), "segment", window=SHORT, sources=3)(x, RATE)
    assert torch.equal(torch.cat(list(three.sources.values())), found["domain0, 3 sources"][1])
    assert [*three.sources] == ["source_1", "source_2", "source_3"]
    for head in ("embeddings", "masks", "both"):  # their own number, said or not
        own = selection(settings=[{"head": head}])
        said, unsaid = (Separator(own, window=SHORT, sources=number)(x, RATE).sources for number in (2, None))
        assert all(torch.equal(said[name], unsaid[name]) for name in ("source_1", "source_2"))
    refused = [(1, "sources: 1; at least 2"), ("some", "sources: 'some'; a whole"), ("auto", "sources: auto; segments")]
    for sources, message in refused:
        with pytest.raises(InputError, match=f"^{message}[^\n]*$"):
            Separator(models, "segment", sources=sources)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^sources: 3; the domain0 model has masks of 2 sources and no embeddings,"):
        Separator(selection(settings=[{"head": "masks"}]), sources=3)
    with pytest.raises(InputError, match=r"^sources: 3; a weak-label model has its classes[^\n]*$"):
        Separator(class_separator(), sources=3)


def test_the_residual_that_a_model_has_learnt_is_what_its_estimates_leave_of_the_recording():
    model, x = class_separator(bounded=False, mask_activation="softmax", residual=True), mixture(0.4)
    spectrum = stft(x, model.geometry)
    rest = 1 - model.masks(spectrum.abs()).sum(1).detach()
    expected = istft(rest * spectrum, model.geometry, x.shape[-1])
    assert error_db(Separator(model, window=SHORT)(x, RATE).sources["residual"], expected) < -100


@pytest.mark.parametrize("normalisation", ["none", "mixture"])
def test_windows_of_class_masks_give_the_whole_where_the_network_needs_nearby_frames(normalisation):
    model, x = class_separator(normalisation), mixture(3.3)
    with torch.inference_mode():
        assert error_db(stacked(Separator(model, window=SHORT), x)[:-1, 0], model(x)[0]) < -60


@pytest.mark.parametrize(
    "settings",
    [
        *([{"input_floor": "absolute"}, {}], [{}, {"window": 96, "hop": 24}]),
        [{"head": head, "network": partial(BLSTM, units=6, layers=1)} for head in ("masks", "both")],
    ],
)
def test_windows_of_clusters_give_the_whole_where_the_network_needs_nearby_frames(selection, settings):
    for models in (selection(settings=settings), selection(settings=settings[::-1])):
        x = mixture(3.3)
        separated = Separator(models, window=SHORT)(x, RATE)
        with torch.inference_mode():
            assert error_db(torch.cat(list(separated.sources.values())), models(x)[0]) < -60
        (whole,) = Separator(models, window=100)(x, RATE).selections
        assert separated.selections[0].picked == whole.picked
        for name, confidence in separated.selections[0].confidences.items():
            torch.testing.assert_close(confidence, whole.confidences[name], rtol=1e-3, atol=1e-5)


def test_some_frames_stand_for_all_in_a_long_recording(selection, monkeypatch):
    x, models = mixture(3.3), (class_separator(), selection(2))
    expected = [Separator(model, window=SHORT)(x, RATE) for model in models]
    monkeypatch.setattr(recording, "MOST_FRAMES", 200)
    for model, all_frames in zip(models, expected, strict=True):
        some_frames = Separator(model, window=SHORT)(x, RATE)
        assert [one.picked for one in some_frames.selections] == [one.picked for one in all_frames.selections]
        for name, source in all_frames.sources.items():
            assert -150 < error_db(some_frames.sources[name], source) < -25


@pytest.mark.parametrize("rate", [RATE, 11_025, 44_100])
def test_sources_and_residual_have_the_recordings_shape_and_add_up_to_it(rate):
    separator = Separator(class_separator(), window=SHORT)
    for samples in (1, 31, round(1.3 * rate)):
        for x in (mixture(2, 3, rate)[:, :samples], mixture(2, 1, rate)[0, :samples]):
            sources = separator(x, rate).sources
            assert list(sources) == ["horn", "dog", "residual"]
            assert all(source.shape == x.shape for source in sources.values())
            torch.testing.assert_close(sum(sources.values()), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [11_025, 44_100, 44_099])
def test_a_model_gets_windows_at_its_own_rate(rate):
    geometry, device = class_separator().geometry, torch.device("cpu")
    samples = torch.zeros(1, 3 * rate)
    whole = recording.Recording(samples, rate, RATE, [Window(0, 3 * rate, 0, 3 * rate)], device, lambda share: None)
    assert [spectrogram.samples for spectrogram in whole.spectrograms(geometry)] == [3 * RATE]


@pytest.mark.parametrize("rate", [RATE, 11_025, 44_100])
def test_a_constant_mask_shows_no_seam(rate):
    model = class_separator()
    nn.init.zeros_(model.network.output.weight)
    nn.init.zeros_(model.network.output.bias)  # every mask is 1/2
    separator = Separator(model, window=SHORT)
    time = torch.arange(round(1.6 * rate)) / rate
    tone = 0.3 * (2 * torch.pi * 440 * time).sin().unsqueeze(0)
    inside = slice(rate // 50, -rate // 50)  # a tone that begins at once is not band-limited
    # Resampling forth and back passes a tone within 0.1 %.
    horn = separator(tone, rate).sources["horn"]
    torch.testing.assert_close(horn[..., inside], tone[..., inside] / 2, rtol=0, atol=3e-4)
    impulses = torch.zeros(1, 12_800)
    impulses[:, 77::400] = 1
    horn = separator(impulses, RATE).sources["horn"]
    torch.testing.assert_close(horn, impulses / 2, rtol=0, atol=2e-5)


def test_channels_share_their_masks_and_lose_nothing_that_is_opposite_in_them(selection):
    x, stereo = mixture(1.2), mixture(1.2, 2)
    turn = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5
    for separator in (Separator(class_separator(), window=SHORT), Separator(selection(1), window=SHORT)):
        mono, opposite = stacked(separator, x), stacked(separator, torch.cat([x, -x]))
        torch.testing.assert_close(opposite, torch.cat([mono, -mono], 1), rtol=0, atol=1e-5)
        # Middle and side have the powers of left and right.
        turned = turn @ stacked(separator, turn @ stereo)
        torch.testing.assert_close(stacked(separator, stereo), turned, rtol=0, atol=1e-5)


def test_silence_has_silent_sources(selection):
    for separator in (Separator(class_separator()), Separator(selection(2)), Separator(selection(2), "segment")):
        separated = separator(torch.zeros(2, RATE), RATE)
        assert not torch.stack(list(separated.sources.values())).any()
        assert all(each.picked is None and not each.confidences for each in separated.selections)


def test_of_a_recording_that_is_silent_in_part_a_model_is_picked_where_it_is_not(selection):
    models, x = selection(2), mixture(2.2)
    x[:, RATE:] = 0
    (whole,) = Separator(models, window=SHORT)(x, RATE).selections
    segments = Separator(models, "segment", window=SHORT)(x, RATE)
    assert whole.picked in models.names
    assert [each.picked is None for each in segments.selections] == [each.start >= 1 for each in segments.selections]
    assert not any(source[..., -RATE // 2 :].any() for source in segments.sources.values())
    x[:] = 0
    x[:, -1] = 1e-6  # hardly anything is no silence, and may lie between the frames that stand for all
    (hardly,) = Separator(models, window=SHORT)(x, RATE).selections
    assert hardly.picked in models.names


def test_each_segment_is_a_mixture_of_its_own(selection):
    models, x = selection(3), mixture(2.2)
    separated = Separator(models, "segment", window=SHORT)(x, RATE)
    spans = [(selection.start, selection.stop) for selection in separated.selections]
    assert len(spans) > 3 and spans[0][0] == 0 and spans[-1][1] == 2.2
    for selection in separated.selections[:2]:
        part = x[:, round(selection.start * RATE) : round(selection.stop * RATE)]
        (alone,) = Separator(models)(part, RATE).selections
        assert alone.picked == selection.picked and alone.confidences == selection.confidences
    # Masks of every model add up to 1 in every bin.
    torch.testing.assert_close(sum(separated.sources.values()), x, rtol=0, atol=1e-5)


def test_sources_keep_their_order_from_segment_to_segment(selection, monkeypatch):
    separator, x = Separator(selection(1), "segment", window=SHORT), mixture(2.2)
    cluster, calls = DeepClustering.cluster, []

    def turned(*given: Any) -> Tensor:
        calls.append(given)
        return cluster(*given).flip(1) if len(calls) % 2 == 0 else cluster(*given)

    expected = stacked(separator, x)
    monkeypatch.setattr(DeepClustering, "cluster", turned)
    torch.testing.assert_close(stacked(separator, x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("head", ["masks", "both"])
def test_sources_of_a_head_of_masks_keep_their_order_from_window_to_window(head, selection, monkeypatch):
    separator, x = Separator(selection(settings=[{"head": head}]), window=SHORT), mixture(2.2)
    heads, calls = DeepClustering.heads, []

    def turned(*given: Any) -> Any:
        embedding, masks = heads(*given)
        calls.append(given)
        return embedding, masks.flip(1) if len(calls) % 2 else masks

    expected = stacked(separator, x)
    monkeypatch.setattr(DeepClustering, "heads", turned)
    found = stacked(separator, x)
    assert len(calls) > 8
    torch.testing.assert_close(min(found, found.flip(0), key=lambda one: float((one - expected).norm())), expected)


def test_hops_longer_than_the_usual_window_only_make_the_windows_longer():
    model = WeakLabelSeparator("strong", classes=["horn"], **{**TINY, "window": 4000, "hop": 2000}).eval()
    x = mixture(5)
    separated = Separator(model, window=SHORT)(x, RATE).sources
    torch.testing.assert_close(sum(separated.values()), x, rtol=0, atol=1e-5)


def test_a_class_of_the_residuals_name_is_refused():
    with pytest.raises(InputError, match=r"^classes: residual"):
        Separator(WeakLabelSeparator("strong", classes=["residual"], **TINY))


def test_work_is_told_in_seconds_of_the_recording(selection):
    x = mixture(2)
    for model, select in ((class_separator(), "file"), (selection(2), "file"), (selection(2), "segment")):
        told: list[float] = []
        for _ in Separator(model, select, window=SHORT).stream(x, RATE, advance=told.append):
            assert told
        assert sum(told) == pytest.approx(2)


@pytest.mark.filterwarnings("error")
def test_samples_may_lie_in_memory_as_they_will():
    x, separator = mixture(0.3, channels=2), Separator(class_separator(), window=SHORT)
    expected = stacked(separator, x)
    backwards, read_only = x.numpy()[:, ::-1].copy()[:, ::-1], np.broadcast_to(x.numpy(), x.shape)
    for given in (x.double(), x.clone().requires_grad_(), x.numpy().astype(">f8"), backwards, read_only):
        found = stacked(separator, given)
        assert torch.equal(found, expected) and not found.requires_grad and not found.is_inference()


@pytest.mark.filterwarnings("error")
def test_what_is_no_recording_is_refused_in_one_line():
    refused = [
        (np.zeros((2, 800), np.int16), "samples: int16; floating-point"),
        (torch.zeros(2, 800, dtype=torch.complex64), "samples: complex64; floating-point"),
        (np.zeros((RATE, 2)), r"samples: \[8000, 2\]; \[n\] or \[channels, n\], up to 1024, are needed"),
        (torch.zeros(2, 0), r"samples: \[2, 0\]"),
        (torch.zeros(1, 2, 3), r"samples: \[1, 2, 3\]"),
        (torch.tensor([0.1, torch.nan]), "samples: NaN, infinite or beyond 2e"),
        (np.full(800, 1e300), "samples: NaN, infinite or beyond 2e"),
    ]
    for samples, expected in refused:
        with pytest.raises(InputError, match=f"^{expected}[^\n]*$"):
            Separator(class_separator())(samples, RATE)
    for rate in (0, -8000, 44.1, 10**9):
        with pytest.raises(InputError, match=r"^rate: [^\n]*$"):
            Separator(class_separator())(torch.zeros(1, 800), rate)  # type: ignore[arg-type]


def test_a_class_that_separates_in_a_way_of_its_own_is_refused_rather_than_passed_over(tmp_path):
    class Doubled(WeakLabelSeparator):
        def forward(self, mixture: Tensor) -> Tensor:
            return 2 * super().forward(mixture)

    class Softer(DeepClustering):
        def separate(self, *arguments: Any) -> Any:
            return super().separate(*arguments)

    softer = write(Softer(**{"dimensions": 4, **TINY}), tmp_path / "softer.ckpt")
    with pytest.raises(InputError, match=r"^Doubled: has its own `forward`, which windows[^\n]*$"):
        Separator(Doubled("strong", classes=["horn"], **TINY))
    with pytest.raises(InputError, match=r"^Softer: has its own `separate`, which windows[^\n]*$"):
        Separator.from_checkpoints([softer])


def test_one_path_or_a_list_of_names_is_taken_and_a_model_that_is_no_selection_is_refused(tmp_path):
    path = write(class_separator(bounded=False), tmp_path / "classes.ckpt")
    for separator in (Separator.from_checkpoints(path), Separator.from_checkpoints(Path(path))):
        assert separator.checkpoints == [path]
    assert Separator.from_pretrained([path]).checkpoints == Separator.from_pretrained(path).checkpoints == [path]
    for wrong, kind in ((path, "str"), (clustering_model(), "DeepClustering")):
        with pytest.raises(InputError, match=f"^model: a {kind}; a WeakLabelSeparator or ModelSelection is needed; "):
            Separator(wrong)
