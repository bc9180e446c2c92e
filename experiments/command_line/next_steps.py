"""What a command has made, and what can be typed next: complete, and right for this run."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.command_line.configurations import config_options, options
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
    """A training on the bank's data: a strong separator of scenes, or the deep clustering model of a domain."""
    words = [word for option in options(arguments[1:]) if option[0] != "--workers" for word in option]
    model = "weak_labels/strong" if data.endswith("UrbanScenes") else "deep_clustering/model"
    return ["fit", *words, *config_options(model), "--run", f"runs/{model.rpartition('/')[2]}"]


def after_check(corpus: str, root: str | Path | None, folds: int | None = None) -> list[list[str]]:
    """What a corpus that is in order can be used for; nothing where only its table was at hand."""
    if corpus == "procedural":
        return [["reproduce", "weak-labels", "--preset", "demo"]]
    if root is None:
        return []
    if corpus == "urbansound8k":
        return [["reproduce", "weak-labels", "--preset", "small", "--urbansound8k", str(root)]]
    domain = {"librispeech": "speech", "musdb18": "music"}.get(corpus)
    if domain is not None:
        fit = ["fit", *config_options(f"deep_clustering/{domain}"), "--preset", "small"]
        return [[*fit, "--data.corpus.root", str(root), "--run", f"runs/{domain}"]]
    name = Path(root).resolve().name
    words = [*config_options("deep_clustering/model", "deep_clustering/base"), "--data.domain", name]
    words += ["--data.corpus", "FolderPerClass", "--data.corpus.root", str(root)]
    if folds is not None and folds >= 3 and not (Path(root) / "train").is_dir():
        split = {"train": list(range(1, folds - 1)), "validation": [folds - 1], "test": [folds]}
        words += [word for part, numbers in split.items() for word in (f"--data.{part}_folds", str(numbers))]
        words += ["--data.corpus.folds", str(folds)]
    return [["fit", *words, "--run", f"runs/{name}"]]
