"""The average under the real Trainer: what it is, and that what is validated is what is kept."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Callback
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, assert_unchanged, trainer, weights

from callbacks.epoch_checkpoint import EpochCheckpoint
from callbacks.moving_average import MovingAverage
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

TINY = partial(BLSTM, units=4, layers=1)
SHARED = {"classes": CLASSES, **GEOMETRY_SETTINGS}


class Steps(Callback):
    """The weights after every step, and those that are validated."""

    def __init__(self) -> None:
        self.own, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.own.append(weights(pl_module.network))

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.validated.append(weights(pl_module.network))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("classifier") / "frame.ckpt"
    torch.manual_seed(0)
    training = trainer(1)
    training.fit(
        EventClassifier("frame", **SHARED, network=partial(CRNN, channels=[2, 3, 4], units=4)),
        datamodule=RandomScenes(),
    )
    training.save_checkpoint(path)
    return str(path)


def fit(classifier: str, folder: Path, epochs: int, resume: bool = False) -> tuple[WeakLabelSeparator, Steps]:
    torch.manual_seed(1)
    optimizer = partial(torch.optim.AdamW, lr=1e-2)
    model, steps = WeakLabelSeparator("frame", classifier, **SHARED, network=TINY, optimizer=optimizer), Steps()
    kept = [EpochCheckpoint(folder, "last"), EpochCheckpoint(folder, "best", monitor="validation_loss")]
    training = trainer(epochs, enable_checkpointing=True, callbacks=[MovingAverage(0.7), steps, *kept])
    training.fit(model, datamodule=RandomScenes(), ckpt_path=str(folder / "last.ckpt") if resume else None)
    return model, steps


def test_what_is_validated_and_kept_is_the_average_of_all_steps(classifier, tmp_path):
    model, steps = fit(classifier, tmp_path, epochs=3)
    averages = [steps.own[0]]
    for number, own in enumerate(steps.own[1:], start=1):
        decay = min(0.7, (1 + number) / (10 + number))
        averages.append({name: decay * averages[-1][name] + (1 - decay) * value for name, value in own.items()})
    for epoch in range(3):
        for name, value in steps.validated[2 * epoch].items():  # two batches each are trained on and validated
            torch.testing.assert_close(value, averages[2 * epoch + 1][name])
    kept = load_module(tmp_path / "last.ckpt", WeakLabelSeparator)
    assert_unchanged(steps.validated[-1], weights(kept.network))
    assert_unchanged(steps.validated[-1], weights(model.network))  # training ends with it
    assert not any(torch.equal(own, kept.network.state_dict()[name]) for name, own in steps.own[-1].items())
    best = weights(load_module(tmp_path / "best.ckpt", WeakLabelSeparator).network)
    assert any(all(torch.equal(value, best[name]) for name, value in each.items()) for each in steps.validated)


def test_a_resumed_training_ends_as_an_uninterrupted_one(classifier, tmp_path):
    whole, _ = fit(classifier, tmp_path / "whole", epochs=4)
    fit(classifier, tmp_path / "parts", epochs=2)
    parts, _ = fit(classifier, tmp_path / "parts", epochs=4, resume=True)
    assert_unchanged(weights(whole), weights(parts))
    states = [read_checkpoint(tmp_path / name / "last.ckpt") for name in ("whole", "parts")]
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert_unchanged(*(state[part] for state in states))
    for part in ("state_dict", "current_model_state"):
        assert not any(name.startswith("classifier.") for name in states[0][part])


def test_the_frozen_classifier_stays_as_it_is(classifier, tmp_path):
    model, _ = fit(classifier, tmp_path, epochs=2)
    assert model.classifier is not None
    assert_unchanged(weights(load_module(classifier, EventClassifier)), weights(model.classifier))


def test_a_model_without_an_average_before_goes_on_with_one(classifier, tmp_path):
    torch.manual_seed(1)
    model = WeakLabelSeparator("frame", classifier, **SHARED, network=TINY)
    trainer(1, enable_checkpointing=True, callbacks=[EpochCheckpoint(tmp_path, "last")]).fit(
        model, datamodule=RandomScenes()
    )
    again = WeakLabelSeparator("frame", classifier, **SHARED, network=TINY)
    with pytest.warns(UserWarning, match="not created with WeightAveraging"):
        trainer(2, callbacks=[MovingAverage()]).fit(
            again, datamodule=RandomScenes(), ckpt_path=str(tmp_path / "last.ckpt")
        )


def test_a_second_training_with_the_same_callback_knows_nothing_of_the_first():
    def trained(seed: int, epochs: int, callback: MovingAverage) -> WeakLabelSeparator:
        torch.manual_seed(seed)
        model = WeakLabelSeparator("strong", **SHARED, network=TINY, optimizer=partial(torch.optim.Adam, lr=1e-2))
        trainer(epochs, callbacks=[callback]).fit(model, datamodule=RandomScenes())
        return model

    again = MovingAverage()
    trained(0, 2, again)
    assert_unchanged(weights(trained(1, 1, MovingAverage())), weights(trained(1, 1, again)))
