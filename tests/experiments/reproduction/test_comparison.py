"""Reproductions side by side."""

import json
import statistics

import pandas
import pytest

from experiments.reproduction.comparison import comparison
from lightning_modules.errors import InputError


def reproduction(folder, figures):
    """A folder with the table of a reproduction."""
    folder.mkdir()
    rows = [(row, label, figure) for (row, label), figure in figures.items()]
    pandas.DataFrame(rows, columns=["row", "class", "mean_db"]).to_csv(folder / "table.csv", index=False)
    return folder


def test_means_and_deviations_over_seeds_and_the_figures_of_each(tmp_path):
    values = [6.1, 5.2, 7.9]
    runs = [
        reproduction(tmp_path / f"seed{seed}", {("strong", "dog"): value, ("strong", "overall"): -value})
        for seed, value in enumerate(values)
    ]
    reproduction(tmp_path / "more", {("strong", "dog"): 1.0, ("frame", "owl"): 2.0, ("frame", "overall"): "nan"})
    over, each = comparison(runs)
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    assert over.columns == ["dB", "dog", "overall"]
    assert over.rows == [["Δ strong labels", f"{mean:.1f} ± {deviation:.1f}", f"{-mean:.1f} ± {deviation:.1f}"]]
    assert each.rows == [["Δ strong labels", "-6.1", "-5.2", "-7.9"]]
    assert [column.rpartition("/")[2] for column in each.columns] == ["overall, dB", "seed0", "seed1", "seed2"]
    # What only one has stands alone, and what none has is left empty.
    over, each = comparison([runs[0], tmp_path / "more"])
    cells = {row: dict(zip(over.columns[1:], values, strict=True)) for row, *values in over.rows}
    assert cells["Δ frame labels"] == {"dog": "", "overall": "", "owl": "2.0 ± – (1)"}
    assert cells["Δ strong labels"] == {"dog": "3.5 ± 3.6", "overall": "-6.1 ± – (1)", "owl": ""}
    assert "over n = 2 reproductions, over fewer where brackets say how many" in over.notes[0]


def test_reproductions_of_other_configurations_are_named_and_not_averaged_as_if_they_were_seeds(tmp_path):
    settings = {"--config weak_labels/strong": "a", "--run": ""}
    given = {
        "seed0": settings,
        "seed1": settings | {"--data.seed": "1", "--seed_everything": "1"},
        "complex": settings | {"--config weak_labels/masks/complex": "b"},
        "epochs": settings | {"--trainer.max_epochs": "9"},
    }
    for value, (name, of_stage) in enumerate(given.items()):
        run = reproduction(tmp_path / name, {("strong", "overall"): float(value)})
        (run / "strong").mkdir()
        (run / "strong" / "strong.fit.json").write_text(json.dumps({"state": "complete", "settings": of_stage}))
    over, each = comparison([tmp_path / name for name in given])
    assert over.rows == [["Δ strong labels", "0.5 ± 0.7"]] and "seed0" in over.notes[0] and "seed1" in over.notes[0]
    assert each.rows == [["Δ strong labels", "0.0", "1.0", "2.0", "3.0"]]
    assert [note.partition("/")[2] for note in each.notes] == [
        f"complex: another configuration than {tmp_path.name}/seed0; --config weak_labels/masks/complex.",
        f"epochs: another configuration than {tmp_path.name}/seed0; --trainer.max_epochs.",
    ]
    (alone,) = comparison([tmp_path / "seed0", tmp_path / "complex"])  # no mean of two configurations
    assert alone.rows == [["Δ strong labels", "0.0", "2.0"]]


def test_model_selection_has_the_names_of_its_own_table(tmp_path):
    figures = {("oracle", "speech"): 3.0, ("oracle", "mean"): 4.0, ("speech", "speech"): 1.0, ("speech", "mean"): 2.0}
    runs = [reproduction(tmp_path / name, figures) for name in "ab"]
    assert [row[0] for row in comparison(runs)[0].rows] == ["oracle ensemble", "speech model"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["weak"], "weak: give folders of two different reproductions"),
        (["weak", "weak"], "weak: give folders of two different reproductions"),
        (["weak", "selection"], "selection: of another system than .*weak"),
        (["weak", "nothing"], "table.csv: no such file"),
        (["weak", "twice"], "table.csv: a row has two figures of one class"),
        (["weak", "words"], "table.csv: mean_db: could not convert"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path, names, message):
    reproduction(tmp_path / "weak", {("strong", "overall"): 1.0})
    reproduction(tmp_path / "selection", {("oracle", "mean"): 1.0})
    reproduction(tmp_path / "words", {("strong", "overall"): "much"})
    twice = reproduction(tmp_path / "twice", {("strong", "overall"): 1.0}) / "table.csv"
    twice.write_text(twice.read_text() + "strong,overall,2\n")
    with pytest.raises(InputError, match=message) as caught:
        comparison([tmp_path / name for name in names])
    assert "\n" not in str(caught.value)
