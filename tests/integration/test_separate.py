"""`separatrix separate` on recordings of a person's own."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import URBAN_CLASSES as CLASSES
from lightning import Trainer

from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM


@pytest.fixture(scope="module")
def clustering(tmp_path_factory) -> list[str]:
    """Checkpoints of two untrained deep clustering models."""
    folder, paths = tmp_path_factory.mktemp("models"), []
    for seed, domain in enumerate(("speech", "music")):
        torch.manual_seed(seed)
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
        trainer.strategy.connect(
            DeepClustering(
                domain, sample_rate=8000, window=64, hop=32, network=partial(BLSTM, units=4, layers=1), dimensions=4
            )
        )
        trainer.save_checkpoint(folder / f"{domain}.ckpt")
        paths.append(str(folder / f"{domain}.ckpt"))
    return paths


def models(paths) -> list[str]:
    return [word for path in paths for word in ("--model", str(path))]


@pytest.fixture
def street(tmp_path) -> Path:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (30_000, 2))
    soundfile.write(tmp_path / "street.flac", samples, 22_050)
    return tmp_path / "street.flac"


def test_a_weak_label_model_writes_a_file_for_each_class_and_the_rest(separatrix, street, tmp_path):
    told = separatrix.succeed("separate", *models([separatrix.best("strong")]), street, "--output", tmp_path / "out")
    folder = tmp_path / "out" / "street"
    names = [f"{name}.wav" for name in (*CLASSES, "residual")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "separation.json"])
    sources = [soundfile.read(folder / name)[0] for name in names]
    np.testing.assert_allclose(sum(sources), soundfile.read(street)[0], rtol=0, atol=2e-6)
    assert {soundfile.info(folder / name).samplerate for name in names} == {22_050}
    for said in (
        "separating 1 recording",
        "street.flac: 1.4 s, 22050 Hz, stereo",
        "up to 4000 Hz",
        str(folder),
        "x real",
    ):
        assert said in told.out
    assert all(len(line) <= 80 or str(tmp_path) in line for line in told.out.splitlines())
    assert told.err == ""


def test_the_confidences_of_several_models_are_printed_and_saved(separatrix, clustering, street, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 20 * 8000), 8000)
    for select, path in (("file", street), ("segment", tmp_path / "long.wav")):
        told = separatrix.succeed("separate", *models(clustering), path, "--select", select, "--output", tmp_path)
        selections = json.loads((tmp_path / path.stem / "separation.json").read_text())["selections"]
        assert (len(selections) == 1) == (select == "file")
        for name in ("speech", "music"):
            (row,) = (line for line in told.out.splitlines() if f"│ {name} " in line)
            for score in ("confidence", "silhouette", "posterior"):
                assert f"{np.mean([one['models'][name][score] for one in selections]):.3f}" in row
            times = sum(one["picked"] == name for one in selections)
            assert (
                f"{times} of {len(selections)} segments" in row if select == "segment" else ("picked" in row) == times
            )
        assert {path.name for path in (tmp_path / path.stem).glob("*.wav")} == {"source_1.wav", "source_2.wav"}
    soundfile.write(tmp_path / "silence.wav", np.zeros(4000), 8000)
    told = separatrix.succeed("separate", *models(clustering), tmp_path / "silence.wav", "--output", tmp_path)
    assert "  silent: no model is picked, and the sources are silent" in told.out and "silhouette" not in told.out
    (silent,) = json.loads((tmp_path / "silence" / "separation.json").read_text())["selections"]
    assert silent == {"start": 0, "stop": 0.5, "picked": None, "models": {}}
    assert not soundfile.read(tmp_path / "silence" / "source_2.wav")[0].any()
    for selection in selections:
        confidence = {name: scores["confidence"] for name, scores in selection["models"].items()}
        assert selection["picked"] == max(confidence, key=lambda name: confidence[name])


def test_a_number_of_sources_is_given_or_found_and_asked_for_again_is_another_separation(
    separatrix, clustering, street, tmp_path
):
    command = ["separate", *models(clustering), street, "--output", tmp_path]
    told = separatrix.succeed(*command, "--sources", "auto")
    manifest = json.loads((tmp_path / "street" / "separation.json").read_text())
    (selection,) = manifest["selections"]
    assert f"│ {selection['picked']} " in told.out and len(selection["models"]) == 8
    number = int(selection["picked"].split()[-2])
    written = sorted(path.name for path in (tmp_path / "street").glob("*.wav"))
    assert written == manifest["sources"] == [f"source_{place}.wav" for place in range(1, number + 1)]
    assert "separated before" in separatrix.succeed(*command, "--sources", "auto").out
    assert separatrix.run(*command).status == 2
    for sources in ("3", "2"):
        separatrix.succeed(*command, "--sources", sources, "--overwrite")
        assert len(list((tmp_path / "street").glob("*.wav"))) == int(sources)
    outcome = separatrix.run(*command, "--sources", "many")
    assert outcome.err == "separatrix separate: --sources many: auto, or a number from 2 on, is needed\n"


def test_the_number_of_sources_is_sought_on_mixtures_of_several_numbers(separatrix, clustering, tmp_path):
    speech = separatrix.selection("speech", {"data.corpus.speakers": 50, "data.test_mixtures": 12})
    count = ("--config", "deep_clustering/source_count", *speech[2:], "--model.checkpoint", clustering[0])
    separatrix.succeed("validate", *count, "--run", tmp_path)
    told = separatrix.succeed("test", *count, "--data.sources", "4", "--run", tmp_path)
    rows = separatrix.rows(tmp_path / "count_scores.csv")
    assert len(rows) == 12 * 4 and {row["sources"] for row in rows} == {"2", "3", "4"}
    assert "by standardised confidence" in told.out and "picked for 4 sources: 2 " in told.out
    assert [line for line in told.out.splitlines() if len(line) > 80 and "/" not in line] == []


def test_a_broken_recording_is_told_in_one_line_and_the_others_are_separated(separatrix, street, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "nan.wav", [0.1, np.nan], 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(800), 8000)
    soundfile.write(tmp_path / "clipped.wav", np.clip(9 * np.sin(np.arange(8000) / 20), -1, 1), 8000)
    files = [tmp_path / f"{name}.wav" for name in ("text", "nan", "missing", "silent", "clipped")]
    outcome = separatrix.run("separate", *models([separatrix.best("strong")]), *files, "--output", tmp_path / "out")
    assert outcome.status == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clipped", "silent"]
    assert not soundfile.read(tmp_path / "out" / "silent" / "siren.wav")[0].any()
    assert "warning: clipped" in outcome.out
    lines = outcome.err.splitlines()
    assert len(lines) == 4 and all(f"{name}.wav" in lines[n] for n, name in enumerate(("text", "nan", "missing")))
    assert lines[3].endswith("not separated; the other 2 are")


def test_the_same_command_resumes_and_writes_nothing_over_unless_it_is_asked_to(separatrix, street, tmp_path):
    other = tmp_path / "other.wav"
    soundfile.write(other, np.zeros(800), 8000)
    command = ["separate", *models([separatrix.best("strong")]), street, other, "--output", tmp_path / "out"]
    separatrix.succeed(*command)
    shutil.rmtree(tmp_path / "out" / "other")
    told = separatrix.succeed(*command)
    assert "street.flac: separated before" in told.out and (tmp_path / "out" / "other" / "siren.wav").exists()
    outcome = separatrix.run(*command, "--format", "flac")
    assert outcome.status == 2 and "--overwrite" in outcome.err and len(outcome.err.splitlines()) == 1
    separatrix.succeed(*command, "--overwrite", "--format", "flac")
    street_files = tmp_path / "out" / "street"
    assert len(list(street_files.glob("*.flac"))) == 6 and not list(street_files.glob("*.wav"))


def test_what_cannot_be_done_is_refused_in_one_line_before_anything_is(separatrix, clustering, street, tmp_path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "street.wav"
    soundfile.write(other, np.zeros(800), 8000)
    weak = separatrix.best("strong")
    refused = [
        ([*models([weak, *clustering]), street], "answers alone"),
        ([*models([*clustering, weak]), street], f"{weak}: a weak-label separator answers alone"),
        ([*models([separatrix.best("classifier_frame")]), street], "a checkpoint of EventClassifier"),
        ([*models([tmp_path / "none.ckpt"]), street], "none.ckpt"),
        ([*models([weak]), street, other], "another recording is named street"),
        ([*models([weak]), tmp_path / "other"], "a folder; give the recordings in it, such as "),
        ([*models([weak]), tmp_path / "...wav"], "...wav: no folder can be named after it"),
        ([*models([weak]), tmp_path / "a\0b.wav"], r"a\x00b.wav: no such file; "),
        ([*models([weak]), tmp_path / "a\ud800b.wav"], r"a\ud800b.wav: no such file; "),
        ([*models(["a\0b.ckpt"]), street], r"a\x00b.ckpt: "),
        ([*models([weak])], "files"),
        ([street], "model"),
    ]
    for arguments, reason in refused:
        outcome = separatrix.run("separate", *arguments, "--output", tmp_path / "out")
        assert outcome.status == 2 and reason in outcome.err and len(outcome.err.splitlines()) == 1, outcome.err
    assert not (tmp_path / "out").exists()
    outcome = separatrix.run("separate", *models([weak]), street, "--output", tmp_path / "a\0b")
    assert outcome.status == 2 and outcome.err.endswith(": no file can have such a name; correct it in the settings\n")


def test_what_a_file_s_name_holds_cannot_colour_or_break_the_lines(separatrix, tmp_path):
    odd = [tmp_path / name for name in ("\x1b[31mred.wav", "two\nlines.wav", "[bold].wav", os.fsdecode(b"caf\xe9.wav"))]
    for path in odd:
        with path.open("wb") as file:
            soundfile.write(file, np.zeros(800), 8000, format="WAV")
    command = ["separate", *models([separatrix.best("strong")]), *odd, "--output", tmp_path / "out"]
    for told in (separatrix.succeed(*command), separatrix.succeed(*command)):  # the second time all are there
        for shown in (r"\x1b[31mred.wav: ", r"two\nlines.wav: ", "[bold].wav: ", r"caf\udce9.wav: "):
            assert sum(shown in line for line in told.out.splitlines()) == 1
        assert all(line.isprintable() for line in told.out.splitlines())
    assert sorted(os.listdir(tmp_path / "out")) == sorted(path.stem for path in odd)
