"""`separatrix synthesize`: mixtures, isolated sources and labels as files, with what it takes to make them again."""

import csv
import hashlib
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console
from rich.progress import track
from scipy.io import wavfile

from datamodules.annotations import DCASE_COLUMNS, SoundEvent, dcase_rows, jams, sound_events
from datamodules.batch import Batch, Split
from datamodules.mixtures import MixtureDataModule
from experiments.data_configuration import data_parser, plain_data, with_sections
from experiments.next_steps import tell
from experiments.output_folder import new_folder
from lightning_modules.errors import InputError

AudioFormat = Literal["wav", "flac"]
MANIFEST, LABELS = "manifest.json", "labels.tsv"
FORMAT = 1
# Of a manifest: what the command's arguments say too.
SELECTION = ("data", "split", "start", "mixtures", "audio_format")
PACKAGES = ("separatrix", "numpy", "pyloudnorm", "soundfile", "torch", "torchaudio")
# FLAC ends at ±1, which every fourth mixture of short, loud events exceeds: up to 2.5 in UrbanSound8K's.
SCALE: dict[AudioFormat, float] = {"wav": 1.0, "flac": 0.125}
MIXTURES_AT_ONCE = 16

DESCRIPTION = """Write mixtures (mixtures/), the isolated sources in them (sources/), their events (labels.tsv as in
DCASE, jams/ as JAMS; a pair's in the order of its sources) and a manifest, from which `--manifest` makes the same
bytes again."""
EXAMPLES = (
    "synthesize --config weak_labels/base --data.corpus.root UrbanSound8K --mixtures 100 --output mixtures",
    "synthesize --config weak_labels/base --config weak_labels/demo/data --mixtures 10 --output procedural",
)


def write_audio(path: Path, samples: np.ndarray, sample_rate: int, audio_format: AudioFormat) -> None:
    """Write mono float32 samples [T]: WAV holds them as they are, FLAC holds an eighth of them, rounded to 24 bits.

    Raises:
        InputError: samples that FLAC cannot hold even so.
    """
    if audio_format == "wav":
        # Not by libsndfile, which writes the time of writing into float WAV: files would never be the same twice.
        wavfile.write(path, sample_rate, samples)
        return
    scaled = samples * SCALE["flac"]
    if np.abs(scaled).max() > 1 - 2**-23:
        raise InputError(
            f"{path.stem}: peak {np.abs(samples).max():.2f} does not fit into FLAC; use --audio_format wav"
        )
    soundfile.write(path, scaled, sample_rate, subtype="PCM_24", format="FLAC")


