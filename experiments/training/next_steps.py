"""What a training or an evaluation has made, and what can be typed next."""

import contextlib
from pathlib import Path

from experiments.command_line.configurations import options
from experiments.command_line.own_classes import import_options, own_imports
from experiments.command_line.text import command_lines, show_next
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.recordings.separator import require_no_other_way
from lightning_modules.run_files import RunFiles
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

# What an evaluation of deep clustering may have otherwise than the training had.
OF_EVALUATION = ("separate_by", "clustered_share", "mask_sharpness")


def tell_of_run(command: str, arguments: list[str], run: RunFiles, model: SeparatrixModule, tested: str | None) -> None:
    """Print what `fit`, `validate`, `test` or `predict` made, and what can follow.

    Args:
        command: which of them.
        arguments: with the command.
        run: its files.
        model: that was trained or used.
        tested: the checkpoint that was evaluated, if any.
    """
    kept = next((path for path in (run.best, run.last) if path.exists()), None)
    made: list[Path] = []
    following: list[list[str]] = []
    if command == "fit":
        made = [run.best, run.last, run.configuration, *filter(None, [run.latest_curves()])]
        if kept is not None and run.configuration.exists():
            words = ["--config", str(run.configuration), "--run", str(run.folder), "--ckpt_path", kept.stem]
            following.append(["test", *words, *import_options()])
    elif command == "validate":
        following.append(["test", *arguments[1:], *import_options()])
    elif command == "test":
        made = [run.summary]
        own = own_imports(dict(model.hparams))
        if run.summary.exists() or isinstance(model, EventClassifier):
            following.append(["report", *own, str(run.folder)])
        if tested and _separates_alike(model, tested):
            following.append(["separate", *own, "--model", tested, "RECORDING.wav", "--output", "separated"])
    classifier = tested if command == "test" else kept
    if command in ("fit", "test") and isinstance(model, EventClassifier) and classifier:
        following += _after_classifier(arguments, run, model, str(classifier))
    show_next(made, following)


def _separates_alike(model: SeparatrixModule, checkpoint: str) -> bool:
    """Whether `separate` does with the checkpoint, by whose settings alone it goes, what was tested."""
    if not isinstance(model, WeakLabelSeparator | DeepClustering):
        return False
    with contextlib.suppress(InputError):
        require_no_other_way(model)
        stored = read_checkpoint(checkpoint)["hyper_parameters"]
        return all(stored.get(name) == model.hparams.get(name) for name in OF_EVALUATION if name in stored)
    return False


def _after_classifier(arguments: list[str], run: RunFiles, model: EventClassifier, checkpoint: str) -> list[list[str]]:
    """The training of the separator that uses a classifier, on the same data; none where it is not known."""
    given, supervision = options(arguments[1:]), model.supervision
    classifier = ("--config", f"weak_labels/classifier_{supervision}")
    if classifier not in given or any(option[-1].endswith("/classifier") for option in given):  # files, not --preset
        return []
    words: list[str] = []
    for option in given:
        if option == classifier:
            words += ("--config", f"weak_labels/{supervision}")
        elif not option[0].startswith(("--model", "--run", "--ckpt_path", "--print_config")):
            words += option
    folder = run.folder.with_name(supervision if run.folder.name != supervision else f"{supervision}_separator")
    own = own_imports(dict(model.hparams))
    return [["fit", *own, *words, "--model.classifier", checkpoint, "--run", str(folder)]]


def resume_command(arguments: list[str], run: RunFiles) -> str:
    """The command that resumes an interrupted one: the same, for a training from its last complete epoch."""
    words = [*arguments, *import_options()]
    if arguments[0] == "fit" and run.last.exists():
        words = [word for option in options(words) if option[0].split("=")[0] != "--ckpt_path" for word in option]
        words += ["--ckpt_path", "last"]
    return command_lines(words, 78)
