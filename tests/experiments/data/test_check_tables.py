"""Figures of the tables of `check`, against scipy and the standard library."""

from statistics import fmean, pstdev

import numpy as np
from scipy.stats import binom

from datamodules.scene_statistics import SceneStatistics
from experiments.data.check_tables import distinct_table, per_class_table


def test_shares_of_mixtures_differ_from_the_closed_form_in_standard_errors_of_a_share():
    drawn = binom(3, 1 - np.exp(-2.0))
    law = drawn.pmf([1, 2, 3]) / drawn.sf(0)
    excess = np.array([0.05, -0.03, -0.02])
    statistics = SceneStatistics(400, law + excess, np.ones(4) / 4, np.ones(3) / 3)
    *_, (_, *differences) = distinct_table(statistics, event_rate=6.0).rows
    errors = [binom(400, share).std() / 400 for share in law]
    np.testing.assert_allclose([*map(float, differences)], excess / errors, atol=0.051)


def test_input_si_sdr_has_the_mean_and_deviation_of_a_classs_rows_and_of_all():
    scores = {"dog_bark": [-9.0, 1.0, 3.5], "siren": [2.0]}
    rows = {row[0]: row[1:] for row in per_class_table([*scores, "horn"], np.array([0.5, 0.3, 0.1]), scores).rows}
    for label, values in {**scores, "overall": [-9.0, 1.0, 3.5, 2.0]}.items():
        assert rows[label][2:4] == [f"{fmean(values):.1f} ± {pstdev(values):.1f}", str(len(values))]
    assert rows["horn"][2:4] == ["", ""] and rows["overall"][0] == "0.300"
