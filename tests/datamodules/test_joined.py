"""Several corpora as one."""

import numpy as np
import pytest
import soundfile

from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.corpora.joined import JoinedCorpora
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.urban_scenes import UrbanScenes


@pytest.fixture
def birds(tmp_path):
    """A folder with one class, five of whose recordings are in each of three folds."""
    rng = np.random.default_rng(0)
    (tmp_path / "birds" / "blackbird").mkdir(parents=True)
    for take in range(30):
        soundfile.write(tmp_path / "birds" / "blackbird" / f"{take}.wav", 0.1 * rng.standard_normal(8000), 16_000)
    return tmp_path / "birds"


@pytest.fixture
def joined(urbansound_factory, birds):
    return JoinedCorpora([UrbanSound8K(urbansound_factory()), FolderPerClass(birds, folds=3)])


def test_every_clip_is_read_by_its_own_corpus_under_its_own_label_and_fold(joined):
    clips, own = joined.clips(), [clip for corpus in joined.corpora for clip in corpus.clips()]
    assert len(clips) == len({clip.name for clip in clips}) == len(own)
    corpora = [corpus for corpus in joined.corpora for _ in corpus.clips()]
    for clip, original, corpus in zip(clips, own, corpora, strict=True):
        assert (clip.label, clip.fold, clip.salience) == (original.label, original.fold, original.salience)
        ours, theirs = joined.read(clip), corpus.read(original)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1] == theirs[1]


def test_recordings_of_the_same_name_in_two_corpora_are_two(birds):
    joined = JoinedCorpora([FolderPerClass(birds), FolderPerClass(birds)])
    recordings = [clip.recording for clip in joined.clips()]
    assert len(set(recordings)) == 2 * len({clip.recording for clip in FolderPerClass(birds).clips()})


def test_the_fingerprint_changes_with_any_clip_of_any_corpus(joined, birds):
    clips = joined.clips()
    whole = joined.fingerprint(clips)
    assert joined.fingerprint(clips) == whole
    assert joined.fingerprint(clips[1:]) != whole != joined.fingerprint(clips[:-1])
    soundfile.write(birds / "blackbird" / "0.wav", np.full(4000, 0.1), 16_000)
    assert joined.fingerprint(clips) != whole


def test_a_scene_mixes_classes_of_both(joined, tmp_path):
    data = UrbanScenes(
        joined,
        str(tmp_path / "banks"),
        ["car_horn", "blackbird"],
        train_folds=[1],
        validation_folds=[2],
        test_folds=[3],
        test_mixtures=20,
        duration=1.0,
        latest_onset=0.5,
    )
    data.build(workers=0)
    dataset = data.dataset("test")
    together = [scene for scene in (dataset[index] for index in range(20)) if scene.clip_labels.all()]
    assert together and all((scene.sources.abs().sum(-1) > 0).all() for scene in together)
