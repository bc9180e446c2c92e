"""The tables of the model-selection paper from rows alone."""

import shutil
from itertools import product

import numpy as np
import pandas
import pytest

from experiments.reproduction.model_selection_table import (
    NAMES,
    confusion_table,
    correlation_table,
    difference_table,
    make_tables,
    published_coefficients,
    published_counts,
    published_means,
)
from experiments.reproduction.sources import DOMAINS
from lightning_modules.errors import InputError
from lightning_modules.scores.calibration import Calibration
from lightning_modules.scores.ensembles import MEAN, Confusion
from lightning_modules.scores.intervals import Correlation, Difference
from lightning_modules.scores.rows import read_rows, read_table, write_rows
from lightning_modules.scores.selection_rows import (
    SELECTION_COLUMNS,
    SELECTION_SCORES,
    SIGNAL_FEATURES,
    read_evaluated,
)

NOTE = "Synthetic rows."
COMPARED = ["silhouette", "posterior", "confidence_masks", "jensen_shannon", "cluster_balance", "calibrated"]
STANDARDISED = ["standardised", "standardised_masks"]  # of models that are named after domains


def write_selection(path, domain, models, mixtures, seed):
    """Rows of a domain: its own model separates best, and the music model's confidences run high."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(mixtures):
        quality = generator.normal([9 if model == domain else 2 for model in models], 3)
        boast = [0.2 * (model == "music") for model in models]
        confidences = (
            0.3 + np.add(boast, 0.02 * quality) + generator.normal(0, 0.05, (len(SELECTION_SCORES), len(models)))
        )
        best = confidences[SELECTION_SCORES.index("confidence")].argmax()
        names = "|".join(f"{domain}{i}" for i in generator.integers(8, size=2))
        for (place, model), source in product(enumerate(models), range(2)):
            si_sdr = ["silent source", np.nan, np.nan]
            if index != 5:
                si_sdr = ["", 0.0, float(quality[place] + generator.normal())]
            rows.append(
                (index, domain, names, model, source, *si_sdr, *confidences[:, place].tolist(), int(place == best))
            )
    write_rows(path, SELECTION_COLUMNS, rows)


def write_domains(output):
    for seed, domain in enumerate(DOMAINS):
        write_selection(output / "selection" / domain / "scores.csv", domain, DOMAINS, 30, seed)
        write_selection(output / "selection" / domain / "validation_scores.csv", domain, DOMAINS, 40, 10 + seed)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The tables of three domains, made once for all who only read them."""
    output = tmp_path_factory.mktemp("tables")
    write_domains(output)
    make_tables(output, NOTE)
    return output


def cells_of(output):
    return {(line["row"], line["class"]): line for line in read_rows(output / "table.csv")}


def test_every_ensemble_has_a_cell_for_every_domain_and_their_mean(tables):
    cells = cells_of(tables)
    rows = ["oracle", "confidence", "random", *DOMAINS, *COMPARED, *STANDARDISED, "expected"]
    assert list(cells) == list(product(rows, [*DOMAINS, MEAN]))
    assert {cells[row, domain]["n"] for row, domain in product(DOMAINS, DOMAINS)} == {"29"}
    for row in ("oracle", "random", "calibrated"):
        parts = [float(cells[row, domain]["mean_db"]) for domain in DOMAINS]
        assert float(cells[row, MEAN]["mean_db"]) == pytest.approx(np.mean(parts))


def test_calibration_is_of_validation_mixtures_and_like_standardisation_mends_a_boasting_model(tables):
    validation = read_evaluated([tables / "selection" / domain / "validation_scores.csv" for domain in DOMAINS])
    written = pandas.read_csv(tables / "calibration.csv").groupby("model").expected_si_sdr_db
    assert {model: of.tolist() for model, of in written} == {
        model: knots[1].tolist() for model, knots in Calibration.fit(validation).knots.items()
    }
    cells = cells_of(tables)
    for row in ("calibrated", "standardised", "expected"):
        assert float(cells[row, MEAN]["mean_db"]) > float(cells["confidence", MEAN]["mean_db"]) + 0.5


