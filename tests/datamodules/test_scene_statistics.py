from itertools import product

import numpy as np
import pytest

from datamodules.corpora.corpus import Clip
from datamodules.inspection import Inspection
from datamodules.recipes import SceneRecipes, SceneRules
from datamodules.rendering import render_labels
from datamodules.scene_statistics import distinct_classes_law, scene_statistics
from datamodules.sound_bank import BankOnDemand
from lightning_modules.spectrogram import Geometry

GEOMETRY = Geometry(1_000, 64, 16)


@pytest.mark.parametrize(("classes", "rate"), [(1, 5.0), (3, 0.7), (5, 5.0)])
def test_the_law_of_distinct_classes_is_that_of_independent_classes_of_which_one_is_there(classes, rate):
    present = 1 - np.exp(-rate / classes)
    expected = np.zeros(classes + 1)
    for there in product((0, 1), repeat=classes):
        expected[sum(there)] += np.prod([present if one else 1 - present for one in there])
    np.testing.assert_allclose(distinct_classes_law(classes, rate), expected[1:] / expected[1:].sum())


def test_statistics_count_every_mixture_and_frame():
    lengths = [30, 400, 900, 1_500, 60, 700]
    bank = BankOnDemand.of(
        [Inspection(Clip(str(n), "", 1, str(n)), length, 0.0) for n, length in enumerate(lengths)], 1_000
    )
    draw = SceneRecipes(SceneRules(duration=2.0, latest_onset=1.9), [np.arange(3), np.arange(3, 6)], 0, "train")
    recipes = [draw(index) for index in range(1_100)]
    statistics = scene_statistics(iter(recipes), bank, GEOMETRY, 2_000, 2)
    labels = render_labels(recipes, bank, GEOMETRY, 2_000, 2)
    present, at_a_time = labels.max(-1).sum(-1), labels.sum(1)
    assert statistics.mixtures == 1_100
    np.testing.assert_allclose(statistics.distinct, [(present == n).mean() for n in (1, 2)])
    np.testing.assert_allclose(statistics.active, [(at_a_time == n).mean() for n in (0, 1, 2)])
    np.testing.assert_allclose(statistics.prior, labels.astype(float).mean((0, 2)))
