"""`separatrix reproduce`: a paper's table from nothing, as ordinary commands that anyone can run one by one."""

import os
import shlex
import shutil
from pathlib import Path
from typing import Literal, get_args

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt

from experiments.command_line.configurations import options
from experiments.command_line.parser import command_parser
from experiments.command_line.text import show_next
from experiments.output.sole_writer import sole_writer
from experiments.reproduction.model_selection_stages import model_selection_stages
from experiments.reproduction.stage import Stage
from experiments.reproduction.weak_labels_stages import weak_labels_stages
from experiments.training.command import LoggerName, require_logger
from experiments.training.ranks import job_tasks, launched
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles

Preset = Literal["demo", "small", "paper"]

# Printed with a preset's table.
NOTES: dict[Preset, str] = {
    "demo": "Procedural sounds, made by formulas: no recordings. The published figures are of recordings.",
    "small": "Excerpts of the corpora, at a size for two CPU cores.",
    "paper": "The published size.",
}
# The corpora by the names of their options.
CORPUS_NAMES = {"urbansound8k": "UrbanSound8K", "librispeech": "LibriSpeech", "musdb18": "MUSDB18 (its decoded stems)"}
# The stages and the corpora of each system.
SYSTEMS = {
    "weak-labels": (weak_labels_stages, ["urbansound8k"]),
    "model-selection": (model_selection_stages, list(CORPUS_NAMES)),
}
DESCRIPTION = """Make a paper's table: train, evaluate, compare. It consists of ordinary commands, which --dry-run
prints; what is complete is not done again. Settings of data and trainer go to every stage, for instance
--trainer.devices 4 or --data.workers 8. docs/clusters.md tells of SLURM and torchrun."""
EXAMPLES = (
    "reproduce weak-labels --preset demo",
    "reproduce weak-labels --preset small --data-root DATA",
    "reproduce model-selection --preset small --data-root DATA",
)


def command(arguments: list[str]) -> None:
    """`separatrix reproduce ...`."""
    known, settings = _split_settings(arguments[1:])
    parser = command_parser("reproduce", DESCRIPTION, *EXAMPLES)
    add = parser.add_argument
    add("system", choices=list(SYSTEMS), help="which paper")
    sizes = "demo: procedural sounds, minutes; small: real recordings, hours on two cores; paper: published size"
    add("--preset", choices=get_args(Preset), default="demo", help=sizes)
    add("--data-root", help="folder that holds the corpora, each in its own folder; not for the demo")
    for corpus, name in CORPUS_NAMES.items():
        add(f"--{corpus}", help=f"folder of {name}, where it is not in the data root")
    add("--output", help="folder of the results (default: runs/PRESET/SYSTEM)")
    add("--jobs", type=int, help="stages at a time (default: one per core where there is no GPU, otherwise one)")
    add("--launch", metavar="WORDS", help="start the ranks of every stage through a launcher, for instance srun")
    curves = "where curves go besides the folder of every stage"
    add("--logger", choices=get_args(LoggerName), default="csv", help=curves)
    add("--group", help="name of all its runs in W&B (default: the end of the output's path)")
    add("--seed", type=NonNegativeInt, help="of initial weights, mixtures, order and dropout (default: 0)")
    add("--dry-run", action="store_true", help="print the commands only")
    chosen = parser.parse_args(known)
    if chosen.jobs is not None and chosen.jobs < 1:
        raise InputError(f"--jobs: {chosen.jobs}; at least 1 is needed")
    require_logger(chosen.logger)
    make_stages, corpora = SYSTEMS[chosen.system]
    if any(word.startswith("--model.") for word in settings):
        raise InputError("--model: settings differ from stage to stage; run the commands of --dry-run with your own")
    of_corpora = (word for word in settings if word.startswith("--data.corpus"))
    if len(corpora) > 1 and any(word.split("=")[0] != "--data.corpus.follow_links" for word in of_corpora):
        raise InputError("--data.corpus: differs from domain to domain; run the commands of --dry-run with your own")
    output = Path(chosen.output or f"runs/{chosen.preset}/{chosen.system}")
    roots = _roots(chosen, corpora)
    group = chosen.group or "/".join(output.absolute().parts[-2:])
    os.environ.pop("WANDB_RUN_ID", None)  # a run for every stage: one id for all would be one run
    settings += [] if chosen.logger == "csv" else ["--logger", chosen.logger]
    settings += ["--group", group] if chosen.logger == "wandb" else []
    settings += [] if chosen.seed is None else ["--seed_everything", str(chosen.seed), "--data.seed", str(chosen.seed)]
    stages = make_stages(chosen.preset, output, settings, roots)
    launch = _launch_words(chosen.launch)
    if chosen.dry_run:
        print("\n".join(stage.shown(launch) for stage in stages))
        return
    # Every rank would run every stage. The stages are what a launcher starts.
    if launched():
        commands = "\n".join(map(str, stages))
        raise InputError(f"start `reproduce` as one process, or launch its commands one after the other:\n{commands}")
    if not launch and job_tasks() > 1:
        raise InputError(f"the SLURM job has {job_tasks()} tasks; --launch srun starts every training in all of them")
    _run(chosen, stages, output, group, launch, settings)


