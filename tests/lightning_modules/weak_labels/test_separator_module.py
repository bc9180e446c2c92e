"""Classifier and separator under the real Trainer: what is frozen, what learns, from what, and what is refused."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule
from tiny_systems import (
    CLASSES,
    FRAMES,
    GEOMETRY,
    GEOMETRY_SETTINGS,
    IN_BFLOAT16,
    PRIOR,
    RandomScenes,
    assert_unchanged,
    random_batch,
    trainer,
    weights,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_modules.batch import Batch
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.spectrogram import Geometry, istft, stft
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.labels import clip_logits, pool_frame_labels
from lightning_modules.weak_labels.losses import (
    classification_loss,
    estimate_classification_loss,
    loud_frames,
    mixture_loss,
    prior_weight,
    truncated_magnitude_loss,
    truncated_source_loss,
    truncated_sources,
)
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

SHARED: dict[str, Any] = {"classes": CLASSES, **GEOMETRY_SETTINGS}
CLASSIFIER: dict[str, Any] = {"network": partial(CRNN, channels=[2, 3, 4], units=4), "gain": 10.0}
FAST = partial(torch.optim.Adam, lr=1e-2)


def separator(supervision: str, **settings: Any) -> WeakLabelSeparator:
    torch.manual_seed(1)
    tiny = {"network": partial(BLSTM, units=4, layers=1), "optimizer": FAST}
    return WeakLabelSeparator(supervision=supervision, **{**SHARED, **tiny, **settings})  # type: ignore[arg-type]


def trained(model: LightningModule, path: Path, epochs: int = 2) -> str:
    """The model's checkpoint after some epochs."""
    training = trainer(epochs)
    training.fit(model, datamodule=RandomScenes())
    training.save_checkpoint(path)
    return str(path)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A trained classifier's checkpoint for each kind of label."""
    paths = {}
    for supervision in ("frame", "clip"):
        torch.manual_seed(0)
        classifier = EventClassifier(supervision=supervision, **SHARED, **CLASSIFIER, optimizer=FAST)  # type: ignore[arg-type]
        paths[supervision] = trained(classifier, tmp_path_factory.mktemp("classifier") / f"{supervision}.ckpt")
    return paths