def with_signals(path, without_confidence):
    """Rows again, with features of which one tells the SI-SDR, and a model without confidence."""
    generator, rows = np.random.default_rng(len(str(path))), []
    for lines in read_table(path).groupby("index", sort=False):
        table = lines[1].copy()
        none = table["model"] == without_confidence
        table.loc[none, [*SELECTION_SCORES]] = "nan"
        best = table.loc[table["confidence"][~none].astype(float).idxmax(), "model"]
        table["picked"] = (table["model"] == best).astype(int)
        features = generator.normal(size=(len(table) // 2, len(SIGNAL_FEATURES))).repeat(2, 0)
        si_sdr = table["si_sdr_db"].astype(float).to_numpy().reshape(-1, 2).mean(1)
        features[:, 4] = np.nan_to_num(si_sdr).repeat(2)
        rows += np.hstack([table.to_numpy(object), features]).tolist()
    write_rows(path, [*SELECTION_COLUMNS, *SIGNAL_FEATURES], rows)


def test_signals_tell_of_a_model_that_has_no_confidence_and_rows_by_confidence_leave_it_out(tables, tmp_path):
    output = shutil.copytree(tables, tmp_path / "output")
    for path in output.glob("selection/*/*scores.csv"):
        with_signals(path, "environmental")
    make_tables(output)
    cells = cells_of(output)
    means = {row: float(cells[row, MEAN]["mean_db"]) for row, domain in cells if domain == MEAN}
    assert [*means][-3:] == ["expected", "expected_signals", "expected_both"]
    assert means["oracle"] - 0.3 < means["expected_signals"] <= means["oracle"]
    picked = {line["picked"]: int(line["count"]) for line in read_rows(output / "confusion.csv")}
    assert picked["environmental"] == 0
    text, before = (output / "table.md").read_text(), (tables / "table.md").read_text()
    assert "The environmental model has no confidence: rows that need it choose among the others." in text
    assert "by SI-SDR expected from the signals" in text and "signals" not in before
    of_signals = text.split("### Correlation of SI-SDR expected from the signals with SI-SDR")[1]
    r = {
        cells[1].strip(): float(cells[4])
        for cells in (line.split("|") for line in of_signals.splitlines()[4:10])
        if "all models" in cells[2]
    }
    assert {*r} == {*DOMAINS} and min(r.values()) > 0.7
    for row in ("calibrated", "standardised", "expected", "confidence_masks"):
        assert f"| {NAMES[row]} |" in text and means[row] < means["expected_signals"] - 1
    assert {line["model"] for line in read_rows(output / "calibration.csv")} == {"speech", "music"}
    lines = [line for line in read_rows(output / "correlation.csv") if line["domain"] == "environmental"]
    assert {line["models"] for line in lines} == {"all"}
    # Of the rows of the other models nothing has changed.
    own = [row for row in cells if row[0] in DOMAINS]
    assert {row: cells[row] for row in own} == {row: cells_of(tables)[row] for row in own}


def test_published_figures_stand_beside_ours(tables):
    cells = cells_of(tables)
    assert cells["confidence", "speech"]["published_mean_db"] == "7.6"
    assert float(cells["oracle", MEAN]["published_mean_db"]) == pytest.approx(9)
    assert all(cells[row, domain]["published_mean_db"] == "" for row, domain in product(COMPARED, [*DOMAINS, MEAN]))
    confusion = read_rows(tables / "confusion.csv")
    counts = published_counts()
    assert [int(line["published_count"]) for line in confusion] == list(counts.values())
    assert [(line["picked"], line["domain"]) for line in confusion] == list(counts)
    assert sum(int(line["count"]) for line in confusion) == 3 * 29
    for line in read_rows(tables / "correlation.csv"):
        expected = published_coefficients().get((line["domain"], line["models"], line["coefficient"]), "")
        assert line["published"] == str(expected)


def test_the_text_says_what_was_left_out_and_what_the_published_rows_are(tables):
    text = (tables / "table.md").read_text()
    assert text.startswith("Synthetic rows.\n\n### SI-SDR, dB\n\n| dB | speech | music | environmental | mean |\n|---|")
    assert all(f"Left out of {domain}: 1 mixtures (silent source), for all rows." in text for domain in DOMAINS)
    wanted = ("| n | 29 | 29 | 29 | 87 |", "is not the mean of the published model rows (3.9 / 3.4 / 5.8)", "[0.96]")
    wanted += ("Accuracy", "[76.3%]", "| speech | speech model | Pearson |", "[0.85]", "117 validation mixtures")
    assert all(words in text for words in wanted)


def test_models_need_not_be_one_per_domain(tmp_path):
    models = ("n", "recall", "songs")  # two have the names of other rows
    for seed, domain in enumerate(("talk", "radio")):
        write_selection(tmp_path / "selection" / domain / "scores.csv", domain, models, 12, seed)
        write_selection(tmp_path / "selection" / domain / "validation_scores.csv", domain, models, 12, seed + 5)
    make_tables(tmp_path, names=("talk", "radio"))
    assert {row for row, _ in cells_of(tmp_path)} == {"oracle", "confidence", "random", *models, *COMPARED, "expected"}
    assert all(line["published_mean_db"] == "" for line in read_rows(tmp_path / "table.csv"))
    assert all(line["published_count"] == "" for line in read_rows(tmp_path / "confusion.csv"))
    report = (tmp_path / "table.md").read_text()
    assert "Accuracy" not in report
    picks = report.count("### Picked by")
    assert {report.count(f"| {name} model |") for name in models} == {1 + picks}
    assert report.count("\n| n |") == 1 and report.count("\n| recall |") == picks


def test_what_the_paper_picked_among_three_models_does_not_stand_beside_a_pick_among_two(tables, tmp_path):
    two = ("speech", "music")
    for seed, domain in enumerate(two):
        write_selection(tmp_path / "selection" / domain / "scores.csv", domain, two, 12, seed)
        write_selection(tmp_path / "selection" / domain / "validation_scores.csv", domain, two, 12, seed + 5)
    make_tables(tmp_path, names=two)
    beside = {row for (row, _), line in cells_of(tmp_path).items() if line["published_mean_db"]}
    assert beside == set(two)  # the models by themselves
    assert all(line["published_count"] == "" for line in read_rows(tmp_path / "confusion.csv"))
    make_tables(shutil.copytree(tables, tmp_path / "begun"), names=two)  # two of three domains, all three models
    counts = [line["published_count"] for line in read_rows(tmp_path / "begun/confusion.csv")]
    assert counts == [str(count) for (_, domain), count in published_counts().items() if domain in two]
    table = (tmp_path / "begun/table.md").read_text().split("### Picked by confidence")[1].partition("###")[0]
    assert "Accuracy" in table and "%]" not in table


def test_a_domain_without_a_scored_mixture_has_no_cell_and_says_so(tables, tmp_path):
    output = shutil.copytree(tables, tmp_path / "output")
    path = output / "selection" / "music" / "scores.csv"
    rows = [line | {"left_out": "silent source", "si_sdr_db": "nan"} for line in read_rows(path)]
    write_rows(path, SELECTION_COLUMNS, [list(row.values()) for row in rows])
    make_tables(output)
    assert {domain for _, domain in cells_of(output)} == {"speech", "environmental", MEAN}
    assert {line["domain"] for line in read_rows(output / "correlation.csv")} == {"speech", "environmental"}
    assert "Left out of music: 30 mixtures (silent source)" in (output / "table.md").read_text()
    path.unlink()
    with pytest.raises(InputError, match=r"music/scores\.csv: no such file"):
        make_tables(output)


def test_the_published_tables_are_the_papers():
    table = {
        "oracle": (8.3, 6.5, 12.2),
        "confidence": (7.6, 6.4, 10.5),
        "random": (4.8, 4.2, 2.8),
        "speech": (8.2, 2.0, 3.0),
        "music": (1.4, 6.5, 2.5),
        "environmental": (2.1, 1.7, 11.9),
    }
    means = published_means(DOMAINS)
    assert {row: tuple(means[row, domain] for domain in DOMAINS) for row in table} == table
    assert len(means) == 24
    counts = [[2186, 25, 31], [717, 2950, 1235], [97, 25, 1734]]
    assert published_counts() == {
        pair: n for pair, n in zip(product(DOMAINS, DOMAINS), np.ravel(counts).tolist(), strict=True)
    }
    assert published_coefficients() == {
        ("speech", "own", "pearson"): 0.847,
        ("music", "own", "pearson"): 0.46,
        ("environmental", "own", "pearson"): 0.70,
    }


def test_the_published_figures_agree_with_each_other():
    means = published_means(DOMAINS)
    models = [np.mean([means[model, d] for model in DOMAINS]) for d in DOMAINS]
    assert models == pytest.approx((3.9, 3.4, 5.8), abs=0.05)
    counts = np.reshape(list(published_counts().values()), (3, 3))
    published = Confusion(DOMAINS, DOMAINS, counts)
    assert counts.sum(0).tolist() == [3000] * 3
    assert list(published.precision().values()) == pytest.approx([0.97, 0.60, 0.93], abs=0.0051)
    assert list(published.recall().values()) == pytest.approx([0.73, 0.98, 0.58], abs=0.0051)
    assert published.accuracy() == pytest.approx(0.763, abs=0.0005)


def test_what_is_not_defined_is_a_dash_and_never_nan():
    nan = float("nan")
    for table in (
        correlation_table([Correlation("speech", "own", "pearson", nan, nan, nan, 2, 1, 1000)], {}),
        difference_table([Difference("confidence", "random", "speech", 0.5, nan, nan, 1, 1)]),
        confusion_table("picked", Confusion(("speech",), ("speech", "music"), np.zeros((1, 2), np.int64)), {}),
    ):
        written = table.markdown()
        assert "nan" not in written.lower() and "–" in written
