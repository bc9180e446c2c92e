"""Recordings in windows: what the model makes of the whole, at any rate and with any channels, without seams."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.k_means import k_means
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.recordings import clustering
from lightning_modules.recordings.resampling import rate_ratio
from lightning_modules.recordings.separator import Recording, Separator, Span
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

RATE = 8000
WHOLE, CHUNKS = Span(window=100), Span(window=0.5, overlap=0.1, fade=0.02)
TINY: dict[str, Any] = {"sample_rate": RATE, "window": 64, "hop": 32, "network": partial(BLSTM, units=6, layers=1)}


class Nearby(nn.Module):
    """A network that hears five frames: what bidirectional LSTM layers are replaced by where exactness is asked for."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(features, outputs, 5, padding=2)

    def forward(self, features: Tensor) -> Tensor:
        return self.convolution(features).tanh().mT


def class_separator(normalisation: str = "mixture", bounded: bool = True, seed: int = 0) -> WeakLabelSeparator:
    torch.manual_seed(seed)
    model = WeakLabelSeparator("strong", classes=["horn", "dog"], input_normalisation=normalisation, **TINY)
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
    """A function that makes a selection of untrained models."""

    def make(models: int = 2, bounded: bool = True, **settings: Any) -> ModelSelection:
        made = [clustering_model(seed, bounded=False, **settings) for seed in range(models)]
        selected = ModelSelection([write(model, tmp_path / f"{model.domain}.ckpt") for model in made])
        if bounded:
            for seed, model in enumerate(selected.deep_clustering_models):
                model.network.recurrent = clustering_model(seed, **settings).network.recurrent
        return selected

    return make


