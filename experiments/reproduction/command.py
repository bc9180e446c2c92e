"""`separatrix reproduce`: a paper's table from nothing, as ordinary commands that anyone can run one by one."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt

from experiments.command_line.configurations import model_kind, options, read_configuration
from experiments.command_line.own_classes import import_options, import_own, import_words, modules_of
from experiments.command_line.parser import command_parser
from experiments.command_line.text import show_next
from experiments.output.sole_writer import sole_writer
from experiments.reproduction.model_selection_stages import model_selection_stages
from experiments.reproduction.sources import CORPUS_NAMES, DOMAINS, WEAK_LABELS, of_papers, own_places, sources_of
from experiments.reproduction.stage import Stage
from experiments.reproduction.weak_labels_stages import weak_labels_stages
from experiments.training.command import LoggerName, require_logger
from experiments.training.ranks import job_tasks, launched
from lightning_modules.errors import InputError
from lightning_modules.run_files import TEST_FILE, RunFiles

Preset = Literal["demo", "small", "paper"]

# Printed with a preset's table.
NOTES: dict[Preset, str] = {
    "demo": "Procedural sounds, made by formulas: no recordings. The published figures are of recordings.",
    "small": "Excerpts of the corpora, at a size for two CPU cores.",
    "paper": "The published size.",
}
SYSTEMS = (WEAK_LABELS, "model-selection")
DESCRIPTION = """Make a paper's table: train, evaluate, compare. It consists of ordinary commands, which --dry-run
prints; what is complete is not done again. Settings of data and trainer go to every stage, for instance
--trainer.devices 4 or --data.workers 8. docs/clusters.md tells of SLURM and torchrun."""
EXAMPLES = (
    "reproduce weak-labels --preset demo",
    "reproduce weak-labels --preset small --data-root DATA",
    "reproduce model-selection --preset small --data-root DATA",
    "reproduce weak-labels --preset small --recordings FOLDER",
    "reproduce model-selection --preset small --domain birds=FOLDER --domain frogs=FOLDER",
)


def command(arguments: list[str]) -> None:
    """`separatrix reproduce ...`."""
    # Settings with a dot in their name, such as --trainer.devices 4, go to the stages.
    settings, known = _parted(arguments[1:], lambda name: name.startswith("--") and "." in name)
    parser = command_parser("reproduce", DESCRIPTION, *EXAMPLES)
    add = parser.add_argument
    add("system", choices=SYSTEMS, help="which paper")
    sizes = "demo: procedural sounds, minutes; small: real recordings, hours on two cores; paper: published size"
    add("--preset", choices=get_args(Preset), default="demo", help=sizes)
    add("--data-root", help="folder that holds the corpora, each in its own folder; not for the demo")
    for corpus, name in CORPUS_NAMES.items():
        add(f"--{corpus}", help=f"folder of {name}, where it is not in the data root")
    of_classes = "a folder of your own, in it a folder for each class, in place of the paper's corpus"
    add("--recordings", metavar="FOLDER", help=f"weak-labels: {of_classes}")
    of_domains = "a folder of your own, or a configuration, whose mixtures are a domain; NAME alone: one of the paper's"
    add("--domain", action="append", metavar="NAME[=FOLDER]", help=f"model-selection: {of_domains}; two at least")
    added = (
        "is added to the stages whose kind of model it describes or, if it describes data alone, to all; several times"
    )
    add("--config", action="append", default=[], metavar="NAME", help=f"a configuration that {added}")
    results = "folder of the results (default: runs/PRESET/SYSTEM, of your own runs/NAME-PRESET/SYSTEM, then -CONFIG)"
    add("--output", help=results)
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
    if any(word.startswith("--model.") for word in settings):
        raise InputError("--model: settings differ from stage to stage; run the commands of --dry-run with your own")
    places = own_places(chosen)
    of_folders: list[str] = []
    if chosen.system == "model-selection" and any(map(os.path.isdir, places.values())):
        of_folders, settings = _parted(settings, lambda name: name == "--data.corpus.recording_separator")
    of_corpora = (word.split("=")[0] for word in settings if word.startswith("--data.corpus"))
    if chosen.system == "model-selection" and set(of_corpora) - {"--data.corpus.follow_links"}:
        raise InputError("--data.corpus: differs from domain to domain; run the commands of --dry-run with your own")
    # Stages that evaluate checkpoints name the classes in these nowhere.
    import_own(import_words(modules_of([read_configuration(name).get("model") for name in chosen.config])))
    own = [name for name, place in places.items() if place]
    system = "-".join((chosen.system, *(Path(name).stem for name in chosen.config)))
    output = Path(chosen.output or f"runs/{'-'.join((*own, chosen.preset))}/{system}")
    group = chosen.group or "/".join(output.absolute().parts[-2:])
    os.environ.pop("WANDB_RUN_ID", None)  # a run for every stage: one id for all would be one run
    settings += [] if chosen.logger == "csv" else ["--logger", chosen.logger]
    settings += ["--group", group] if chosen.logger == "wandb" else []
    settings += [] if chosen.seed is None else ["--seed_everything", str(chosen.seed), "--data.seed", str(chosen.seed)]
    sources = sources_of(chosen, places, settings, of_folders)
    if chosen.system == WEAK_LABELS:
        (source,) = sources.values()
        stages = weak_labels_stages(chosen.preset, output, settings, source, chosen.config)
    else:
        stages = model_selection_stages(output, settings, sources, chosen.config)
    for name in chosen.config:
        if not any(name in stage.arguments for stage in stages):
            raise InputError(f"--config {name}: {chosen.system} trains no {model_kind(name)}; leave it out")
        model = read_configuration(name).get("model")
        if isinstance(model, dict) and {"external_classifier", "joint_classifier"} & {*(model.get("init_args") or ())}:
            raise InputError(f"--config {name}: the table trains classifiers of its own; train a separator with `fit`")
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
    _run(chosen, places, stages, output, group, launch, settings)


def _run(
    chosen: Namespace,
    places: dict[str, str],
    stages: list[Stage],
    output: Path,
    group: str,
    launch: list[str],
    settings: list[str],
) -> None:
    import torch

    from experiments.reproduction import model_selection_table, run_stages, tracking, weak_labels_table

    pairs = ("=".join(option).partition("=") for option in options(settings))
    given = {name: value for name, _, value in pairs}  # as on any command line, the last one holds
    devices = given.get("--trainer.devices", "auto")
    several = devices != "1" if devices != "auto" else torch.cuda.device_count() > 1
    apart = several or given.get("--trainer.num_nodes", "1") != "1"
    # More than the trainings that need no other are never independent of each other.
    fits = [stage for stage in stages if stage.arguments[0] == "fit"]
    first = [stage for stage in fits if not {*stage.needs} & {fit.name for fit in fits}]
    jobs = chosen.jobs or (1 if torch.cuda.is_available() or apart else min(os.cpu_count() or 1, len(first)))
    own = [name for name, place in places.items() if place]
    notes = [NOTES[chosen.preset]] if len(own) < len(places) else []
    notes += [f"With {', '.join(chosen.config)}."] if chosen.config else []
    notes += [f"{', '.join(own)}: your own recordings, at the size of --preset {chosen.preset}."] if own else []
    with sole_writer(output, "--output", inside=True):
        run_stages.run_stages(stages, jobs, apart, launch)
        # Other data make other mixtures than the published figures are of; a domain of the user's own has no figures.
        weak = chosen.system == WEAK_LABELS
        runs = output.glob("*") if weak else (RunFiles(output).selection(domain).folder for domain in DOMAINS)
        tests = [read_configuration(str(path)) for run in runs if (path := run / TEST_FILE).is_file()]
        compared = not any("data" in read_configuration(name) for name in chosen.config) and all(map(of_papers, tests))
        if weak:
            weak_labels_table.make_table(output, " ".join(notes), compared=compared)
        else:
            model_selection_table.make_tables(output, " ".join(notes), tuple(places), compared)
        if chosen.logger == "wandb":
            tracking.track_tables(output, group, {"system": chosen.system, "preset": chosen.preset})
    files = RunFiles(output)
    trained = ["frame"] if chosen.system == WEAK_LABELS else list(places)
    models = [word for name in trained for word in ("--model", str(RunFiles(output / name).best))]
    separating = ["separate", *import_options(), *models, "RECORDING.wav", "--output", "separated"]
    following = [["report", *import_options(), str(output)], separating]
    show_next([files.table_text, files.table, files.scores, files.confidence], following)


def _parted(arguments: list[str], chosen: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """The options, with their values, whose names are chosen, and all others."""
    parts: tuple[list[str], list[str]] = ([], [])
    for option in options(arguments):
        parts[not chosen(option[0].split("=")[0])].extend(option)
    return parts


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