@pytest.fixture(params=["frame", "clip"])
def supervision(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ready(classifiers: dict[str, str]) -> Callable[..., WeakLabelSeparator]:
    """A function that makes a separator with its classifier loaded, as it stands when training starts."""

    def make(supervision: str, **settings: Any) -> WeakLabelSeparator:
        model = separator(supervision, **{"classifier": classifiers.get(supervision), **settings})
        trainer(epochs=0).fit(model, datamodule=RandomScenes())
        return model

    return make


class Normalised(nn.Module):
    """A classifier's network with what evaluation mode changes: batch normalisation and dropout."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(inputs), nn.Dropout(0.5)
        self.recurrent = nn.LSTM(inputs, 4, 2, batch_first=True, dropout=0.5)
        self.output = nn.Linear(4, outputs)

    def forward(self, magnitude: Tensor) -> Tensor:
        return self.output(self.recurrent(self.dropout(self.norm(magnitude)).mT)[0]).mT


def test_training_leaves_every_bit_of_the_classifier_and_changes_every_weight_of_the_separator(
    classifiers, supervision
):
    model = separator(
        supervision, classifier=classifiers[supervision], alpha=0.0
    )  # the classifier alone reaches them all
    before = weights(model.network)
    trainer().fit(model, datamodule=RandomScenes())
    assert model.classifier is not None
    assert_unchanged(weights(load_module(classifiers[supervision], EventClassifier)), weights(model.classifier))
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.classifier.parameters())
    assert not any(torch.equal(before[name], after) for name, after in weights(model.network).items())


def test_a_frozen_classifier_is_in_evaluation_mode_but_for_its_lstm_and_its_statistics_stay(tmp_path):
    classifier = EventClassifier(supervision="frame", **SHARED, network=Normalised, optimizer=FAST)
    trained(classifier, tmp_path / "classifier.ckpt")
    model = separator("frame", classifier=str(tmp_path / "classifier.ckpt"))
    trainer().fit(model, datamodule=RandomScenes())  # with a validation after each epoch
    assert model.classifier is not None
    assert [layer for layer in model.classifier.modules() if layer.training] == [model.classifier.network.recurrent]
    assert_unchanged(weights(classifier), weights(model.classifier))
    magnitude = stft(random_batch(3).mixture, GEOMETRY).abs()
    torch.testing.assert_close(model.classifier(magnitude), classifier.eval()(magnitude))
    # In training mode it would say something else.
    assert not torch.allclose(classifier.train()(magnitude), model.classifier(magnitude))


def logits_of_estimates(model: WeakLabelSeparator, estimates: Tensor) -> Tensor:
    """The classifier asked about one class's estimates at a time, [B, E, C, F']."""
    assert model.classifier is not None
    return torch.stack([model.classifier(estimates[:, i]) for i in range(len(CLASSES))], dim=1)


def parts_of_the_loss(model: WeakLabelSeparator, magnitude: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The pure losses of a batch under weak labels, unweighted."""
    estimates = masks * magnitude.unsqueeze(1)
    kept = loud_frames(magnitude, 0.01)
    on_estimates, on_mixture = logits_of_estimates(model, estimates.abs()), model.classifier(magnitude)  # type: ignore[misc]
    if model.supervision == "frame":
        activity, active = pool_frame_labels(batch.frame_labels, 4), batch.frame_labels
        weight = prior_weight(activity, PRIOR)
    else:
        on_estimates, on_mixture = clip_logits(on_estimates).unsqueeze(-1), clip_logits(on_mixture).unsqueeze(-1)
        activity, weight = batch.clip_labels.unsqueeze(-1), torch.ones(len(magnitude), len(CLASSES), 1)
        active = batch.clip_labels.unsqueeze(-1).expand(-1, -1, FRAMES)
    return {
        "mixture": mixture_loss(magnitude, estimates, active, kept),
        "classification": estimate_classification_loss(on_estimates, activity, weight),
        "classifier": classification_loss(on_mixture, activity, weight),
    }


@pytest.mark.parametrize(
    ("alpha", "classification", "mask"), [(100.0, 1.0, "magnitude"), (3.0, 0.5, "magnitude"), (3.0, 0.5, "complex")]
)
def test_weak_loss_is_the_weighted_sum_of_what_the_classifier_says_and_of_the_mixture_loss(
    ready, supervision, alpha, classification, mask
):
    model, batch = ready(supervision, alpha=alpha, classification=classification, mask=mask), random_batch(3)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.masks(magnitude)
    parts = parts_of_the_loss(model, magnitude, masks, batch)
    expected = classification * parts["classification"] + alpha * parts["mixture"]
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_mixture_loss_alone_needs_no_classifier(supervision):
    model, batch = separator(supervision, classification=0.0, alpha=7.0), random_batch(3)
    trainer().fit(model, datamodule=RandomScenes())
    assert model.classifier is None
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.masks(magnitude)
    active = batch.frame_labels if supervision == "frame" else batch.clip_labels.unsqueeze(-1).expand(-1, -1, FRAMES)
    expected = 7 * mixture_loss(magnitude, masks * magnitude.unsqueeze(1), active, loud_frames(magnitude))
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_strong_loss_is_the_scaled_truncated_magnitude_error_of_the_isolated_sources(ready):
    model, batch = ready("strong", strong_scale=50.0, quiet_frames=0.3), random_batch(3)
    assert model.classifier is None
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.masks(magnitude)
    expected = 50 * truncated_magnitude_loss(
        magnitude,
        stft(batch.sources, GEOMETRY).abs(),
        masks,
        prior_weight(batch.frame_labels, PRIOR),
        loud_frames(magnitude, 0.3),
    )
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_strong_supervision_of_other_masks_takes_sources_in_phases_relative_to_the_mixture(ready):
    batch = random_batch(3)
    mixture = stft(batch.mixture, GEOMETRY)
    weight, kept = prior_weight(batch.frame_labels, PRIOR), loud_frames(mixture.abs(), 0.01)
    for kind in ("phase_sensitive", "complex"):
        model = ready("strong", mask=kind)
        masks, sources = model.masks(mixture.abs()), truncated_sources(kind, mixture, stft(batch.sources, GEOMETRY))
        expected = 4 * truncated_source_loss(mixture.abs(), sources, masks, weight, kept)
        assert torch.equal(model.loss(mixture.abs(), masks, batch), expected)


