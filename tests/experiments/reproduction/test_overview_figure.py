"""The README's figure, from tables alone."""

import csv

import pytest
from matplotlib.image import imread

from experiments.reproduction.overview_figure import overview_figure, panels
from lightning_modules.scores.figures import write_figure

HEADER = ("row", "class", "mean_db", "n", "published_mean_db")


@pytest.fixture
def runs(tmp_path):
    """Tables with a number of their own in every cell; one published figure in each."""
    for bars in panels(tmp_path):
        bars.table.parent.mkdir()
        cells = [(row, column) for row in bars.rows for column in bars.columns]
        with bars.table.open("w", newline="") as file:
            csv.writer(file).writerow(HEADER)
            for number, cell in enumerate(cells):
                csv.writer(file).writerow([*cell, number - 3.5, 100 + number, 8.0 if number == 1 else ""])
    return tmp_path


def test_every_cell_of_the_tables_is_a_bar_of_its_height(runs):
    for axes, bars in zip(overview_figure(runs).axes, panels(runs), strict=True):
        heights = [bar.get_height() for group in axes.containers for bar in group]
        assert heights == [number - 3.5 for number in range(len(bars.rows) * len(bars.columns))]
        assert [group.get_label() for group in axes.containers] == list(bars.rows.values())
        (mark,) = axes.collections[0].get_offsets()
        second = axes.containers[0][1]
        assert mark[1] == 8.0 and mark[0] == pytest.approx(second.get_x() + second.get_width() / 2)
        assert "n = 100" in axes.get_xticklabels()[0].get_text()


def test_the_picture_is_small_and_white_so_that_it_can_be_read_on_a_dark_page(runs, tmp_path):
    write_figure(tmp_path / "overview.png", overview_figure(runs))
    assert (tmp_path / "overview.png").stat().st_size < 200_000
    assert (imread(tmp_path / "overview.png")[0, 0] == 1).all()
