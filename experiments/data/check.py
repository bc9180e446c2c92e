"""`separatrix check`: what a corpus holds, what is broken, and the statistics of its mixtures beside the published."""

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse.typing import restricted_number_type
from rich.console import Console
from rich.progress import track

from datamodules.corpora.audio_file import SUFFIXES
from datamodules.corpora.corpus import Clip, Corpus, Fold
from datamodules.corpora.esc50 import ESC50
from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.corpora.fsd50k import FSD50K
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18
from datamodules.corpora.own_recordings import FEWEST, SHARES, OwnRecordings, counted_recordings, reader_of
from datamodules.corpora.procedural import Procedural
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import Inspection, inspect_clips, inspect_table
from datamodules.mixtures import LARGEST_SEED, MOST_MIXTURES, require_measurable
from datamodules.recipes import SceneRecipes, SceneRules
from datamodules.rendering import render
from datamodules.scene_statistics import scene_statistics
from datamodules.sound_bank import BankOnDemand, UnverifiableBankError, bank_path, verify_bank
from datamodules.urban_scenes import URBAN_CLASSES
from experiments.command_line.configurations import read_configuration
from experiments.command_line.parser import command_parser
from experiments.command_line.text import counted, probable, show_lines, show_next
from experiments.data.check_command import DESCRIPTION, FOLDERS, USAGE, example
from experiments.data.check_tables import active_table, corpus_table, distinct_table, per_class_table
from lightning_modules.batch import Split
from lightning_modules.errors import InputError, listed
from lightning_modules.separation_scores import LeftOut, score_separation
from lightning_modules.setting_checks import require_class_names, require_whole
from lightning_modules.spectrogram import HIGHEST_RATE, LOWEST_RATE, Geometry

SampleRate = restricted_number_type("SampleRate", int, [(">=", LOWEST_RATE), ("<=", HIGHEST_RATE)])
MOST_LISTED = 20  # broken clips, and silent ones, in a terminal


def urbansound8k(root: Path | None = None, metadata: Path | None = None, follow_links: bool = False) -> Corpus | Path:
    """UrbanSound8K: recordings, or their table alone.

    Args:
        root: the folder that holds metadata/ and audio/.
        metadata: a copy of metadata/UrbanSound8K.csv, for the statistics that need no audio.
        follow_links: read what links lead to, wherever it lies.
    """
    if (root is None) == (metadata is None):
        raise InputError("urbansound8k: give either --root, the corpus's folder, or --metadata, its table alone")
    return UrbanSound8K(root, follow_links) if root is not None else Path(str(metadata))


def procedural(clips_per_class: int = 60) -> Corpus | Path:
    """Procedural sounds: synthetic stand-ins, no recordings.

    Args:
        clips_per_class: clips of each class.
    """
    return Procedural(clips_per_class)


# The corpora by name: a function or class whose arguments are the command's, which returns the corpus or a table of
# its clips. Corpora of scenes come with the scenes' statistics.
SCENE_CORPORA: dict[str, Callable[..., Corpus | Path]] = {"urbansound8k": urbansound8k, "procedural": procedural}
PAIR_CORPORA: dict[str, type[Corpus]] = {
    "own_recordings": OwnRecordings,
    "librispeech": LibriSpeech,
    "musdb18": MUSDB18,
    "esc50": ESC50,
    "fsd50k": FSD50K,
    "folder_per_class": FolderPerClass,
}

# What says which folds and classes of a corpus are used; where nothing does, the folds have the names of the splits.
CONFIGURATION_OF = {
    "urbansound8k": "weak_labels/small/data",
    **{name: f"weak_labels/corpora/{name}" for name in ("esc50", "fsd50k")},
}


