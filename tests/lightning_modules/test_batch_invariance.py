"""In an evaluation on a CPU nothing depends on the batch; elsewhere nothing is paid for it."""

from functools import partial

import pytest
import torch
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, IN_BFLOAT16, RandomScenes, random_batch, trainer

from lightning_modules.batch_invariance import evaluate_batch_invariantly, inner_products, product, sigmoid, softmax
from lightning_modules.deep_clustering.confidence import silhouette_samples
from lightning_modules.deep_clustering.jensen_shannon import jensen_shannon
from lightning_modules.deep_clustering.losses import mask_inference_loss
from lightning_modules.deep_clustering.unit_sigmoid import unit_sigmoid
from lightning_modules.networks import BLSTM, CRNN, BandSplit, TFLocoformer
from lightning_modules.networks.heads import class_masks, embeddings, source_masks, unit_masks
from lightning_modules.separation_scores import compare
from lightning_modules.signal_features import signal_features
from lightning_modules.spectrogram import Geometry
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


@pytest.fixture
def separator():
    torch.manual_seed(0)
    return WeakLabelSeparator(classes=CLASSES, **GEOMETRY_SETTINGS, network=partial(BLSTM, units=4, layers=1))


@pytest.fixture
def passes(separator):
    """Mixtures in every pass through the LSTM."""
    counted = []
    separator.network.recurrent.lstm.register_forward_pre_hook(lambda module, inputs: counted.append(len(inputs[0])))
    return counted


def test_only_evaluation_computes_one_mixture_as_one_of_several_and_inference_after_it_does_not(separator, passes):
    trainer().validate(separator, datamodule=RandomScenes(), verbose=False)
    assert passes == [5, 2]  # the second batch holds one
    trainer(1).fit(separator, datamodule=RandomScenes())
    assert passes[2:] == [4, 4, 5, 2]
    separator(random_batch(1).mixture), separator(random_batch(3).mixture)
    assert passes[6:] == [1, 3]


@pytest.fixture
def evaluating():
    evaluate_batch_invariantly(True)
    yield
    evaluate_batch_invariantly(False)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(7, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def in_bfloat16(features):
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        return BLSTM(65, 6, units=128, layers=1)(features)


def labelled(function, points):
    return function(points, (points[..., 0] > 0).long(), 2)


def test_in_an_evaluation_logits_of_any_size_have_the_masks_of_torch(evaluating):
    logits = torch.tensor([[-300.0, 0.0, 300.0], [-1.0, 0.5, 2.0]])
    torch.testing.assert_close(sigmoid(logits), logits.sigmoid())
    torch.testing.assert_close(softmax(logits, 1), logits.softmax(1))


OUTPUTS = noise(3 * 129, 38)
PRODUCTS = noise(11, 2048, dtype=torch.float64), noise(5, 2048, seed=1, dtype=torch.float64)
CASES = {
    "LSTM": (BLSTM(65, 6, units=300, layers=2), noise(65, 20)),
    "convolutions": (CRNN(33, 3, channels=(4, 8, 8), units=20), noise(33, 24)),
    "LSTMs of bands": (BandSplit(65, 130, bands=8, features=6, merged_frames=2, gated=True), noise(65, 41)),
    "transformer of bands": (TFLocoformer(65, 130, bands=8, features=8, hidden=5, merged_frames=2), noise(65, 41)),
    "masks": (partial(class_masks, classes=3), OUTPUTS),
    "shared masks": (partial(class_masks, classes=2, activation="softmax"), OUTPUTS),
    "complex masks": (
        lambda outputs, spectrum: product(class_masks(outputs, 1, "softmax", "complex"), spectrum),
        OUTPUTS,
        torch.view_as_complex(noise(1, 129, 38, 2, seed=1)),
    ),
    "masks of sources": (lambda outputs: unit_masks(source_masks(outputs, 3)), OUTPUTS),
    "loss of masks": (mask_inference_loss, noise(2, 40_000).softmax(1), noise(40_000).abs(), noise(2, 40_000).abs()),
    "unit vectors": (partial(embeddings, dimensions=3, activation=unit_sigmoid), OUTPUTS),
    "inner products": (inner_products, *PRODUCTS),
    "SI-SDR": (lambda sources, estimates: compare(sources, [estimates])[0].si_sdr, noise(2, 9000), noise(3, 9000)),
    "signal features": (partial(signal_features, geometry=Geometry(8000, 256, 64)), noise(30_000), noise(2, 30_000)),
    "silhouettes": (partial(labelled, silhouette_samples), noise(300, 5)),
    "Jensen-Shannon divergence": (partial(labelled, jensen_shannon), noise(300, 5)),
}


@pytest.mark.any_cpu
@pytest.mark.parametrize("case", [*CASES, pytest.param("LSTM in bfloat16", marks=IN_BFLOAT16)])
@torch.no_grad()
def test_in_an_evaluation_numbers_are_the_same_bits_in_batches_of_any_size(case, evaluating):
    function, *inputs = CASES.get(case, (in_bfloat16, noise(65, 20)))
    whole = function(*inputs)
    for size in (1, 2, 3):
        parts = zip(*(each.split(size) for each in inputs), strict=True)
        assert torch.equal(torch.cat([function(*part) for part in parts]), whole), size