def test_weak_labels_train_phase_sensitive_masks_as_magnitude_masks(classifiers, supervision):
    models = [
        separator(supervision, classifier=classifiers[supervision], mask=m) for m in ("magnitude", "phase_sensitive")
    ]
    for model in models:
        trainer().fit(model, datamodule=RandomScenes())
    assert_unchanged(*map(weights, models))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_complex_masks_train_turn_phases_and_come_back_from_a_checkpoint(activation, tmp_path):
    model = separator("strong", mask="complex", mask_activation=activation, mask_floor=0.1)
    before = weights(model.network)
    path = trained(model, tmp_path / "complex.ckpt")
    assert not any(torch.equal(before[name], after) for name, after in weights(model.network).items())
    loaded, mixture = load_module(path, WeakLabelSeparator), random_batch(2).mixture
    spectrum = stft(mixture, GEOMETRY)
    found = loaded.masks(spectrum.abs())
    assert found.dtype == torch.complex64 and found.real.min() >= 0.1 and found.imag.abs().max() > 0.01
    expected = istft(found * spectrum.unsqueeze(1), GEOMETRY, mixture.shape[-1])
    torch.testing.assert_close(loaded(mixture), expected)
    assert torch.equal(loaded(mixture), model(mixture))


@pytest.mark.any_cpu
@IN_BFLOAT16
def test_losses_are_float32_under_autocast(ready, supervision):
    model, batch = ready(supervision), random_batch(3)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(magnitude, model.masks(magnitude), batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, model.loss(magnitude, model.masks(magnitude), batch), rtol=0.05, atol=0)


def test_validation_loss_is_the_mean_over_mixtures_whatever_the_batches():
    model, scenes, training = separator("strong"), RandomScenes(), trainer()
    training.fit(model, datamodule=scenes)
    losses = []
    for batch in scenes.val_dataloader():
        magnitude = stft(batch.mixture, GEOMETRY).abs()
        losses.append(model.loss(magnitude, model.masks(magnitude), batch))
    assert len(losses[0]) != len(losses[1])
    torch.testing.assert_close(training.callback_metrics["validation_loss"].float(), torch.cat(losses).mean())


def test_softmax_masks_train_and_come_back_from_a_checkpoint_without_their_residual(classifiers, supervision, tmp_path):
    model = separator(supervision, classifier=classifiers[supervision], mask_activation="softmax")
    training = trainer()
    training.fit(model, datamodule=RandomScenes())
    training.save_checkpoint(tmp_path / "softmax.ckpt")
    loaded, mixture = load_module(tmp_path / "softmax.ckpt", WeakLabelSeparator), random_batch(2).mixture
    masks = loaded.masks(stft(mixture, GEOMETRY).abs())
    assert masks.shape[1] == len(CLASSES) and (masks.sum(1) > 0).all() and (masks.sum(1) < 1).all()
    torch.testing.assert_close(loaded(mixture), model(mixture))


