"""`separatrix separate`: a person's own recordings, separated by trained models."""

import os
import sys
import textwrap
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from experiments.command_line.parser import command_parser
from experiments.command_line.text import counted, show_lines
from experiments.output.sole_writer import InUseError
from lightning_modules.errors import InputError, printable
from lightning_modules.pretrained import model_file

if TYPE_CHECKING:
    from lightning_modules.recordings.clustering import SelectedModel
    from lightning_modules.recordings.separator import Separator

DESCRIPTION = """Separate recordings (WAV, FLAC, MP3, Ogg, AIFF, AU, CAF) of any length, rate and number of channels. A
weak-label separator writes one file for each sound class, and `residual`, what these leave of the recording: together
they add up to it. Of several deep clustering models the most confident one's sources are written. Each recording
becomes a folder, with its sources and separation.json."""
EXAMPLES = (
    "separate --model urban street.wav --output separated",
    "separate --model speech --model music --model environmental talk.wav band.flac --output separated",
    "separate --model speech --sources auto talk.wav --output separated",
    "separate --model runs/strong/checkpoints/best.ckpt street.wav --output separated",
)


def command(arguments: list[str]) -> None:
    """`separatrix separate ...`."""
    parser = command_parser("separate", DESCRIPTION, *EXAMPLES)
    add = parser.add_argument
    add("files", nargs="+", help="recordings")
    add(
        "--model",
        action="append",
        required=True,
        help="name of an included model, or a file; several of deep clustering",
    )
    add("--output", type=Path, required=True, help="folder in which each recording gets one of its own")
    select = (
        "deep clustering: one model and the same clusters for a whole file, or for each segment of up to 8 s by itself"
    )
    add("--select", choices=["file", "segment"], default="file", help=select)
    number = "deep clustering: how many sources to separate into; auto: of 2 to 5 the number of highest confidence"
    add("--sources", metavar="auto|N", help=number)
    formats = (
        "32-bit float WAV, or 24-bit WAV or FLAC: if a source exceeds full scale, all are scaled down by one factor"
    )
    add("--format", choices=["float", "pcm24", "flac"], default="float", help=formats)
    add("--device", choices=["cpu", "cuda"], default=None, help="default: cuda if available")
    add("--overwrite", action="store_true", help="replace what was separated there before")
    settings = parser.parse_args(arguments[1:])
    for model in settings.model:
        model_file(model)
    models, sources = settings.model, settings.sources
    if sources not in (None, "auto"):
        if not sources.isdecimal():
            raise InputError(f"--sources {sources}: auto, or a number from 2 on, is needed")
        sources = int(sources)
    folders = _folders(settings.files, settings.output)
    if not any(map(os.path.exists, folders)):
        raise InputError(f"{settings.files[0]}: no such file; give a recording")
    import torch

    from experiments.separation.separated_files import is_separated
    from lightning_modules.recordings.separator import Separator

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU; leave it out to compute on the CPU")
    if not settings.overwrite:
        for path, folder in list(folders.items()):
            if is_separated(folder, path, models, settings.select, settings.format, sources):
                _say(f"{path}: separated before, {folder}; --overwrite does it again")
                del folders[path]
            elif folder.is_dir() and any(folder.iterdir()):
                other = "not empty, perhaps of another model or recording"
                raise InputError(f"{folder}: {other}; choose another --output, or replace it with --overwrite")
    if not folders:
        return
    separator = Separator.from_checkpoints(models, settings.select, settings.device, sources)
    where = f"({separator.sample_rate} Hz, {separator.device.type})"
    begins = f"separating {counted(len(folders), 'recording')} {_sources(separator)} {where}"
    print(
        "\n".join(
            textwrap.wrap(printable(begins), 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        )
    )
    refused = []
    for path, folder in folders.items():
        try:
            _separate(separator, path, folder, settings.format, settings.overwrite)
        except InUseError:
            raise  # the same command, as a rule: to go on with the next recording would be to race it
        except InputError as error:
            if len(folders) == 1:
                raise
            print(f"separatrix separate: {error}", file=sys.stderr)
            refused.append(path)
    if len(refused) < len(folders):
        show_lines([("next", f"listen to what lies in {settings.output}")])
    if refused:
        raise InputError(f"{', '.join(refused)}: not separated; the other {len(folders) - len(refused)} are")


def _folders(files: Sequence[str], output: Path) -> dict[str, Path]:
    """The folder of each recording, named after it."""
    folders: dict[str, Path] = {}
    for path in files:
        if Path(path).is_dir():
            from datamodules.corpora.layout import audio_files_below

            found = audio_files_below(path, path, follow_links=True)
            first = Path(path, min(found, key=lambda name: name.count("/"), default=".wav"))
            such_as = first.with_name(f"*{first.suffix or first.name}")
            raise InputError(f"{path}: a folder; give the recordings in it, such as {such_as}")
        name = Path(path).stem
        if name in ("", ".", ".."):
            raise InputError(f"{path}: no folder can be named after it; give it another name")
        if output / name in folders.values():
            raise InputError(f"{path}: another recording is named {name}, too; separate it into another --output")
        folders[path] = output / name
    return folders


def _sources(separator: "Separator") -> str:
    names: list[str] | None = getattr(separator.model, "names", None)  # of a selection's models
    if names is None:
        return f"into {', '.join(separator.names)}"
    by = f"the most confident model for each {separator.select}: {', '.join(names)}"
    counts = separator.counts or [len(separator.names)]
    number = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
    return f"into {number} sources by {by if len(names) > 1 else f'the {names[0]} model'}"


def _separate(separator: "Separator", path: str, folder: Path, source_format: Any, overwrite: bool) -> None:
    """Separate one recording and say what lies where."""
    from callbacks.training_progress import wrapped
    from datamodules.corpora.audio_file import scan_audio
    from experiments.separation.separated_files import MANIFEST, separate_file

    audio = scan_audio(path)
    seconds = audio.samples / audio.rate
    length = f"{int(seconds) // 60}:{int(seconds) % 60:02}" if seconds >= 60 else f"{seconds:.1f} s"
    channels = {1: "mono", 2: "stereo"}.get(audio.channels, f"{audio.channels} channels")
    _say(f"{path}: {length}, {audio.rate} Hz, {channels}")
    if audio.clipped:
        _say(f"  warning: clipped, {audio.clipped} values stay at full scale; sources may hold its distortion")
    if audio.rate > separator.sample_rate:
        place = "is in the residual" if separator.has_residual else "is in no source"
        _say(f"  the model works up to {separator.sample_rate // 2} Hz: what lies above {place}")
    begun, terminal = time.perf_counter(), Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        advance = partial(progress.advance, progress.add_task(printable(Path(path).name), total=seconds))
        done = separate_file(separator, path, folder, source_format, overwrite, advance, audio)
    took = time.perf_counter() - begun
    picks = [selection for selection in done.selections if selection.picked]
    if picks:
        Console(emoji=False, highlight=False).print(_table(picks))
    if silent := len(done.selections) - len(picks):
        part = f" in {silent} of {len(done.selections)} segments" if picks else ""
        _say(f"  silent{part}: no model is picked, and the sources are silent")
    if done.scale < 1:
        _say(f"  all sources times {done.scale:.3g}, so that the loudest fits into 24 bits")
    names = [printable(f"{file.name},") for file in done.files]
    speed = f"{took:.1f} s, {seconds / took:,.{0 if seconds > 10 * took else 1}f} x real time"
    print(wrapped([printable(f"  {folder}:"), *names, MANIFEST, speed]))


def _say(line: str) -> None:
    """A line; names of files may hold what would colour a terminal or break the line."""
    print(printable(line))


def _table(selections: Sequence["SelectedModel"]) -> Table:
    """The confidence of each model, or number of sources, and its parts; means over several segments."""
    table = Table("model", "confidence", "silhouette", "posterior", "picked")
    for name in selections[0].confidences:
        found = [selection.confidences[name] for selection in selections]
        means = (
            sum(float(getattr(confidence, score)) for confidence in found) / len(found)
            for score in ("confidence", "silhouette", "posterior")
        )
        times = sum(selection.picked == name for selection in selections)
        picked = ("picked" if times else "") if len(selections) == 1 else f"{times} of {len(selections)} segments"
        table.add_row(Text(name), *(f"{mean:.3f}" for mean in means), picked)
    return table
