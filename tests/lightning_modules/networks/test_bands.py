"""Networks on frequency bands: bands that cover all bins, maps or numbers, and what an answer depends on."""

from functools import partial

import pytest
import torch
from tiny_systems import IN_BFLOAT16
from torch import Tensor, nn
from torch.func import functional_call

from lightning_modules.errors import InputError
from lightning_modules.networks import BandSplit, TFLocoformer
from lightning_modules.networks.bands import BandNetwork, band_widths

BINS, FRAMES = 17, 9
SIZES = {"bands": 5, "layers": 2}
KINDS = {
    "BandSplit": partial(BandSplit, features=6, units=4, **SIZES),
    "gated BandSplit": partial(BandSplit, features=6, units=4, gated=True, **SIZES),
    "TFLocoformer": partial(TFLocoformer, features=8, hidden=5, **SIZES),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def tiny(kind: str = "BandSplit", outputs: int = 2 * BINS, **settings) -> BandNetwork:
    torch.manual_seed(0)
    return KINDS[kind](BINS, outputs, **settings)


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


def test_widths_may_be_given_and_must_add_up_to_all_bins():
    network = tiny(bands=[1, 4, 12])
    assert [encoder.in_features for encoder in network.encoders] == [1, 4, 12]
    assert network(features()).shape == (3, 2, BINS, FRAMES)
    for widths, told in (([1, 4], "5 bins in all"), ([0, BINS], "0; at least 1"), ([8.5, 8.5], "8.5; a whole number")):
        with pytest.raises(InputError, match=rf"^bands: {told}[^\n]*$"):
            tiny(bands=widths)


@each_kind
@pytest.mark.parametrize("outputs", [1, 5, BINS + 1])
def test_any_other_number_is_read_from_all_bands_together(kind, outputs):
    network, inputs = tiny(kind, outputs), features(1).requires_grad_()
    answer = network(inputs)
    assert answer.shape == (1, outputs, FRAMES)
    (gradient,) = torch.autograd.grad(answer[0, 0, 4], inputs)
    assert (gradient != 0).all()  # every bin of every frame


@each_kind
@pytest.mark.parametrize("merged", [1, 2])
def test_every_bin_of_a_map_depends_on_all_bins_of_all_frames_of_its_own_mixture(kind, merged):
    network, inputs = tiny(kind, merged_frames=merged), features(2).requires_grad_()
    masks = network(inputs)
    assert masks.shape == (2, 2, BINS, FRAMES) and tiny(kind, 20 * BINS)(inputs).shape == (2, 20, BINS, FRAMES)
    for bin_, frame in ((0, 0), (BINS - 1, 4), (3, FRAMES - 1)):
        (gradient,) = torch.autograd.grad(masks[0, 1, bin_, frame], inputs, retain_graph=True)
        assert (gradient[0] != 0).all() and (gradient[1] == 0).all()


@each_kind
def test_gradients_of_inputs_and_weights_are_those_of_finite_differences(kind):
    network = tiny(kind, merged_frames=2, layers=1).double()
    names, weights = zip(*network.named_parameters(), strict=True)

    def answer(inputs: Tensor, *values: Tensor) -> Tensor:
        return functional_call(network, dict(zip(names, values, strict=True)), (inputs,))

    assert torch.autograd.gradcheck(answer, (features(1, 5).double().requires_grad_(), *weights), fast_mode=True)


@each_kind
@IN_BFLOAT16
@torch.no_grad()
def test_in_bfloat16_an_answer_is_nearly_that_of_float32(kind):
    network = tiny(kind)
    exact = network(features())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(features())
    for answer in (mixed, network.bfloat16()(features().bfloat16())):
        assert float((answer - exact).norm()) < 0.03 * float(exact.norm())


def test_a_band_is_decoded_into_its_own_bins_of_every_map():
    network = tiny()
    with torch.no_grad():
        network.decoders[2][-1].bias += 100
    changed = (network(features()) - tiny()(features())).abs() > 50
    first = sum(network.widths[:2])
    expected = torch.zeros(BINS, dtype=torch.bool)
    expected[first : first + network.widths[2]] = True
    assert torch.equal(changed, expected.view(1, 1, -1, 1).expand_as(changed))


def test_a_gated_decoder_multiplies_one_half_of_its_numbers_by_the_sigmoid_of_the_other():
    network = tiny("gated BandSplit", 1)
    heard = []
    network.decoders[0][3].register_forward_hook(lambda _, __, numbers: heard.append(numbers))
    answer = network(features())
    numbers = heard[0].double()
    torch.testing.assert_close(answer[:, 0].double(), numbers[..., 0] / (1 + torch.exp(-numbers[..., 1])))


@each_kind
@pytest.mark.parametrize(("outputs", "training"), [(2 * BINS, True), (5, False)])
def test_a_mixture_gives_the_same_alone_as_in_a_batch(kind, outputs, training):
    network, inputs = tiny(kind, outputs).train(training), features(4)
    with torch.set_grad_enabled(training):
        alone = torch.cat([network(inputs[b : b + 1]) for b in range(4)])
        torch.testing.assert_close(network(inputs), alone, atol=1e-5, rtol=0)


@each_kind
@pytest.mark.parametrize("outputs", [2 * BINS, 5])
@pytest.mark.parametrize("frames", [1, 8, 9])
def test_merged_frames_are_one_step_and_come_out_as_frames(kind, outputs, frames):
    merged, given = tiny(kind, outputs, merged_frames=2), features(frames=frames)
    steps = []
    hook = merged.over_time[0].register_forward_hook(lambda _, inputs, __: steps.append(inputs[0].shape[2]))
    answer = merged(given)
    hook.remove()
    assert answer.shape[-1] == frames and steps == [(frames + 1) // 2]
    # Frames that fill the last step are zeros, whose answer is not kept.
    filled = merged(nn.functional.pad(given, (0, frames % 2)))
    torch.testing.assert_close(filled[..., :frames], answer)
    # Without anything over time or bands, a frame's numbers are of its step alone.
    for layer in (each for each in merged.modules() if hasattr(each, "output")):
        nn.init.zeros_(layer.output.weight)
    changed = given.clone()
    changed[..., -1] += 1
    moved = (merged(changed) - merged(given)).abs().amax(tuple(range(answer.ndim - 1)))
    step = torch.arange(frames) // 2
    assert torch.equal(moved > 0, step == step[-1])


@each_kind
def test_the_start_of_the_output_is_as_wide_as_asked_for(kind):
    network = tiny(kind, 40 * BINS, output_init_scale=4.0)
    weights = [decoder[3].weight.detach() for decoder in network.decoders]
    weight = torch.cat([each.flatten() for each in weights])
    assert float(weight.std()) * weights[0].shape[1] ** 0.5 == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        *((kind, setting, 0) for kind in KINDS for setting in ("bands", "features", "layers", "merged_frames")),
        ("BandSplit", "bands", BINS + 1),
        ("BandSplit", "units", 0),
        *(("TFLocoformer", setting, 0) for setting in ("hidden", "kernel", "heads", "groups")),
        *(("TFLocoformer", *of) for of in (("heads", 3), ("heads", 8), ("groups", 3))),
    ],
)
def test_a_setting_that_is_not_possible_is_refused_by_name(kind, setting, value):
    with pytest.raises(InputError, match=rf"^{setting}: {value}; [^\n]*$"):
        tiny(kind, **{setting: value})


@each_kind
def test_it_is_made_on_torchs_meta_device_where_sizes_of_checkpoints_are_compared(kind):
    with torch.device("meta"):
        sizes = {name: value.shape for name, value in tiny(kind).state_dict().items()}
    assert sizes == {name: value.shape for name, value in tiny(kind).state_dict().items()}
