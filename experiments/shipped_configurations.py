"""`separatrix configs`: the configurations that ship, and what each of them is."""

from itertools import groupby, takewhile
from pathlib import Path

from rich.console import Console
from rich.padding import Padding

from experiments.command_parser import command_parser
from experiments.configuration import config_path, read_configuration, shipped_configurations

DESCRIPTION = "The configurations that ship, each with its own words on what it is; or one of them as it is written."


def comment(path: Path) -> str:
    """What a configuration says of itself: the comment that it begins with, in one line."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def command(arguments: list[str]) -> None:
    """`separatrix configs [NAME]`.

    Raises:
        InputError: there is no configuration of that name, or it is not one.
    """
    parser = command_parser("configs", DESCRIPTION, "configs", "configs weak_labels/frame")
    parser.add_argument("name", nargs="?", help="of one configuration, or the path of a file")
    name = parser.parse_args(arguments[1:]).name
    console = Console(emoji=False, highlight=False, markup=False, soft_wrap=name is not None)
    if name is not None:
        read_configuration(name)
        path = config_path(name)
        console.print(f"{path}\n")
        console.print(path.read_text(encoding="utf-8"), end="")
        return
    for folder, names in groupby(shipped_configurations().items(), lambda item: item[0].rpartition("/")[0]):
        console.print(f"\n{folder}/")
        for name, path in names:
            console.print(f"  {name.rpartition('/')[2]}")
            console.print(Padding(comment(path), (0, 0, 0, 6)))
    console.print(
        "\nAdded up from left to right: `separatrix fit --config weak_labels/base --config weak_labels/strong ...`"
        "\nOne as it is written: `separatrix configs weak_labels/strong`"
    )
