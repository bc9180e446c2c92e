"""`separatrix separate`: a person's own recordings, separated by trained models."""

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from datamodules.corpora.audio_file import AudioFile, scan_audio
from experiments.command_line.parser import Explaining, command_parser
from experiments.command_line.text import counted, show_lines
from experiments.output.sole_writer import InUseError
from experiments.separated_files import MANIFEST, SourceFormat, is_separated, separate_file
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError, printable
from lightning_modules.recordings.clustering import Judgement
from lightning_modules.recordings.separator import Select, Separator

DESCRIPTION = """Separate recordings (WAV, FLAC, Ogg, AIFF) of any length, rate and number of channels. A weak-label
separator writes one file for each sound class, and `residual`, what these leave of the recording: together they add up
to it. Of several deep clustering models the most confident one's sources are written. Each recording becomes a folder,
with its sources and separation.json."""
EXAMPLES = (
    "separate --model runs/strong/checkpoints/best.ckpt street.wav --output separated",
    "separate --model speech.ckpt --model music.ckpt talk.wav band.flac --output separated",
)


def command(arguments: list[str]) -> None:
    """`separatrix separate ...`.

    Raises:
        InputError: the models do not fit together, an output is in use, or recordings could not be separated; the
            others are.
    """
    parser = _parser()
    settings = parser.parse_args(arguments[1:])
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU; leave it out to compute on the CPU")
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    folders = _folders(settings.files, settings.output)
    if not settings.overwrite:
        for path, folder in list(folders.items()):
            if is_separated(folder, path, settings.model, settings.select, settings.format):
                _say(console, f"{path}: separated before, {folder}; --overwrite does it again")
                del folders[path]
            elif folder.is_dir() and any(folder.iterdir()):
                raise InputError(f"{folder}: not empty; choose another --output, or replace it with --overwrite")
    if not folders:
        return
    separator = Separator.from_checkpoints(settings.model, settings.select, settings.device)
    _say(console, _plan(separator, len(folders)))
    refused = []
    for path, folder in folders.items():
        try:
            _separate(console, separator, path, folder, settings.format, settings.overwrite)
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


def _parser() -> Explaining:
    parser = command_parser("separate", DESCRIPTION, *EXAMPLES)
    parser.add_argument("files", nargs="+", help="recordings")
    parser.add_argument("--model", action="append", required=True, help="trained model; several of deep clustering")
    parser.add_argument("--output", type=Path, required=True, help="folder in which each recording gets one of its own")
    select = "deep clustering: one model and the same clusters for a whole file, or for each segment of 8 s by itself"
    parser.add_argument("--select", choices=get_args(Select), default="file", help=select)
    formats = "32-bit float WAV, or 24-bit WAV or FLAC: all sources are made softer alike where one exceeds full scale"
    parser.add_argument("--format", choices=get_args(SourceFormat), default="float", help=formats)
    parser.add_argument("--device", choices=["cpu", "cuda"], default=None, help="cuda where there is one unless given")
    parser.add_argument("--overwrite", action="store_true", help="replace what was separated there before")
    return parser


def _folders(files: Sequence[str], output: Path) -> dict[str, Path]:
    """The folder of each recording, named after it.

    Raises:
        InputError: two recordings would share one, or what is given is none.
    """
    folders: dict[str, Path] = {}
    for path in files:
        if Path(path).is_dir():
            raise InputError(f"{path}: a folder; give the recordings in it, such as {Path(path) / '*.wav'}")
        name = Path(path).stem
        if name in ("", ".", ".."):
            raise InputError(f"{path}: no folder can be named after it; give it another name")
        if output / name in folders.values():
            raise InputError(f"{path}: another recording is named {name}, too; separate it into another --output")
        folders[path] = output / name
    return folders


def _plan(separator: Separator, recordings: int) -> str:
    """What is about to be done."""
    sources = f"into {', '.join(separator.names)}"
    if isinstance(separator.model, ModelSelection):
        names = separator.model.names
        by = f"the most confident model for each {separator.select}: {', '.join(names)}"
        sources = f"into {len(separator.names)} sources by {by if len(names) > 1 else f'the {names[0]} model'}"
    return (
        f"separating {counted(recordings, 'recording')} {sources} ({separator.sample_rate} Hz, {separator.device.type})"
    )


def _separate(
    console: Console, separator: Separator, path: str, folder: Path, source_format: SourceFormat, overwrite: bool
) -> None:
    """Separate one recording and say what lies where."""
    audio = scan_audio(path)
    seconds = audio.samples / audio.rate
    length = f"{int(seconds) // 60}:{int(seconds) % 60:02}" if seconds >= 60 else f"{seconds:.1f} s"
    channels = {1: "mono", 2: "stereo"}.get(audio.channels, f"{audio.channels} channels")
    _say(console, f"{path}: {length}, {audio.rate} Hz, {channels}")
    for remark in _remarks(separator, audio):
        _say(console, f"  {remark}")
    begun, terminal = time.perf_counter(), Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        advance = partial(progress.advance, progress.add_task("", total=seconds))
        done = separate_file(separator, path, folder, source_format, overwrite, advance, audio)
    took = time.perf_counter() - begun
    if done.judgements:
        console.print(_table(done.judgements))
    if done.scale < 1:
        _say(console, f"  all sources times {done.scale:.3g}, so that the loudest fits into 24 bits")
    names = ", ".join(file.name for file in done.files)
    _say(console, f"  {folder}: {names}, {MANIFEST}; {took:.1f} s, {seconds / took:.1f} x real time")


def _say(console: Console, line: str) -> None:
    """A line; names of files may hold what would colour a terminal or break the line."""
    console.print(printable(line), markup=False)


def _remarks(separator: Separator, audio: AudioFile) -> Iterator[str]:
    if audio.clipped:
        yield f"warning: clipped, {audio.clipped} values stay at full scale; sources may hold its distortion"
    if audio.rate > separator.sample_rate:
        place = "is in the residual" if separator.has_residual else "is in no source"
        yield f"the model hears up to {separator.sample_rate // 2} Hz: what lies above {place}"


def _table(judgements: Sequence[Judgement]) -> Table:
    """Each model's confidence, and its parts; means over several segments."""
    table = Table("model", "confidence", "silhouette", "posterior", "picked")
    for name in judgements[0].confidences:
        measures = [
            sum(float(getattr(judgement.confidences[name], measure)) for judgement in judgements) / len(judgements)
            for measure in ("confidence", "silhouette", "posterior")
        ]
        times = sum(judgement.picked == name for judgement in judgements)
        picked = ("picked" if times else "") if len(judgements) == 1 else f"{times} of {len(judgements)} segments"
        table.add_row(Text(name), *(f"{value:.3f}" for value in measures), picked)
    return table