@dataclass(frozen=True)
class Scenes:
    """The mixtures for the statistics: one split of all the folds.

    Attributes:
        classes: sound classes that are mixed; clips of others are only decoded.
        folds: parts of the corpus that are looked at; all unless given.
        mixtures: recipes that are counted.
        scored: of those, how many are rendered for the input SI-SDR; 0 for none.
        seed: of the recipes.
        rules: how scenes are drawn.
        geometry: whose frames are counted.
    """

    classes: list[str] = field(default_factory=lambda: list(URBAN_CLASSES))
    folds: list[int] | None = None
    mixtures: int = 20000
    scored: int = 300
    seed: int = 0
    rules: SceneRules = field(default_factory=SceneRules)
    geometry: Geometry = field(default_factory=Geometry)

    def __post_init__(self) -> None:
        require_whole(1, MOST_MIXTURES, mixtures=self.mixtures)
        require_whole(0, MOST_MIXTURES, scored=self.scored)
        require_whole(0, LARGEST_SEED, seed=self.seed)
        require_class_names(self.classes)
        require_measurable(self.geometry, self.rules.duration)

    def recipes(self, bank: BankOnDemand) -> SceneRecipes:
        """Recipes over all clips of the bank; InputError where a class has none."""
        clips_of_class = [np.array(bank.clips_of_label.get(label, ()), np.int64) for label in self.classes]
        for label, clips in zip(self.classes, clips_of_class, strict=True):
            if not len(clips):
                raise InputError(f"{label}: no usable clip, so no mixtures; choose other --classes or --folds")
        return SceneRecipes(self.rules, clips_of_class, self.seed, "train")


def check_clips(
    corpus: Corpus | Path, folds: Collection[Fold] | None, sample_rate: int, console: Console
) -> list[Inspection]:
    """Decode the clips of these folds, all unless given, and print a table of them and which are broken."""
    if isinstance(corpus, Path):
        table = inspect_table(corpus, sample_rate)
        inspections = [found for found in table if folds is None or found.clip.fold in folds]
    else:
        clips = [clip for clip in corpus.clips() if folds is None or clip.fold in folds]
        inspected = inspect_clips(corpus, clips, sample_rate, description=f"decoding {corpus.name}")
        inspections = [found for found, _ in inspected]
    if not inspections:
        raise InputError(f"no clip in folds {folds}; choose others with --folds")
    reader = _by_folder(corpus)
    console.print(corpus_table(str(reader.root) if reader else corpus.name, inspections, sample_rate))
    recordings = {clip.recording: clip.fold for clip, *_ in inspections}
    several = {clip.recording for clip, *_ in inspections if recordings[clip.recording] != clip.fold}
    shared = [recording for recording in recordings if recording in several]
    which = f" ({listed(shared)})" if shared else ""
    console.print(f"\nrecordings that occur in several folds: {len(shared)}{which}", markup=False, soft_wrap=True)
    if isinstance(corpus, Path):
        console.print("no audio was decoded: lengths are the table's, broken and silent clips unknown")
        return inspections
    broken = [f"broken: {found.broken}" for found in inspections if found.broken]
    silent = [f"left out: {found.clip.name}: {found.silent}" for found in inspections if found.silent]
    # A terminal would scroll the report away; a file takes every line.
    most = MOST_LISTED if console.is_terminal else None
    for lines in (broken, silent):
        for line in lines[:most]:
            console.print(line, markup=False, soft_wrap=True)
        if most is not None and len(lines) > most:
            console.print(f"... and {len(lines) - most} more; direct the report into a file to list all of them")
    console.print(f"{len(inspections)} clips decoded: {len(broken)} broken, {len(silent)} without a loudness")
    if reader and (ignored := _other_files(reader.root)):
        which = listed(f"{number} {ending}" for ending, number in ignored.most_common())
        console.print(f"{counted(ignored.total(), 'other file')} ignored: {which}", markup=False, soft_wrap=True)
    return inspections


def _by_folder(corpus: Corpus | Path) -> FolderPerClass | None:
    """The reader of a user's own folder, whose files no table lists."""
    reader = corpus.reader if isinstance(corpus, OwnRecordings) else corpus
    return reader if isinstance(reader, FolderPerClass) else None


def _other_files(root: Path) -> Counter[str]:
    """How many files in and below a folder have an ending of no audio format, by ending; hidden ones do not count."""
    below = (names for folder, _, names in os.walk(root) if "/." not in folder.removeprefix(str(root)))
    names = [name for names in below for name in names if name[0] != "." and not name.lower().endswith(SUFFIXES)]
    return Counter(os.path.splitext(name)[1].lower() or "without an ending" for name in names)


