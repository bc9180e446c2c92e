"""Classifiers from elsewhere: what they get, what their outputs mean, what stays as it was."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from tiny_systems import (
    CLASSES,
    GEOMETRY,
    GEOMETRY_SETTINGS,
    SAMPLES,
    RandomScenes,
    assert_unchanged,
    random_batch,
    trainer,
    weights,
)
from torch import Tensor, nn
from torchaudio.functional import resample

from callbacks.moving_average import MovingAverage
from experiments.export.model import write_program
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.spectrogram import istft, stft
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.external_classifier import ExternalClassifier
from lightning_modules.weak_labels.losses import estimate_classification_loss, loud_frames, mixture_loss
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

MAP = {"horn": [0, 4], "dog": 5, "siren": [2, 3]}


class Tagger(nn.Module):
    """Waveforms to the logits of seven classes of its own: a filter bank with batch normalisation, and its levels."""

    def __init__(self, seed: int = 0, step: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.filters = nn.Conv1d(1, 12, 16, stride=step)
            self.norm, self.dropout = nn.BatchNorm1d(12), nn.Dropout(0.5)
            self.classes = nn.Linear(12, 7)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.classes(self.dropout(self.norm(self.filters(waveform.unsqueeze(1)))).square().mean(-1))


class Dictionary(Tagger):
    def forward(self, waveform: Tensor) -> Any:
        return {"logits": super().forward(waveform)}


def path(kind: type) -> dict[str, Any]:
    return {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": {"step": 3}}


def separator(external: Any, **settings: Any) -> WeakLabelSeparator:
    torch.manual_seed(1)
    tiny = {"network": partial(BLSTM, units=4, layers=1), "optimizer": partial(torch.optim.Adam, lr=1e-2)}
    given = {"supervision": "clip", "classes": CLASSES, "external_classifier": external, **GEOMETRY_SETTINGS, **tiny}
    return WeakLabelSeparator(**{**given, **settings})


def ready(model: WeakLabelSeparator) -> WeakLabelSeparator:
    trainer(epochs=0).fit(model, datamodule=RandomScenes())
    return model


@pytest.fixture
def program(tmp_path) -> str:
    file = tmp_path / "tagger.pt2"
    some = torch.export.Dim.DYNAMIC
    made = torch.export.export(Tagger().eval(), (torch.randn(2, SAMPLES),), dynamic_shapes=({0: some},))
    torch.export.save(made, file)
    return str(file)


@pytest.mark.parametrize("mask", ["magnitude", "complex"])
def test_the_loss_is_that_of_the_largest_logit_among_a_class_s_outputs_for_waveforms_at_the_classifier_s_rate(mask):
    external = {"module": path(Tagger), "classes": MAP, "sample_rate": 12_000, "gain": 20.0}
    model, batch = ready(separator(external, mask=mask, alpha=3.0, classified_estimates=3)), random_batch(3)
    spectrum, tagger = stft(batch.mixture, GEOMETRY), Tagger(step=3).eval()
    masks = model.masks(spectrum.abs())
    logits = torch.zeros(3, 3, 3, 1)
    for estimate in range(3):
        samples = istft(masks[:, estimate] * spectrum, GEOMETRY, SAMPLES)
        of_tagger = tagger(20 * resample(samples, 8000, 12_000))
        for number, outputs in enumerate(([0, 4], [5], [2, 3])):
            logits[:, estimate, number, 0] = torch.stack([of_tagger[:, k] for k in outputs]).amax(0)
    labels = batch.clip_labels.unsqueeze(-1)
    expected = estimate_classification_loss(logits, labels, torch.ones_like(labels))
    estimates, active = masks * spectrum.abs().unsqueeze(1), labels.expand(-1, -1, spectrum.shape[-1])
    expected = expected + 3 * mixture_loss(spectrum.abs(), estimates, active, loud_frames(spectrum.abs()))
    found = model.loss(spectrum.abs(), masks, batch)
    torch.testing.assert_close(found, expected)
    parameters = list(model.network.parameters())
    gradients = (torch.autograd.grad(each.sum(), parameters, retain_graph=True) for each in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.any()


def test_a_program_of_our_own_classifier_with_its_classes_in_another_order_gives_the_loss_of_its_checkpoint(tmp_path):
    torch.manual_seed(0)
    settings: dict[str, Any] = {"network": partial(CRNN, channels=[2, 3, 4], units=4), "gain": 10.0}
    classifier = EventClassifier("clip", CLASSES, **GEOMETRY_SETTINGS, **settings)
    training = trainer(1)
    training.fit(classifier, datamodule=RandomScenes())
    training.save_checkpoint(tmp_path / "classifier.ckpt")
    turned = EventClassifier("clip", CLASSES[::-1], **GEOMETRY_SETTINGS, **settings)
    turned.load_state_dict(classifier.state_dict())
    for name in ("weight", "bias"):
        parameter = getattr(turned.network.output, name)
        parameter.data = parameter.data.flip(0)
    write_program(tmp_path / "turned.pt2", turned.eval(), {})
    external = {
        "program": str(tmp_path / "turned.pt2"),
        "takes": "magnitude",
        "classes": {"horn": 2, "dog": 1, "siren": 0},
    }
    batch, losses = random_batch(4), []
    for model in (separator(external), separator(None, classifier=str(tmp_path / "classifier.ckpt"))):
        magnitude = stft(batch.mixture, GEOMETRY).abs()
        losses.append(ready(model).loss(magnitude, model.masks(magnitude), batch))
        if isinstance(model.classifier, ExternalClassifier):  # cuDNN has no other gradients
            nodes: Any = model.classifier.model.graph.nodes  # type: ignore[union-attr]
            assert [node.args[5:7] for node in nodes if str(node.target) == "aten.lstm.input"] == [(0.0, True)]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("kind", ["program", "module"])
def test_training_leaves_the_classifier_as_it_was_keeps_it_out_of_checkpoints_and_resumes(kind, program, tmp_path):
    external = {kind: program if kind == "program" else path(Tagger), "classes": MAP}
    whole, first, resumed, averaged = (separator(external, alpha=0.0) for _ in range(4))
    before = weights(ready(whole).classifier)
    assert before.keys() >= {"model.filters.weight", "model.norm.running_mean", "model.norm.num_batches_tracked"}
    trainer(2).fit(whole, datamodule=RandomScenes())
    trainer(1, callbacks=[MovingAverage()]).fit(averaged, datamodule=RandomScenes())
    for model in (whole, averaged):
        assert_unchanged(before, weights(model.classifier))
    training = trainer(1)
    training.fit(first, datamodule=RandomScenes())
    training.save_checkpoint(tmp_path / "first.ckpt")
    assert not [name for name in read_checkpoint(tmp_path / "first.ckpt")["state_dict"] if "classifier" in name]
    given = {"datamodule": RandomScenes(), "ckpt_path": str(tmp_path / "first.ckpt"), "weights_only": True}
    trainer(2).fit(resumed, **given)
    assert_unchanged(weights(whole), weights(resumed))
    for setting, value in (("gain", 50.0), ("classes", dict(zip(MAP, reversed(MAP.values()), strict=True)))):
        with pytest.raises(InputError, match=rf"^external_classifier\.{setting}.*, but .* when the training began; "):
            trainer(2).fit(separator({**external, setting: value}, alpha=0.0), **given)
    # Separation needs the file no longer, nor the class.
    moved = copy.deepcopy(external) | ({"program": "gone.pt2"} if kind == "program" else {})
    contents = torch.load(tmp_path / "first.ckpt", weights_only=True)
    contents["hyper_parameters"]["external_classifier"] = moved
    torch.save(contents, tmp_path / "moved.ckpt")
    mixture = random_batch(2).mixture
    assert torch.equal(load_module(tmp_path / "moved.ckpt", WeakLabelSeparator)(mixture), first(mixture))


@pytest.mark.parametrize(
    ("external", "line"),
    [
        ({"classes": MAP}, "external_classifier: give either its program or its module"),
        ({"program": "a", "classes": MAP, "rate": 1}, "external_classifier: no setting rate; it has program, module, "),
        ({"program": "a"}, "external_classifier: classes: None; the numbers of its outputs for each of horn"),
        ({"program": "a", "classes": {**MAP, "cat": 1}}, "external_classifier: classes: {.*'cat': 1}; "),
        ({"program": "a", "classes": {**MAP, "dog": []}}, "external_classifier: dog has no output"),
        ({"program": "a", "classes": {**MAP, "dog": "5"}}, "external_classifier: dog: '5'; a whole number is needed"),
        ({"program": "a", "classes": MAP, "takes": "mel"}, "takes: 'mel'; one of waveform, magnitude is needed"),
        ({"program": "{folder}/none.pt2", "classes": MAP}, ".*none.pt2: no readable program of torch.export"),
        ({"program": "{folder}/text.pt2", "classes": MAP}, ".*text.pt2: no readable program of torch.export"),
        ({"module": {"class_path": "gone.Tagger"}, "classes": MAP}, "gone.Tagger: no such class is known here; "),
        ({"module": path(Dictionary), "classes": MAP}, "external_classifier: its logits are dict; "),
        ({"module": path(Tagger), "classes": {**MAP, "dog": 7}}, r".*logits are \[12, 7\]; .* an output number 7 are"),
        ({"program": "{program}", "classes": MAP, "sample_rate": 9000}, r".*tagger.pt2: does not take waveforms of \["),
        ({"program": "{program}", "classes": MAP, "takes": "magnitude"}, ".*tagger.pt2: does not take magnitudes of"),
    ],
)  # fmt: skip
def test_what_is_no_classifier_of_clips_is_refused_in_one_line(external, line, program, tmp_path):
    (tmp_path / "text.pt2").write_text("text")
    if "program" in external:
        external = {**external, "program": external["program"].format(folder=tmp_path, program=program)}
    with pytest.raises(InputError, match=f"^{line}[^\n]*$"):
        trainer(1).fit(separator(external), datamodule=RandomScenes())


def test_it_is_for_clip_labels_alone_and_one_classifier_is_enough():
    external = {"program": "a", "classes": MAP}
    with pytest.raises(InputError, match=r"^external_classifier: is for clip labels, not for frame labels; [^\n]*$"):
        separator(external, supervision="frame")
    with pytest.raises(InputError, match=r"^classifier and external_classifier: give only one of them$"):
        separator(external, classifier="classifier.ckpt")
