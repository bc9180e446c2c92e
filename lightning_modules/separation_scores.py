"""Scores of separated sources, and which of them are defined.

Axes: B mixtures, Q sources, E estimates, T samples.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lightning_modules.batch import Batch
from lightning_modules.batch_invariance import inner_products
from lightning_modules.errors import InputError
from lightning_modules.scores import RESIDUAL

BLOCK = 2048  # samples that fit into the cache for all signals of a batch, and whose sums no thread shares
EXACT = 1e-10  # -100 dB
INAUDIBLE = 1e-6  # -60 dB: beside a mixture at full scale what 16 bits have as noise
EPSILON = torch.finfo(torch.float64).eps


class LeftOut(StrEnum):
    """Why a source that is present has no score."""

    NO = ""
    SINGLE_CLASS = "single class"
    SILENT_SOURCE = "silent source"
    SILENT_ESTIMATE = "silent estimate"
    EXACT_ESTIMATE = "exact estimate"


class Score(NamedTuple):
    """SI-SDR of one present class, or source, in one mixture, in dB; NaN where `left_out` says why.

    Attributes:
        mixture: its index in the split.
        label: sound class.
        left_out: empty, or the reason.
        input_si_sdr: of the unprocessed mixture; defined for estimates that are silent or exact too.
        si_sdr: of the estimate.
    """

    mixture: int
    label: str
    left_out: LeftOut
    input_si_sdr: float
    si_sdr: float


class PairScores(NamedTuple):
    """A system's estimates against every source of their mixtures, on the CPU.

    SI-SDR is 0 where one of the two is silent, NaN where one is not finite, else within what double precision tells
    apart, ±156.5 dB.
    """

    si_sdr: Tensor  # in dB, float64, [B, E, Q]
    exact: Tensor  # whether an estimate differs from a source by rounding alone, below -100 dB, bool, [B, E, Q]
    inaudible: Tensor  # whether a source lies more than 60 dB below an estimate, bool, [B, E, Q]
    silent: Tensor  # whether an estimate is constant, bool, [B, E]
    silent_source: Tensor  # bool, [B, Q]

    def best_order(self) -> Tensor:
        """The estimate of each source in the order of highest mean SI-SDR: int64, [B, Q].

        Each source has an estimate of its own, and of more estimates some are left over. Fewer are all used, and the
        audible sources beyond them share the estimates in which they score best.

        Where several orders are the best, that which `scipy.optimize.linear_sum_assignment` finds: without any
        difference the estimates' own. NaN counts as 0, as silence does: it leaves the others in their order.
        """
        pairs = zip(self.si_sdr.detach().nan_to_num().mT.numpy(), ~self.silent_source.numpy(), strict=True)
        orders = [_best_order(si_sdr, audible) for si_sdr, audible in pairs]
        return torch.from_numpy(np.array(orders, dtype=np.int64).reshape(self.silent_source.shape))

    def in_best_order(self) -> "PairScores":
        """The same with an estimate for each source, E = Q, in their order."""
        order = self.best_order()
        pairs = order.unsqueeze(-1).expand(-1, -1, self.si_sdr.shape[-1])
        si_sdr, exact, inaudible = (each.gather(1, pairs) for each in (self.si_sdr, self.exact, self.inaudible))
        return PairScores(si_sdr, exact, inaudible, self.silent.gather(1, order), self.silent_source)


def _best_order(si_sdr: NDArray[np.float64], audible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The best order of one mixture: SI-SDR [Q, E] and which sources are audible, [Q], to estimates, [Q]."""
    sources, estimates = si_sdr.shape
    if estimates >= sources:
        return linear_sum_assignment(si_sdr, maximize=True)[1]
    order, found = np.zeros(sources, np.int64), si_sdr[audible]
    # For each source too many, a column of what a source that shares its estimate scores at best.
    shared = found.max(1, keepdims=True).repeat(max(0, len(found) - estimates), 1)
    column = linear_sum_assignment(np.hstack([found, shared]), maximize=True)[1]
    order[audible] = np.where(column < estimates, column, found.argmax(1))
    return order


