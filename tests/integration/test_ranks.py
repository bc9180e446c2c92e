"""Several ranks on the CPU against one process: real processes, gloo. `make test` has two ranks, `make soak` three."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
# Seven test mixtures and five of validation, two at a time: ranks have unequally many, and last batches do not fill.


def ranks(number):
    """Settings of a command on so many ranks."""
    return {"trainer.devices": number, "trainer.strategy": "ddp"}


def curve(separatrix, run, name):
    return [row[name] for path in run.glob("curves/*/metrics.csv") for row in separatrix.rows(path) if row.get(name)]


def test_torchruns_ranks_write_the_rows_of_one_process_and_resume_with_one_mixture_left(separatrix, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = [*separatrix.arguments("strong"), "--ckpt_path", separatrix.best("strong")]
    separatrix.succeed("test", *arguments, "--run", one)
    scores = (one / "scores.csv").read_text()
    (two / "scores.parts").mkdir(parents=True)
    left = "".join(line for line in scores.splitlines(keepends=True)[1:] if not line.startswith("6,"))
    (two / "scores.parts" / "rank-0-earlier.csv").write_text(f"{left}\n")
    # `--` ends torchrun's own options: on Python 3.11 it would take --run for an abbreviation of one of them.
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--no-python"]
    launcher += ["--", sys.executable, "-m", "experiments.cli"]
    outcome = separatrix.run_process(
        "test", *arguments, "--trainer.devices", 2, "--run", two, program=launcher, PYTHONPATH=str(HERE.parents[1])
    )
    assert outcome.status == 0, outcome.err
    assert (two / "scores.csv").read_text() == scores
    for told in ("test ", "rows: ", "next "):
        assert len(re.findall(f"^{told}", outcome.out, re.MULTILINE)) == 1


def test_an_evaluation_on_several_devices_builds_a_bank_that_all_ranks_open(separatrix, tmp_path):
    settings = {**ranks(2), "data.bank_folder": tmp_path / "banks", "ckpt_path": separatrix.best("strong")}
    outcome = separatrix.run_process("test", *separatrix.arguments("strong", settings), "--run", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "run" / "scores.csv").exists() and len(list((tmp_path / "banks").iterdir())) == 1


@pytest.mark.soak
@pytest.mark.parametrize(("command", "row"), [("test", "strong"), ("validate", "strong"), ("test", "classifier_frame")])
def test_ranks_make_exactly_the_files_and_figures_of_one_process(command, row, separatrix, tmp_path):
    given = ["--ckpt_path", separatrix.best(row), "--run"]
    separatrix.succeed(command, *separatrix.arguments(row), *given, tmp_path / "one")
    outcome = separatrix.run_process(command, *separatrix.arguments(row, ranks(3)), *given, tmp_path / "three")
    assert outcome.status == 0, outcome.err
    one, three = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.csv")} for name in ("one", "three")
    )
    assert one == three and bool(one) == (command == "test")
    for name in ("validation_loss", "validation_improvement_db", "validation_improvement_db/siren"):
        figures = curve(separatrix, tmp_path / "three", name)
        assert figures == curve(separatrix, tmp_path / "one", name) and bool(figures) == (command == "validate")
    assert not list(tmp_path.glob("*/*.parts"))


@pytest.mark.soak
def test_three_ranks_of_a_selection_write_the_rows_of_one_process(separatrix, model_selection, tmp_path):
    best = [
        str(model_selection.output / name / "checkpoints/best.ckpt") for name in ("speech", "music", "environmental")
    ]
    for stage, file in (("test", "scores.csv"), ("validate", "validation_scores.csv")):
        arguments = separatrix.selection("music", {**ranks(3), "model.checkpoints": best})
        outcome = separatrix.run_process(stage, *arguments, "--run", tmp_path)
        assert outcome.status == 0, outcome.err
        assert (tmp_path / file).read_bytes() == (model_selection.output / "selection/music" / file).read_bytes()
    assert len(list((tmp_path / "embeddings").glob("*.png"))) == 3


@pytest.mark.soak
def test_two_ranks_of_deep_clustering_learn_what_one_process_learns(separatrix, model_selection, tmp_path):
    # Excerpts and AutoClip's history are the same on any number of ranks; one layer has no dropout.
    reference = model_selection.output / "music"
    own = ["--config", reference / "config.yaml", "--run", tmp_path]
    outcome = separatrix.run_process("fit", *own, *separatrix.as_options({**ranks(2), "data.batch_size": "2"}))
    assert outcome.status == 0, outcome.err
    ours, theirs = (folder / "checkpoints" / "last.ckpt" for folder in (tmp_path, reference))
    torch.testing.assert_close(separatrix.weights(ours), separatrix.weights(theirs), rtol=0, atol=1e-4)
    histories = [torch.load(path, weights_only=True)["autoclip"]["norms"] for path in (ours, theirs)]
    torch.testing.assert_close(*histories, rtol=1e-3, atol=0)


def seen(folder):
    """The mixtures of every (epoch, step), over all ranks."""
    steps = defaultdict(list)
    for path in folder.glob("rank-*"):
        of_epoch = defaultdict(int)
        for line in path.read_text().splitlines():
            epoch, *indices = map(int, line.split())
            steps[epoch, of_epoch[epoch]] += indices
            of_epoch[epoch] += 1
    return {step: sorted(indices) for step, indices in steps.items()}


@pytest.mark.parametrize("number", [2, pytest.param(3, marks=pytest.mark.soak)])
def test_ranks_with_a_share_of_the_batch_see_and_learn_what_one_process_does(number, separatrix, tmp_path):
    # Eight mixtures an epoch do not divide by six: one process and several leave two to the next epoch.
    for devices in (1, number):
        run = tmp_path / str(devices)
        settings = {**(ranks(devices) if devices > 1 else {}), "trainer.max_epochs": 2}
        settings["data.batch_size"] = 6 // devices
        watched = ["--trainer.callbacks+", "faults.SeenMixtures", "--trainer.callbacks.folder", run / "seen"]
        start = separatrix.run_process if devices > 1 else separatrix.run
        environment = {"PYTHONPATH": f"{HERE}:{HERE.parents[1]}"} if devices > 1 else {}
        outcome = start("fit", *separatrix.arguments("strong", settings), *watched, "--run", run, **environment)
        assert outcome.status == 0, outcome.err
    one, several = tmp_path / "1", tmp_path / str(number)
    assert seen(one / "seen") == seen(several / "seen")
    assert len(list((several / "seen").iterdir())) == number and len(seen(several / "seen")) == 2
    assert {path.name for path in (several / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    # The mean of shares is summed in another order than the whole: equal but for rounding.
    left, right = (separatrix.weights(run / "checkpoints" / "last.ckpt") for run in (one, several))
    torch.testing.assert_close(left, right, rtol=0, atol=1e-4)
    # Ranks count a share of the frames each: whole numbers, whose sum is exact.
    assert torch.equal(left["prior"], right["prior"])
    for name in ("validation_loss", "validation_improvement_db"):
        figures = [list(map(float, curve(separatrix, run, name))) for run in (one, several)]
        assert len(figures[0]) == 2 and figures[0] == pytest.approx(figures[1], rel=1e-3)


def alive(folder):
    """Processes whose command line names the folder."""
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout.split()
    return [number for number in found if int(number) != os.getpid()]


@pytest.mark.soak
@pytest.mark.parametrize(("rank", "how"), [(1, "raise"), (0, "kill"), (1, "kill")])
def test_a_rank_that_fails_ends_all(rank, how, separatrix, tmp_path):
    failing = ["--trainer.callbacks+", "faults.FailingRank"]
    failing += ["--trainer.callbacks.rank", rank, "--trainer.callbacks.how", how]
    arguments = [*separatrix.arguments("strong", {**ranks(2), "data.batch_size": 2}), *failing, "--run", tmp_path]
    outcome = separatrix.run_process("fit", *arguments, PYTHONPATH=f"{HERE}:{HERE.parents[1]}")
    assert outcome.status != 0 and "Traceback" not in outcome.err, outcome.err
    if outcome.status == 2 and "Input/output error" not in outcome.err:
        assert "separatrix fit: another rank ended" in outcome.err
    assert how == "kill" or "separatrix fit: some/file: Input/output error" in outcome.err
    deadline = time.monotonic() + 60
    while alive(tmp_path):
        assert time.monotonic() < deadline, "a rank outlived the others"
        time.sleep(0.2)
    assert not (tmp_path / "checkpoints").exists()


def test_a_rank_without_a_sound_bank_is_told_the_command_that_builds_it(separatrix, tmp_path, monkeypatch):
    banks = tmp_path / "banks with a blank"
    separatrix.succeed("bank", *separatrix.scene_words(bank_folder=banks))
    stale = ["--data.corpus.clips_per_class", "9"]
    arguments = [*separatrix.arguments("strong", ranks(2), bank_folder=banks), *stale, "--run", tmp_path / "run"]
    torchrun = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    for name, value in {**torchrun, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    outcome = separatrix.run("fit", *arguments)
    assert outcome.status == 2
    (told,) = [line for line in outcome.err.splitlines() if line.startswith("separatrix ")]
    assert "no sound bank of these" in told and "files changed since" in told
    monkeypatch.undo()
    separatrix.succeed(*shlex.split(told.partition("build it with `separatrix bank`: ")[2])[1:])
    assert len(list(banks.iterdir())) == 2