def with_noise(batch: Batch) -> Batch:
    """The batch with a sound of no class, but in its first mixture."""
    noise = 0.2 * torch.randn(batch.mixture.shape, generator=torch.Generator().manual_seed(9))
    noise[0] = 0
    sources = torch.cat((batch.sources, noise.unsqueeze(1)), 1)
    return batch._replace(mixture=batch.mixture + noise, sources=sources)


@pytest.mark.parametrize("mask", ["magnitude", "phase_sensitive", "complex"])
def test_strong_loss_compares_a_residual_with_the_sounds_of_no_class_or_with_silence(ready, mask):
    settings = {"mask": mask, "mask_activation": "softmax", "mask_floor": 0.05}
    model, without = ready("strong", residual=True, **settings), ready("strong", **settings)
    silent = random_batch(3)
    batch = with_noise(silent)
    spectrum = stft(batch.mixture, GEOMETRY)
    magnitude, masks = spectrum.abs(), model.masks(spectrum.abs())
    kept, weight = loud_frames(magnitude), prior_weight(batch.frame_labels, PRIOR)
    targets = truncated_sources(mask, spectrum, stft(batch.sources, GEOMETRY))
    of_classes = 4 * truncated_source_loss(magnitude, targets[:, :3], masks, weight, kept)
    torch.testing.assert_close(without.loss(magnitude, masks, batch), of_classes)
    for given, target in ((batch, targets[:, 3]), (batch._replace(sources=silent.sources), 0 * targets[:, 3])):
        error = (target - (1 - masks.sum(1)) * magnitude).abs().sum(1)
        expected = of_classes + 4 * 2 * (error * kept).sum(1) / kept.sum(1)
        torch.testing.assert_close(model.loss(magnitude, masks, given), expected)


def test_weak_loss_of_a_residual_wants_no_class_in_it_and_takes_its_price(ready, supervision):
    floor, batch = 0.05, with_noise(random_batch(3))
    settings = {"mask_activation": "softmax", "mask_floor": floor, "alpha": 3.0}
    model = ready(supervision, residual=True, residual_weight=0.3, **settings)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.masks(magnitude)
    rest = 1 - masks.sum(1)
    assert masks.min() >= floor and rest.min() >= floor - 1e-6 and masks.shape[1] == len(CLASSES)
    kept, parts = loud_frames(magnitude), parts_of_the_loss(model, magnitude, masks, batch)
    active = batch.frame_labels if supervision == "frame" else batch.clip_labels.unsqueeze(-1).expand(-1, -1, FRAMES)
    # All shares add up to the mixture: what the active ones lack is what the others have.
    others = (masks * (1 - active).unsqueeze(2)).sum(1) * magnitude
    on_mixture = ((2 * others + 0.3 * rest * magnitude).sum(1) * kept).sum(1) / kept.sum(1)
    logits, weight = model.classifier(rest * magnitude), prior_weight(pool_frame_labels(batch.frame_labels, 4), PRIOR)  # type: ignore[misc]
    if supervision == "clip":
        logits, weight = clip_logits(logits).unsqueeze(-1), torch.ones(3, len(CLASSES), 1)
    expected = 3 * on_mixture + parts["classification"] + classification_loss(logits, 0 * logits, weight)
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


@pytest.mark.parametrize("mask", ["magnitude", "complex"])
def test_a_separator_with_a_residual_trains_and_comes_back_with_estimates_of_its_classes(
    classifiers, supervision, mask, tmp_path
):
    settings = {"residual": True, "mask_activation": "softmax", "mask": mask, "classified_estimates": len(CLASSES) + 1}
    model = separator(supervision, classifier=classifiers[supervision], **settings)
    before = weights(model.network)
    loaded = load_module(trained(model, tmp_path / "residual.ckpt"), WeakLabelSeparator)
    assert not any(torch.equal(before[name], after) for name, after in weights(model.network).items())
    mixture = random_batch(2).mixture
    assert loaded.residual and torch.equal(loaded(mixture), model(mixture))
    assert loaded(mixture).shape == (2, len(CLASSES), mixture.shape[-1])
    with pytest.raises(InputError, match=r"^residual: the model has False, the checkpoint True; "):
        without = separator(supervision, mask_activation="softmax", mask=mask)
        trainer().test(without, datamodule=RandomScenes(), ckpt_path=tmp_path / "residual.ckpt", weights_only=True)


