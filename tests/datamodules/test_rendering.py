from collections.abc import Sequence

import numpy as np
import pyloudnorm
import pytest
import torch

from datamodules.annotations import sound_events
from datamodules.corpora.corpus import Clip
from datamodules.inspection import BankOnDemand, Inspection
from datamodules.recipes import Recipe, SceneRecipes, SceneRules
from datamodules.rendering import event_interval, render, render_labels
from datamodules.sound_bank import integrated_loudness
from lightning_modules.spectrogram import Geometry

RATE = 8_000
GEOMETRY = Geometry(RATE, window=256, hop=64)
SAMPLES = 3 * RATE


class Noises:
    """Clips of coloured noise of several lengths, made from their names."""

    name = "noises"
    lengths = (37, 900, 4_000, 9_000, 23_000, 40_000)

    def clips(self) -> list[Clip]:
        return [Clip(str(n), "ab"[n % 2], 1, str(n)) for n in range(len(self.lengths))]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        noise = np.random.default_rng(int(clip.name)).standard_normal(self.lengths[int(clip.name)])
        return (0.01 * (1 + int(clip.name)) * noise).astype(np.float32), RATE

    def fingerprint(self, clips: list[Clip]) -> str:
        return ""


@pytest.fixture(scope="module")
def bank() -> BankOnDemand:
    corpus = Noises()
    inspections = [
        Inspection(clip, len(samples), integrated_loudness(samples, rate))
        for clip in corpus.clips()
        for samples, rate in [corpus.read(clip)]
    ]
    return BankOnDemand.of(inspections, RATE, corpus)


@pytest.fixture(scope="module")
def recipes(bank) -> list[Recipe]:
    rules = SceneRules(duration=3.0, latest_onset=2.9)
    draw = SceneRecipes(rules, [np.array([0, 2, 4]), np.array([1, 3, 5])], seed=0, split="train")
    return [draw(i) for i in range(12)]


def scene(*events: tuple[int, int, float, float], starts: Sequence[float] | None = None) -> Recipe:
    clips, classes, onsets, loudness = map(np.array, zip(*events, strict=True))
    return Recipe(clips, classes, onsets, loudness, np.zeros(len(clips)) if starts is None else np.array(starts))


def test_an_event_of_which_nothing_is_rendered_has_no_label(bank):
    recipe = scene((3, 0, 0.5, -25.0), (5, 1, 3 - 0.4 / RATE, -25.0))  # the second begins within the last half sample
    onsets, offsets = event_interval(bank, recipe, SAMPLES)
    assert (offsets - onsets).tolist() == [9_000, 0]
    batch = render([recipe], [0], bank, GEOMETRY, SAMPLES, 2)
    assert batch.clip_labels.tolist() == [[1, 0]] and not batch.frame_labels[0, 1].any()
    assert [event.label for event in sound_events(recipe, bank, SAMPLES)] == ["b"]


def reference(recipe: Recipe, bank: BankOnDemand) -> np.ndarray:
    """Sources in float64 on an endless time line, cut afterwards, [C, T]."""
    line = np.zeros((2, SAMPLES + 10 * RATE))
    for clip, label, onset, loudness, begin in zip(*recipe, strict=True):
        samples = bank.clip(clip).astype(np.float64)[round(begin * RATE) :]
        start = round(onset * RATE)
        line[label, start : start + len(samples)] += samples * 10 ** ((loudness - bank.loudness[clip]) / 20)
    return line[:, :SAMPLES]


def test_sources_are_the_gained_clips_at_their_onsets_cut_at_the_end(recipes, bank):
    batch = render(recipes, range(12), bank, GEOMETRY, SAMPLES, 2)
    for recipe, sources in zip(recipes, batch.sources.numpy(), strict=True):
        np.testing.assert_allclose(sources, reference(recipe, bank), atol=1e-6)
    assert batch.mixture.shape == (12, SAMPLES) and batch.sources.shape == (12, 2, SAMPLES)
    assert batch.mixture.dtype == batch.sources.dtype == batch.frame_labels.dtype == torch.float32
    assert batch.indices.tolist() == list(range(12))


@pytest.mark.parametrize("with_sources", [True, False])
def test_every_event_is_added_to_silence_in_the_order_of_the_recipe_to_the_last_bit(recipes, bank, with_sources):
    crowded = scene(*((n % 6, n % 2, 0.4 * n, -20.0 - n) for n in range(7)), starts=[0.001 * (n % 3) for n in range(7)])
    scenes = [*recipes, crowded]
    batch = render(scenes, range(13), bank, GEOMETRY, SAMPLES, 2, with_sources)
    for number, recipe in enumerate(scenes):
        mixture, sources = np.zeros(SAMPLES, np.float32), np.zeros((2, SAMPLES), np.float32)
        for clip, label, onset, loudness, begin in zip(*recipe, strict=True):
            gain = np.float32(10 ** ((loudness - bank.loudness[clip]) / 20))
            event = bank.clip(clip)[round(begin * RATE) :][: SAMPLES - round(onset * RATE)] * gain
            place = slice(round(onset * RATE), round(onset * RATE) + len(event))
            mixture[place] += event
            sources[label, place] += event
        np.testing.assert_array_equal(batch.mixture[number].numpy(), mixture)
        if with_sources:
            np.testing.assert_array_equal(batch.sources[number].numpy(), sources)


def test_sources_sum_to_the_mixture(recipes, bank):
    batch = render(recipes, range(12), bank, GEOMETRY, SAMPLES, 2)
    torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-6)


