"""ESC-50 (Piczak 2015): 2,000 field recordings of 5 s, 50 classes, in five official folds."""

from functools import cached_property
from pathlib import Path

from datamodules.corpora.corpus import Clip
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.layout import corpus_folder
from datamodules.corpora.table import fold_number, require_file_name, require_name, table_rows
from lightning_modules.errors import InputError

TABLE = "meta/esc50.csv"


class ESC50(FileCorpus):
    """The data set as its author ships it: meta/esc50.csv and audio/*.wav.

    The recording of a clip is the recording on Freesound that it was cut from; all clips of one are in one fold.

    Args:
        root: the folder that holds meta/ and audio/, or a folder that holds it, under whatever name.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the corpus
            are refused unless given.
    """

    name = "esc50"
    way_out = f"remove it from {TABLE} or fetch the clip again"

    @cached_property
    def folder(self) -> Path:
        """The folder that holds meta/ and audio/."""
        return corpus_folder(self.root, "ESC-50", lambda folder: (folder / TABLE).is_file(), f"{TABLE} and audio/*.wav")

    def clips(self) -> list[Clip]:
        table, clips = self.folder / TABLE, {}
        for where, (file, fold, label, recording) in table_rows(table, ("filename", "fold", "category", "src_file")):
            require_file_name(where, "filename", file)
            require_name(where, category=label, src_file=recording)
            if file in clips:
                raise InputError(f"{where}: {file} was already listed; remove one of the rows")
            clips[file] = Clip(f"audio/{file}", label, fold_number(where, fold), recording)
        if not clips:
            raise InputError(f"{table}: lists no clips; fetch the table again")
        return list(clips.values())

    def freesound_id(self, clip: Clip) -> str | None:
        return clip.recording