def check_banks(corpus: Corpus, folder: Path, console: Console) -> int:
    """Compare every sound bank of a corpus with its checksums, print what is found, and return how many are damaged.

    Folders of a user's own have a reader in common: of its banks, those of all clips of this folder are compared.
    """
    damaged, others = 0, 0
    for path in sorted(folder.glob(f"{glob.escape(corpus.name)}-*Hz-*")):
        if isinstance(corpus, OwnRecordings | FolderPerClass):
            rate = int(path.name.removeprefix(f"{corpus.name}-").partition("Hz-")[0])
            if path != bank_path(corpus, corpus.clips(), rate, folder):
                others += 1
                continue
        try:
            found = f"{path}: {verify_bank(path)} clips, all as they were built"
        except UnverifiableBankError as error:
            found = str(error)
        except InputError as error:
            damaged, found = damaged + 1, str(error)
        console.print(f"sound bank {found}", markup=False, soft_wrap=True)
    if others:
        line = f"{folder}: {counted(others, 'sound bank')} of other folders or of some clips only, not compared"
        console.print(line, markup=False, soft_wrap=True)
    return damaged


def check_scenes(corpus: Corpus | Path, scenes: Scenes, console: Console) -> list[Inspection]:
    """Print the report on a corpus, or a table of clips, that scenes are made of, with the scenes' statistics."""
    rules, geometry, classes = scenes.rules, scenes.geometry, len(scenes.classes)
    samples, progress = round(rules.duration * geometry.sample_rate), Console(stderr=True)
    inspections = check_clips(corpus, scenes.folds, geometry.sample_rate, console)
    bank = BankOnDemand.of(inspections, geometry.sample_rate, None if isinstance(corpus, Path) else corpus)
    recipes = scenes.recipes(bank)
    counted = map(recipes, track(range(scenes.mixtures), "counting mixtures", console=progress))
    statistics = scene_statistics(counted, bank, geometry, samples, classes)
    console.print(distinct_table(statistics, rules.event_rate), active_table(statistics))

    scores: dict[str, list[float]] = defaultdict(list)
    scored = 0 if isinstance(corpus, Path) else min(scenes.scored, scenes.mixtures)
    for index in track(range(scored), "rendering mixtures", console=progress, disable=not scored):
        batch = render([recipes(index)], [index], bank, geometry, samples, classes)
        unprocessed = batch.mixture.unsqueeze(1).expand_as(batch.sources)
        for row in score_separation(
            batch.mixture, batch.sources, unprocessed, batch.clip_labels, batch.indices, scenes.classes
        ):
            if row.left_out == LeftOut.NO:
                scores[row.label].append(row.input_si_sdr)
    console.print(per_class_table(scenes.classes, statistics.prior, scores))
    return inspections


