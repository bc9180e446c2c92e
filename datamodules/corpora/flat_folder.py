"""A folder of recordings that nothing sorts."""

from datamodules.corpora.audio_file import SUFFIXES
from datamodules.corpora.corpus import Clip
from datamodules.corpora.folder_per_class import FolderPerClass, fold_of
from datamodules.corpora.layout import audio_files_below, contents, existing_folder
from lightning_modules.errors import InputError


class FlatFolder(FolderPerClass):
    """Recordings as *.{wav,flac,mp3,ogg,...} in one folder, each with a label of its own: any two make a pair.

    Settings are those of `FolderPerClass`; files of one recording have one label. Folders in it are ignored.
    """

    name = "flat_folder"

    def clips(self) -> list[Clip]:
        folder = existing_folder(self.root, "recordings")
        files = [path for path in audio_files_below(folder, folder, self.follow_links) if "/" not in path]
        if not files:
            raise InputError(
                f"{self.root}: no recordings, found {contents(self.root)}; expected *{' or *'.join(SUFFIXES[:2])}"
            )
        named = [(path, self._recording(path, "")) for path in files]
        return [Clip(path, recording, fold_of(recording, self.folds), recording) for path, recording in named]