def test_a_residual_needs_masks_that_share_each_bin():
    with pytest.raises(
        InputError, match=r"^residual: masks of a sigmoid leave it no share; set mask_activation to softmax$"
    ):
        separator("strong", residual=True)
    with pytest.raises(InputError, match=r"^mask_floor: 0.3; a number from 0 to 0.25 is needed$"):
        separator("strong", residual=True, mask_activation="softmax", mask_floor=0.3)


def test_drawn_estimates_give_the_whole_loss_in_the_mean_and_validation_takes_all(ready, supervision):
    model, batch = ready(supervision, classified_estimates=1), random_batch(3)
    whole = ready(supervision)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = whole.masks(magnitude)
    expected = whole.loss(magnitude, masks, batch)
    torch.testing.assert_close(model.eval().loss(magnitude, masks, batch), expected)
    torch.manual_seed(0)
    model.train()
    losses = torch.stack([model.loss(magnitude, masks, batch) for _ in range(400)])
    torch.testing.assert_close(losses.mean(0), expected, rtol=0.05, atol=0)
    assert losses.std(0).min() > 0


def test_masks_do_not_fall_below_their_floor_and_with_a_residual_of_the_same_still_share_each_bin():
    def masks(floor: float, **settings: Any) -> Tensor:
        found = separator("strong", mask_floor=floor, **settings).masks(magnitudes())
        return torch.cat((found, 1 - found.sum(1, keepdim=True)), 1) if settings else found

    torch.testing.assert_close(masks(0.2), 0.2 + 0.8 * masks(0))
    shared = {"residual": True, "mask_activation": "softmax"}
    torch.testing.assert_close(masks(0.2, **shared), 0.2 + 0.2 * masks(0, **shared))


def magnitudes(frames: int = 11, batch: int = 2) -> Tensor:
    return torch.rand(batch, GEOMETRY.bins, frames, generator=torch.Generator().manual_seed(1))


def test_input_is_the_log_magnitude_with_its_floor_and_normalised_over_each_mixtures_bins():
    magnitude = magnitudes() * torch.tensor([1e-4, 10.0]).view(2, 1, 1)
    magnitude[:, :, :3] = 0
    seen: list[Tensor] = []
    for normalisation in ("none", "mixture"):
        model = separator("strong", epsilon=1e-4, input_normalisation=normalisation)
        model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model.masks(magnitude)
    plain, normalised = seen
    torch.testing.assert_close(plain, (magnitude + 1e-4).log())
    torch.testing.assert_close(normalised.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std((1, 2)), torch.ones(2))


@pytest.mark.parametrize("normalisation", ["none", "mixture"])
def test_a_silent_mixture_has_finite_masks_and_gradients(normalisation):
    model = separator("strong", input_normalisation=normalisation)
    masks = model.masks(torch.zeros(2, GEOMETRY.bins, 11))
    assert masks.isfinite().all()
    gradients = torch.autograd.grad(masks.sum(), list(model.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_estimates_have_the_masks_magnitude_and_the_mixtures_phase():
    model, mixture = separator("strong"), random_batch(2).mixture
    spectrum = stft(mixture, GEOMETRY).unsqueeze(1)

    class Constant(nn.Module):
        def forward(self, magnitude: Tensor) -> Tensor:
            masks = torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1) * torch.ones_like(magnitude).unsqueeze(1)
            return masks.logit()

    model.network = Constant()  # type: ignore[assignment]
    expected = torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1) * spectrum
    torch.testing.assert_close(stft(model(mixture), GEOMETRY), expected, atol=1e-6, rtol=0)


