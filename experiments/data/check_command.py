"""`separatrix check`: the list of the corpora; `experiments.data.check` does the work."""

from experiments.command_line.parser import command_parser
from lightning_modules.errors import InputError

DESCRIPTION = """Decode every clip of a corpus, list what is broken or silent (on a terminal the first twenty of each),
and compare the mixtures made of it with the published statistics. Exits with status 2 where a clip is broken."""
# The folder that a corpus's example speaks of; procedural sounds have none.
FOLDERS = {
    "own_recordings": "recordings",
    "urbansound8k": "UrbanSound8K",
    "librispeech": "LibriSpeech",
    "musdb18": "musdb18hq",
    "esc50": "ESC-50",
    "fsd50k": "FSD50K",
    "folder_per_class": "recordings",
    "procedural": "",
}
USAGE = "separatrix check FOLDER|CORPUS [--OPTION VALUE ...]"


def example(corpus: str) -> str:
    """The arguments that check a corpus."""
    if corpus == "own_recordings":
        return f"check {FOLDERS[corpus]}"
    return f"check {corpus} --root {FOLDERS[corpus]}" if FOLDERS[corpus] else f"check {corpus}"


def command(arguments: list[str]) -> None:
    """`separatrix check ...`; the list of the corpora imports nothing of them."""
    if arguments[1:2] in (["-h"], ["--help"]):
        parser = command_parser("check", DESCRIPTION, *map(example, FOLDERS), usage=USAGE)
        parser.add_argument("FOLDER", help="recordings: a folder for each class, or the layout of one of the corpora")
        parser.add_argument("CORPUS", choices=list(FOLDERS), help="`separatrix check CORPUS --help` has its options")
        print(parser.format_help())
        return
    if all(word.startswith("-") for word in arguments[1:]):
        raise InputError(f"a folder of recordings is needed, or one of {', '.join(FOLDERS)}")
    from experiments.data import check

    check.command(arguments)
