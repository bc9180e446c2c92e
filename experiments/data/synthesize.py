"""`separatrix synthesize`: mixtures, isolated sources and labels as files, with a manifest that makes them again."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console
from rich.progress import track

from experiments.command_line.configurations import resolved
from experiments.command_line.parser import data_parser
from experiments.command_line.text import show_next
from experiments.output.new_folder import new_folder
from lightning_modules.errors import InputError

if TYPE_CHECKING:
    from datamodules.mixtures import MixtureDataModule

MANIFEST = "manifest.json"
FORMAT = 2
# Of a manifest: what the command's arguments say too.
SELECTION = ("data", "split", "start", "mixtures", "audio_format", "isolated_events", "merge_overlaps")
PACKAGES = ("separatrix", "numpy", "pyloudnorm", "soundfile", "torch", "torchaudio")

DESCRIPTION = """Write mixtures with their JAMS (mixtures/), the isolated sources in them (sources/), their events and
their classes (labels.tsv and weak_labels.tsv, as in DCASE; a pair's events in the order of its sources) and a manifest,
from which `--manifest` makes the same bytes again."""
EXAMPLES = (
    "synthesize --config weak_labels/base --data.corpus.root UrbanSound8K --mixtures 100 --output mixtures",
    "synthesize --config weak_labels/base --config weak_labels/demo/data --mixtures 10 --output procedural",
)


def content_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of all files of a folder but its manifest, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def synthesize(
    data: "MixtureDataModule", selection: dict[str, Any], output: Path, overwrite: bool, known: dict[str, Any] | None
) -> None:
    """Write a set of mixtures, with the values that SELECTION names, into a new folder, as a whole or not at all.

    `known` is the manifest of which they must be the files again.
    """
    from experiments.data.mixture_files import SCALE, write_mixtures

    split, start, mixtures = selection["split"], selection["start"], selection["mixtures"]
    # Augmented mixtures go on: at each pass through the split they are others.
    endless = split == "train" and data.augmentation is not None
    if mixtures < 1 or (start + mixtures > data.mixtures[split] and not endless):
        raise InputError(
            f"--start {start} --mixtures {max(mixtures, 1)}: the {split} split has {data.mixtures[split]} mixtures; "
            f"take fewer or raise --data.{split}_mixtures"
        )
    with new_folder(output, overwrite, made_by_us=MANIFEST) as folder:
        data.build(split=split)
        indices = track(range(start, start + mixtures), f"writing {mixtures} mixtures", console=Console(stderr=True))
        how = (selection[name] for name in ("audio_format", "isolated_events", "merge_overlaps"))
        write_mixtures(folder, data, split, indices, *how)
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
            _refuse_other_files(known, manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _refuse_other_files(known: dict[str, Any], made: dict[str, Any]) -> None:
    """Refuse files that are not those of the manifest, saying what is known to differ."""
    same_selection = all(known[name] == made[name] for name in SELECTION if name != "data")
    if not same_selection or known.get("content_sha256") == made["content_sha256"]:
        return
    differing = [
        f"{section} {name} {before} -> {value}"
        for section in ("versions", "corpus")
        for name, value in made[section].items()
        if (before := known.get(section, {}).get(name)) != value
    ]
    reason = f"differs here: {', '.join(differing)}" if differing else "the data settings were overridden"
    raise InputError(f"not the manifest's files again ({reason}); without --manifest they can be made as they are")


def _with_manifest(arguments: list[str]) -> tuple[list[str], dict[str, Any] | None]:
    """The arguments with `--manifest FILE` replaced by what it says, and what it says."""
    joined: list[str] = []
    for argument in arguments:
        joined += argument.split("=", 1) if argument.startswith("--manifest=") else [argument]
    if "--manifest" not in joined[:-1]:
        return arguments, None
    at = joined.index("--manifest")
    path = Path(joined[at + 1])
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise InputError(f"--manifest {path}: format {manifest['format']}; this version reads format {FORMAT}")
        manifest.setdefault("merge_overlaps", False)  # what earlier versions made
        selection = {name: manifest[name] for name in SELECTION}
        if not all(isinstance(manifest.get(section, {}), dict) for section in ("versions", "corpus")):
            raise ValueError
    except OSError as error:
        raise InputError(f"--manifest {path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"--manifest {path}: not the {MANIFEST} of synthesized mixtures") from None
    return [*joined[:at], f"--config={json.dumps(selection)}", *joined[at + 2 :]], manifest


def command(arguments: list[str]) -> None:
    """`separatrix synthesize ...`."""
    parser = data_parser(arguments, DESCRIPTION, *EXAMPLES)
    parser.add_argument("--manifest", type=str | None, help=f"a {MANIFEST}: make its files again")
    parser.add_argument("--split", choices=["train", "validation", "test"], default="test", help="whose mixtures")
    parser.add_argument("--start", type=NonNegativeInt, default=0, help="index of the first mixture")
    parser.add_argument("--mixtures", type=PositiveInt | None, help="how many; all from --start on unless given")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--audio_format",
        choices=["wav", "flac"],
        default="wav",
        help="wav: 32-bit float, as trainings get them: the sources sum to the mixture; flac: an eighth, in 24 bits",
    )
    parser.add_argument(
        "--isolated_events",
        action="store_true",
        help="write every event by itself too, as Scaper does: mixtures/NAME_events/",
    )
    parser.add_argument(
        "--merge_overlaps",
        action="store_true",
        help="labels.tsv: overlapping events of one class as a single one, as PSDS tools need them",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what synthesize wrote there before")
    words, known = _with_manifest(resolved(arguments[1:], ("data",)))
    settings: Namespace = parser.parse_args(words)
    data: MixtureDataModule = parser.instantiate(settings).data
    mixtures = settings.mixtures or data.mixtures[settings.split] - settings.start
    dumped = json.loads(parser.dump(settings, format="json", skip_unset=False))
    selection = {name: dumped[name] for name in SELECTION} | {"mixtures": mixtures}
    synthesize(data, selection, settings.output, settings.overwrite, known)
    print(f"{settings.output}: {mixtures} mixtures of the {settings.split} split, JAMS, labels.tsv, weak_labels.tsv")
    again = settings.output.with_name(f"{settings.output.name}_again")
    show_next([], [["synthesize", "--manifest", str(settings.output / MANIFEST), "--output", str(again)]])