def test_one_name_serves_the_classifiers_of_every_supervision(supervision):
    path = separator(supervision, classifier="runs/classifier_{supervision}.ckpt").classifier_checkpoint
    assert path == f"runs/classifier_{supervision}.ckpt"


@pytest.mark.parametrize(
    ("setting", "value"), [("supervision", "clip"), ("hop", 8), ("classes", ["dog", "horn", "siren"])]
)
def test_classifier_of_another_rate_geometry_or_class_list_is_refused(setting, value, tmp_path):
    classifier, rest = EventClassifier(**{"supervision": "frame", **SHARED, **CLASSIFIER, setting: value}), trainer()
    rest.strategy.connect(classifier)
    rest.save_checkpoint(tmp_path / "classifier.ckpt")
    model = separator("frame", classifier=str(tmp_path / "classifier.ckpt"))
    with pytest.raises(InputError, match=f"^{setting}: the separator has [^\n]*classifier.ckpt [^\n]*; make them "):
        trainer().fit(model, datamodule=RandomScenes())


def test_data_of_another_rate_or_class_order_is_refused():
    with pytest.raises(InputError, match="sample_rate: the model has 8000, the data 16000"):
        trainer().fit(separator("strong"), datamodule=RandomScenes(geometry=Geometry(16_000, 32, 16)))
    with pytest.raises(InputError, match=r"classes: the model has .*'horn', 'dog'.*, the data .*'dog', 'horn'"):
        trainer().fit(separator("strong"), datamodule=RandomScenes(["dog", "horn", "siren"]))


def test_weak_labels_need_a_classifier_trained_or_joint_and_not_both(classifiers, supervision):
    with pytest.raises(InputError, match=f"^classifier: {supervision} supervision needs [^\n]*$"):
        trainer().fit(separator(supervision), datamodule=RandomScenes())
    with pytest.raises(InputError, match=r"^classifier and joint_classifier: [^\n]*$"):
        separator(supervision, classifier=classifiers[supervision], joint_classifier=CLASSIFIER)


def test_a_checkpoint_holds_no_frozen_classifier_gives_the_same_estimates_and_a_training_resumes_from_it(
    classifiers, supervision, tmp_path
):
    whole, first, resumed = (separator(supervision, classifier=classifiers[supervision]) for _ in range(3))
    trainer(3).fit(whole, datamodule=RandomScenes())
    path = trained(first, tmp_path / "one.ckpt", epochs=1)
    assert not [name for name in read_checkpoint(path)["state_dict"] if "classifier" in name]
    assert first.classifier is not None  # saving took nothing from the model itself
    restored, mixture = load_module(path, WeakLabelSeparator), random_batch(2, 5).mixture
    assert torch.equal(restored(mixture), first(mixture)) and torch.equal(restored.prior, PRIOR)
    trainer(3).fit(resumed, datamodule=RandomScenes(), ckpt_path=path, weights_only=True)
    assert_unchanged(weights(whole), weights(resumed))


def test_a_training_goes_on_with_the_classifier_it_began_with_wherever_that_lies(classifiers, tmp_path):
    path = trained(separator("frame", classifier=classifiers["frame"]), tmp_path / "one.ckpt", epochs=1)
    moved = shutil.copy(classifiers["frame"], tmp_path / "moved.ckpt")
    trainer(2).fit(separator("frame", classifier=moved), datamodule=RandomScenes(), ckpt_path=path, weights_only=True)
    other = trained(EventClassifier("frame", **SHARED, **CLASSIFIER), tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"^classifier: not the one that the training began with; [^\n]*$"):
        trainer(2).fit(
            separator("frame", classifier=other), datamodule=RandomScenes(), ckpt_path=path, weights_only=True
        )


