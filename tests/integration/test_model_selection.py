"""The whole model selection at a tiny size: run, run again, refused; the table from its rows."""

import numpy as np
import pytest
import torch
import yaml
from documented_tables import assert_as_documented

DOMAINS = ("speech", "music", "environmental")
TABLES = ("table.csv", "confusion.csv", "correlation.csv", "calibration.csv", "scores.csv")


@pytest.fixture(scope="module")
def command(model_selection):
    """The command, without its folder."""
    return model_selection.command


@pytest.fixture(scope="module")
def reproduction(model_selection):
    """Folder of a reproduction that ran through, one stage at a time."""
    return model_selection.output


@pytest.fixture(scope="module")
def checkpoints(reproduction):
    """The three models, as a setting."""
    return ["--model.checkpoints", str([str(reproduction / name / "checkpoints" / "best.ckpt") for name in DOMAINS])]


def test_the_table_has_every_ensemble_in_every_domain_beside_the_published_figures(separatrix, reproduction):
    table = {(row["row"], row["class"]): row for row in separatrix.rows(reproduction / "table.csv")}
    ensembles = {"oracle", "confidence", "random", *DOMAINS, "silhouette", "posterior", "calibrated"}
    assert {(row, domain) for row in ensembles for domain in (*DOMAINS, "mean")} <= table.keys()
    assert table["confidence", "environmental"]["published_mean_db"] == "10.5"
    assert table["music", "music"]["published_mean_db"] == "6.5"
    for domain in (*DOMAINS, "mean"):
        mean = {row: float(table[row, domain]["mean_db"]) for row in ensembles}
        assert mean["oracle"] == max(mean.values())
        assert mean["random"] == pytest.approx(np.mean([mean[name] for name in DOMAINS]))
    text = (reproduction / "table.md").read_text()
    assert "no recordings" in text and "[10.5]" in text


def test_the_table_is_what_the_rows_say(separatrix, reproduction):
    rows = separatrix.rows(reproduction / "scores.csv")
    test_mixtures = int(separatrix.pairs["data.test_mixtures"])
    assert len(rows) == 3 * test_mixtures * 3 * 2
    table = {(row["row"], row["class"]): float(row["mean_db"]) for row in separatrix.rows(reproduction / "table.csv")}
    for domain in DOMAINS:
        scores = np.array([float(row["si_sdr_db"]) for row in rows if row["domain"] == domain])
        scores = scores.reshape(test_mixtures, 3, 2).mean(-1)
        confidence = np.array([float(row["confidence"]) for row in rows if row["domain"] == domain])
        picked = confidence.reshape(test_mixtures, 3, 2)[..., 0].argmax(1)
        assert table["oracle", domain] == pytest.approx(scores.max(1).mean())
        assert table["confidence", domain] == pytest.approx(scores[np.arange(test_mixtures), picked].mean())
        for number, model in enumerate(DOMAINS):
            assert table[model, domain] == pytest.approx(scores[:, number].mean())


def test_pandas_reads_every_table_as_documented(reproduction):
    tables = [path for path in reproduction.rglob("*.csv") if path.name != "metrics.csv"]
    assert {path.name for path in tables} == {*TABLES, "differences.csv", "validation_scores.csv"}
    for path in tables:
        assert_as_documented(path, "Model selection")


def test_calibration_learns_from_validation_mixtures(separatrix, reproduction):
    for domain in DOMAINS:
        rows = separatrix.rows(reproduction / "selection" / domain / "validation_scores.csv")
        assert {int(row["index"]) for row in rows} == set(range(int(separatrix.pairs["data.validation_mixtures"])))


def test_the_pictures_are_there_with_what_they_are_drawn_from(reproduction):
    assert (reproduction / "confidence.png").read_bytes().startswith(b"\x89PNG")
    for domain in DOMAINS:
        for model in DOMAINS:
            picture = reproduction / "selection" / domain / "embeddings" / f"0-{model}.png"
            assert picture.read_bytes().startswith(b"\x89PNG")
            with np.load(picture.with_suffix(".npz")) as arrays:
                bins = len(arrays["embedding"])
                assert bins and arrays["clusters"].shape == arrays["sources"].shape == (bins,)
                np.testing.assert_allclose(np.linalg.norm(arrays["embedding"], axis=1), 1, atol=1e-5)
                assert np.mean(arrays["clusters"] == arrays["sources"]) >= 0.5  # in the better of two orders