def command(arguments: list[str]) -> None:
    """`separatrix check ...`."""
    known = {**SCENE_CORPORA, **PAIR_CORPORA}
    arguments = [word.replace("--data.corpus.", "--", 1) if word[:2] == "--" else word for word in arguments]
    place = "".join(arguments[1:2])
    misspelt = probable(place, known.keys() - {"own_recordings"})
    if place not in ("", *known) and place[0] != "-" and (os.path.isdir(place) or not misspelt):
        arguments = [arguments[0], *recognised(place, "--follow_links=true" in arguments), *arguments[2:]]
    parser = command_parser("check", DESCRIPTION, *map(example, FOLDERS), usage=USAGE)
    corpora = parser.add_subcommands(required=True, dest="corpus")
    for name, corpus in known.items():
        summary = (corpus.__doc__ or "").splitlines()[0]
        usage = f"separatrix check {name} [--OPTION VALUE ...]"
        of_corpus = command_parser(f"check {name}", f"{summary}\n\n{DESCRIPTION}", example(name), usage=usage)
        if name in SCENE_CORPORA:
            of_corpus.add_function_arguments(SCENE_CORPORA[name])
            of_corpus.add_class_arguments(Scenes)
        else:
            of_corpus.add_class_arguments(PAIR_CORPORA[name])
            of_corpus.add_argument("--sample_rate", type=SampleRate, default=16000, help="of the mixtures, in Hz")
        of_corpus.add_argument("--bank_folder", default="runs/banks", help="folder of sound banks to verify")
        corpora.add_subcommand(name, of_corpus, help=summary)
    chosen = parser.parse_args(arguments[1:])
    settings = parser.instantiate(chosen)[chosen.corpus].as_dict()
    given, banks = dict(settings), Path(settings.pop("bank_folder"))
    console = Console(emoji=False, highlight=False)
    if chosen.corpus in SCENE_CORPORA:
        scenes = {name: settings.pop(name) for name in Scenes.__dataclass_fields__}
        corpus = SCENE_CORPORA[chosen.corpus](**settings)
        inspections = check_scenes(corpus, Scenes(**scenes), console)
    else:
        sample_rate = settings.pop("sample_rate")
        corpus = PAIR_CORPORA[chosen.corpus](**settings)
        inspections = check_clips(corpus, None, sample_rate, console)
    usable = [found.clip for found in inspections if found.usable]
    if chosen.corpus != "procedural" and not isinstance(given.get("folds"), list):  # all folds were looked at
        for line in split_warnings(usable, *_splits(chosen.corpus, given, usable)):
            console.print(f"warning: {line}", markup=False, soft_wrap=True)
    reader = _by_folder(corpus)
    if reader and reader.recording_separator is None and (line := pieces(usable)):
        console.print(f"warning: {line}", markup=False, soft_wrap=True)
    if isinstance(corpus, Corpus) and (damaged := check_banks(corpus, banks, console)):
        raise InputError(f"{banks}: damaged sound banks of {corpus.name}: {damaged}, listed above")
    if broken := sum(bool(found.broken) for found in inspections):
        raise InputError(f"{broken} of {len(inspections)} clips are broken; they are listed above")
    following = _following(chosen.corpus, given, usable)
    show_next([], following)
    if not following and (root := given.get("root")) is not None:
        show_lines([("next", too_little(Path(root), usable))])


def recognised(folder: str, follow_links: bool) -> list[str]:
    """The arguments that check a folder: as the corpus whose layout it has, else as the user's own."""
    reader = reader_of(folder, follow_links)
    own = issubclass(reader, FolderPerClass) or (
        reader is UrbanSound8K and not {*URBAN_CLASSES} <= {clip.label for clip in reader(folder).clips()}
    )
    return ["own_recordings" if own else reader.name, "--root", folder]


def split_warnings(
    clips: Sequence[Clip], splits: Mapping[Split, Collection[Fold]], classes: Collection[str] = ()
) -> list[str]:
    """Which splits are empty, have a single class, or none of some classes: of those given, else of all.

    Where no class has more than one recording, as those of speakers, none is expected to be in every split.
    """
    counts = counted_recordings(clips, splits)
    several = any(sum(of.values()) > 1 for of in counts.values())
    lines = []
    for split, folds in splits.items():
        of_folds = f" (folds {', '.join(map(str, folds))})" if folds and [*folds] != [split] else ""
        there = [label for label, of in counts.items() if of[split]]
        missing = [label for label in classes or counts if label not in there and (classes or several)]
        if not there:
            lines.append(f"no clip for {split}{of_folds}")
        elif missing:
            lines.append(f"no clip of {listed(missing)} for {split}{of_folds}")
        elif len(there) < FEWEST:
            lines.append(f"only {there[0]} for {split}{of_folds}; mixtures need two classes")
    return lines


def too_little(root: Path, clips: Sequence[Clip]) -> str:
    """What to do about a folder that neither system can be trained on."""
    labels = sorted({clip.label for clip in clips})
    if len(labels) == 1 and "/" in clips[0].name:
        below = {folder for clip in clips for folder in clip.name.split("/")[1:-1]}
        if len(below) >= FEWEST and (root / labels[0]).is_dir():
            return f"{labels[0]} is the only class; if the folders in it are: separatrix check {root / labels[0]}"
        return f"{labels[0]} is the only class; add a folder of recordings for each other class of sound"
    return (
        f"too few recordings: each class needs {len(SHARES)}, one each to train, validate and test; a folder without "
        f"classes needs {FEWEST * len(SHARES)}"
    )


