"""A classifier's front end against numpy in float64, and the stretches that training hides from it."""

import numpy as np
import pytest
import torch
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, random_batch, trainer

from lightning_modules.errors import InputError
from lightning_modules.networks import CRNN
from lightning_modules.spectrogram import Geometry
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_features import ClassifierFeatures, masked, with_silence
from lightning_modules.weak_labels.classifier_module import EventClassifier

GEOMETRY = Geometry(16000, 512, 128)


def magnitudes(frames: int = 7, batch: int = 3) -> torch.Tensor:
    return 1e-2 * torch.rand(batch, GEOMETRY.bins, frames, generator=torch.Generator().manual_seed(0)) ** 3


def mel_filters(bands: int) -> np.ndarray:
    """Triangles with peaks at 1 between points equally spaced on the scale 2595 log10(1 + f/700), [bands, bins]."""
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), bands + 2)
    points = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.linspace(0, 8000, GEOMETRY.bins)
    rising = (frequencies - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - frequencies) / np.diff(points)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


@pytest.mark.parametrize("bands", [None, 40, 64])
@pytest.mark.parametrize("root", [1.0, 0.4])
def test_features_are_the_root_of_what_the_bands_hold(bands, root):
    magnitude = magnitudes()
    held = magnitude.double().numpy() if bands is None else mel_filters(bands) @ magnitude.double().numpy()
    expected = 3 * ((held + 1e-4) ** root - 1e-4**root)
    features = ClassifierFeatures(GEOMETRY, bands, root, gain=3.0)(magnitude)
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-5, rtol=1e-3)


def test_the_slope_is_bounded_where_there_is_silence():
    silence = torch.zeros(1, GEOMETRY.bins, 2, requires_grad=True)
    ClassifierFeatures(GEOMETRY, 64, 0.4)(silence).sum().backward()
    assert silence.grad is not None and silence.grad.isfinite().all()
    assert silence.grad.max() <= 0.4 * 1e-4**-0.6 * 2  # a bin belongs to two triangles


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"mel_bands": 300}, "mel_bands"),
        ({"mel_bands": 200}, "mel_bands"),
        ({"root": 0.0}, "root"),
        ({"root": 2.0}, "root"),
    ],
)
def test_what_is_not_possible_is_refused_by_name(wrong, named):
    with pytest.raises(InputError, match=named):
        ClassifierFeatures(GEOMETRY, **wrong)


def test_hidden_stretches_are_as_long_and_lie_as_they_are_drawn():
    torch.manual_seed(0)
    features = torch.ones(2000, 12, 30)
    hidden = masked(features, bands=4, frames=10) == 0
    for dim, longest, size in ((2, 4, 12), (1, 10, 30)):
        stretches = hidden.all(dim)  # over the other dimension: whole bands, or whole frames
        lengths = stretches.sum(-1)
        assert sorted(set(lengths.tolist())) == list(range(longest + 1))
        assert np.bincount(lengths).min() > 0.7 * 2000 / (longest + 1)
        assert stretches.any(0).all() and stretches.shape[-1] == size
        edges = torch.nn.functional.pad(stretches.int(), (1, 1)).diff(dim=-1).abs().sum(-1)
        assert set(edges.tolist()) == {0, 2}  # one stretch
    assert torch.equal(masked(features, 0, 0), features)
    assert torch.equal(hidden.any(2).all(1) | hidden.any(1).all(1), hidden.flatten(1).any(1))


def test_a_classifier_hides_stretches_in_training_alone_and_comes_back_from_its_checkpoint(tmp_path):
    torch.manual_seed(0)
    shared = {"classes": CLASSES, **GEOMETRY_SETTINGS}
    network = {"class_path": "lightning_modules.networks.CRNN", "init_args": {"channels": [2, 3, 4], "units": 4}}
    network["init_args"]["dropout"] = 0.5
    model = EventClassifier(
        **shared, network=network, mel_bands=8, root=0.4, masked_bands=4, masked_frames=9, gain=5.0, silent_mixtures=0.5
    )
    training = trainer()
    training.fit(model, datamodule=RandomScenes())
    training.save_checkpoint(tmp_path / "classifier.ckpt")
    assert "features.filters" not in model.state_dict()
    loaded, batch = load_module(tmp_path / "classifier.ckpt", EventClassifier).eval(), random_batch(3)
    model.eval()
    logits = [each.test_step(batch, 0)["logits"] for each in (model, loaded, loaded)]
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[1], logits[2])
    loaded.train()
    torch.manual_seed(0)
    assert not torch.equal(loaded(batch.mixture.new_ones(2, 17, 26)), loaded(batch.mixture.new_ones(2, 17, 26)))


def test_silent_mixtures_are_attenuated_by_30_to_60_decibels_and_hold_no_class():
    torch.manual_seed(0)
    batch = random_batch(3)
    batch = batch._replace(
        frame_labels=batch.frame_labels.repeat(500, 1, 1), clip_labels=torch.ones(1500, len(CLASSES))
    )
    batch.frame_labels[:, 0] = torch.nan  # nobody has said, but of silence it is known
    magnitude = torch.ones(1500, 4, 5)
    quieter, labelled = with_silence(magnitude, batch, 0.3)
    level = 20 * quieter.log10()
    silent = level[:, 0, 0] < 0
    assert silent.float().mean() == pytest.approx(0.3, abs=0.04)
    assert (level == level[:, :1, :1]).all() and not level[~silent].any()
    assert -60 <= level[silent].min() < -59 and -31 < level[silent].max() <= -30
    assert not labelled.clip_labels[silent].any() and not labelled.frame_labels[silent].any()
    assert (
        torch.equal(labelled.frame_labels[~silent][:, 1:], batch.frame_labels[~silent][:, 1:])
        and labelled.clip_labels[~silent].all()
    )


def test_dropout_of_the_published_network_is_none():
    network, magnitude = CRNN(16, 3, channels=(2, 3, 4), units=4).train(), torch.rand(2, 16, 12)
    assert torch.equal(network(magnitude), network(magnitude))


def test_a_network_on_bands_that_would_give_each_class_a_band_is_refused():
    network = {"class_path": "BandSplit", "init_args": {"bands": 2, "features": 2, "units": 2, "layers": 1}}
    of_band = {"mel_bands": 3, "network": network}
    with pytest.raises(InputError, match=r"^mel_bands: 3 divide the 6 classes; choose another number$"):
        EventClassifier(classes=list("abcdef"), **of_band)
    assert EventClassifier(classes=list("abcde"), **of_band)(magnitudes()).shape == (3, 5, 7)
