"""The judge and the separator under the real Trainer: what is frozen, what learns, from what, and what is refused."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.batch import Batch
from lightning_modules.checkpoint import load_module, read_checkpoint
from lightning_modules.errors import InputError
from lightning_modules.spectrogram import Geometry, stft
from lightning_modules.weak_labels.classifier import clip_logits, pool_frame_labels
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.losses import (
    classification_loss,
    estimate_classification_loss,
    loud_frames,
    mixture_loss,
    prior_weight,
    truncated_magnitude_loss,
)
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

CLASSES = ["horn", "dog", "siren"]
GEOMETRY = Geometry(8000, 32, 16)
SAMPLES = 400
FRAMES = GEOMETRY.frames(SAMPLES)
PRIOR = torch.tensor([0.2, 0.5, 0.7])
SHARED: dict[str, Any] = {"classes": CLASSES, "sample_rate": 8000, "window": 32, "hop": 16}
JUDGE: dict[str, Any] = {"architecture": "convolutional", "channels": [2, 3, 4], "units": 4, "gain": 10.0}


def random_batch(size: int, seed: int = 0) -> Batch:
    """Noise of each class where its frame labels say so; every mixture holds a class, none of them all the time."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(size, len(CLASSES), FRAMES, generator=generator) < 0.3).float()
    labels[:, :, 0] = torch.eye(len(CLASSES))[torch.arange(size) % len(CLASSES)]
    labels[0, 2] = 0  # so that clip labels differ from all ones
    gate = labels.repeat_interleave(GEOMETRY.hop, -1)[..., :SAMPLES]
    sources = 0.3 * torch.randn(size, len(CLASSES), SAMPLES, generator=generator) * gate
    return Batch(sources.sum(1), sources, labels, labels.amax(-1), torch.arange(size))


