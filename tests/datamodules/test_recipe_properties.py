"""Whatever the rules and the bank: a recipe is within them, the same every time, and its labels are its events'."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.corpora.corpus import Clip
from datamodules.pair_recipes import PairRecipes, PairRules
from datamodules.recipes import Recipe, SceneRecipes, SceneRules
from datamodules.rendering import event_interval, event_starts, render
from datamodules.sound_bank import SoundBank
from experiments.report.media import LOUDEST
from lightning_modules.errors import InputError
from lightning_modules.spectrogram import Geometry

RATE = 8000
GEOMETRY = Geometry(RATE, 256, 128)
LABELS = ("horn", "dog", "siren")
levels = st.floats(-LOUDEST, LOUDEST)


class NoiseBank(SoundBank):
    """A bank in memory."""

    @property
    def samples(self):
        return np.random.default_rng(0).uniform(-1, 1, int(self.lengths.sum())).astype(np.float32)


@st.composite
def banks(draw) -> SoundBank:
    """Up to ten clips of up to a second and a half, of up to three labels and five recordings."""
    count = draw(st.integers(1, 10))
    lengths = np.array(draw(st.lists(st.integers(1, 12_000), min_size=count, max_size=count)), np.int64)
    clips = [
        Clip(str(n), draw(st.sampled_from(LABELS)), 1, str(draw(st.integers(0, 4))), section=draw(st.integers(0, 1)))
        for n in range(count)
    ]
    loudness = np.array(draw(st.lists(st.floats(-70, 190), min_size=count, max_size=count)))
    return NoiseBank(Path(), RATE, clips, np.cumsum(lengths) - lengths, lengths, loudness, [])


def check(recipe: Recipe, again: Recipe, bank: SoundBank, duration: float, classes: int) -> None:
    """What holds of every recipe, and of what is rendered from it."""
    assert all(np.array_equal(one, other) for one, other in zip(recipe, again, strict=True))
    assert len({len(column) for column in recipe}) == 1 <= len(recipe.clips)
    assert all(np.isfinite(column).all() for column in recipe)
    assert (recipe.clips >= 0).all() and (recipe.clips < len(bank.clips)).all()
    assert len(set(recipe.clips.tolist())) == len(recipe.clips)
    samples = round(duration * RATE)
    starts = event_starts(bank, recipe)
    onsets, offsets = event_interval(bank, recipe, samples)
    assert (onsets >= 0).all() and (onsets < offsets).all() and (offsets <= samples).all()
    assert (starts >= 0).all() and (starts + offsets - onsets <= bank.lengths[recipe.clips]).all()
    batch = render([recipe], [0], bank, GEOMETRY, samples, classes)
    assert batch.mixture.shape == (1, samples) and batch.mixture.isfinite().all() and batch.sources.isfinite().all()
    scale = max(float(batch.sources.abs().max()), 1e-30)
    assert float((batch.sources.sum(1) - batch.mixture).abs().max()) <= 1e-5 * scale * len(recipe.clips)
    present = {int(label) for label in recipe.classes}
    assert batch.clip_labels[0].nonzero().flatten().tolist() == sorted(present)
    for number in range(classes):
        heard = np.zeros(GEOMETRY.frames(samples), bool)
        for label, onset, offset in zip(recipe.classes, onsets, offsets, strict=True):
            frames = np.arange(len(heard)) * GEOMETRY.hop
            meets = (frames + GEOMETRY.window // 2 > onset) & (frames - GEOMETRY.window // 2 < offset)
            heard |= meets & (label == number)
        assert np.array_equal(batch.frame_labels[0, number].numpy() > 0, heard)


@settings(max_examples=60, deadline=None)
@given(
    banks(), st.floats(0.05, 1.5), st.floats(0.01, 8), st.floats(0, 1), levels, levels, st.integers(0, 2**31 - 1),
    st.integers(0, 2**40),
)  # fmt: skip
def test_scenes_are_within_their_rules(bank, duration, rate, latest, one, other, seed, index):
    rules = SceneRules(duration, rate, min(latest, 0.99) * duration, min(one, other), max(one, other))
    clips = [np.flatnonzero([clip.label == label for clip in bank.clips]) for label in LABELS]
    recipes = SceneRecipes(rules, clips, seed, "train")
    try:
        recipe = recipes(index)
    except InputError as error:
        assert str(error).startswith("event_rate: ") and str(error).isprintable()
        return
    check(recipe, SceneRecipes(rules, clips, seed, "train")(index), bank, duration, len(LABELS))
    assert [LABELS[label] for label in recipe.classes] == [bank.clips[clip].label for clip in recipe.clips]
    assert (recipe.onsets <= rules.latest_onset).all()
    assert ((recipe.loudness >= rules.quietest) & (recipe.loudness <= rules.loudest)).all()


@settings(max_examples=100, deadline=None)
@given(
    banks(), st.integers(2, 3), st.booleans(), st.floats(0.05, 1.5), levels, levels, st.floats(0, 1),
    st.integers(0, 2**31 - 1), st.integers(0, 2**40),
)  # fmt: skip
def test_pairs_are_within_their_rules(bank, sources, stems, duration, one, other, coherent, seed, index):
    rules = PairRules(sources, duration, min(one, other), max(one, other), coherent if stems else 0.0)
    everything = np.arange(len(bank.clips))
    chosen = LABELS[:sources] if stems else None
    try:
        recipes = PairRecipes(rules, everything, bank, chosen, seed, "test")
        recipe = recipes(index)
    except InputError as error:
        assert str(error).startswith("test split: ") and str(error).isprintable()
        return
    again = PairRecipes(rules, everything, bank, chosen, seed, "test")(index)
    check(recipe, again, bank, duration, sources)
    clips = [bank.clips[clip] for clip in recipe.clips]
    assert len({clip.label for clip in clips}) == sources
    assert chosen is None or [clip.label for clip in clips] == list(chosen)
    together = len({(clip.recording, clip.section) for clip in clips}) == 1
    assert together if coherent == 1 and stems else len({clip.recording for clip in clips}) in (1, sources)
    relative = recipe.loudness[0] - recipe.loudness[1:]
    assert ((relative >= rules.quietest - 1e-9) & (relative <= rules.loudest + 1e-9)).all()