def test_three_ranks_write_the_rows_of_one_process(separatrix, selection, checkpoints, reproduction, tmp_path):
    ranks = {"trainer.devices": "3", "trainer.strategy": "ddp"}
    for stage, file in (("test", "scores.csv"), ("validate", "validation_scores.csv")):
        outcome = separatrix.run_process(stage, *selection("music", ranks), *checkpoints, "--run", tmp_path)
        assert outcome.status == 0, outcome.err
        assert (tmp_path / file).read_bytes() == (reproduction / "selection" / "music" / file).read_bytes()
    assert len(list((tmp_path / "embeddings").glob("*.png"))) == 3


def test_a_model_by_itself_is_evaluated_on_its_own_domain(separatrix, reproduction, tmp_path):
    checkpoint = reproduction / "speech" / "checkpoints" / "best.ckpt"
    own = ["--config", reproduction / "speech" / "config.yaml", "--ckpt_path", checkpoint, "--run", tmp_path]
    separatrix.succeed("test", *own)
    rows = separatrix.rows(tmp_path / "scores.csv")
    of_selection = [
        row for row in separatrix.rows(reproduction / "selection" / "speech" / "scores.csv") if row["model"] == "speech"
    ]
    assert [float(row["si_sdr_db"]) for row in rows] == [float(row["si_sdr_db"]) for row in of_selection]


def test_predict_writes_the_picked_estimates(separatrix, selection, checkpoints, tmp_path):
    separatrix.succeed("predict", *selection("environmental"), *checkpoints, "--run", tmp_path)
    for index in range(int(separatrix.pairs["data.test_mixtures"])):
        names = sorted(path.name for path in (tmp_path / "estimates" / str(index)).iterdir())
        assert names == ["mixture.wav", "source_1.wav", "source_2.wav"]


@pytest.mark.parametrize(
    "command, settings, words",
    [
        ("test", {"data.sample_rate": "16000"}, "sample_rate: the model has 8000, the data 16000"),
        ("test", {"data.sources": "3"}, "sources: the model has 2, the data 3"),
        ("test", {"model.confidence_clusters": "anew"}, "confidence_clusters"),
        ("fit", {}, "not for a ModelSelection"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(command, settings, words, separatrix, selection, checkpoints, tmp_path):
    outcome = separatrix.run(command, *selection("speech", settings), *checkpoints, "--run", tmp_path / "run")
    assert outcome.status == 2
    assert words in outcome.err.strip().splitlines()[-1]
    assert not (tmp_path / "run" / "scores.csv").exists()


def test_checkpoints_of_another_system_are_refused(separatrix, selection, tmp_path):
    others = ["--model.checkpoints", str([str(separatrix.best("strong"))])]
    outcome = separatrix.run("test", *selection("speech"), *others, "--run", tmp_path / "run")
    assert outcome.status == 2
    assert "WeakLabelSeparator; one of DeepClustering is needed" in outcome.err.strip().splitlines()[-1]


def test_two_ranks_with_half_the_batch_learn_what_one_process_learns(separatrix, reproduction, tmp_path):
    # Excerpts and AutoClip's history are the same on any number of ranks; one layer has no dropout.
    own = ["--config", reproduction / "music" / "config.yaml", "--run", tmp_path]
    ranks = separatrix.as_options({"trainer.devices": "2", "trainer.strategy": "ddp", "data.batch_size": "2"})
    outcome = separatrix.run_process("fit", *own, *ranks)
    assert outcome.status == 0, outcome.err
    ours, reference = (folder / "checkpoints" / "last.ckpt" for folder in (tmp_path, reproduction / "music"))
    assert separatrix.largest_difference(ours, reference) < 1e-4
    histories = [torch.load(path, weights_only=True)["autoclip"]["norms"] for path in (ours, reference)]
    torch.testing.assert_close(*histories, rtol=1e-3, atol=0)


def test_a_selection_is_what_its_models_are_wherever_they_lie(
    separatrix, selection, reproduction, tmp_path, monkeypatch
):
    models = tmp_path / "models"
    for name in DOMAINS:
        (models / name).mkdir(parents=True)
        (models / name / "best.ckpt").write_bytes((reproduction / name / "checkpoints" / "best.ckpt").read_bytes())
    monkeypatch.chdir(models)
    arguments = [*selection("music"), "--model.checkpoints", str([f"{name}/best.ckpt" for name in DOMAINS])]
    separatrix.succeed("test", *arguments, "--run", tmp_path / "whole")
    whole = (tmp_path / "whole" / "scores.csv").read_text()
    assert whole == (reproduction / "selection" / "music" / "scores.csv").read_text()
    (hparams,) = (tmp_path / "whole").glob("curves/*/hparams.yaml")
    settings = yaml.safe_load(hparams.read_text())
    assert [model["domain"] for model in settings["models"]] == list(DOMAINS)
    assert settings["models"][0]["mask_sharpness"] == 5 and "best.ckpt" not in hparams.read_text()