def mixture(seconds: float, channels: int = 1, rate: int = RATE, seed: int = 0) -> Tensor:
    """A hum that swells and falls, under noise in bursts, a little different in each channel."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * rate)) / rate
    hum = (2 * torch.pi * 310 * time).sin() * (2 * torch.pi * 0.4 * time).sin()
    bursts = torch.randn(channels, len(time), generator=generator) * ((3 * time).sin() > 0.3)
    return 0.1 * (hum * torch.linspace(1, 0.5, channels).unsqueeze(-1) + bursts)


def stacked(separator: Separator, samples: Tensor, rate: int = RATE) -> Tensor:
    return torch.stack(list(separator(samples, rate).sources.values()))


def error_db(found: Tensor, expected: Tensor) -> float:
    return float(10 * ((found - expected).square().sum() / expected.square().sum()).log10())


@pytest.mark.parametrize("heard", [0.4, 0.02])
def test_a_recording_of_one_window_is_separated_exactly_as_the_model_does_it(selection, heard):
    x = mixture(0.4)
    x[:, round(heard * RATE) :] = 0  # k-means then asks for more bins than are audible
    model = class_separator(bounded=False)
    with torch.inference_mode():
        assert torch.equal(stacked(Separator(model, span=CHUNKS), x)[:-1, 0], model(x)[0])
        for select in ("file", "segment"):
            models = selection(3, bounded=False)
            assert torch.equal(stacked(Separator(models, select, span=CHUNKS), x)[:, 0], models(x)[0])


def test_the_confidences_of_one_window_are_those_of_the_selection(selection):
    x, models = mixture(0.4), selection(3, bounded=False)
    (judgement,) = Separator(models, span=CHUNKS)(x, RATE).judgements
    with torch.inference_mode():
        expected = models.select(x, torch.zeros(1, dtype=torch.int64))
    assert judgement.picked == models.names[int(expected["picked"])]
    for number, name in enumerate(models.names):
        for measure, value in judgement.confidences[name]._asdict().items():
            assert torch.equal(value, getattr(expected["refit"], measure)[number])


@pytest.mark.parametrize("normalisation", ["none", "mixture"])
def test_windows_of_class_masks_give_the_whole_where_the_network_hears_nearby_frames(normalisation):
    model, x = class_separator(normalisation), mixture(3.3)
    with torch.inference_mode():
        assert error_db(stacked(Separator(model, span=CHUNKS), x)[:-1, 0], model(x)[0]) < -60


def test_a_network_of_ones_own_that_knows_magnitudes_alone_is_windowed_too():
    class Halves(nn.Module):
        def forward(self, magnitude: Tensor) -> Tensor:
            return torch.zeros(1, 2, *magnitude.shape[1:])

    model, x = class_separator(), mixture(3.3)
    model.network = Halves()  # type: ignore[assignment]
    with torch.inference_mode():
        assert error_db(stacked(Separator(model, span=CHUNKS), x)[:-1, 0], model(x)[0]) < -60


@pytest.mark.parametrize("floor", ["relative", "absolute"])
def test_windows_of_clusters_give_the_whole_where_the_network_hears_nearby_frames(selection, floor):
    models, x = selection(2, input_floor=floor), mixture(3.3)
    chunked = Separator(models, span=CHUNKS)(x, RATE)
    with torch.inference_mode():
        assert error_db(torch.stack(list(chunked.sources.values()))[:, 0], models(x)[0]) < -60
    (whole,) = Separator(models, span=WHOLE)(x, RATE).judgements
    for name, confidence in chunked.judgements[0].confidences.items():
        torch.testing.assert_close(confidence, whole.confidences[name], rtol=1e-3, atol=1e-5)


def test_some_frames_stand_for_all_in_a_long_recording(selection, monkeypatch):
    models, x = selection(2), mixture(3.3)
    all_frames = Separator(models, span=CHUNKS)(x, RATE)
    clustered = []
    monkeypatch.setattr(clustering, "MOST_FRAMES", 200)
    monkeypatch.setattr(clustering, "k_means", lambda points, *rest: clustered.append(points) or k_means(points, *rest))
    some_frames = Separator(models, span=CHUNKS)(x, RATE)
    assert all(points.shape[1] <= 200 * models.geometry.bins * 0.1 + 1 for points in clustered) and len(clustered) == 2
    assert some_frames.judgements[0].picked == all_frames.judgements[0].picked
    for name, source in all_frames.sources.items():
        assert error_db(some_frames.sources[name], source) < -25


def test_the_difference_from_the_whole_falls_with_the_context_as_a_network_forgets():
    model, x = class_separator(bounded=False), mixture(4)
    with torch.inference_mode():
        whole = model(x)[0]
        errors = [
            error_db(stacked(Separator(model, span=Span(1, overlap, 0.02)), x)[:-1, 0], whole)
            for overlap in (0.04, 0.1, 0.3)
        ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < -60


def test_models_of_different_geometry_are_windowed_on_a_common_grid(selection, tmp_path):
    paths = [
        write(clustering_model(seed, bounded=False, window=window, hop=hop), tmp_path / f"{seed}.ckpt")
        for seed, (window, hop) in enumerate([(64, 32), (96, 24)])
    ]
    models = ModelSelection(paths)
    for model in models.deep_clustering_models:
        model.network.recurrent = Nearby(model.geometry.bins, 12)  # type: ignore[assignment]
    x = mixture(2.1)
    with torch.inference_mode():
        assert error_db(stacked(Separator(models, span=CHUNKS), x)[:, 0], models(x)[0]) < -60


@pytest.mark.parametrize("rate", [RATE, 11_025, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_sources_and_residual_have_the_recordings_shape_and_add_up_to_it(rate, channels):
    x = mixture(1.3, channels, rate)
    separated = Separator(class_separator(), span=CHUNKS)(x, rate)
    assert list(separated.sources) == ["horn", "dog", "residual"]
    assert all(source.shape == x.shape for source in separated.sources.values())
    torch.testing.assert_close(sum(separated.sources.values()), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [RATE, 11_025, 44_100])
def test_a_constant_mask_shows_no_seam_even_beside_an_impulse(rate):
    model = class_separator()
    nn.init.zeros_(model.network.output.weight)
    nn.init.zeros_(model.network.output.bias)  # every mask is 1/2
    separator = Separator(model, span=CHUNKS)
    time = torch.arange(round(1.6 * rate)) / rate
    tone = 0.3 * (2 * torch.pi * 440 * time).sin().unsqueeze(0)
    inside = slice(rate // 50, -rate // 50)  # a tone that begins at once is not band-limited
    horn = separator(tone, rate).sources["horn"]
    # Resampling forth and back passes a tone within 0.1 %.
    torch.testing.assert_close(horn[..., inside], tone[..., inside] / 2, rtol=0, atol=3e-4)
    # An impulse comes out the same wherever it lies: in a window or where two of them meet.
    shapes = []
    group = rate_ratio(rate, RATE).numerator  # resampled alike wherever it lies
    for tenth in range(3, 13):
        place = tenth * rate // 10 // group * group
        impulse = torch.zeros(1, round(1.6 * rate))
        impulse[0, place] = 1
        shapes.append(separator(impulse, rate).sources["horn"][0, place - rate // 10 : place + rate // 10])
    torch.testing.assert_close(torch.stack(shapes), shapes[0].expand(len(shapes), -1), rtol=0, atol=2e-5)


def test_channels_share_their_masks_and_lose_nothing_that_is_opposite_in_them(selection):
    x = mixture(1.2)
    for separator in (Separator(class_separator(), span=CHUNKS), Separator(selection(1), span=CHUNKS)):
        mono = stacked(separator, x)
        stereo = stacked(separator, torch.cat([x, -x]))
        torch.testing.assert_close(stereo, torch.cat([mono, -mono], 1), rtol=0, atol=1e-5)
        swapped = mixture(1.2, 2)
        torch.testing.assert_close(
            stacked(separator, swapped.flip(0)), stacked(separator, swapped).flip(1), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("select", ["file", "segment"])
def test_silence_has_silent_sources(selection, select):
    silence = torch.zeros(2, RATE)
    assert not stacked(Separator(class_separator(), span=CHUNKS), silence).any()
    assert not stacked(Separator(selection(2), select, span=CHUNKS), silence).any()


@pytest.mark.parametrize("samples", [1, 2, 31, 800])
def test_the_shortest_recordings_keep_their_length(selection, samples):
    x = mixture(1)[:, :samples]
    assert stacked(Separator(class_separator()), x).shape == (3, 1, samples)
    assert stacked(Separator(selection(2)), x, 44_100).shape == (2, 1, samples)


def test_each_segment_is_a_mixture_of_its_own(selection):
    models, x = selection(3), mixture(2.2)
    separated = Separator(models, "segment", span=CHUNKS)(x, RATE)
    spans = [(judgement.start, judgement.stop) for judgement in separated.judgements]
    assert len(spans) > 3 and spans[0][0] == 0 and spans[-1][1] == 2.2
    for start, stop in spans[:2]:
        part = x[:, round(start * RATE) : round(stop * RATE)]
        (alone,) = Separator(models)(part, RATE).judgements
        judgement = next(one for one in separated.judgements if one.start == start)
        assert alone.picked == judgement.picked and alone.confidences == judgement.confidences
    # Masks of every model add up to 1 in every bin.
    torch.testing.assert_close(sum(separated.sources.values()), x, rtol=0, atol=1e-5)


def test_an_array_of_one_dimension_gives_sources_of_one_dimension():
    x = mixture(0.2)[0]
    sources = Separator(class_separator())(x.numpy(), RATE).sources
    assert all(source.shape == x.shape for source in sources.values())


@pytest.mark.parametrize("samples", [torch.zeros(2, 0), torch.tensor([0.1, torch.nan]), torch.zeros(1, 2, 3)])
def test_what_is_no_recording_is_refused_in_one_line(samples):
    with pytest.raises(InputError, match=r"^samples: [^\n]* are needed$"):
        Separator(class_separator())(samples, RATE)


def test_hops_longer_than_the_usual_window_only_make_the_windows_longer():
    model = WeakLabelSeparator("strong", classes=["horn"], **{**TINY, "window": 16_000, "hop": 8000}).eval()
    x = mixture(5)
    separated = Separator(model, span=CHUNKS)(x, RATE).sources
    torch.testing.assert_close(sum(separated.values()), x, rtol=0, atol=1e-5)


def test_a_rate_that_is_none_of_sound_is_refused_in_one_line():
    for rate in (0, -8000, 44.1, 10**9):
        with pytest.raises(InputError, match=r"^rate: [^\n]*$"):
            Separator(class_separator())(torch.zeros(1, 800), rate)  # type: ignore[arg-type]


def test_checkpoints_that_do_not_fit_together_are_refused_in_one_line(tmp_path):
    weak = write(class_separator(bounded=False), tmp_path / "weak.ckpt")
    clusters = write(clustering_model(bounded=False), tmp_path / "clusters.ckpt")
    slower = write(clustering_model(bounded=False, sample_rate=4000), tmp_path / "slower.ckpt")
    three = write(clustering_model(bounded=False, sources=3), tmp_path / "three.ckpt")
    judge = write(EventClassifier("frame", classes=["horn"], **TINY), tmp_path / "judge.ckpt")
    refused = {
        (): "model: none",
        (weak, clusters): "weak.ckpt: a WeakLabelSeparator, which separates by itself",
        (clusters, weak): "weak.ckpt: a checkpoint of WeakLabelSeparator",
        (clusters, slower): "sample_rate",
        (clusters, three): "sources",
        (judge,): "judge.ckpt: a checkpoint of EventClassifier; one of WeakLabelSeparator or DeepClustering is needed",
    }
    for paths, reason in refused.items():
        with pytest.raises(InputError) as error:
            Separator.from_checkpoints(paths)
        assert reason in str(error.value) and "\n" not in str(error.value)
    assert Separator.from_checkpoints([weak]).names == ["horn", "dog", "residual"]
    assert Separator.from_checkpoints([clusters, clusters]).names == ["source_1", "source_2"]


def test_a_class_of_the_residuals_name_is_refused():
    torch.manual_seed(0)
    with pytest.raises(InputError, match=r"^classes: residual"):
        Separator(WeakLabelSeparator("strong", classes=["residual"], **TINY))


def test_work_is_told_in_seconds_of_the_recording(selection):
    x = mixture(2)
    for select in ("file", "segment"):
        told: list[float] = []
        separator = Separator(selection(2), select, span=CHUNKS)
        for _ in separator.stream(Recording(lambda: [x], x.shape[-1], RATE), advance=told.append):
            assert told
        assert abs(sum(told) - 2) < 1e-6


@pytest.mark.parametrize(
    "as_given",
    [
        lambda x: x.double(),
        lambda x: x.clone().requires_grad_(),
        lambda x: x.numpy().astype(">f8"),
        lambda x: x.numpy()[:, ::-1].copy()[:, ::-1],
        lambda x: x.mT.contiguous().mT,
        lambda x: np.broadcast_to(x.numpy(), x.shape),
    ],
    ids=["float64", "with gradients", "big-endian", "backwards in memory", "transposed in memory", "read-only"],
)
@pytest.mark.filterwarnings("error")
def test_samples_may_lie_in_memory_as_they_will(as_given):
    x, separator = mixture(0.3, channels=2), Separator(class_separator(), span=CHUNKS)
    given = as_given(x)
    assert torch.equal(stacked(separator, given), stacked(separator, x))
    assert not stacked(separator, given).requires_grad and not stacked(separator, given).is_inference()


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.zeros((2, 800), np.int16), "samples: int16; floating-point"),
        (torch.zeros(2, 800, dtype=torch.complex64), r"samples: torch\.complex64; floating-point"),
        (np.zeros((RATE, 2)), r"samples: \[8000, 2\]; \[n\] or \[channels, n\], up to 1024, are needed"),
        (np.full(800, 1e300), "samples: NaN, infinite or beyond 2e"),
        (torch.full((1, 800), 1e35), "samples: NaN, infinite or beyond 2e"),
    ],
    ids=["integers", "complex", "channels last", "beyond float32", "immense"],
)
@pytest.mark.filterwarnings("error")
def test_samples_that_no_model_was_made_for_are_refused(samples, expected):
    with pytest.raises(InputError, match=f"^{expected}[^\n]*$"):
        Separator(class_separator())(samples, RATE)


def test_a_class_that_separates_in_a_way_of_its_own_is_refused_rather_than_passed_over(selection, tmp_path):
    class Doubled(WeakLabelSeparator):
        def forward(self, mixture: Tensor) -> Tensor:
            return 2 * super().forward(mixture)

    class Softer(DeepClustering):
        def separate(self, *arguments: Any) -> Any:
            return super().separate(*arguments)

    class Cautious(ModelSelection):
        measure = "caution"

        def trust(self, judged: Any) -> Tensor:
            return -super().trust(judged)

    softer = write(Softer(**{"dimensions": 4, **TINY}), tmp_path / "softer.ckpt")
    usual = write(clustering_model(bounded=False), tmp_path / "usual.ckpt")
    refused = {
        "Doubled: has its own `forward`": lambda: Separator(Doubled("strong", classes=["horn"], **TINY)),
        "Softer: has its own `separate`": lambda: Separator.from_checkpoints([usual, softer]),
        "Cautious: has its own `trust`": lambda: Separator(Cautious([usual])),
    }
    for reason, make in refused.items():
        with pytest.raises(InputError, match=f"^{reason}[^\n]*$"):
            make()


@pytest.mark.parametrize("span", [Span(8, 0.2, 0.5), Span(0), Span(8, -1), Span(float("nan"))])
def test_a_span_of_which_no_windows_can_be_made_is_refused_in_one_line(span):
    with pytest.raises(InputError, match=r"^(window|overlap|fade): [^\n]*$"):
        Separator(class_separator(), span=span)