def compare(sources: Tensor, systems: Sequence[Tensor]) -> list[PairScores]:
    """Compare what several systems make of the same mixtures with the sources, means removed, in float64.

    With e and s of mean 0, SI-SDR = 10 log₁₀ c/(1 - c), where c = ⟨e, s⟩²/(⟨e, e⟩⟨s, s⟩), the squared cosine, is the
    projection's share of the estimate's energy (Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019, eq. 4).
    The moments of all pairs take one pass over the samples. Rounding changes c by some 10⁻¹⁵: a score of 60 dB by less
    than 10⁻⁷ dB, one of 100 dB by less than 10⁻³; higher ones are rounding itself.

    Args:
        sources: [B, Q, T].
        systems: the estimates of each, [B, E, T], E of each its own.

    Returns:
        One of each system.

    Raises:
        InputError: estimates are of another length than the sources.
    """
    count, samples = sources.shape[1:]
    for system in systems:
        _require_length(system, samples)
    moments = torch.cat(_moments([sources, *systems], count), -1).cpu()  # waits for a GPU, here alone
    product, energy, mean, constant = moments.split([count, 1, 1, 1], -1)
    source_energy, source_mean, constant_source = (each[:, :count].mT for each in (energy, mean, constant))
    cosine = (product.square() / (energy * source_energy)).clamp(EPSILON, 1 - EPSILON)
    si_sdr = 10 * (cosine / (1 - cosine)).log10().masked_fill((constant + constant_source).bool(), 0)
    error = energy - 2 * product + source_energy + samples * (mean - source_mean).square()
    exact = error <= EXACT * (source_energy + samples * source_mean.square())
    inaudible = source_energy < INAUDIBLE * energy
    silent = constant.squeeze(-1).bool()
    sizes = [count, *(system.shape[1] for system in systems)]
    parts = zip(*(whole.split(sizes, 1) for whole in (si_sdr, exact, inaudible, silent)), strict=True)
    (*_, silent_source), *of_systems = parts
    return [
        PairScores(pairs, same, inaudible, constants, silent_source) for pairs, same, inaudible, constants in of_systems
    ]


def _require_length(estimates: Tensor, samples: int, of: str = "") -> None:
    if estimates.shape[-1] != samples:
        of_it = f"{estimates.shape[-1]} samples, but the mixture has {samples}"
        raise InputError(f"{of}estimates: {of_it}; a separator returns as many as it gets")


def require_estimates(model: str, estimates: Any, mixture: Tensor, sources: int) -> None:
    """Raise InputError unless what a model of that name returned of mixtures, [B, T], are estimates, [B, Q, T]."""
    if not isinstance(estimates, Tensor):
        kind = type(estimates).__name__
        raise InputError(f"{model}: a step returned {kind}; estimates, [B, {sources}, T], are needed")
    _require_length(estimates, mixture.shape[-1], f"{model}: ")
    needed = [len(mixture), sources, mixture.shape[-1]]
    if [*estimates.shape] != needed:
        raise InputError(f"{model}: estimates of shape {[*estimates.shape]}; {needed}, [B, Q, T], is needed")


