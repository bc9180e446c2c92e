"""The judges: frame rates, shapes, and what their answers may depend on."""

import pytest
import torch
from lightning_modules.weak_labels.classifier import (
    ConvolutionalRecurrentClassifier,
    RecurrentClassifier,
    clip_logits,
    pool_frame_labels,
)
from torch import nn

BINS, CLASSES = 17, 3


def convolutional(**settings: float) -> ConvolutionalRecurrentClassifier:
    torch.manual_seed(0)
    return ConvolutionalRecurrentClassifier(BINS, CLASSES, channels=(2, 3, 4), units=5, **settings)


def recurrent(**settings: float) -> RecurrentClassifier:
    torch.manual_seed(0)
    return RecurrentClassifier(BINS, CLASSES, units=5, layers=2, **settings)


BOTH = pytest.mark.parametrize("make", [convolutional, recurrent])


def magnitudes(frames: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, BINS, frames, generator=torch.Generator().manual_seed(1))


def test_published_judge_hears_501_frames_as_125():
    judge = ConvolutionalRecurrentClassifier(bins=257, classes=5)
    assert judge(torch.zeros(1, 257, 501)).shape == (1, 5, 125)
    assert pool_frame_labels(torch.zeros(1, 5, 501), judge.frame_reduction).shape == (1, 5, 125)


def test_published_judge_is_three_convolutions_and_one_lstm_of_100_units_without_dropout_or_normalisation():
    judge = ConvolutionalRecurrentClassifier(bins=257, classes=5)
    convolutions = [layer for layer in judge.modules() if isinstance(layer, nn.Conv2d)]
    assert [(c.kernel_size, c.out_channels) for c in convolutions] == [((5, 5), 32), ((5, 5), 64), ((5, 5), 128)]
    # 257 bins are pooled to 128, 64 and 32 rows of 128 channels.
    lstm = next(layer for layer in judge.modules() if isinstance(layer, nn.LSTM))
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.bidirectional) == (32 * 128, 100, 1, True)
    assert not [m for m in judge.modules() if isinstance(m, nn.Dropout | nn.Dropout2d | nn.BatchNorm2d | nn.LayerNorm)]
    assert lstm.dropout == 0


@BOTH
@pytest.mark.parametrize("frames", [4, 5, 7, 8, 30, 33])
def test_labels_and_logits_have_the_same_frames_whatever_the_length(make, frames):
    judge = make()
    labels = pool_frame_labels(torch.zeros(2, CLASSES, frames), judge.frame_reduction)
    assert judge(magnitudes(frames)).shape == labels.shape == (2, CLASSES, frames // judge.frame_reduction)


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_pooled_label_is_active_where_any_of_its_frames_is(reduction):
    labels = (torch.rand(3, CLASSES, 41, generator=torch.Generator().manual_seed(2)) < 0.15).float()
    expected = [
        [
            [float(any(row[reduction * frame : reduction * (frame + 1)])) for frame in range(41 // reduction)]
            for row in mixture
        ]
        for mixture in labels.tolist()
    ]
    assert pool_frame_labels(labels, reduction).tolist() == expected


def test_clip_probability_is_the_largest_frame_probability():
    logits = torch.randn(4, CLASSES, 9, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(clip_logits(logits).sigmoid(), logits.sigmoid().max(-1).values)


@BOTH
def test_training_and_evaluation_mode_compute_the_same(make):
    judge, heard = make(), magnitudes(12)
    training = judge.train()(heard)
    assert torch.equal(judge.eval()(heard), training)
    assert torch.equal(judge.train()(heard), training)


@BOTH
def test_a_mixtures_logits_do_not_depend_on_the_rest_of_the_batch(make):
    judge, heard = make(), magnitudes(12, batch=4)
    alone = torch.cat([judge(heard[b : b + 1]) for b in range(4)])
    torch.testing.assert_close(judge(heard), alone)


@BOTH
def test_gain_multiplies_the_magnitudes(make):
    torch.testing.assert_close(make(gain=100.0)(magnitudes(12)), make()(100 * magnitudes(12)))


@BOTH
def test_an_answer_in_one_place_depends_on_the_future_and_on_the_past(make):
    heard = magnitudes(48, batch=1).requires_grad_()
    logits = make()(heard)
    (gradient,) = torch.autograd.grad(logits[0, 0, logits.shape[-1] // 2], heard)
    # Farther away than three convolutions see.
    assert gradient[0, :, :12].any() and gradient[0, :, -12:].any()


@BOTH
def test_gradient_to_a_silent_input_is_finite(make):
    silence = torch.zeros(1, BINS, 12, requires_grad=True)
    (gradient,) = torch.autograd.grad(make()(silence).sum(), silence)
    assert gradient.isfinite().all()


@BOTH
def test_logits_are_float32_under_autocast(make):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make()(magnitudes(12)).dtype == torch.float32


@BOTH
def test_another_number_of_bins_is_refused(make):
    with pytest.raises(RuntimeError):
        make()(torch.zeros(1, BINS + 8, 12))
