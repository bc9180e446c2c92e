"""The README's figure, from tables alone."""

from itertools import product

import pandas
import pytest
from matplotlib.image import imread

from experiments.reproduction.overview_figure import PANELS, overview_figure
from lightning_modules.scores.figures import write_figure


def test_every_cell_of_the_tables_is_a_bar_of_its_height_on_a_small_white_picture(tmp_path):
    for folder, (_, _, rows, columns) in PANELS.items():
        (tmp_path / folder).mkdir()
        cells = pandas.DataFrame(product(rows, columns), columns=["row", "class"])
        cells["mean_db"], cells["n"] = cells.index - 3.5, 100 + cells.index
        cells["published_mean_db"] = pandas.Series({1: 8.0})  # one in each table
        cells.to_csv(tmp_path / folder / "table.csv", index=False)
    figure = overview_figure(tmp_path)
    for axes, (_, _, rows, columns) in zip(figure.axes, PANELS.values(), strict=True):
        heights = [bar.get_height() for group in axes.containers for bar in group]
        assert heights == [number - 3.5 for number in range(len(rows) * len(columns))]
        assert [group.get_label() for group in axes.containers] == list(rows.values())
        (mark,) = axes.collections[0].get_offsets()
        second = axes.containers[0][1]
        assert mark[1] == 8.0 and mark[0] == pytest.approx(second.get_x() + second.get_width() / 2)
        assert "n = 100" in axes.get_xticklabels()[0].get_text()
    write_figure(tmp_path / "overview.png", figure)
    assert (tmp_path / "overview.png").stat().st_size < 200_000
    assert (imread(tmp_path / "overview.png")[0, 0] == 1).all()
