"""`separatrix reproduce`: a paper's table from nothing, as ordinary commands that anyone can run one by one."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from jsonargparse import ArgumentParser

from datamodules.urban_scenes import URBAN_CLASSES
from experiments.configuration import CONFIGS
from experiments.stages import CONSOLE, Stage, run_stages
from experiments.weak_labels_table import make_table
from lightning_modules.errors import InputError

Preset = Literal["demo", "small", "paper"]

# What a preset's table must say of itself.
NOTES: dict[Preset, str] = {
    "demo": "Procedural sounds, made by formulas: no recordings. The published figures are of recordings.",
    "small": "An excerpt of the corpus, at a size for two CPU cores.",
    "paper": "The published size.",
}


@dataclass(frozen=True)
class Reproduction:
    """A paper's experiment.

    Attributes:
        stages: of a preset, into an output folder, with further settings for every command.
        table: makes the tables from the rows in the output folder, with a note on what they are of.
    """

    stages: Callable[[Preset, Path, list[str]], list[Stage]]
    table: Callable[[Path, str], None]


def weak_labels_stages(preset: Preset, output: Path, settings: list[str]) -> list[Stage]:
    """Two judges, three separators, two references (Pishdadian et al. 2020)."""
    base = ("weak_labels/base", f"weak_labels/{preset}/data")
    data_settings = [word for pair in _pairs(settings) if pair[0].startswith("--data.") for word in pair]
    stages = [Stage("bank", ("bank", *_configs(*base), *data_settings), output)]

    def add(row: str, sizes: str | None = None, judge: str | None = None) -> None:
        run = output / row
        configs = [*base, f"weak_labels/{row}", *((f"weak_labels/{preset}/{sizes}",) if sizes else ())]
        if (CONFIGS / f"weak_labels/{preset}/{row}.yaml").is_file():  # what this preset says of this row alone
            configs.append(f"weak_labels/{preset}/{row}")
        arguments = (*_configs(*configs), "--run", str(run), *settings)
        needs = ["bank"]
        checkpoint: tuple[str, ...] = ()
        if sizes:
            listens = ("--model.judge", _best(output / judge)) if judge else ()
            stages.append(
                Stage(f"{row}.fit", ("fit", *arguments, *listens), run, ("bank", *([f"{judge}.fit"] if judge else ())))
            )
            needs, checkpoint = [f"{row}.fit"], ("--ckpt_path", _best(run))
        stages.append(Stage(f"{row}.test", ("test", *arguments, *checkpoint), run, tuple(needs)))

    # What needs no judge comes first: side by side with the judges it leaves no core idle at the end.
    add("strong", "separator")
    add("judge_frame", "judge")
    add("judge_clip", "judge")
    add("frame", "separator", judge="judge_frame")
    add("clip", "separator", judge="judge_clip")
    add("gate")
    add("ideal_ratio_mask")
    return stages


def _configs(*names: str) -> list[str]:
    return [word for name in names for word in ("--config", name)]


def _best(run: Path) -> str:
    return str(run / "checkpoints" / "best.ckpt")


REPRODUCTIONS = {
    "weak-labels": Reproduction(weak_labels_stages, lambda output, note: make_table(output, URBAN_CLASSES, note)),
}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="separatrix reproduce",
        exit_on_error=False,
        description="Make a paper's table: train, evaluate, compare. What is complete is not done again.",
        epilog="example: separatrix reproduce weak-labels --preset small --data-root DATA --output runs/small; "
        "settings of data and trainer go to every stage, for instance --trainer.devices 4 or --data.workers 8",
    )
    parser.add_argument("system", choices=list(REPRODUCTIONS), help="which paper")
    parser.add_argument(
        "--preset",
        choices=get_args(Preset),
        default="demo",
        help="demo: procedural sounds, minutes; small: real recordings, hours on two cores; paper: published size",
    )
    parser.add_argument("--data-root", help="folder that holds UrbanSound8K; not for the demo")
    parser.add_argument("--output", help="folder of the results (default: runs/PRESET/SYSTEM)")
    parser.add_argument(
        "--jobs", type=int, help="stages at a time (default: one per core where there is no GPU, otherwise one)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    return parser


def command(arguments: list[str]) -> None:
    """`separatrix reproduce ...`."""
    known, settings = _split_settings(arguments[1:])
    options = _parser().parse_args(known)
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs: {options.jobs}; at least 1 is needed")
    reproduction = REPRODUCTIONS[options.system]
    if any(word.startswith("--model.") for word in settings):
        raise InputError("--model: settings differ from stage to stage; run the commands of --dry-run with your own")
    output = Path(options.output or f"runs/{options.preset}/{options.system}")
    if options.preset == "demo":
        if options.data_root:
            raise InputError("--data-root: the demo uses procedural sounds; choose --preset small or paper")
    elif not options.data_root:
        raise InputError(f"--data-root: --preset {options.preset} needs the folder that holds UrbanSound8K")
    else:
        settings = ["--data.corpus.root", options.data_root, *settings]
    stages = reproduction.stages(options.preset, output, settings)
    if options.dry_run:
        print("\n".join(map(str, stages)))
        return
    _refuse_ranks(stages)
    devices = _value(settings, "--trainer.devices", "auto")
    several = devices != "1" if devices != "auto" else torch.cuda.device_count() > 1
    apart = several or _value(settings, "--trainer.num_nodes", "1") != "1"
    # At most three trainings are independent of each other.
    jobs = options.jobs or (1 if torch.cuda.is_available() or apart else min(os.cpu_count() or 1, 3))
    run_stages(stages, jobs, apart)
    reproduction.table(output, NOTES[options.preset])
    CONSOLE.print(f"table: {output / 'table.md'}, {output / 'table.csv'}; every row: {output / 'scores.csv'}")


def _split_settings(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Settings with a dot in their name, such as --trainer.devices 4, go to the stages."""
    known: list[str] = []
    settings: list[str] = []
    target = known
    for argument in arguments:
        if argument.startswith("--"):
            target = settings if "." in argument.split("=")[0] else known
        target.append(argument)
    return known, settings


def _pairs(settings: list[str]) -> list[tuple[str, ...]]:
    """Settings as (name, value), or (name=value,)."""
    starts = [position for position, word in enumerate(settings) if word.startswith("--")]
    return [tuple(settings[i:j]) for i, j in zip(starts, [*starts, len(settings)][1:], strict=True)]


def _value(settings: list[str], name: str, default: str) -> str:
    given = [words for words in ("=".join(pair).split("=", 1) for pair in _pairs(settings)) if words[0] == name]
    return given[-1][1] if given else default  # as on any command line, the last one holds


def _refuse_ranks(stages: list[Stage]) -> None:
    # Every rank would run every stage. The stages are what a launcher starts.
    if "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        commands = "\n".join(shlex.join(["separatrix", *stage.arguments]) for stage in stages)
        raise InputError(f"start `reproduce` as one process, or launch its commands one after the other:\n{commands}")
