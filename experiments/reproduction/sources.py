"""What a reproduction is made of: the papers' corpora, procedural sounds, or folders of the user's own."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jsonargparse import Namespace

from experiments.command_line.configurations import (
    class_name,
    config_options,
    data_options,
    options,
    read_configuration,
    resolved,
    settings_of,
)
from experiments.command_line.parser import data_parser
from experiments.command_line.text import counted, did_you_mean
from lightning_modules.errors import InputError, listed
from lightning_modules.setting_checks import require_names

if TYPE_CHECKING:
    from datamodules.mixtures import MixtureDataModule

# The corpora by the names of their options, and what the paper's domains are made of.
CORPUS_NAMES = {"urbansound8k": "UrbanSound8K", "librispeech": "LibriSpeech", "musdb18": "MUSDB18 (its decoded stems)"}
DOMAINS = {"speech": "librispeech", "music": "musdb18", "environmental": "urbansound8k"}
WEAK_LABELS = "weak-labels"
# Data beside whose figures the published ones stand; an earlier run may not say of which it was.
_DATA = {"UrbanScenes", "SourcePairs", None}
_CORPORA = {"UrbanSound8K", "LibriSpeech", "MUSDB18", "JoinedCorpora", None}
_CORPORA |= {"Procedural", "ProceduralMusic", "ProceduralVoices"}


class Source(NamedTuple):
    """The sounds of separation from weak labels, or of a domain.

    Attributes:
        words: settings that choose them, for every command.
        recordings: digest of the user's own recordings; empty for a paper's corpus.
    """

    words: Sequence[str] = ()
    recordings: str = ""


def of_papers(configuration: Mapping[str, Any]) -> bool:
    """Whether a run's mixtures and labels, by its resolved configuration, are those that a published figure is of."""
    data = configuration.get("data")
    settings = settings_of(data)
    other = any(settings.get(name) for name in ("unlabelled_events", "hierarchy", "fewest_sources"))
    return class_name(data) in _DATA and class_name(settings.get("corpus")) in _CORPORA and not other


def own_places(chosen: Namespace) -> dict[str, str]:
    """By the name of every domain, or of the one folder of weak labels: the user's own folder, empty for a corpus."""
    if chosen.system == WEAK_LABELS:
        if chosen.domain:
            raise InputError("--domain: is of model-selection; give a folder for each class with --recordings")
        return {Path(chosen.recordings).resolve().name: chosen.recordings} if chosen.recordings else {WEAK_LABELS: ""}
    if chosen.recordings:
        raise InputError("--recordings: is of weak-labels; give --domain NAME=FOLDER, twice at least")
    given = [domain.partition("=") for domain in chosen.domain or DOMAINS]
    for name, equals, place in given:
        if not place and (equals or name not in DOMAINS):
            raise InputError(f"--domain {name}{equals}: give NAME=FOLDER, or one of {', '.join(DOMAINS)} alone")
    require_names("--domain", [name for name, *_ in given])
    if len(given) < 2:
        raise InputError(f"--domain {chosen.domain[0]}: a selection is between the models of two domains at least")
    return {name: place for name, _, place in given}


def sources_of(
    chosen: Namespace, places: Mapping[str, str], settings: list[str], of_folders: Sequence[str] = ()
) -> dict[str, Source]:
    """The sounds of every place; `settings` are of all commands, `of_folders` of all domains that are own folders.

    Raises:
        InputError: the folder of a corpus is missing or of no use, or one of the user's own has too few recordings.
    """
    known = {WEAK_LABELS: _corpus(chosen.config), **DOMAINS}
    corpora = {name: known[name] for name, place in places.items() if not place}
    roots = _roots(chosen, list(corpora.values()))
    sources = {}
    for name, place in places.items():
        root = ("--data.corpus.root", roots[corpora[name]]) if roots and not place else ()
        if chosen.system == WEAK_LABELS:
            sources[name] = _own_classes(place, chosen.preset, settings) if place else Source(root)
        elif place:
            sources[name] = _own_domain(name, place, chosen.preset, settings, of_folders)
        else:
            sources[name] = Source((*config_options(f"deep_clustering/{name}"), "--preset", chosen.preset, *root))
    return sources


def _corpus(added: Iterable[str]) -> str:
    """The corpus of weak labels: UrbanSound8K, or what an added configuration names in its place."""
    corpus = "urbansound8k"
    for name in added:
        named = class_name(settings_of(read_configuration(name).get("data")).get("corpus"))
        corpus = named.lower() if named else corpus
    return corpus


