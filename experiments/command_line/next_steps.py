"""What a command has made, and what can be typed next: complete, and right for this run."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.command_line.configurations import config_options, options, where_shipped
from experiments.command_line.text import show_lines


def tell(made: Iterable[Path | str], commands: Iterable[Sequence[str]] = ()) -> None:
    """Print paths that are there now, and commands that use them.

    Args:
        made: paths, or what there is to say of them; of paths only those that exist.
        commands: arguments of `separatrix`.
    """
    there = [each for each in made if not isinstance(each, Path) or each.exists()]
    following = [list(words) for words in commands]
    show_lines(zip(["made", *[""] * len(there)], there, strict=False))
    show_lines(zip(["next", *[""] * len(following)], following, strict=False))


def after_bank(arguments: list[str], data: str) -> list[str]:
    """A training on the bank's data: a strong separator of scenes, or the deep clustering model of a domain.

    Args:
        arguments: with the command.
        data: class of the data module.
    """
    words = [word for option in options(arguments[1:]) if option[0] != "--workers" for word in option]
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