def test_a_floor_raises_the_real_part_of_complex_masks_and_leaves_the_imaginary_one_its_range():
    torch.manual_seed(3)
    plain, raised = (separator("strong", mask="complex", mask_floor=floor) for floor in (0.0, 0.1))
    raised.load_state_dict(plain.state_dict())
    magnitude = torch.rand(2, GEOMETRY.bins, 9)
    torch.testing.assert_close(raised.masks(magnitude).real, 0.1 + 0.9 * plain.masks(magnitude).real)
    assert torch.equal(raised.masks(magnitude).imag, plain.masks(magnitude).imag)


def test_checkpoint_of_another_supervision_or_class_list_is_refused_before_its_weights_are_taken(classifiers, tmp_path):
    path = trained(separator("strong"), tmp_path / "strong.ckpt")
    model = separator("frame", classifier=classifiers["frame"])
    before = weights(model.network)
    with pytest.raises(InputError, match=r"^supervision: the model has frame, the checkpoint strong; [^\n]*$"):
        trainer().fit(model, datamodule=RandomScenes(), ckpt_path=path, weights_only=True)
    assert_unchanged(before, weights(model.network))


def test_strong_supervision_refuses_training_data_without_isolated_sources():
    scenes = RandomScenes()
    scenes.train_sources = False
    with pytest.raises(InputError, match=r"^train_sources: false; [^\n]*$"):
        trainer().fit(separator("strong"), datamodule=scenes)


def test_a_validation_loss_that_is_not_a_number_ends_the_training_by_the_mixture_s_name():
    class Broken(RandomScenes):
        def val_dataloader(self) -> DataLoader[Batch]:
            broken = random_batch(3)
            broken.sources[1] = torch.nan
            return DataLoader([broken], batch_size=None)  # type: ignore[arg-type]

    with pytest.raises(InputError, match=r"^loss: nan in epoch 1 for validation mixture 1 \(batch: 0, 1, 2\)"):
        trainer(1).fit(separator("strong"), datamodule=Broken())


def test_joint_training_changes_the_classifier_and_keeps_it_in_the_checkpoint(supervision, tmp_path):
    model = separator(supervision, joint_classifier=CLASSIFIER)
    assert model.classifier is not None
    before = weights(model.classifier)
    restored = load_module(trained(model, tmp_path / "joint.ckpt"), WeakLabelSeparator)
    learnt = dict(model.classifier.named_parameters())
    assert not [name for name in learnt if torch.equal(before[name], learnt[name])]
    assert_unchanged(weights(model), weights(restored))


@pytest.mark.parametrize("features", [{}, {"mel_bands": 10, "root": 0.4, "delta": 3e-3}])
def test_a_joint_classifier_also_learns_from_the_mixtures(ready, supervision, features):
    model, batch = ready(supervision, joint_classifier=CLASSIFIER | features, classifier=None), random_batch(3)
    assert model.classifier.features.bands == features.get("mel_bands", GEOMETRY.bins)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.masks(magnitude)
    parts = parts_of_the_loss(model, magnitude, masks, batch)
    expected = parts["classification"] + 100 * parts["mixture"] + parts["classifier"]
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_class_prior_comes_from_the_training_data_and_stays_off_0_and_1():
    class Extreme(RandomScenes):
        def class_prior(self) -> Tensor:
            return torch.tensor([0.0, 0.4, 1.0])

    model = separator("strong")
    trainer(epochs=0).fit(model, datamodule=Extreme())
    torch.testing.assert_close(model.prior, torch.tensor([1e-3, 0.4, 1 - 1e-3]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_on_a_gpu_the_frozen_classifier_stays_and_the_separator_learns_through_it(classifiers, supervision, precision):
    model = separator(supervision, classifier=classifiers[supervision], alpha=0.0)
    before = weights(model.network)
    trainer(accelerator="gpu", devices=1, precision=precision).fit(model, datamodule=RandomScenes())
    assert model.classifier is not None
    assert_unchanged(weights(load_module(classifiers[supervision], EventClassifier)), weights(model.classifier))
    assert not any(torch.equal(before[name], after) for name, after in weights(model.network).items())