def test_the_mixture_does_not_depend_on_whether_sources_are_kept_nor_on_the_batch(recipes, bank):
    whole = render(recipes, range(12), bank, GEOMETRY, SAMPLES, 2)
    mixtures_only = render(recipes, range(12), bank, GEOMETRY, SAMPLES, 2, with_sources=False)
    alone = render(recipes[7:8], [7], bank, GEOMETRY, SAMPLES, 2)
    assert torch.equal(whole.mixture, mixtures_only.mixture) and mixtures_only.sources.shape == (12, 0, SAMPLES)
    assert torch.equal(whole.frame_labels, mixtures_only.frame_labels)
    assert all(torch.equal(one[0], many[7]) for one, many in zip(alone, whole, strict=True))


def test_a_clip_has_the_loudness_that_was_asked_for(bank):
    # 23,000 samples from the start on: nothing is cut, so a loudness meter hears the whole clip.
    batch = render([scene((4, 0, 0.0, -27.3))], [0], bank, GEOMETRY, SAMPLES, 2)
    heard = batch.mixture[0, :23_000].double().numpy()
    assert pyloudnorm.Meter(RATE).integrated_loudness(heard) == pytest.approx(-27.3, abs=0.01)


def test_loudness_is_of_the_whole_clip_and_not_of_what_is_left_of_it(bank):
    long, cut = (
        render([scene((4, 0, onset, -27.0))], [0], bank, GEOMETRY, SAMPLES, 2).mixture[0] for onset in (0.0, 2.5)
    )
    assert torch.equal(cut[round(2.5 * RATE) :], long[: SAMPLES - round(2.5 * RATE)])


def test_two_events_of_a_class_make_one_source(bank):
    events = (2, 0, 0.5, -25.0), (4, 0, 0.75, -30.0)
    both, first, second = (
        render([scene(*some)], [0], bank, GEOMETRY, SAMPLES, 2) for some in (events, events[:1], events[1:])
    )
    torch.testing.assert_close(both.sources[0, 0], first.sources[0, 0] + second.sources[0, 0])
    assert torch.equal(both.frame_labels[0, 0], torch.maximum(first.frame_labels[0, 0], second.frame_labels[0, 0]))
    assert both.clip_labels.tolist() == [[1, 0]]


def test_a_frame_is_labelled_where_its_window_holds_a_sample_of_the_event(recipes, bank):
    labels = render_labels(recipes, bank, GEOMETRY, SAMPLES, 2)
    assert labels.shape == (12, 2, GEOMETRY.frames(SAMPLES))
    for recipe, label in zip(recipes, labels, strict=True):
        sounding = np.zeros((2, SAMPLES), bool)
        for class_index, onset, offset in zip(recipe.classes, *event_interval(bank, recipe, SAMPLES), strict=True):
            sounding[class_index, onset:offset] = True
        for frame in range(GEOMETRY.frames(SAMPLES)):
            window = slice(max(frame * 64 - 128, 0), frame * 64 + 128)
            assert np.array_equal(label[:, frame], sounding[:, window].any(-1)), frame


def test_labels_come_from_the_event_list_and_not_from_the_energy(bank):
    # 37 samples, of which quiet ones are labelled like loud ones.
    loud, quiet = (render_labels([scene((0, 0, 1.0, level))], bank, GEOMETRY, SAMPLES, 2) for level in (-10, -200))
    assert np.array_equal(loud, quiet) and loud.any()


def test_events_end_at_the_end_of_the_mixture(bank):
    onsets, offsets = event_interval(bank, scene((5, 1, 0.25, -25.0), (0, 0, 2.9, -25.0)), SAMPLES)
    assert onsets.tolist() == [2_000, 23_200] and offsets.tolist() == [SAMPLES, 23_237]


WITHIN = scene((5, 1, 0.25, -25.0), (4, 0, 1.5, -28.0), (3, 0, 0.0, -26.0), starts=(1.00007, 0.5, 1.0))


def test_an_event_may_begin_within_its_clip(bank):
    batch = render([WITHIN], [0], bank, GEOMETRY, SAMPLES, 2)
    np.testing.assert_allclose(batch.sources[0].numpy(), reference(WITHIN, bank), atol=1e-6)
    # A start between two samples is the nearest one; the gain is that of the whole clip.
    gain = 10 ** ((-25.0 - bank.loudness[5]) / 20)
    np.testing.assert_allclose(batch.sources[0, 1, 2_000:].numpy(), bank.clip(5)[8_001:30_001] * gain, atol=1e-6)


def test_an_event_from_within_its_clip_is_as_long_and_as_labelled_as_what_is_left_of_it(bank):
    onsets, offsets = event_interval(bank, WITHIN, SAMPLES)
    # 9,000 samples less 8,000; 23,000 less 4,000 and cut at the end, like 40,000 less 8,001.
    assert onsets.tolist() == [2_000, 12_000, 0] and offsets.tolist() == [SAMPLES, SAMPLES, 1_000]
    labels = render_labels([WITHIN], bank, GEOMETRY, SAMPLES, 2)[0]
    sounding = np.zeros((2, SAMPLES), bool)
    sounding[1, 2_000:], sounding[0, 12_000:], sounding[0, :1_000] = True, True, True
    for frame in range(GEOMETRY.frames(SAMPLES)):
        window = slice(max(frame * 64 - 128, 0), frame * 64 + 128)
        assert np.array_equal(labels[:, frame], sounding[:, window].any(-1)), frame


def test_an_event_from_within_its_clip_is_cut_out_of_the_whole_one(bank):
    whole, cut = (
        render([scene((4, 0, 0.0, -27.0), starts=(start,))], [0], bank, GEOMETRY, SAMPLES, 2).mixture[0]
        for start in (0.0, 1.25)
    )
    assert torch.equal(cut[:13_000], whole[10_000:23_000]) and not cut[13_000:].any()
