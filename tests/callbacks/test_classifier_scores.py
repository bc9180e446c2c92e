"""Scores of classifiers, against scikit-learn's."""

from functools import partial

import pytest
import torch
from sklearn.metrics import average_precision_score
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, random_batch, trainer
from torch.utils.data import DataLoader

from callbacks.classifier_scores import ClassifierScores
from lightning_modules.networks import BLSTM
from lightning_modules.weak_labels.classifier_module import EventClassifier


@pytest.mark.parametrize("scored", [True, False])
def test_a_classifier_of_one_class_is_scored(tmp_path, scored):
    torch.manual_seed(0)
    model = EventClassifier("frame", ["horn"], network=partial(BLSTM, units=4, layers=1), **GEOMETRY_SETTINGS)
    batches = [random_batch(size, size) for size in (5, 1)]
    batches = [
        each._replace(frame_labels=each.frame_labels[:, :1], clip_labels=each.clip_labels[:, :1]) for each in batches
    ]
    data = RandomScenes(["horn"])
    data.test_dataloader = data.val_dataloader = lambda: DataLoader(batches, batch_size=None)
    testing = trainer(callbacks=[ClassifierScores(str(tmp_path))] if scored else [])
    testing.validate(model, data, verbose=False)
    (scores,) = testing.test(model, data, verbose=False)
    logits = torch.cat([model.test_step(each, 0)["logits"].flatten() for each in batches]).detach()
    labels = torch.cat([each.frame_labels.flatten() for each in batches])
    name = "test_frame_average_precision" + "/horn" * scored
    assert scores[name] == pytest.approx(average_precision_score(labels, logits), abs=1e-6)


def test_the_mean_precision_is_of_the_classes_that_occur(tmp_path):
    torch.manual_seed(0)
    model = EventClassifier("frame", CLASSES, network=partial(BLSTM, units=4, layers=1), **GEOMETRY_SETTINGS)
    batch = random_batch(5)
    for labels in (batch.frame_labels, batch.clip_labels):
        labels[:, 1] = 0
    data = RandomScenes()
    data.val_dataloader = lambda: DataLoader([batch], batch_size=None)
    testing = trainer(callbacks=[ClassifierScores(str(tmp_path))])
    testing.validate(model, data, verbose=False)
    logits = model.test_step(batch, 0)["logits"].detach()
    levels = {"frame": (logits, batch.frame_labels), "clip": (logits.amax(-1), batch.clip_labels)}
    for level, (scores, labels) in levels.items():
        precisions = [average_precision_score(labels[:, n].flatten(), scores[:, n].flatten()) for n in (0, 2)]
        found = testing.callback_metrics[f"validation_{level}_average_precision"]
        assert float(found) == pytest.approx(sum(precisions) / 2, abs=1e-6)


def test_what_nobody_has_labelled_changes_no_precision_in_validation(tmp_path):
    torch.manual_seed(0)
    model = EventClassifier("frame", CLASSES, network=partial(BLSTM, units=4, layers=1), **GEOMETRY_SETTINGS)
    batch = random_batch(6)
    for labels in (batch.frame_labels, batch.clip_labels):
        labels[:3, 1] = torch.nan
    data = RandomScenes()
    data.val_dataloader = lambda: DataLoader([batch], batch_size=None)
    testing = trainer(callbacks=[ClassifierScores(str(tmp_path))])
    testing.validate(model, data, verbose=False)
    logits = model.test_step(batch, 0)["logits"].detach()
    precisions = [
        average_precision_score(batch.frame_labels[known, n].flatten(), logits[known, n].flatten())
        for n, known in ((0, slice(None)), (1, slice(3, None)), (2, slice(None)))
    ]
    found = testing.callback_metrics["validation_frame_average_precision"]
    assert float(found) == pytest.approx(sum(precisions) / 3, abs=1e-6)
