"""What programmes' rows say, against going through the segments one by one."""

from itertools import product

import numpy as np
import pytest

from lightning_modules.errors import InputError
from lightning_modules.scores.intervals import mean_interval
from lightning_modules.scores.programmes import JOINS, PROGRAMME_COLUMNS, REGIONS, WHOLE, gains, read_programmes
from lightning_modules.scores.rows import write_rows

RULES = ("oracle", "confidence", "expected_signals", WHOLE, "speech", "music")
WAYS = tuple(product((JOINS, "8", "2"), RULES))


@pytest.fixture
def rows() -> list[dict]:
    """Two programmes of four segments; one has no score near the joins."""
    generator = np.random.default_rng(0)
    return [
        {
            **{"programme": number, "segment": segment, "domain": "speech", "recordings": f"a{segment}|b{number}"},
            **{"windows": windows, "rule": rule, "models": "speech|music"},
            **dict(zip(REGIONS, generator.normal(4, 2, 3), strict=True)),
        }
        | ({REGIONS[1]: np.nan} if (number, segment, windows, rule) == (1, 2, "8", "speech") else {})
        for number, segment, (windows, rule) in product(range(2), range(4), WAYS)
    ]


def read(path, rows):
    write_rows(path, PROGRAMME_COLUMNS, [[row[name] for name in PROGRAMME_COLUMNS] for row in rows])
    return read_programmes(path)


def test_every_gain_is_that_of_going_through_the_segments(rows, tmp_path):
    programmes = read(tmp_path / "rows.csv", rows[len(WAYS) * 3 :] + rows[: len(WAYS) * 3])
    assert (programmes.rules, programmes.windows, programmes.programmes) == (RULES, (JOINS, "8", "2"), 2)
    by = {tuple(row[name] for name in PROGRAMME_COLUMNS[:2] + PROGRAMME_COLUMNS[4:6]): row for row in rows}
    found = {gain[:4]: gain for gain in gains(programmes)}
    compared = [("oracle", "confidence"), ("confidence", WHOLE), ("expected_signals", "confidence")]
    expected = {("si_sdr_db", windows, *pair) for windows, pair in product((JOINS, "8", "2"), compared)}
    expected |= {(region, windows, rule, JOINS) for region, windows, rule in product(REGIONS[1:], "82", RULES[:4])}
    assert found.keys() == expected
    for (region, windows, rule, reference), gain in found.items():
        values, recordings = [], []
        for place in product(range(2), range(4)):
            other = (JOINS, rule) if reference == JOINS else (windows, reference)
            if region != REGIONS[1] or place != (1, 2):
                values.append(by[(*place, windows, rule)][region] - by[(*place, *other)][region])
                recordings.append((f"a{place[1]}", f"b{place[0]}"))
        assert gain.mean == pytest.approx(np.mean(values)) and gain.segments == len(values) == 8 - (
            region == REGIONS[1]
        )
        interval = mean_interval(np.array(values), recordings)
        assert gain[5:7] == pytest.approx(interval[1:3]) and gain.recordings == 6


def test_a_segment_without_all_its_rows_or_with_one_twice_is_refused(rows, tmp_path):
    for wrong in (rows[1:], rows[:-1], [*rows, rows[-1]], rows[:1] + rows, []):
        with pytest.raises(InputError, match=r"^[^\n]*rows.csv: a segment has not one row for each kind"):
            read(tmp_path / "rows.csv", wrong)


def test_without_a_scored_segment_there_is_no_gain(rows, tmp_path):
    none = [row | {REGIONS[2]: np.nan} for row in rows]
    found = [gain for gain in gains(read(tmp_path / "rows.csv", none)) if gain.region == REGIONS[2]]
    assert found and all(np.isnan(gain.mean) and gain.segments == gain.recordings == 0 for gain in found)
