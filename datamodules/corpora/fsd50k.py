"""FSD50K (Fonseca, Favory, Pons, Font, Serra 2022): 51,197 clips of Freesound, 200 classes of AudioSet's ontology."""

import json
import os
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from datamodules.corpora.corpus import Clip
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.layout import corpus_folder
from datamodules.corpora.table import require_file_name, require_name, table_rows
from lightning_modules.errors import InputError, printable

TABLE = "FSD50K.ground_truth/{}.csv"
UPLOADERS = "FSD50K.metadata/{}_clips_info_FSD50K.json"
# Of the two parts, and of `split` in the table of `dev`; where one uploader is in several, the last of them counts.
FOLDS = {"train": "train", "val": "validation", "eval": "test"}


class FSD50K(FileCorpus):
    """The data set as its authors ship it: FSD50K.{dev_audio,eval_audio,ground_truth,metadata}.

    The folds are "train", "validation" (`val` of the development set) and "test" (the evaluation set). The recording of
    a clip is its uploader: people record a thing several times. The data set has some uploaders in two of the folds;
    their clips count in test rather than validation, and in validation rather than training, and are left out of the
    other.

    A clip has the labels of all that sounds in it, and of the classes above these. Asked for some classes (`labelled`),
    a clip belongs to one of them if it has no other of them, and is left out if it has several: a sound of two classes
    is no isolated source of either. Of all clips (`clips`), the label is the first that the table lists, the narrowest.

    Args:
        root: the folder that holds FSD50K.ground_truth/ and the others, or a folder that holds it, under whatever name.
        uploaders: whether recordings are told by their uploaders, which FSD50K.metadata/ names; otherwise each clip
            is a recording of its own, and one person's may be in several splits.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the corpus
            are refused unless given.
    """

    name = "fsd50k"
    way_out = "fetch the clip again or remove it from FSD50K.ground_truth"

    def __init__(self, root: str | os.PathLike[str], uploaders: bool = True, follow_links: bool = False) -> None:
        super().__init__(root, follow_links)
        self.uploaders = uploaders

    @cached_property
    def folder(self) -> Path:
        """The folder that holds FSD50K.ground_truth/ and the others."""
        table = TABLE.format("dev")
        return corpus_folder(self.root, "FSD50K", lambda folder: (folder / table).is_file(), f"{table} and the others")

    def clips(self) -> list[Clip]:
        return self.labelled(None)

    def labelled(self, labels: Collection[str] | None) -> list[Clip]:
        clips: list[Clip] = []
        shared: dict[str, set[str]] = {}  # of asked-for classes, the others that their clips have too
        for part in ("dev", "eval"):
            clips += self._clips_of(part, labels, shared)
        for label in sorted(shared.keys() - {clip.label for clip in clips}):
            others = " or ".join(sorted(shared[label]))
            raise InputError(f"{label}: all of its clips are of {others} too; ask for one of these classes")
        order = list(FOLDS.values())
        fold_of: dict[str, str] = {}
        for clip in clips:
            fold_of[clip.recording] = max(fold_of.get(clip.recording, ""), str(clip.fold), key=["", *order].index)
        return [clip for clip in clips if clip.fold == fold_of[clip.recording]]

    def freesound_id(self, clip: Clip) -> str | None:
        return Path(clip.name).stem

    def _clips_of(self, part: str, labels: Collection[str] | None, shared: dict[str, set[str]]) -> list[Clip]:
        table = self.folder / TABLE.format(part)
        columns = ("fname", "labels", *(("split",) if part == "dev" else ()))
        uploaders = self._uploaders_of(part) if self.uploaders else {}
        clips = {}
        for where, (name, listed, *split) in table_rows(table, columns):
            require_file_name(where, "fname", name)
            of_clip = [label.strip() for label in listed.split(",")]
            fold = FOLDS.get(split[0] if split else "eval")
            if fold is None:
                raise InputError(f"{where}: split {split[0]!r} is neither train nor val; correct the row")
            if name in clips:
                raise InputError(f"{where}: {name} was already listed; remove one of the rows")
            wanted = of_clip[:1] if labels is None else sorted({*of_clip} & {*labels})
            for label in wanted:
                require_name(where, labels=label)
                if len(wanted) > 1:
                    shared.setdefault(label, set()).update({*wanted} - {label})
            if self.uploaders and name not in uploaders:
                raise InputError(f"{where}: {name} is not in {UPLOADERS.format(part)}; fetch FSD50K.metadata again")
            if len(wanted) == 1:
                recording = uploaders.get(name, name)
                clips[name] = Clip(f"FSD50K.{part}_audio/{name}.wav", wanted[0], fold, recording)
        return list(clips.values())

    def _uploaders_of(self, part: str) -> dict[str, str]:
        path = self.folder / UPLOADERS.format(part)
        try:
            described = json.loads(path.read_bytes())
            return {name: printable(str(clip["uploader"])) or name for name, clip in described.items()}
        except FileNotFoundError:
            raise InputError(
                f"{path}: no such file, which names the uploaders; fetch FSD50K.metadata, or set uploaders to false: "
                "recordings of one person may then be in several splits"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise InputError(f"{path}: not the description of FSD50K's clips; fetch FSD50K.metadata again") from None
