"""Both papers' tables at a tiny size: made, made again, refused; and what their rows and columns are."""

import re
import shlex
import shutil

import numpy as np
import pandas
import pytest
import yaml
from conftest import ROOT, URBAN_CLASSES

ROWS = ["input", "clip", "frame", "strong", "oracle_activity_mask", "ideal_ratio_mask"]
DOMAINS = ("speech", "music", "environmental")


def table_of(output, mean="mean_db"):
    table = pandas.read_csv(output / "table.csv")
    return dict(zip(zip(table["row"], table["class"], strict=True), table[mean], strict=True))


def test_the_weak_label_table_is_what_numpy_makes_of_the_scores_beside_the_published_figures(weak_labels):
    output = weak_labels.output
    table, scores = pandas.read_csv(output / "table.csv"), pandas.read_csv(output / "scores.csv")
    assert [*table] == ["row", "class", "mean_db", "std_db", "median_db", "n", "published_mean_db", "published_std_db"]
    assert [*zip(table["row"], table["class"], strict=True)] == [
        (r, c) for r in ROWS for c in (*URBAN_CLASSES, "overall")
    ]
    published = table_of(output, "published_mean_db")
    assert published["frame", "overall"] == 6.8 and published["input", "siren"] == -3.0
    assert np.isnan(published["oracle_activity_mask", "siren"]) and np.isnan(published["ideal_ratio_mask", "siren"])
    # The same mixtures for every system, each once.
    places = {row: [*zip(of_row["index"], of_row["class"], strict=True)] for row, of_row in scores.groupby("row")}
    assert set(places) == {*ROWS[1:]} and len({tuple(of_row) for of_row in places.values()}) == 1
    assert len({*places["clip"]}) == len(places["clip"]) and {index for index, _ in places["clip"]} == {*range(7)}
    scored = scores[scores["left_out"].isna()]
    assert (scored["improvement_db"] == scored["si_sdr_db"] - scored["input_si_sdr_db"]).all()
    for line in table.itertuples():
        row, column = ("clip", "input_si_sdr_db") if line.row == "input" else (line.row, "improvement_db")
        of_row = scored[
            (scored["row"] == row) & scored["class"].isin({line[2]} if line[2] != "overall" else URBAN_CLASSES)
        ]
        values = of_row[column].to_numpy()
        expected = [values.mean(), values.std(), np.median(values), len(values)]
        np.testing.assert_allclose([line.mean_db, line.std_db, line.median_db, line.n], expected, rtol=1e-9, atol=1e-9)
        assert f"{values.mean():z.1f} ± {values.std():.1f}" in (output / "table.md").read_text()


def test_the_selections_table_is_what_the_rows_say_beside_the_published_figures(separatrix, model_selection):
    output, mixtures = model_selection.output, int(separatrix.pairs["data.test_mixtures"])
    table, scores = table_of(output), pandas.read_csv(output / "scores.csv")
    ensembles = {"oracle", "confidence", "random", *DOMAINS, "silhouette", "posterior", "calibrated"}
    assert {(row, domain) for row in ensembles for domain in (*DOMAINS, "mean")} <= table.keys()
    published = table_of(output, "published_mean_db")
    assert published["confidence", "environmental"] == 10.5 and published["music", "music"] == 6.5
    text = (output / "table.md").read_text()
    assert "no recordings" in text and "[10.5]" in text
    assert len(scores) == 3 * mixtures * 3 * 2
    for domain in DOMAINS:
        rows = scores[scores["domain"] == domain]
        decibels = rows["si_sdr_db"].to_numpy().reshape(mixtures, 3, 2).mean(-1)
        picked = rows["confidence"].to_numpy().reshape(mixtures, 3, 2)[..., 0].argmax(1)
        expected = {"oracle": decibels.max(1), "confidence": decibels[np.arange(mixtures), picked], "random": decibels}
        expected |= {model: decibels[:, number] for number, model in enumerate(DOMAINS)}
        assert {row: table[row, domain] for row in expected} == pytest.approx(
            {row: values.mean() for row, values in expected.items()}
        )
        validation = pandas.read_csv(output / "selection" / domain / "validation_scores.csv")
        assert {*validation["index"]} == {*range(int(separatrix.pairs["data.validation_mixtures"]))}


