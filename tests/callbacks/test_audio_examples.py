"""What is logged to be listened to: the same few mixtures, their sources in order, bounded."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.trainer.states import TrainerFn

import callbacks.audio_examples as module_under_test
from callbacks.audio_examples import AudioExamples
from callbacks.tracker import Example
from callbacks.wandb_tracker import WandbTracker
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

COLUMNS = list(Example._fields)
TINY = {"sample_rate": 8000, "window": 64, "hop": 32, "network": partial(BLSTM, units=2, layers=1)}
SAMPLES = 400


class Run:
    """In place of a run: keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[dict] = []

    def log(self, values: dict) -> None:
        self.logged.append(values)


def column(table, name):
    return [row[COLUMNS.index(name)] for row in table.data]


def samples(audio):
    values, rate = soundfile.read(audio._path)
    assert rate == TINY["sample_rate"]
    return values


@pytest.fixture
def undrawn(monkeypatch):
    """Without pictures, which take most of the time; what they would have been of."""
    given = []
    monkeypatch.setattr(module_under_test, "separation_figure", lambda *drawn: given.append(drawn))
    monkeypatch.setattr(module_under_test, "_picture", lambda _: np.zeros((2, 2, 3), np.uint8))
    return given


@pytest.fixture
def separator():
    return WeakLabelSeparator(classes=["siren", "dog_bark", "gun_shot"], **TINY)


@pytest.fixture
def clustering():
    return DeepClustering(dimensions=2, **TINY)


def batch(begin, count, sources):
    noise = np.random.default_rng(begin).uniform(-0.2, 0.2, (count, sources, SAMPLES))
    signals = torch.from_numpy(noise).float()
    labels = torch.ones(count, sources)
    return Batch(signals.sum(1), signals, labels[..., None], labels, torch.arange(begin, begin + count))


def validate(examples, module, batches, outputs, epoch=0, fn=TrainerFn.FITTING, rank=0):
    """The tables that a validation logs."""
    run = Run()
    loggers = [WandbTracker(run=run)] if rank == 0 else []
    state = {"state": SimpleNamespace(fn=fn), "current_epoch": epoch, "global_step": 5, "sanity_checking": False}
    trainer = SimpleNamespace(loggers=loggers, **state)
    examples.on_validation_start(trainer, module)
    for number, (of_batch, output) in enumerate(zip(batches, outputs, strict=True)):
        examples.on_validation_batch_end(trainer, module, output, of_batch, number)
    examples.on_validation_end(trainer, module)
    assert all(values["trainer/global_step"] == 4 for values in run.logged)
    split = "test" if fn is TrainerFn.TESTING else "validation"
    return [values[f"examples/{split}"] for values in run.logged]


def test_every_source_of_the_first_mixtures_has_a_row_with_its_sounds_and_a_picture(separator):
    batches = [batch(0, 1, 3), batch(4, 3, 3), batch(8, 3, 3)]
    loud = batches[1].mixture * 10 / batches[1].mixture.abs().amax(-1, keepdim=True)
    batches[1] = batches[1]._replace(mixture=loud)  # not to be clipped
    outputs = [0.5 * of_batch.sources for of_batch in batches]
    (table,) = validate(AudioExamples(mixtures=2), separator, batches, outputs)
    assert table.columns == COLUMNS
    assert column(table, "mixture") == [0, 0, 0, 4, 4, 4]  # those of this rank
    assert column(table, "source") == 2 * ["siren", "dog_bark", "gun_shot"]
    assert set(column(table, "model")) == {"WeakLabelSeparator"}
    close = partial(np.testing.assert_allclose, atol=2**-15)
    for number, row in enumerate(table.data):
        of_batch, place = batches[number // 3], number % 3
        *sounds, picture = row[COLUMNS.index("mixture_audio") :]
        mixture_audio, truth, estimate = map(samples, sounds)
        close(mixture_audio, of_batch.mixture[0] / (10 if number // 3 else 1))
        close(truth, of_batch.sources[0, place])
        close(estimate, 0.5 * truth)
        assert (picture._width, picture._height) == (640, 400)
    assert all(score is None or score > 100 for score in column(table, "si_sdr_db"))


def test_estimates_in_any_order_are_shown_beside_their_own_sources(clustering, undrawn):
    of_batch = batch(0, 2, 2)
    swapped = of_batch.sources.flip(1) + 0.01 * of_batch.mixture[:, None]
    (table,) = validate(AudioExamples(mixtures=2), clustering, [of_batch], [swapped])
    assert min(column(table, "si_sdr_db")) > 20
    before = column(table, "input_si_sdr_db")
    assert max(before) < 5
    signals = torch.stack([of_batch.mixture[:, None].expand(-1, 2, -1), of_batch.sources, swapped.flip(1)], 2)
    for (*magnitudes, step, highest), drawn in zip(undrawn, signals.flatten(0, 1), strict=True):
        np.testing.assert_allclose(magnitudes, stft(drawn, clustering.geometry).abs(), atol=1e-6)
        assert (step, highest) == (32 / 8000, 4000)


def test_of_a_selection_the_picked_models_estimates_are_shown(clustering, undrawn):
    of_batch = batch(0, 2, 2)
    estimates = torch.stack([torch.zeros_like(of_batch.sources), of_batch.sources])
    estimates = torch.stack([estimates[[0, 1], [0, 1]], estimates[[1, 0], [0, 1]]])  # right: model 1, then model 0
    clustering.names = ["speech", "music"]
    outputs = {"estimates": estimates, "picked": torch.tensor([1, 0])}
    (table,) = validate(AudioExamples(mixtures=2), clustering, [of_batch], [outputs], fn=TrainerFn.VALIDATING)
    assert column(table, "model") == ["music", "music", "speech", "speech"]
    for row in table.data:
        np.testing.assert_array_equal(samples(row[COLUMNS.index("estimate")]), samples(row[COLUMNS.index("truth")]))


def test_classifiers_and_ranks_without_a_run_leave_nothing(separator):
    of_batch = batch(0, 2, 3)
    assert not validate(AudioExamples(), separator, [of_batch], [{"logits": of_batch.sources}])
    assert not validate(AudioExamples(), separator, [of_batch], [of_batch.sources], rank=1)


def test_while_training_some_epochs_are_logged_and_an_evaluation_always(separator, undrawn):
    examples, of_batch = AudioExamples(mixtures=1, every_epochs=3), batch(0, 1, 3)

    def logs(epoch, fn=TrainerFn.FITTING):
        return bool(validate(examples, separator, [of_batch], [of_batch.sources], epoch, fn))

    assert [epoch for epoch in range(7) if logs(epoch)] == [0, 3, 6]
    assert not logs(6)  # a second validation of that epoch
    resumed, examples = examples, AudioExamples(mixtures=1, every_epochs=5)
    assert [epoch for epoch in range(3, 20, 4) if logs(epoch)] == [3, 11, 19]  # validations of every fourth epoch
    examples.load_state_dict(resumed.state_dict())
    assert not logs(8) and logs(9)
    assert logs(1, TrainerFn.VALIDATING) and logs(1, TrainerFn.TESTING)
