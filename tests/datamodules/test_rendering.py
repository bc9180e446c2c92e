from collections.abc import Sequence

import numpy as np
import pyloudnorm
import pytest
import torch

from datamodules.annotations import sound_events
from datamodules.corpora.corpus import Clip
from datamodules.inspection import Inspection, integrated_loudness
from datamodules.recipes import Recipe, SceneRecipes, SceneRules
from datamodules.rendering import event_interval, render, render_labels
from datamodules.sound_bank import BankOnDemand
from lightning_modules.spectrogram import Geometry

RATE = 8_000
GEOMETRY = Geometry(RATE, window=256, hop=64)
SAMPLES = 3 * RATE


class Noises:
    """Clips of noise of several lengths, made from their names."""

    name = "noises"
    lengths = (37, 900, 4_000, 9_000, 23_000, 40_000)

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        noise = np.random.default_rng(int(clip.name)).standard_normal(self.lengths[int(clip.name)])
        return (0.01 * (1 + int(clip.name)) * noise).astype(np.float32), RATE


@pytest.fixture(scope="module")
def bank() -> BankOnDemand:
    corpus, inspections = Noises(), []
    for number in range(len(corpus.lengths)):
        clip = Clip(str(number), "ab"[number % 2], 1, str(number))
        samples, rate = corpus.read(clip)
        inspections.append(Inspection(clip, len(samples), integrated_loudness(samples, rate)))
    return BankOnDemand.of(inspections, RATE, corpus)


def scene(*events: tuple[int, int, float, float], starts: Sequence[float] | None = None) -> Recipe:
    clips, classes, onsets, loudness = map(np.array, zip(*events, strict=True))
    return Recipe(clips, classes, onsets, loudness, np.zeros(len(clips)) if starts is None else np.array(starts))


# Events that begin within their clips, between two samples too; and seven of two classes.
WITHIN = scene((5, 1, 0.25, -25.0), (4, 0, 1.5, -28.0), (3, 0, 0.0, -26.0), starts=(1.00007, 0.5, 1.0))
CROWDED = scene(*((n % 6, n % 2, 0.4 * n, -20.0 - n) for n in range(7)), starts=[0.001 * (n % 3) for n in range(7)])


@pytest.fixture(scope="module")
def recipes() -> list[Recipe]:
    rules = SceneRules(duration=3.0, latest_onset=2.9)
    draw = SceneRecipes(rules, [np.array([0, 2, 4]), np.array([1, 3, 5])], seed=0, split="train")
    return [*(draw(i) for i in range(12)), WITHIN, CROWDED]


def rendered(bank: BankOnDemand, *recipes: Recipe, with_sources: bool = True):
    return render(recipes, range(len(recipes)), bank, GEOMETRY, SAMPLES, 2, with_sources)


@pytest.mark.parametrize("with_sources", [True, False])
def test_every_event_is_its_gained_clip_at_its_onset_added_to_silence_to_the_last_bit(recipes, bank, with_sources):
    batch = rendered(bank, *recipes, with_sources=with_sources)
    for number, recipe in enumerate(recipes):
        mixture, sources = np.zeros(SAMPLES, np.float32), np.zeros((2, SAMPLES), np.float32)
        for clip, label, onset, loudness, begin in zip(*recipe[:5], strict=True):
            gain = np.float32(10 ** ((loudness - bank.loudness[clip]) / 20))
            event = bank.clip(clip)[round(begin * RATE) :][: SAMPLES - round(onset * RATE)] * gain
            place = slice(round(onset * RATE), round(onset * RATE) + len(event))
            mixture[place] += event
            sources[label, place] += event
        np.testing.assert_array_equal(batch.mixture[number].numpy(), mixture)
        np.testing.assert_array_equal(batch.sources[number].numpy(), sources if with_sources else sources[:0])
        np.testing.assert_allclose(sources.sum(0), mixture, atol=1e-6)
    assert batch.mixture.dtype == batch.sources.dtype == batch.frame_labels.dtype == torch.float32
    assert batch.indices.tolist() == list(range(14))


def test_a_clip_has_the_loudness_that_was_asked_for(bank):
    # 23,000 samples from the start on: nothing is cut, so a loudness meter hears the whole clip.
    inputs = rendered(bank, scene((4, 0, 0.0, -27.3))).mixture[0, :23_000].double().numpy()
    assert pyloudnorm.Meter(RATE).integrated_loudness(inputs) == pytest.approx(-27.3, abs=0.01)


def test_a_mixture_does_not_depend_on_its_batch(recipes, bank):
    alone, whole = rendered(bank, recipes[7]), rendered(bank, *recipes)
    assert all(torch.equal(one[0], many[7]) for one, many in zip(alone[:-1], whole[:-1], strict=True))


def test_a_frame_is_labelled_where_its_window_holds_a_sample_of_an_event(recipes, bank):
    labels = render_labels(recipes, bank, GEOMETRY, SAMPLES, 2)
    assert labels.shape == (14, 2, GEOMETRY.frames(SAMPLES))
    for recipe, label in zip(recipes, labels, strict=True):
        sounding = np.zeros((2, SAMPLES), bool)
        for clip, class_index, onset, _, begin in zip(*recipe[:5], strict=True):
            first = round(onset * RATE)
            sounding[class_index, first : first + bank.lengths[clip] - round(begin * RATE)] = True
        for frame in range(GEOMETRY.frames(SAMPLES)):
            window = slice(max(frame * 64 - 128, 0), frame * 64 + 128)
            assert np.array_equal(label[:, frame], sounding[:, window].any(-1)), frame
    loud, quiet = (render_labels([scene((0, 0, 1.0, level))], bank, GEOMETRY, SAMPLES, 2) for level in (-10, -200))
    assert np.array_equal(loud, quiet) and loud.any()


def test_an_event_is_cut_at_the_end_of_the_mixture_and_one_of_which_nothing_is_rendered_has_no_label(bank):
    onsets, offsets = event_interval(bank, WITHIN, SAMPLES)
    assert onsets.tolist() == [2_000, 12_000, 0] and offsets.tolist() == [SAMPLES, SAMPLES, 1_000]
    recipe = scene((3, 0, 0.5, -25.0), (5, 1, 3 - 0.4 / RATE, -25.0))  # the second begins within the last half sample
    batch = rendered(bank, recipe)
    assert batch.clip_labels.tolist() == [[1, 0]] and not batch.frame_labels[0, 1].any()
    assert [event.clip.label for event in sound_events(recipe, bank, SAMPLES)] == ["b"]
