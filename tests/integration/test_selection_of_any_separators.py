"""Selections without embeddings and within recordings, on the command line."""

import json
from itertools import product

import numpy as np
import pandas
import pytest
from test_reproduce import DOMAINS, documented_columns
from tiny_systems import Bands, saved

from experiments.programmes import evaluation
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.recordings.separator import Separator
from lightning_modules.scores.selection_rows import SIGNAL_FEATURES

SIZES = ("--programmes", 2, "--segments", 3, "--windows", 0.4, "--near", 0.1)


def test_programmes_have_the_reproductions_mixtures_and_go_on_where_they_ended(
    separatrix, model_selection, tmp_path, monkeypatch
):
    before = separatrix.listing(model_selection.output)
    command = ["programmes", model_selection.output, *SIZES, "--output", tmp_path]
    whole = evaluation.programme_rows

    def ends(selection, fitted, programme, index, *others):
        if index == 1:
            raise KeyboardInterrupt
        return whole(selection, fitted, programme, index, *others)

    monkeypatch.setattr(evaluation, "programme_rows", ends)
    assert separatrix.run(*command).status == 130 and not (tmp_path / "programmes.csv").exists()
    begun = []
    monkeypatch.setattr(evaluation, "programme_rows", lambda *given: begun.append(given[3]) or whole(*given))
    shown = separatrix.succeed(*command).out
    assert begun == [1] and "SI-SDR within recordings" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["programmes.csv", "programmes.md"]
    assert separatrix.listing(model_selection.output) == before
    rows = pandas.read_csv(tmp_path / "programmes.csv")
    assert [*rows] == [*documented_columns("Programmes", "programmes.csv")]
    rules = ["oracle", "confidence", "standardised", "calibrated", "expected", "confidence_whole", *DOMAINS]
    assert [*zip(rows["windows"], rows["rule"], strict=True)] == [*product(["joins", "0.4"], rules)] * 6
    # A mixture whose joins are known is that of its domain's own test.
    known = rows[(rows["windows"] == "joins") & rows["rule"].isin(DOMAINS)]
    for row in known.itertuples():
        scores = pandas.read_csv(model_selection.output / "selection" / row.domain / "scores.csv")
        index = (row.programme * 3 + row.segment) % scores["index"].nunique()
        own = scores[(scores["index"] == index) & (scores["model"] == row.rule)]
        assert row.recordings == own["recordings"].iloc[0]
        expected = own["si_sdr_db"].mean() if own["left_out"].isna().all() else np.nan
        assert row.si_sdr_db == pytest.approx(expected, abs=1e-3, nan_ok=True)
    told = (tmp_path / "programmes.md").read_text()
    assert "| speech model throughout |" in told and "by confidence in the whole recording" in told
    for wrong, said in (
        (["--near", 0.3], "--near 0.3: less than half of a mixture (0.6 s)"),
        (["--segments", 1], "segments: 1"),
    ):
        assert said in separatrix.run(*command, *wrong).err
    assert "no such folder" in separatrix.run("programmes", tmp_path / "none").err


def test_any_separators_are_selected_from_by_what_their_signals_let_expect(separatrix, model_selection, tmp_path):
    best = model_selection.output / "speech" / "checkpoints" / "best.ckpt"
    models = [str(best), saved(Bands(), tmp_path / "bands.ckpt")]
    words = [
        *separatrix.selection("environmental"),
        "--model.checkpoints",
        json.dumps(models),
        "--import",
        "tiny_systems",
    ]
    signals = ("--config", "deep_clustering/selections/signals")
    shown = separatrix.succeed("validate", *words[:2], *signals, *words[2:], "--run", tmp_path / "validated").out
    assert "--import tiny_systems" in " ".join(shown.split())
    rows = pandas.read_csv(tmp_path / "validated" / "validation_scores.csv")
    assert [*rows][-16:] == [*SIGNAL_FEATURES] and rows[[*SIGNAL_FEATURES]].notna().all(axis=None)
    assert rows["confidence"].isna().tolist() == (rows["model"] == "Bands").tolist()
    learnt = [
        "--model",
        "LearntSelection",
        "--model.validation_scores",
        f"[{tmp_path}/validated/validation_scores.csv]",
    ]
    separatrix.succeed("test", *words, *learnt, "--run", tmp_path / "learnt")
    rows = pandas.read_csv(tmp_path / "learnt" / "scores.csv")
    expected = rows["expected_si_sdr_db"].to_numpy().reshape(-1, 2, 2)[..., 0]
    assert (rows["picked"].to_numpy().reshape(-1, 2, 2)[..., 0] == np.eye(2)[expected.argmax(1)]).all()
    page = tmp_path / "learnt.html"
    separatrix.succeed(
        "report", tmp_path / "learnt", "--import", "tiny_systems", "--examples", 1, "--no-audio", "--output", page
    )
    assert "Bands model" in page.read_text() and ">nan<" not in page.read_text()
    (tmp_path / "x.wav").touch()
    chosen = [word for model in models for word in ("--model", model)]
    refused = separatrix.run("separate", *chosen, tmp_path / "x.wav", "--output", tmp_path / "o")
    assert "a checkpoint of Bands" in refused.err
    with pytest.raises(InputError, match=r"^model: a Bands has no confidence to be picked by; leave it out$"):
        Separator(ModelSelection(list(map(str, models))))