def _roots(given: Namespace, corpora: list[str]) -> dict[str, str]:
    """The folder of every corpus; none for the demo."""
    roots = {corpus: given.get(corpus) or given.data_root for corpus in corpora}
    if given.data_root and not corpora:
        raise InputError("--data-root: nothing is read from it beside folders of your own; leave it out")
    if given.preset == "demo":
        if any(roots.values()):
            raise InputError("--data-root: the demo uses procedural sounds; choose --preset small or paper")
        return {}
    unused = [corpus for corpus in CORPUS_NAMES if given[corpus] and corpus not in corpora]
    if unused:
        raise InputError(f"--{unused[0]}: {given.system} is not made of {CORPUS_NAMES[unused[0]]}; leave it out")
    missing = [corpus for corpus, root in roots.items() if not root]
    if missing:
        names = ", ".join(CORPUS_NAMES.get(corpus, corpus) for corpus in missing)
        alone = f" (or --{missing[0]} DIR)" if missing[0] in CORPUS_NAMES else ""
        raise InputError(f"--data-root: --preset {given.preset} needs the folder that holds {names}{alone}")
    return roots


def _own_classes(folder: str, preset: str, settings: list[str]) -> Source:
    """A folder of sound classes: those of the settings, else all that are there."""
    from datamodules.corpora.own_recordings import counted_recordings

    words = _of_folder(folder)
    data = _data([*config_options("weak_labels/base"), "--preset", preset, *words, *data_options(settings)])
    chosen = any(option[0].split("=")[0] == "--data.classes" for option in options(settings))
    counts = counted_recordings(data.corpus.labelled(data.classes if chosen else None), data.folds)
    classes = data.classes if chosen else list(counts)
    for label in classes:
        if label not in counts:
            there = sorted({clip.label for clip in data.corpus.clips()})
            advice = did_you_mean(label, there, f"; one of {listed(there)}")
            raise InputError(f"--data.classes: {folder} has no class {label}{advice}")
    if len(classes) < 2:
        raise InputError(f"--recordings {folder}: 1 class ({classes[0]}); 2 at least are needed, in a folder each")
    lacking = []
    for label in classes:
        if without := [split for split, count in counts[label].items() if not count]:
            number = counted(sum(counts[label].values()), "recording")
            lacking.append(f"{label} has {number}, none for {' and '.join(without)}")
    if lacking:
        way_out = "give each class a folder with 3 recordings at least, or choose others with --data.classes"
        raise InputError(f"--recordings {folder}: {listed(lacking, '; ')}; {way_out}")
    words += () if chosen else ("--data.classes", json.dumps(classes, ensure_ascii=False))
    return Source(words, data.corpus.fingerprint(data.corpus.clips()))


def _own_domain(name: str, place: str, preset: str, settings: list[str], of_folders: Sequence[str]) -> Source:
    """A domain of pairs: from a folder of recordings, or as a configuration of the user's own describes it."""
    from datamodules.corpora.own_recordings import counted_recordings
    from experiments.reproduction.model_selection_table import NAMES
    from lightning_modules.scores.ensembles import MEAN

    if name in (*NAMES, MEAN, "selection"):
        raise InputError(f"--domain {name}: the tables call something else so; choose another name")
    words = (*config_options("deep_clustering/base"), "--preset", preset)
    words += (*config_options(place),) if Path(place).is_file() else (*_of_folder(place), *of_folders)
    words += ("--data.domain", name)
    data = _data([*words, *data_options(settings)])
    counts = counted_recordings(clips := data.clips(), data.folds)
    labels = {split: sum(of[split] > 0 for of in counts.values()) for split in data.folds}
    if min(labels.values()) < (sources := len(data.classes)):
        parts = ", ".join(f"{split} {count}" for split, count in labels.items())
        raise InputError(
            f"--domain {name}={place}: labels by split: {parts}; a mixture needs {sources} different ones in each: "
            "give more recordings, or sort them into more folders"
        )
    return Source(words, data.corpus.fingerprint(clips))


def _of_folder(folder: str) -> tuple[str, ...]:
    folds = (word for split in ("train", "validation", "test") for word in (f"--data.{split}_folds", f"[{split}]"))
    return ("--data.corpus", "OwnRecordings", "--data.corpus.root", folder, *folds)


def _data(words: list[str]) -> "MixtureDataModule":
    """The data that every command gets, to look at its clips."""
    parser = data_parser(("bank",), "")
    data: MixtureDataModule = parser.instantiate(parser.parse_args(resolved(words, ("data",)))).data
    return data