def _moments(signals: Sequence[Tensor], sources: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Moments of R signals, [B, ·, T] several times, the Q sources first, in float64.

    Products with the sources, [B, R, Q], energies, both without means, means, and 1 for constants, [B, R, 1] each.
    """
    product: Tensor | float = 0.0
    energy: Tensor | float = 0.0
    means = []
    for blocks in zip(*(signal.split(BLOCK, -1) for signal in signals), strict=True):
        block = torch.cat(blocks, 1).double()
        means.append(block.mean(-1, keepdim=True))
        block -= means[-1]
        product += inner_products(block, block[:, :sources])
        energy += block.square().sum(-1, keepdim=True)
    # What the means of blocks differ from the mean of all belongs to the moments (Chan, Golub, LeVeque 1979).
    mean_of_block = torch.cat(means, -1)
    length = torch.full_like(mean_of_block[:1, :1], BLOCK)
    length[..., -1] = blocks[0].shape[-1]
    mean = (mean_of_block * length).sum(-1, keepdim=True) / length.sum()
    offset = mean_of_block - mean
    product += inner_products(offset * length, offset[:, :sources])
    energy += (offset.square() * length).sum(-1, keepdim=True)
    constant = torch.cat([is_silent(signal) for signal in signals], 1)
    return product, energy, mean, constant.unsqueeze(-1).double()


def is_silent(signal: Tensor) -> Tensor:
    """Whether a signal is constant (all zeros, as a rule): it then has no SI-SDR. [..., T] -> [...], bool."""
    return signal.amax(-1) == signal.amin(-1)


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, means removed, always in float64: [..., T] -> [...].

    0 where one of the two is constant; the other values as in `PairScores`.
    """
    pairs = (signal.reshape(-1, 1, signal.shape[-1]) for signal in (target, estimate))
    (comparison,) = compare(next(pairs), list(pairs))
    return comparison.si_sdr.view(target.shape[:-1]).to(target.device)


def in_best_order(estimates: Tensor, sources: Tensor) -> Tensor:
    """Estimates in the order of the sources that has the highest mean SI-SDR: [B, E, T], [B, Q, T] -> [B, Q, T]."""
    (comparison,) = compare(sources, [estimates])
    order = comparison.best_order().to(estimates.device)
    return estimates[torch.arange(len(order), device=order.device).unsqueeze(-1), order]


def score_comparison(
    of_mixture: PairScores, found: PairScores, present: Tensor, indices: Tensor, classes: Sequence[str]
) -> list[Score]:
    """Score every present class of every mixture.

    A present class may be inaudible, as a drum is whose clip begins with silence and is cut before it sounds. With a
    single audible class the mixture is the source and the input SI-SDR infinite; an inaudible source has none; and
    where a mask that knows the truth gives back a source that overlaps with no other, the SI-SDR is that of single
    precision's rounding, some 139 dB. All are decided beforehand, on the signals, and come back as rows without a
    score, so that they can be counted.

    Args:
        of_mixture: the mixtures compared with their sources, E = 1.
        found: estimates compared with the same sources, in their order, E = Q.
        present: clip labels, [B, Q]; NaN, which nobody has said, is taken for 1, and a silent source left out.
        indices: of the mixtures, [B].
        classes: Q names.

    Returns:
        Rows in the order of mixtures, then classes.
    """
    present = present.bool().cpu()
    inaudible = found.silent_source | of_mixture.inaudible[:, 0]
    audible = present & ~inaudible
    input_si_sdr, si_sdr = of_mixture.si_sdr[:, 0], found.si_sdr.diagonal(dim1=1, dim2=2)
    undefined = {
        LeftOut.SILENT_SOURCE: inaudible,
        # Sources that are one signal, or cancel each other but for one, make a mixture of a single one, too.
        LeftOut.SINGLE_CLASS: (audible.sum(-1, keepdim=True) == 1) | (input_si_sdr >= -10 * math.log10(EXACT)),
        LeftOut.SILENT_ESTIMATE: found.silent,
        LeftOut.EXACT_ESTIMATE: found.exact.diagonal(dim1=1, dim2=2),
    }
    reasons = torch.stack(list(undefined.values()), -1)
    rows, numbers = [], indices.tolist()
    for mixture, label in present.nonzero().tolist():
        holds = zip(undefined, reasons[mixture, label].tolist(), strict=True)
        reason = next((reason for reason, holds in holds if holds), LeftOut.NO)
        before = math.nan if reason in (LeftOut.SILENT_SOURCE, LeftOut.SINGLE_CLASS) else input_si_sdr[mixture, label]
        after = si_sdr[mixture, label] if reason is LeftOut.NO else math.nan
        rows.append(Score(numbers[mixture], classes[label], reason, float(before), float(after)))
    return rows


def score_separation(
    mixture: Tensor, sources: Tensor, estimates: Tensor, present: Tensor, indices: Tensor, classes: Sequence[str]
) -> list[Score]:
    """Compare mixtures, [B, T], and estimates in the order of the sources, [B, Q, T], with the sources, [B, Q, T].

    Present classes, [B, Q], indices, [B], names, and the rows are those of `score_comparison`.
    """
    unprocessed, found = compare(sources, [mixture.unsqueeze(1), estimates])
    return score_comparison(unprocessed, found, present, indices, classes)


def with_residual(batch: Batch, estimates: Tensor, classes: Sequence[str]) -> tuple[Batch, Tensor, list[str]]:
    """The same with the residual for a further class, where the sources hold the sounds of none, their last.

    Its estimate is what those of the classes leave of the mixture; it is present where such sounds are.

    Args:
        batch: B mixtures.
        estimates: of the classes, [B, C, T].
        classes: C names.

    Returns:
        The batch with clip labels, [B, C + 1], without those of parents, estimates, [B, C + 1, T], and names. Without
        such sources C in place of C + 1.
    """
    _require_length(estimates, batch.mixture.shape[-1])
    count = len(classes)
    if batch.clip_labels.shape[1] > count:
        batch = batch._replace(clip_labels=batch.clip_labels[:, :count])
    if batch.sources.shape[1] == count:
        return batch, estimates, list(classes)
    present = ~is_silent(batch.sources[:, count:])
    rest = batch.mixture - estimates.sum(1)
    batch = batch._replace(clip_labels=torch.cat((batch.clip_labels, present.to(batch.clip_labels)), 1))
    return batch, torch.cat((estimates, rest.unsqueeze(1)), 1), [*classes, RESIDUAL]


def parent_scores(batch: Batch, estimates: Tensor, parents: Mapping[str, Sequence[int]]) -> list[Score]:
    """Score parents: the sums of their children's estimates against those of their sources.

    Args:
        batch: B mixtures, whose clip labels have the parents behind the classes.
        estimates: of the classes, [B, C, T].
        parents: places of the classes below each, by name.

    Returns:
        Rows of the parents that are present.
    """
    rows = []
    for number, (label, places) in enumerate(parents.items(), estimates.shape[1]):
        of_parent, estimate = batch.sources[:, places].sum(1), estimates[:, places].sum(1)
        # All else that the mixture holds is one more source: where that is silent, the parent is alone.
        sources, separated = (torch.stack((own, batch.mixture - own), 1) for own in (of_parent, estimate))
        present = batch.clip_labels[:, [number, number]]
        scores = score_separation(batch.mixture, sources, separated, present, batch.indices, (label, ""))
        rows += [score for score in scores if score.label]
    return rows


def defined_scores(batch: Batch, estimates: Tensor) -> Tensor:
    """SI-SDR and its improvement over the mixture, in dB, of the present classes that have them, [n, 2].

    Estimates, [B, C, T], are in the order of the sources.
    """
    batch, estimates, names = with_residual(batch, estimates, [""] * estimates.shape[1])
    rows = score_separation(*batch[:2], estimates, batch.clip_labels, batch.indices, names)
    rows = [row for row in rows if row.left_out is LeftOut.NO and row.label != RESIDUAL]
    return torch.tensor([(row.si_sdr, row.si_sdr - row.input_si_sdr) for row in rows]).reshape(-1, 2)