def documented_columns(system, file):
    """Kind of every column of a table, in the order of docs/files.md."""
    for section in (ROOT / "docs" / "files.md").read_text().split("\n### ")[1:]:
        heading, *lines = section.split("\n## ")[0].splitlines()
        if heading.startswith(f"{system}: ") and file in heading.split(": ")[1].split(", "):
            rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
            return {name: kind.strip() for names, kind in rows for name in re.findall("`([^`]+)`", names)}
    raise AssertionError(f"docs/files.md says nothing of {system}: {file}")


@pytest.mark.parametrize(
    ("system", "files"),
    [
        ("weak_labels", "scores table summary classifier"),
        ("model_selection", "scores table confusion correlation calibration differences validation_scores"),
    ],
)
def test_pandas_reads_every_table_as_documented(system, files, request):
    tables = [p for p in request.getfixturevalue(system).output.rglob("*.csv") if p.name != "metrics.csv"]
    assert {path.stem for path in tables} == {*files.split()}
    for path in tables:
        table = pandas.read_csv(path)
        columns = documented_columns(system.replace("_", " ").capitalize(), path.name)
        assert len(table) and [*table] in ([*columns], [name for name in columns if name != "row"]), path
        for name, read in table.dtypes.items():
            as_documented = {
                "text": pandas.api.types.is_string_dtype(read) or table[name].isna().all(),
                "whole": pandas.api.types.is_integer_dtype(read),
                "number": pandas.api.types.is_numeric_dtype(read),
            }
            assert as_documented[columns[name]], f"{path}: {name} is {read}, documented as {columns[name]}"


def test_the_pictures_are_there_with_what_they_are_drawn_from(model_selection):
    assert (model_selection.output / "confidence.png").read_bytes().startswith(b"\x89PNG")
    for domain in DOMAINS:
        for model in DOMAINS:
            picture = model_selection.output / "selection" / domain / "embeddings" / f"0-{model}.png"
            assert picture.read_bytes().startswith(b"\x89PNG")
            with np.load(picture.with_suffix(".npz")) as arrays:
                bins = len(arrays["embedding"])
                assert bins and arrays["clusters"].shape == arrays["sources"].shape == (bins,)
                np.testing.assert_allclose(np.linalg.norm(arrays["embedding"], axis=1), 1, atol=1e-5)
                assert np.mean(arrays["clusters"] == arrays["sources"]) >= 0.5  # in the better of two orders


