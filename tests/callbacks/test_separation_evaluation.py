"""What validation logs of a separator, against SI-SDR by numpy."""

from functools import partial

import numpy as np
import pytest
import torch
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, random_batch, si_sdr, trainer
from torch.utils.data import DataLoader

from callbacks.separation_evaluation import SeparationEvaluation
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


def test_the_mean_improvement_is_of_all_present_classes_and_of_each_but_for_mixtures_of_one_class_alone():
    torch.manual_seed(0)
    model = WeakLabelSeparator(classes=CLASSES, network=partial(BLSTM, units=4, layers=1), **GEOMETRY_SETTINGS)
    batch, data, running = random_batch(6), RandomScenes(), trainer(callbacks=[SeparationEvaluation()])
    for field in (batch.sources, batch.frame_labels, batch.clip_labels):
        field[1, 1:] = 0
    batch.mixture[1] = batch.sources[1, 0]
    data.val_dataloader = lambda: DataLoader([batch], batch_size=None)
    running.validate(model, datamodule=data, verbose=False)
    mixtures, sources, estimates = (
        each.detach().double().numpy() for each in (batch.mixture, batch.sources, model(batch.mixture))
    )
    found = {label: [] for label in CLASSES}
    for b, c in batch.clip_labels.nonzero().tolist():
        if b != 1:
            gain = si_sdr(estimates[b, c], sources[b, c]) - si_sdr(mixtures[b], sources[b, c])
            found[CLASSES[c]].append(gain)
    means = {f"validation_improvement_db/{label}": np.mean(gains) for label, gains in found.items()}
    means["validation_improvement_db"] = np.mean(np.concatenate([*found.values()]))
    logged = {name: float(value) for name, value in running.callback_metrics.items()}
    assert {name: logged[name] for name in means} == pytest.approx(means, abs=1e-3)


def test_rows_of_loaders_without_a_data_module_are_refused(tmp_path):
    model = WeakLabelSeparator(classes=CLASSES, network=partial(BLSTM, units=4, layers=1), **GEOMETRY_SETTINGS)
    loader = DataLoader([random_batch(2)], batch_size=None)
    with pytest.raises(InputError, match="SeparationEvaluation: its rows name mixtures of a data module"):
        trainer(callbacks=[SeparationEvaluation(str(tmp_path))]).test(model, loader, verbose=False)
    trainer(callbacks=[SeparationEvaluation()]).validate(model, loader, verbose=False)  # logs alone