class MixtureFiles:
    """The files of one set of mixtures, written one mixture after the other.

    Args:
        folder: to write into.
        data: whose mixtures they are.
        split: part of the data.
        audio_format: of mixtures and sources.
    """

    def __init__(self, folder: Path, data: MixtureDataModule, split: Split, audio_format: AudioFormat) -> None:
        self.folder = folder
        self.data = data
        self.split = split
        self.audio_format = audio_format
        self.dataset = data.dataset(split)
        self._label_rows: list[tuple[str, ...]] = [DCASE_COLUMNS]
        for kind in ("mixtures", "sources", "jams"):
            (folder / kind).mkdir()

    def write(self, indices: range) -> None:
        """Render these mixtures and write their audio and their JAMS."""
        batch = self.dataset.__getitems__(indices)
        for number, index in enumerate(indices):
            mixture = Batch(*(field[number] for field in batch))
            recipe = self.dataset.recipes(index)
            self._write_one(index, mixture, sound_events(recipe, self.dataset.bank, self.dataset.samples))

    def _write_one(self, index: int, mixture: Batch, events: list[SoundEvent]) -> None:
        rate = self.data.geometry.sample_rate
        name = f"{self.split}-{index:06d}"
        file_name = f"{name}.{self.audio_format}"
        write_audio(self.folder / "mixtures" / file_name, mixture.mixture.numpy(), rate, self.audio_format)
        (self.folder / "sources" / name).mkdir()
        for label, source, present in zip(self.data.classes, mixture.sources, mixture.clip_labels, strict=True):
            if present:
                path = self.folder / "sources" / name / f"{label}.{self.audio_format}"
                write_audio(path, source.numpy(), rate, self.audio_format)
        annotations = jams(events, self.dataset.samples / rate, file_name, self.data.corpus.name)
        (self.folder / "jams" / f"{name}.jams").write_text(json.dumps(annotations, indent=1) + "\n")
        self._label_rows += dcase_rows(file_name, events)

    def write_labels(self) -> None:
        """Write the events of all mixtures as one table."""
        with open(self.folder / LABELS, "w", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(self._label_rows)


def content_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of all files of a folder but its manifest, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def synthesize(
    data: MixtureDataModule, selection: dict[str, Any], output: Path, overwrite: bool, known: dict[str, Any] | None
) -> None:
    """Write a set of mixtures into a new folder; nothing is there before all of it is.

    Args:
        data: what they are made of; its sound bank is built when missing.
        selection: what SELECTION names.
        output: the new folder.
        overwrite: whether a set that lies there already is replaced.
        known: the manifest that they are made again from.

    Raises:
        InputError: the split has fewer mixtures, the folder is in use, or the files are not the manifest's.
    """
    split, start, mixtures = selection["split"], selection["start"], selection["mixtures"]
    if mixtures < 1 or start + mixtures > data.mixtures[split]:
        raise InputError(
            f"--start {start} --mixtures {max(mixtures, 1)}: the {split} split has {data.mixtures[split]} mixtures; "
            f"take fewer or raise --data.{split}_mixtures"
        )
    with new_folder(output, overwrite, made_by_us=MANIFEST) as folder:
        data.build()
        files = MixtureFiles(folder, data, split, selection["audio_format"])
        chunks = [
            range(begin, min(begin + MIXTURES_AT_ONCE, start + mixtures))
            for begin in range(start, start + mixtures, MIXTURES_AT_ONCE)
        ]
        for chunk in track(chunks, f"writing {mixtures} mixtures", console=Console(stderr=True)):
            files.write(chunk)
        files.write_labels()
        manifest = {
            "format": FORMAT,
            **selection,
            "scale": SCALE[selection["audio_format"]],
            "seed": data.seed,
            "corpus": {"name": data.corpus.name, "fingerprint": data.corpus.fingerprint(data.clips())},
            "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
            "content_sha256": content_digest(folder),
        }
        if known is not None:
            _compare(known, manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _compare(known: dict[str, Any], made: dict[str, Any]) -> None:
    """Refuse files that are not those of the manifest, saying what is known to differ."""
    same_selection = all(known[name] == made[name] for name in SELECTION if name != "data")
    if not same_selection or known.get("content_sha256") == made["content_sha256"]:
        return
    differing = [*_differences("versions", known, made), *_differences("corpus", known, made)]
    reason = f"differs here: {', '.join(differing)}" if differing else "the data settings were overridden"
    raise InputError(f"not the manifest's files again ({reason}); without --manifest they can be made as they are")


def _differences(section: str, known: dict[str, Any], made: dict[str, Any]) -> Iterator[str]:
    for name, value in made[section].items():
        if (before := known.get(section, {}).get(name)) != value:
            yield f"{section} {name} {before} -> {value}"


def _with_manifest(arguments: list[str]) -> tuple[list[str], dict[str, Any] | None]:
    """The arguments with `--manifest FILE` replaced by what it says, and what it says."""
    joined = [part for argument in arguments for part in _split_value(argument)]
    if "--manifest" not in joined[:-1]:
        return arguments, None
    at = joined.index("--manifest")
    path = Path(joined[at + 1])
    try:
        manifest = json.loads(path.read_text())
        selection = {name: manifest[name] for name in SELECTION}
        if not all(isinstance(manifest.get(section, {}), dict) for section in ("versions", "corpus")):
            raise ValueError
    except OSError as error:
        raise InputError(f"--manifest {path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"--manifest {path}: not the {MANIFEST} of synthesized mixtures") from None
    if manifest.get("format") != FORMAT:
        raise InputError(f"--manifest {path}: format {manifest.get('format')}; this version reads format {FORMAT}")
    return [*joined[:at], f"--config={json.dumps(selection)}", *joined[at + 2 :]], manifest


def _split_value(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--manifest=") else [argument]


def command(arguments: list[str]) -> None:
    """`separatrix synthesize ...`."""
    parser = data_parser("synthesize", DESCRIPTION, *EXAMPLES, base=MixtureDataModule)
    parser.add_argument("--manifest", type=str | None, help=f"a {MANIFEST}: make its files again")
    parser.add_argument("--split", type=Split, default="test", help="whose mixtures")
    parser.add_argument("--start", type=NonNegativeInt, default=0, help="index of the first mixture")
    parser.add_argument("--mixtures", type=PositiveInt | None, help="how many; all from --start on unless given")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--audio_format",
        type=AudioFormat,
        default="wav",
        help="wav: 32-bit float, as trainings get them: the sources sum to the mixture; flac: an eighth, in 24 bits",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what synthesize wrote there before")
    resolved, known = _with_manifest(with_sections(arguments[1:]))
    settings: Namespace = parser.parse_args(resolved)
    data: MixtureDataModule = parser.instantiate(settings).data
    mixtures = settings.mixtures or data.mixtures[settings.split] - settings.start
    selection = {
        "data": plain_data(parser, settings),
        "split": settings.split,
        "start": settings.start,
        "mixtures": mixtures,
        "audio_format": settings.audio_format,
    }
    synthesize(data, selection, settings.output, settings.overwrite, known)
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    console.print(
        f"{settings.output}: {mixtures} mixtures of the {settings.split} split, {LABELS} and jams/", markup=False
    )
    again = settings.output.with_name(f"{settings.output.name}_again")
    tell([], [["synthesize", "--manifest", str(settings.output / MANIFEST), "--output", str(again)]])