class RandomScenes(LightningDataModule):
    """Two training and two validation batches, the second of the latter smaller, always the same."""

    def __init__(self, classes: Sequence[str] = CLASSES, geometry: Geometry = GEOMETRY) -> None:
        super().__init__()
        self.classes, self.geometry, self.seed = classes, geometry, 0

    def class_prior(self) -> Tensor:
        return PRIOR

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([random_batch(4, 0), random_batch(4, 1)], batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([random_batch(5, 2), random_batch(1, 3)], batch_size=None)  # type: ignore[arg-type]


def trainer(epochs: int = 2, **settings: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(max_epochs=epochs, num_sanity_val_steps=0, **{"accelerator": "cpu", **quiet, **settings})


def separator(supervision: str, **settings: Any) -> WeakLabelSeparator:
    torch.manual_seed(1)
    sizes = {"units": 4, "layers": 1, "learning_rate": 1e-2}
    return WeakLabelSeparator(supervision=supervision, **{**SHARED, **sizes, **settings})  # type: ignore[arg-type]


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def assert_unchanged(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A trained judge's checkpoint for each kind of label."""
    paths = {}
    for supervision in ("frame", "clip"):
        torch.manual_seed(0)
        judge = EventClassifier(supervision=supervision, **SHARED, **JUDGE, learning_rate=1e-2)  # type: ignore[arg-type]
        training = trainer()
        training.fit(judge, datamodule=RandomScenes())
        paths[supervision] = str(tmp_path_factory.mktemp("judge") / f"{supervision}.ckpt")
        training.save_checkpoint(paths[supervision])
    return paths


@pytest.fixture(params=["frame", "clip"])
def supervision(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ready(judges: dict[str, str]) -> Callable[..., WeakLabelSeparator]:
    """A function that makes a separator with its judge loaded, as it stands when training starts."""

    def make(supervision: str, **settings: Any) -> WeakLabelSeparator:
        model = separator(supervision, **{"judge": judges.get(supervision), **settings})
        trainer(epochs=0).fit(model, datamodule=RandomScenes())
        return model

    return make


def test_training_leaves_every_bit_of_the_judge_and_changes_every_weight_of_the_separator(judges, supervision):
    model = separator(supervision, judge=judges[supervision])
    before = weights(model.separator)
    trainer().fit(model, datamodule=RandomScenes())
    assert model.judge is not None
    assert_unchanged(weights(load_module(judges[supervision], EventClassifier)), weights(model.judge))
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.judge.parameters())
    assert not any(torch.equal(before[name], after) for name, after in weights(model.separator).items())


def test_the_judge_stays_in_training_mode_through_validation(judges):
    model = separator("frame", judge=judges["frame"])
    trainer().fit(model, datamodule=RandomScenes())
    assert model.judge is not None
    assert all(module.training for module in model.judge.modules())


def test_what_the_judge_says_alone_reaches_every_weight_of_the_separator(ready, supervision):
    model = ready(supervision, alpha=0.0)
    batch = random_batch(4)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    model.loss(magnitude, model.separator(magnitude), batch).sum().backward()
    assert {name for name, p in model.separator.named_parameters() if p.grad is None or not p.grad.any()} == set()
    assert all(parameter.grad is None for parameter in model.judge.parameters())


def logits_of_estimates(model: WeakLabelSeparator, estimates: Tensor) -> Tensor:
    """The judge asked about one class's estimates at a time, [B, E, C, F']."""
    assert model.judge is not None
    return torch.stack([model.judge(estimates[:, i]) for i in range(len(CLASSES))], dim=1)


def parts_of_the_loss(model: WeakLabelSeparator, magnitude: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The pure losses of a batch under weak labels, unweighted."""
    estimates = masks * magnitude.unsqueeze(1)
    kept = loud_frames(magnitude, 0.01)
    judged, heard = logits_of_estimates(model, estimates), model.judge(magnitude)  # type: ignore[misc]
    if model.supervision == "frame":
        activity, active = pool_frame_labels(batch.frame_labels, 4), batch.frame_labels
        weight = prior_weight(activity, PRIOR)
    else:
        judged, heard = clip_logits(judged).unsqueeze(-1), clip_logits(heard).unsqueeze(-1)
        activity, weight = batch.clip_labels.unsqueeze(-1), torch.ones(len(magnitude), len(CLASSES), 1)
        active = batch.clip_labels.unsqueeze(-1).expand(-1, -1, FRAMES)
    return {
        "mixture": mixture_loss(magnitude, estimates, active, kept),
        "classification": estimate_classification_loss(judged, activity, weight),
        "judge": classification_loss(heard, activity, weight),
    }


@pytest.mark.parametrize(("alpha", "classification"), [(100.0, 1.0), (0.0, 1.0), (3.0, 0.5)])
def test_weak_loss_is_the_weighted_sum_of_what_the_judge_says_and_of_the_mixture_loss(
    ready, supervision, alpha, classification
):
    model, batch = ready(supervision, alpha=alpha, classification=classification), random_batch(3)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.separator(magnitude)
    parts = parts_of_the_loss(model, magnitude, masks, batch)
    expected = classification * parts["classification"] + alpha * parts["mixture"]
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_mixture_loss_alone_needs_no_judge(supervision):
    model, batch = separator(supervision, classification=0.0, alpha=7.0), random_batch(3)
    trainer().fit(model, datamodule=RandomScenes())
    assert model.judge is None
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.separator(magnitude)
    active = batch.frame_labels if supervision == "frame" else batch.clip_labels.unsqueeze(-1).expand(-1, -1, FRAMES)
    expected = 7 * mixture_loss(magnitude, masks * magnitude.unsqueeze(1), active, loud_frames(magnitude))
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_strong_loss_is_the_scaled_truncated_magnitude_error_of_the_isolated_sources(ready):
    model, batch = ready("strong", strong_scale=50.0, quiet_frames=0.3), random_batch(3)
    assert model.judge is None
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.separator(magnitude)
    expected = 50 * truncated_magnitude_loss(
        magnitude,
        stft(batch.sources, GEOMETRY).abs(),
        masks,
        prior_weight(batch.frame_labels, PRIOR),
        loud_frames(magnitude, 0.3),
    )
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_losses_are_float32_under_autocast(ready, supervision):
    model, batch = ready(supervision), random_batch(3)
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(magnitude, model.separator(magnitude), batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, model.loss(magnitude, model.separator(magnitude), batch), rtol=0.05, atol=0)


def test_judges_loss_on_mixtures_is_the_classification_loss_at_the_labels_rate(judges, supervision):
    judge, batch = load_module(judges[supervision], EventClassifier), random_batch(3)
    logits = judge(stft(batch.mixture, GEOMETRY).abs())
    if supervision == "frame":
        activity = pool_frame_labels(batch.frame_labels, 4)
        expected = classification_loss(logits, activity, prior_weight(activity, PRIOR))
    else:
        activity = batch.clip_labels.unsqueeze(-1)
        expected = classification_loss(clip_logits(logits).unsqueeze(-1), activity, torch.ones_like(activity))
    torch.testing.assert_close(judge.loss(logits, batch), expected)


def test_validation_loss_is_the_mean_over_mixtures_whatever_the_batches(judges, supervision):
    model, scenes = separator(supervision, judge=judges[supervision]), RandomScenes()
    training = trainer()
    training.fit(model, datamodule=scenes)
    losses = []
    for batch in scenes.val_dataloader():
        magnitude = stft(batch.mixture, GEOMETRY).abs()
        losses.append(model.loss(magnitude, model.separator(magnitude), batch))
    assert len(losses[0]) != len(losses[1])
    torch.testing.assert_close(training.callback_metrics["validation_loss"].float(), torch.cat(losses).mean())


def test_masks_of_one_give_every_class_the_mixture_itself():
    class Ones(nn.Module):
        def forward(self, magnitude: Tensor) -> Tensor:
            return torch.ones_like(magnitude).unsqueeze(1).expand(-1, len(CLASSES), -1, -1)

    model, mixture = separator("strong"), random_batch(2).mixture
    model.separator = Ones()  # type: ignore[assignment]
    torch.testing.assert_close(model(mixture), mixture.unsqueeze(1).expand(-1, 3, -1), atol=1e-5, rtol=0)


def test_estimates_have_the_masks_magnitude_and_the_mixtures_phase():
    model, mixture = separator("strong"), random_batch(2).mixture
    spectrum = stft(mixture, GEOMETRY).unsqueeze(1)

    class Constant(nn.Module):
        def forward(self, magnitude: Tensor) -> Tensor:
            return torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1) * torch.ones_like(magnitude).unsqueeze(1)

    model.separator = Constant()  # type: ignore[assignment]
    expected = torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1) * spectrum
    torch.testing.assert_close(stft(model(mixture), GEOMETRY), expected, atol=1e-6, rtol=0)


def test_one_name_serves_the_judges_of_every_supervision(judges, supervision, tmp_path):
    (tmp_path / "judge_clip.ckpt").symlink_to(judges["clip"])
    (tmp_path / "judge_frame.ckpt").symlink_to(judges["frame"])
    model = separator(supervision, judge=f"{tmp_path}/judge_{{supervision}}.ckpt")
    trainer(epochs=1).fit(model, datamodule=RandomScenes())
    assert model.judge is not None and model.judge.supervision == supervision
    assert separator("strong", judge="none/judge_{supervision}.ckpt").judge_checkpoint == "none/judge_strong.ckpt"


def test_frame_judge_is_refused_for_clip_labels_with_both_named(judges):
    model = separator("clip", judge=judges["frame"])
    with pytest.raises(InputError) as error:
        trainer().fit(model, datamodule=RandomScenes())
    message = str(error.value)
    assert judges["frame"] in message and "frame" in message.replace(judges["frame"], "") and "clip" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("setting", "value"),
    [("sample_rate", 16_000), ("hop", 8), ("classes", ["dog", "horn", "siren"]), ("classes", ["horn", "dog"])],
)
def test_judge_of_another_rate_geometry_or_class_list_is_refused(setting, value, tmp_path):
    judge = EventClassifier(supervision="frame", **{**SHARED, **JUDGE, setting: value})
    rest = trainer()
    rest.strategy.connect(judge)
    rest.save_checkpoint(tmp_path / "judge.ckpt")
    model = separator("frame", judge=str(tmp_path / "judge.ckpt"))
    with pytest.raises(InputError, match=f"judge.ckpt: {setting} is [^\n]*; train a judge that agrees$"):
        trainer().fit(model, datamodule=RandomScenes())


def test_data_of_another_rate_or_class_order_is_refused():
    with pytest.raises(InputError, match="sample_rate: the model has 8000, the data 16000"):
        trainer().fit(separator("strong"), datamodule=RandomScenes(geometry=Geometry(16_000, 32, 16)))
    with pytest.raises(InputError, match=r"classes: the model has .*'horn', 'dog'.*, the data .*'dog', 'horn'"):
        trainer().fit(separator("strong"), datamodule=RandomScenes(["dog", "horn", "siren"]))


def test_weak_labels_without_a_judge_are_refused_in_one_line(supervision):
    with pytest.raises(InputError, match=f"^judge: {supervision} supervision needs [^\n]*$"):
        trainer().fit(separator(supervision), datamodule=RandomScenes())


def test_a_trained_and_a_joint_judge_exclude_each_other(judges):
    with pytest.raises(InputError, match=r"^judge and joint_judge: [^\n]*$"):
        separator("frame", judge=judges["frame"], joint_judge=JUDGE)


def test_checkpoint_of_a_separator_holds_no_judge_and_gives_the_same_estimates(judges, supervision, tmp_path):
    model = separator(supervision, judge=judges[supervision])
    training = trainer()
    training.fit(model, datamodule=RandomScenes())
    training.save_checkpoint(tmp_path / "separator.ckpt")
    stored = read_checkpoint(tmp_path / "separator.ckpt")["state_dict"]
    assert not [name for name in stored if "judge" in name]
    assert model.judge is not None  # saving took nothing from the model itself
    restored = load_module(tmp_path / "separator.ckpt", WeakLabelSeparator)
    mixture = random_batch(2, 5).mixture
    assert torch.equal(restored(mixture), model(mixture))
    assert torch.equal(restored.prior, PRIOR)


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(judges, supervision, tmp_path):
    whole = separator(supervision, judge=judges[supervision])
    trainer(3).fit(whole, datamodule=RandomScenes())
    first = trainer(1)
    first.fit(separator(supervision, judge=judges[supervision]), datamodule=RandomScenes())
    first.save_checkpoint(tmp_path / "one.ckpt")
    resumed = separator(supervision, judge=judges[supervision])
    trainer(3).fit(resumed, datamodule=RandomScenes(), ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    assert_unchanged(weights(whole), weights(resumed))


def test_checkpoint_of_another_supervision_or_class_list_is_refused_before_its_weights_are_taken(judges, tmp_path):
    training = trainer()
    training.fit(separator("strong"), datamodule=RandomScenes())
    training.save_checkpoint(tmp_path / "strong.ckpt")
    model = separator("frame", judge=judges["frame"])
    before = weights(model.separator)
    with pytest.raises(InputError, match=r"^supervision: the model has frame, the checkpoint strong; [^\n]*$"):
        trainer().fit(model, datamodule=RandomScenes(), ckpt_path=tmp_path / "strong.ckpt", weights_only=True)
    assert_unchanged(before, weights(model.separator))


def test_checkpoint_of_another_kind_or_size_is_refused_in_one_line(judges, tmp_path):
    training = trainer()
    training.fit(separator("strong"), datamodule=RandomScenes())
    training.save_checkpoint(tmp_path / "strong.ckpt")
    for model, path, message in (
        (separator("strong"), judges["frame"], "ckpt_path: a checkpoint of EventClassifier; one of WeakLabelSeparator"),
        (
            separator("strong", units=5),
            tmp_path / "strong.ckpt",
            "units: 5, but 4 when the training began; go on with what it was",
        ),
    ):
        with pytest.raises(InputError, match=message):
            trainer().fit(model, datamodule=RandomScenes(), ckpt_path=path, weights_only=True)


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


def test_joint_training_changes_the_judge_and_keeps_it_in_the_checkpoint(supervision, tmp_path):
    model = separator(supervision, joint_judge=JUDGE)
    assert model.judge is not None
    before = weights(model.judge)
    training = trainer()
    training.fit(model, datamodule=RandomScenes())
    learnt = dict(model.judge.named_parameters())
    assert not [name for name in learnt if torch.equal(before[name], learnt[name])]
    training.save_checkpoint(tmp_path / "joint.ckpt")
    restored = load_module(tmp_path / "joint.ckpt", WeakLabelSeparator)
    assert_unchanged(weights(model), weights(restored))


def test_a_joint_judge_also_learns_from_the_mixtures(supervision):
    model, batch = separator(supervision, joint_judge=JUDGE), random_batch(3)
    trainer(epochs=0).fit(model, datamodule=RandomScenes())
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.separator(magnitude)
    parts = parts_of_the_loss(model, magnitude, masks, batch)
    expected = parts["classification"] + 100 * parts["mixture"] + parts["judge"]
    torch.testing.assert_close(model.loss(magnitude, masks, batch), expected)


def test_a_joint_judge_without_settings_is_the_published_one_and_learns_from_the_mixtures_too():
    model, batch = separator("frame", joint_judge={}), random_batch(2)
    trainer(epochs=0).fit(model, datamodule=RandomScenes())
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.separator(magnitude)
    parts = parts_of_the_loss(model, magnitude, masks, batch)
    expected = parts["classification"] + 100 * parts["mixture"] + parts["judge"]
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
def test_on_a_gpu_the_frozen_judge_stays_and_the_separator_learns_through_it(judges, supervision, precision):
    model = separator(supervision, judge=judges[supervision], alpha=0.0)
    before = weights(model.separator)
    trainer(accelerator="gpu", devices=1, precision=precision).fit(model, datamodule=RandomScenes())
    assert model.judge is not None
    assert_unchanged(weights(load_module(judges[supervision], EventClassifier)), weights(model.judge))
    assert not any(torch.equal(before[name], after) for name, after in weights(model.separator).items())