def test_a_second_run_trains_and_evaluates_nothing_and_another_configuration_touches_nothing(
    separatrix, weak_labels, tmp_path, monkeypatch
):
    shutil.copytree(weak_labels.output, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    command = [*weak_labels.command, "--jobs", "1", "--output", "copy"]
    before = separatrix.listing(tmp_path / "copy")
    refused = separatrix.run(*command, "--trainer.max_epochs", "2")
    (line,) = refused.err.splitlines()
    assert refused.status == 2 and "holds a run of another configuration" in line
    assert separatrix.listing(tmp_path / "copy") == before
    outcome = separatrix.succeed(*command)
    after = separatrix.listing(tmp_path / "copy")
    assert "13 stages, 0 left" in outcome.out and "to do" not in outcome.out
    assert before.keys() == after.keys()
    made_again = {name for name in after if before[name] != after[name]}
    assert made_again <= {"table.csv", "table.md", "scores.csv", "classifier.csv"}
    assert all((tmp_path / "copy" / n).read_bytes() == (weak_labels.output / n).read_bytes() for n in made_again)


def test_a_setting_that_a_stage_refuses_is_named_with_the_stage(separatrix, weak_labels, tmp_path):
    arguments = ["--trainer.max_epoks", "1", "--jobs", "1", "--output", tmp_path]
    refusal = separatrix.run(*weak_labels.command, *arguments)
    assert refusal.status == 2
    assert refusal.err.splitlines()[-2:] == [
        "separatrix fit: --trainer.max_epoks: no such setting; did you mean --trainer.max_epochs?",
        "separatrix reproduce: strong.fit ended with status 2; what was complete before is kept",
    ]


@pytest.mark.soak
def test_the_commands_of_a_dry_run_make_the_same_rows_one_by_one(separatrix, weak_labels, tmp_path):
    outcome = separatrix.succeed(*weak_labels.command, "--dry-run", "--output", tmp_path)
    assert not list(tmp_path.iterdir())
    commands = [shlex.split(line) for line in outcome.out.splitlines()]
    assert len(commands) == 13 and {program for program, *_ in commands} == {"separatrix"}
    for _, *arguments in commands:
        separatrix.succeed(*arguments)
    for row in ROWS[1:]:
        assert (tmp_path / row / "scores.csv").read_bytes() == (weak_labels.output / row / "scores.csv").read_bytes()


def test_a_launcher_of_several_ranks_is_told_the_commands(separatrix, weak_labels, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    outcome = separatrix.run(*weak_labels.command, "--output", tmp_path)
    first, *commands = outcome.err.splitlines()
    assert outcome.status == 2 and first.startswith("separatrix reproduce: start `reproduce` as one process")
    assert len(commands) == 13 and all(line.startswith("separatrix ") for line in commands)
    assert not list(tmp_path.iterdir())


def test_a_model_by_itself_is_evaluated_on_its_own_domain(separatrix, model_selection, tmp_path):
    speech = model_selection.output / "speech"
    own = ["--config", speech / "config.yaml", "--ckpt_path", speech / "checkpoints" / "best.ckpt", "--run", tmp_path]
    separatrix.succeed("test", *own)
    rows = pandas.read_csv(model_selection.output / "selection" / "speech" / "scores.csv")
    ours = pandas.read_csv(tmp_path / "scores.csv")
    assert [*ours["si_sdr_db"]] == [*rows.loc[rows["model"] == "speech", "si_sdr_db"]]


def test_predict_writes_the_picked_estimates_and_models_count_wherever_they_lie(
    separatrix, model_selection, tmp_path, monkeypatch
):
    for name in DOMAINS:
        (tmp_path / name).mkdir()
        shutil.copy(model_selection.output / name / "checkpoints" / "best.ckpt", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    models = {"model.checkpoints": [f"{name}/best.ckpt" for name in DOMAINS]}
    other = ["--data.evaluation_batch_size", "5", "--data.workers", "2"]  # the rows are the same to the last byte
    separatrix.succeed("test", *separatrix.selection("music", models), *other, "--run", "run")
    separatrix.succeed("predict", *separatrix.selection("music", models), "--run", "run")
    whole = (model_selection.output / "selection" / "music" / "scores.csv").read_bytes()
    assert (tmp_path / "run" / "scores.csv").read_bytes() == whole
    estimates = sorted((tmp_path / "run" / "estimates").iterdir())
    assert [path.name for path in estimates] == [f"{n:06d}" for n in range(int(separatrix.pairs["data.test_mixtures"]))]
    assert {path.name for path in estimates[0].iterdir()} == {"mixture.wav", "source_1.wav", "source_2.wav"}
    hparams = next((tmp_path / "run").glob("curves/*/hparams.yaml")).read_text()
    settings = yaml.safe_load(hparams)
    assert [model["domain"] for model in settings["models"]] == [*DOMAINS]
    assert settings["models"][0]["mask_sharpness"] == 5 and "best.ckpt" not in hparams
