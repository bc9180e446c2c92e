"""`separatrix report`: a run's tables, figures and sounds as one HTML page."""

from pathlib import Path

from rich.console import Console

from experiments.command_line.parser import command_parser
from experiments.command_line.text import counted, show_lines
from experiments.output.sole_writer import sole_writer
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles

MOST_EXAMPLES = 50  # of each class or domain: some 3 MB of page for each
DESCRIPTION = """Make one HTML page of a run: its table beside the published one, figures, learning curves, and
mixtures to listen to with everything that was made of them. The page needs nothing but a browser: it can be sent, and
read offline. Tables and figures come from the rows in the folder. Sounds are made again from bank, corpus and
checkpoints: where one of them is gone, the page says so."""
EXAMPLES = ("report runs/demo/weak-labels", "report runs/small/model-selection --no-audio --output tables.html")


def command(arguments: list[str]) -> None:
    """`separatrix report ...`."""
    parser = command_parser("report", DESCRIPTION, *EXAMPLES)
    parser.add_argument("run", help="folder of a reproduction, or of a single run")
    parser.add_argument("--output", help="the page; RUN/report.html unless given")
    examples = "mixtures to listen to of each class or domain, evenly from best to worst"
    parser.add_argument("--examples", type=int, default=3, help=examples)
    parser.add_argument("--no-audio", action="store_true", help="leave the mixtures out: no model or sound is needed")
    given = parser.parse_args(arguments[1:])
    from experiments.report.contents import Contents
    from experiments.report.page import html
    from experiments.report.run_folder import open_run_folder

    if not 0 <= given.examples <= MOST_EXAMPLES:
        raise InputError(f"--examples: {given.examples}; 0 to {MOST_EXAMPLES} are possible")
    folder = open_run_folder(Path(given.run))
    output = Path(given.output) if given.output else RunFiles(folder.path).report
    if output.is_dir():
        raise InputError(f"--output {output}: is a folder; give the name of a file, such as {output / 'report.html'}")

    console = Console(emoji=False, highlight=False, soft_wrap=True, markup=False)
    console.print(f"{folder.path}: {folder.what}")
    with sole_writer(output, "--output"):
        page = Contents(folder, 0 if given.no_audio else given.examples, console.print).page()
        write_text_atomically(output, html(page))
    for reason in page.missing:
        console.print(f"missing: {reason}")
    made = f"{output}: {counted(len(page.parts), 'part')}, {output.stat().st_size / 1e6:.1f} MB"
    show_lines([("made", made), ("next", "open it in a browser; it needs no network, and can be sent as it is")])
