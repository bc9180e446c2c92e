"""`separatrix programmes`: a selection within recordings whose domain changes."""

import hashlib
from pathlib import Path

from rich.console import Console
from rich.progress import track

from experiments.command_line.parser import command_parser
from experiments.command_line.text import show_next
from experiments.output.sole_writer import sole_writer
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles
from lightning_modules.setting_checks import require_positive, require_whole

DESCRIPTION = """Evaluate a selection within recordings. Test mixtures of a reproduction's domains follow each other, as
in a broadcast. Every model separates every window, and a model is picked for each: the best one, by confidence, by what
validation mixtures teach, or one for all. Windows know nothing of the joins; what that costs is the difference from
windows that are the mixtures themselves. Interrupted, the same command resumes."""
EXAMPLES = (
    "programmes runs/small/model-selection",
    "programmes runs/small/model-selection --programmes 20 --windows 8 --split validation --output runs/programmes",
)
MOST = 100_000


def command(arguments: list[str]) -> None:
    """`separatrix programmes ...`."""
    parser = command_parser("programmes", DESCRIPTION, *EXAMPLES)
    add = parser.add_argument
    add("run", type=Path, help="folder of a reproduction of model-selection")
    add("--programmes", type=int, default=60, help="how many recordings")
    add("--segments", type=int, default=6, help="mixtures of each")
    add("--windows", type=float, nargs="+", default=[8.0, 4.0, 2.0], help="lengths of windows, in seconds")
    add("--near", type=float, default=1.0, help="what is near a join, in seconds on either side")
    add("--seed", type=int, default=0, help="of the order of domains")
    mixtures = "whose mixtures they are; of those of validation have calibration and expectations learnt"
    add("--split", choices=["validation", "test"], default="test", help=mixtures)
    add("--output", type=Path, help="folder of programmes.csv and programmes.md (default: that of the reproduction)")
    given = parser.parse_args(arguments[1:])
    require_whole(1, MOST, programmes=given.programmes)
    require_whole(2, MOST, segments=given.segments)
    require_whole(0, 2**31 - 1, seed=given.seed)
    for length in given.windows:
        require_positive(windows=length)
    require_positive(near=given.near)
    import torch

    from callbacks.row_parts import RowParts
    from datamodules.programmes import programme
    from experiments.programmes.evaluation import programme_rows
    from experiments.programmes.table import make_tables
    from experiments.report.mixtures import mixtures_of, selection_of
    from experiments.report.run_folder import SELECTION, open_run_folder
    from lightning_modules.exported_model import weights_digest
    from lightning_modules.scores.fitted_ensembles import FittedEnsembles
    from lightning_modules.scores.programmes import PROGRAMME_COLUMNS
    from lightning_modules.scores.selection_rows import read_evaluated

    folder = open_run_folder(given.run)
    runs = [run for run in folder.runs if run.name.startswith(f"{SELECTION}/")]
    if len(runs) < 2:
        raise InputError(f"{given.run}: no reproduction of model-selection with two domains at least; reproduce one")
    domains = {str(run.setting("data", "domain")): mixtures_of(run, given.split) for run in runs}
    shortest = min(data.samples / data.geometry.sample_rate for data in domains.values())
    if not 2 * given.near < shortest:
        raise InputError(f"--near {given.near:g}: less than half of a mixture ({shortest:g} s) is needed")
    validation = read_evaluated([run.files.validation_scores for run in runs])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    selection, fitted = selection_of(runs[0], folder.path).to(device), FittedEnsembles.fit(validation)
    files = RunFiles(given.output or given.run)
    windows = {f"{length:g}": length for length in given.windows}
    settings = given.programmes, given.segments, windows, given.near, given.seed, given.split
    made_of = [(run.section("data"), run.files.validation_scores.read_bytes()) for run in runs]
    owner = hashlib.sha256(repr((settings, made_of, weights_digest(selection.state_dict()))).encode()).hexdigest()
    with sole_writer(files.programmes, "--output"):
        parts = RowParts(files.parts(files.programmes), PROGRAMME_COLUMNS)
        done = parts.read()
        parts.belong_to(owner)
        count = sum(map(len, done.values()))
        left = [index for index in range(given.programmes) if index not in done]
        console = Console(stderr=True)
        for index in track(left, "programmes", console=console, transient=True, disable=not console.is_terminal):
            drawn = programme(domains, given.seed, given.split, index, given.segments)
            moved = drawn._replace(mixture=drawn.mixture.to(device), sources=drawn.sources.to(device))
            count += parts.append(programme_rows(selection, fitted, moved, index, windows, given.near), rank=0)
        parts.close()
        parts.merge(files.programmes, count)
        make_tables(files.programmes, files.programmes_text, given.near)
        parts.remove()
    show_next([files.programmes, files.programmes_text])
