"""What a command has made, and what can be typed next: complete, and right for this run."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from lightning import LightningModule

from experiments.configuration import config_options, options, where_shipped
from experiments.own_classes import own_modules
from experiments.run_files import CONFIGURATION_FILE, best_checkpoint, last_checkpoint
from experiments.terminal_lines import show_lines
from lightning_modules.scores.summary import SUMMARY_FILE
from lightning_modules.weak_labels.classifier_module import EventClassifier

# Options of one run that are no part of what the next one is made with.
_OF_THE_RUN = ("--run", "--ckpt_path", "--print_config")


def tell(made: Iterable[Path | str], commands: Iterable[Sequence[str]] = ()) -> None:
    """Print paths that are there now, and commands that use them.

    Args:
        made: paths, or what there is to say of them; of paths only those that exist.
        commands: arguments of `separatrix`.
    """
    lines = [("made", str(each)) for each in made if not isinstance(each, Path) or each.exists()]
    lines += [("next", shlex.join(["separatrix", *words])) for words in commands]
    before = ("", *(name for name, _ in lines))
    show_lines(("" if name == last else name, told) for last, (name, told) in zip(before, lines, strict=False))


def tell_of_run(
    command: str, arguments: list[str], run: Path, model: LightningModule, tested: str | None = None
) -> None:
    """Of a `fit`, `validate`, `test` or `predict` that has come to its end.

    Args:
        command: which of them.
        arguments: with the command.
        run: folder of the run.
        model: that was trained or used.
        tested: the checkpoint that was evaluated, if any.
    """
    kept = next((path for path in (best_checkpoint(run), last_checkpoint(run)) if path.exists()), None)
    made: list[Path] = []
    following: list[list[str]] = []
    if command == "fit":
        configuration = run / CONFIGURATION_FILE
        made = [best_checkpoint(run), last_checkpoint(run), configuration]
        made += sorted((run / "curves").glob("*"), key=lambda path: path.stat().st_mtime)[-1:]
        if kept is not None and configuration.exists():
            following = [["test", "--config", str(configuration), "--run", str(run), "--ckpt_path", kept.stem]]
    elif command == "validate":
        following = [["test", *arguments[1:]]]
    elif command == "test":
        made = [run / SUMMARY_FILE]
        following = [["report", str(run)]] if any(map(Path.exists, made)) or isinstance(model, EventClassifier) else []
        if tested and model.learns and separates(model):
            own = [word for module in own_modules(dict(model.hparams)) for word in ("--import", module)]
            model_and_output = ["--model", tested, "RECORDING.wav", "--output", "separated"]
            following += [["separate", *own, *model_and_output]]
    judge = tested if command == "test" else kept
    if command in ("fit", "test") and isinstance(model, EventClassifier) and judge:
        following += after_judge(arguments, run, model.supervision, str(judge))
    tell(made, following)


def separates(model: LightningModule) -> bool:
    """Whether it makes estimates from a mixture alone."""
    return type(model).predict_step is not LightningModule.predict_step


def after_judge(arguments: list[str], run: Path, supervision: str, checkpoint: str) -> list[list[str]]:
    """The training of the separator that listens to a judge, on the same data; none where it is not known.

    Args:
        arguments: of the judge's training or test, with shipped configurations.
        run: the judge's folder.
        supervision: of the judge, `frame` or `clip`.
        checkpoint: of the judge.
    """
    given = options(arguments[1:])
    judge = f"weak_labels/judge_{supervision}"
    if ("--config", judge) not in given:
        return []
    words: list[str] = []
    for option in given:
        if option[0] != "--config" and not option[0].startswith(("--model", *_OF_THE_RUN)):
            words += option
        elif option == ("--config", judge):
            words += config_options(f"weak_labels/{supervision}")
        elif option[0] == "--config" and option[1].endswith("/judge"):
            size = option[1].removesuffix("/judge")
            words += config_options(*where_shipped(f"{size}/separator", f"{size}/{supervision}"))
        elif option[0] == "--config":
            words += option
    separator = run.with_name(supervision if run.name != supervision else f"{supervision}_separator")
    return [["fit", *words, "--model.judge", checkpoint, "--run", str(separator)]]


def after_bank(arguments: list[str], data: str) -> list[str]:
    """A training on the bank's data: a strong separator of scenes, or the deep clustering model of a domain.

    Args:
        arguments: with the command.
        data: class of the data module.
    """
    words: list[str] = []
    for option in options(arguments[1:]):
        if not option[0].startswith("--workers"):
            words += option
    of_scenes = data.endswith("UrbanScenes")
    model = "weak_labels/strong" if of_scenes else "deep_clustering/model"
    sizes = [name.removesuffix("/data") for name in words if name.endswith("/data")]
    sizes = where_shipped(*(f"{size}/{'separator' if of_scenes else 'model'}" for size in sizes))
    return ["fit", *words, *config_options(model, *sizes), "--run", "runs/strong" if of_scenes else "runs/domain"]


def after_check(corpus: str, root: str | Path | None, folds: int | None = None) -> list[list[str]]:
    """What a corpus that is in order can be used for; nothing where only its table was at hand.

    Args:
        corpus: its name on the command line.
        root: its folder.
        folds: into how many a folder of recordings is dealt, where the command says so.
    """
    if corpus == "procedural":
        return [["reproduce", "weak-labels", "--preset", "demo"]]
    if root is None:
        return []
    if corpus == "urbansound8k":
        return [["reproduce", "weak-labels", "--preset", "small", "--urbansound8k", str(root)]]
    model = ["fit", *config_options("deep_clustering/model", "deep_clustering/base")]
    domain = {"librispeech": "speech", "musdb18": "music"}.get(corpus)
    if domain is not None:
        domain_says = [*config_options(f"deep_clustering/{domain}"), "--data.corpus.root", str(root)]
        return [[*model, *domain_says, "--run", f"runs/{domain}"]]
    name = Path(root).resolve().name
    words = [*model, "--data.domain", name, "--data.corpus", "FolderPerClass", "--data.corpus.root", str(root)]
    if folds is not None and folds >= 3 and not (Path(root) / "train").is_dir():
        split = {"train": list(range(1, folds - 1)), "validation": [folds - 1], "test": [folds]}
        words += [word for part, numbers in split.items() for word in (f"--data.{part}_folds", str(numbers))]
        words += ["--data.corpus.folds", str(folds)]
    return [[*words, "--run", f"runs/{name}"]]


def going_on(arguments: list[str], run: Path) -> str:
    """The command that goes on with an interrupted one: the same, for a training from its last complete epoch."""
    words = list(arguments)
    if arguments[0] == "fit" and last_checkpoint(run).exists():
        pairs = zip(("", *arguments), arguments, strict=False)
        words = [word for before, word in pairs if "--ckpt_path" not in (before, word.split("=")[0])]
        words += ["--ckpt_path", "last"]
    return shlex.join(["separatrix", *words])
