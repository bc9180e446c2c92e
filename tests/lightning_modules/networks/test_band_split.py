"""The band-split network: bands that cover all bins, maps or numbers, and what an answer depends on."""

import pytest
import torch
from torch import Tensor

from lightning_modules.errors import InputError
from lightning_modules.networks import BandSplit
from lightning_modules.networks.band_split import band_widths

BINS, FRAMES = 17, 9


def tiny(outputs: int = 2 * BINS, **settings) -> BandSplit:
    torch.manual_seed(0)
    return BandSplit(BINS, outputs, **{"bands": 5, "features": 6, "units": 4, "layers": 2, **settings})


def features(batch: int = 3, frames: int = FRAMES) -> Tensor:
    return torch.randn(batch, BINS, frames, generator=torch.Generator().manual_seed(1))


def test_bands_cover_every_bin_once_whatever_their_number():
    for bins in (*range(1, 40), 129, 257, 513):
        for bands in (*range(1, min(bins, 40) + 1), bins):
            widths = band_widths(bins, bands)
            assert len(widths) == bands and sum(widths) == bins and min(widths) >= 1, (bins, bands)


def test_bands_are_narrow_at_low_frequencies_and_grow():
    widths = band_widths(257, 20)
    assert all(upper >= lower for lower, upper in zip(widths, widths[4:], strict=False))
    assert widths[0] == 2 and widths[-1] == 38
    assert band_widths(17, 17) == [1] * 17


@pytest.mark.parametrize("outputs", [1, 5, BINS + 1])
def test_any_other_number_is_read_from_all_bands_together(outputs):
    network, inputs = tiny(outputs), features(1).requires_grad_()
    answer = network(inputs)
    assert answer.shape == (1, outputs, FRAMES)
    (gradient,) = torch.autograd.grad(answer[0, 0, 4], inputs)
    assert (gradient != 0).all()  # every bin of every frame


def test_every_bin_of_a_map_depends_on_all_bins_of_all_frames():
    inputs = features(1).requires_grad_()
    masks = tiny()(inputs)
    assert tiny(20 * BINS)(inputs).shape == (1, 20, BINS, FRAMES)
    for bin_ in (0, BINS - 1):
        (gradient,) = torch.autograd.grad(masks[0, 1, bin_, 4], inputs, retain_graph=True)
        assert (gradient != 0).all()


def test_a_band_is_decoded_into_its_own_bins_of_every_map():
    network = tiny()
    with torch.no_grad():
        network.decoders[2][-1].bias += 100
    changed = (network(features()) - tiny()(features())).abs() > 50
    first = sum(network.widths[:2])
    expected = torch.zeros(BINS, dtype=torch.bool)
    expected[first : first + network.widths[2]] = True
    assert torch.equal(changed, expected.view(1, 1, -1, 1).expand_as(changed))


@pytest.mark.parametrize(("outputs", "training"), [(2 * BINS, True), (5, False)])
def test_a_mixture_gives_the_same_alone_as_in_a_batch(outputs, training):
    network, inputs = tiny(outputs).train(training), features(4)
    with torch.set_grad_enabled(training):
        alone = torch.cat([network(inputs[b : b + 1]) for b in range(4)])
        torch.testing.assert_close(network(inputs), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("outputs", [2 * BINS, 5])
@pytest.mark.parametrize("frames", [1, 8, 9])
def test_merged_frames_are_one_step_and_come_out_as_frames(outputs, frames):
    merged, given = tiny(outputs, merged_frames=2), features(frames=frames)
    steps = []
    hook = merged.over_time[0].recurrent.lstm.register_forward_hook(lambda _, inputs, __: steps.append(inputs[0].shape))
    answer = merged(given)
    hook.remove()
    assert answer.shape[-1] == frames and steps[0][1] == (frames + 1) // 2
    # Without LSTMs a frame's numbers are of its step alone.
    for layer in (*merged.over_time, *merged.over_bands):
        torch.nn.init.zeros_(layer.output.weight)
    changed = given.clone()
    changed[..., -1] += 1
    moved = (merged(changed) - merged(given)).abs().amax(tuple(range(answer.ndim - 1)))
    step = torch.arange(frames) // 2
    assert torch.equal(moved > 0, step == step[-1])


def test_the_start_of_the_output_is_as_wide_as_asked_for():
    weight = torch.cat([decoder[-1].weight.flatten() for decoder in tiny(40 * BINS, output_init_scale=4.0).decoders])
    assert float(weight.std()) * 24**0.5 == pytest.approx(4, rel=0.05)  # 4·features numbers come in


@pytest.mark.parametrize(
    ("setting", "value"),
    [("bands", 0), ("bands", BINS + 1), ("features", 0), ("units", 0), ("layers", 0), ("merged_frames", 0)],
)
def test_a_setting_that_is_not_possible_is_refused_by_name(setting, value):
    with pytest.raises(InputError, match=rf"^{setting}: {value}; [^\n]*$"):
        tiny(**{setting: value})


def test_it_is_made_on_torchs_meta_device_where_sizes_of_checkpoints_are_compared():
    with torch.device("meta"):
        sizes = {name: value.shape for name, value in tiny().state_dict().items()}
    assert sizes == {name: value.shape for name, value in tiny().state_dict().items()}