def _run(
    chosen: Namespace, stages: list[Stage], output: Path, group: str, launch: list[str], settings: list[str]
) -> None:
    import torch

    from experiments.reproduction import model_selection_table, run_stages, tracking, weak_labels_table

    pairs = ("=".join(option).partition("=") for option in options(settings))
    given = {name: value for name, _, value in pairs}  # as on any command line, the last one holds
    devices = given.get("--trainer.devices", "auto")
    several = devices != "1" if devices != "auto" else torch.cuda.device_count() > 1
    apart = several or given.get("--trainer.num_nodes", "1") != "1"
    # At most three trainings are independent of each other.
    jobs = chosen.jobs or (1 if torch.cuda.is_available() or apart else min(os.cpu_count() or 1, 3))
    tables = weak_labels_table.make_table if chosen.system == "weak-labels" else model_selection_table.make_tables
    with sole_writer(output, "--output", inside=True):
        run_stages.run_stages(stages, jobs, apart, launch)
        tables(output, NOTES[chosen.preset])
        if chosen.logger == "wandb":
            tracking.track_tables(output, group, {"system": chosen.system, "preset": chosen.preset})
    files = RunFiles(output)
    show_next([files.table_text, files.table, files.scores, files.confidence], [["report", str(output)]])


def _roots(given: Namespace, corpora: list[str]) -> dict[str, str]:
    """The folder of every corpus; none for the demo."""
    roots = {corpus: given[corpus] or given.data_root for corpus in corpora}
    if given.preset == "demo":
        if any(roots.values()):
            raise InputError("--data-root: the demo uses procedural sounds; choose --preset small or paper")
        return {}
    unused = [corpus for corpus in CORPUS_NAMES if given[corpus] and corpus not in corpora]
    if unused:
        raise InputError(f"--{unused[0]}: {given.system} is not made of {CORPUS_NAMES[unused[0]]}; leave it out")
    missing = [corpus for corpus, root in roots.items() if not root]
    if missing:
        names = ", ".join(CORPUS_NAMES[corpus] for corpus in missing)
        raise InputError(
            f"--data-root: --preset {given.preset} needs the folder that holds {names} (or --{missing[0]} DIR)"
        )
    return roots


def _split_settings(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Settings with a dot in their name, such as --trainer.devices 4, go to the stages."""
    known: list[str] = []
    settings: list[str] = []
    for option in options(arguments):
        of_stages = option[0].startswith("--") and "." in option[0].split("=")[0]
        (settings if of_stages else known).extend(option)
    return known, settings


def _launch_words(launch: str | None) -> list[str]:
    """The words that start a stage's ranks."""
    if launch is None:
        return []
    try:
        words = shlex.split(launch)
    except ValueError as error:
        raise InputError(f"--launch {launch}: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise InputError(f"--launch {launch}: no such command; give a launcher such as srun")
    return words
