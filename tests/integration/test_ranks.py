"""Several ranks on the CPU against one process: real processes, gloo."""

import os
import shlex
import subprocess
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


def curves(run, name):
    """The values of a curve, as they are written."""
    return [row[name] for path in run.glob("curves/*/metrics.csv") for row in _rows(path) if row.get(name)]


def _rows(path):
    header, *lines = path.read_text().splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


@pytest.fixture(scope="module")
def evaluations(separatrix, tmp_path_factory):
    """What one process makes of a separator's test and validation and of a judge's test: files and curves."""
    folder = tmp_path_factory.mktemp("one")
    for name, (command, row) in COMMANDS.items():
        arguments = [*separatrix.arguments(row), "--ckpt_path", separatrix.best(row), "--run", folder / name]
        separatrix.succeed(command, *arguments)
    return folder


COMMANDS = {
    "separator-test": ("test", "strong"),
    "separator-validation": ("validate", "strong"),
    "judge-test": ("test", "judge_frame"),
}


@pytest.mark.parametrize(("name", "number"), [("separator-test", 3), ("separator-validation", 3), ("judge-test", 2)])
def test_ranks_make_exactly_the_files_and_figures_of_one_process(name, number, separatrix, evaluations, tmp_path):
    command, row = COMMANDS[name]
    settings = ["--ckpt_path", separatrix.best(row), "--run", tmp_path]
    outcome = separatrix.run_process(command, *separatrix.arguments(row, ranks(number)), *settings)
    assert outcome.status == 0, outcome.err
    made, expected = (
        {path.name: path.read_bytes() for path in run.glob("*.csv")} for run in (tmp_path, evaluations / name)
    )
    assert made == expected and bool(made) == (command == "test")
    for curve in ("validation_loss", "validation_improvement_db", "validation_improvement_db/siren"):
        figures = curves(tmp_path, curve)
        assert figures == curves(evaluations / name, curve) and bool(figures) == (name == "separator-validation")
    assert not list(tmp_path.glob("*.parts"))


def test_an_evaluation_with_one_mixture_left_goes_on_with_two_ranks(separatrix, evaluations, tmp_path):
    scores = (evaluations / "separator-test" / "scores.csv").read_text()
    (tmp_path / "scores.parts").mkdir()
    left = "".join(line for line in scores.splitlines(keepends=True)[1:] if not line.startswith("6,"))
    (tmp_path / "scores.parts" / "rank-0-earlier.csv").write_text(f"{left}\n")
    arguments = [*separatrix.arguments("strong", ranks(2)), "--ckpt_path", separatrix.best("strong"), "--run", tmp_path]
    outcome = separatrix.run_process("test", *arguments)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "scores.csv").read_text() == scores


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


def test_three_ranks_with_a_third_of_the_batch_see_and_learn_what_one_process_does(separatrix, tmp_path):
    # Eight mixtures an epoch do not divide by six: both leave two to the next epoch.
    for number, batch_size in ((1, 6), (3, 2)):
        run = tmp_path / str(number)
        settings = {**ranks(number), "trainer.max_epochs": 2, "data.batch_size": batch_size}
        watched = ["--trainer.callbacks+", "faults.SeenMixtures", "--trainer.callbacks.folder", run / "seen"]
        arguments = [*separatrix.arguments("strong", settings), *watched, "--run", run]
        outcome = separatrix.run_process("fit", *arguments, PYTHONPATH=str(HERE))
        assert outcome.status == 0, outcome.err
    assert seen(tmp_path / "1" / "seen") == seen(tmp_path / "3" / "seen")
    assert len(list((tmp_path / "3" / "seen").iterdir())) == 3 and len(seen(tmp_path / "3" / "seen")) == 2
    checkpoints = [tmp_path / number / "checkpoints" for number in "13"]
    assert all(sorted(path.name for path in each.iterdir()) == ["best.ckpt", "last.ckpt"] for each in checkpoints)
    # The mean of three thirds is summed in another order than the whole: equal but for rounding.
    assert separatrix.largest_difference(*(each / "last.ckpt" for each in checkpoints)) < 1e-4
    # Ranks count a share of the frames each: whole numbers, whose sum is exact.
    priors = [torch.load(each / "last.ckpt", weights_only=True)["state_dict"]["prior"] for each in checkpoints]
    assert torch.equal(*priors)
    for name in ("validation_loss", "validation_improvement_db"):
        one, three = (list(map(float, curves(tmp_path / number, name))) for number in "13")
        assert len(one) == 2 and one == pytest.approx(three, rel=1e-3)


def alive(folder):
    """Processes whose command line names the folder."""
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout.split()
    return [number for number in found if int(number) != os.getpid()]


@pytest.mark.parametrize(
    ("rank", "how"),
    [
        (0, "kill"),
        (1, "raise"),
        pytest.param(0, "raise", marks=pytest.mark.soak),
        pytest.param(1, "kill", marks=pytest.mark.soak),
    ],
)
def test_a_rank_that_fails_ends_all(rank, how, separatrix, tmp_path):
    failing = ["--trainer.callbacks+", "faults.FailingRank"]
    failing += ["--trainer.callbacks.rank", rank, "--trainer.callbacks.how", how]
    arguments = [*separatrix.arguments("strong", {**ranks(2), "data.batch_size": 2}), *failing, "--run", tmp_path]
    outcome = separatrix.run_process("fit", *arguments, PYTHONPATH=str(HERE))
    assert outcome.status != 0
    assert "Traceback" not in outcome.err, outcome.err
    if outcome.status == 2 and "Input/output error" not in outcome.err:
        assert "separatrix fit: another rank ended" in outcome.err
    if how == "raise":
        assert "separatrix fit: some/file: Input/output error" in outcome.err
    deadline = time.monotonic() + 60
    while alive(tmp_path):
        assert time.monotonic() < deadline, "a rank outlived the others"
        time.sleep(0.2)
    assert not (tmp_path / "checkpoints").exists()


def test_a_rank_without_a_sound_bank_is_told_the_command_that_builds_it(separatrix, tmp_path):
    banks = tmp_path / "banks with a blank"
    data = separatrix.data(bank_folder=banks)
    configs = ("--config", "weak_labels/base", "--config", "weak_labels/demo/data")
    separatrix.succeed("bank", *configs, *separatrix.as_options(data))
    stale = ["--data.corpus.clips_per_class", "9"]
    arguments = [*separatrix.arguments("strong", ranks(2), bank_folder=banks), *stale, "--run", tmp_path / "run"]
    torchrun = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    outcome = separatrix.run_process("fit", *arguments, **torchrun, MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    assert outcome.status == 2
    (told,) = [line for line in outcome.err.splitlines() if line.startswith("separatrix ")]
    assert "no sound bank of these" in told and "files changed since" in told
    command = told.partition("build it with `separatrix bank`: ")[2]
    separatrix.succeed(*shlex.split(command)[1:])
    assert len(list(banks.iterdir())) == 2