def pieces(clips: Sequence[Clip]) -> str:
    """What to ask where names agree up to a - or _, as those of pieces of one recording do; empty where none do.

    Files that are merely numbered, such as rain_1.wav and rain_2.wav in the class rain, agree in most classes all.
    """
    stems: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        stems[clip.label].add(clip.recording.rpartition("/")[2])
    every = set().union(*stems.values())
    for separator in "-_":
        names = {label: {stem.split(separator)[0] for stem in of} for label, of in stems.items()}
        distinct = set().union(*names.values())
        enough = [len(names[label]) >= len(SHARES) for label, of in stems.items() if len(of) >= len(SHARES)]
        if FEWEST * len(SHARES) <= len(distinct) < len(every) and 2 * sum(enough) >= len(enough):
            return (
                f"some of {len(every)} file names are alike up to the first {separator}, as those of pieces of one "
                f"recording; if they are, --data.corpus.recording_separator {separator} keeps its pieces together"
            )
    return ""


def _splits(
    corpus: str, given: Mapping[str, Any], clips: Sequence[Clip]
) -> tuple[dict[Split, Sequence[Fold]], Sequence[str]]:
    """The folds of every split, and the classes, in the trainings that a corpus is for; no classes are all of them."""
    if corpus in CONFIGURATION_OF:
        settings = read_configuration(CONFIGURATION_OF[corpus])["data"]["init_args"]
        classes = given.get("classes") or settings.get("classes", ())
        return {split: settings[f"{split}_folds"] for split in SHARES}, classes
    if any(isinstance(clip.fold, int) for clip in clips):
        folds = range(1, given["folds"] + 1)
        return {"train": folds[:-2], "validation": folds[-2:-1], "test": folds[-1:]}, ()
    return {split: [split] for split in SHARES}, ()


def _following(corpus: str, given: Mapping[str, Any], clips: Sequence[Clip]) -> list[list[str]]:
    """What a corpus in order can be used for; nothing where only its table was given."""
    root = given.get("root")
    if corpus == "procedural":
        return [["reproduce", "weak-labels", "--preset", "demo"]]
    if root is None:
        return []
    follow_links = ["--follow-links"] if given["follow_links"] else []
    if corpus == "urbansound8k":
        return [["reproduce", "weak-labels", "--preset", "small", "--urbansound8k", str(root), *follow_links]]
    if corpus in ("esc50", "fsd50k"):
        configs = ["--config", "weak_labels/strong", "--config", CONFIGURATION_OF[corpus], "--preset", "small"]
        return [["fit", *configs, "--data.corpus.root", str(root), *follow_links, "--run", f"runs/{corpus}"]]
    if corpus in ("librispeech", "musdb18"):
        domain = {"librispeech": "speech", "musdb18": "music"}[corpus]
        words = ["--config", f"deep_clustering/{domain}", "--preset", "small"]
        return [["fit", *words, "--data.corpus.root", str(root), *follow_links, "--run", f"runs/{domain}"]]
    separator = given["recording_separator"]
    names, own = {clip.name for clip in clips}, OwnRecordings(root, separator, bool(follow_links))
    counts = counted_recordings(
        [clip for clip in own.clips() if clip.name in names], {split: [split] for split in SHARES}
    )
    commands, words = [], [*follow_links]
    words += [] if separator is None else ["--data.corpus.recording_separator", separator]
    if len(counts) >= FEWEST and all(all(of.values()) for of in counts.values()):
        commands.append(["reproduce", "weak-labels", "--recordings", str(root), *words])
    if all(sum(of[split] > 0 for of in counts.values()) >= FEWEST for split in SHARES):
        domains = ["--domain", f"{Path(root).resolve().name}={root}", "--domain", "OTHER=FOLDER"]
        commands.append(["reproduce", "model-selection", *domains, *words])
    return commands
