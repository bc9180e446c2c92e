"""The losses of Pishdadian, Wichern, Le Roux, "Learning to separate sounds from weakly labeled scenes" (ICASSP 2020).

Axes: B mixtures, C classes, E estimates (one per class, E = C; E = C + 1 with the residual, which is not in the paper,
what belongs to no class), F frequency bins, T frames. A loss is one value per mixture, [B]: ranks and batch sizes then
add up in the mean. `activity` is 1 where a class is active and 0 elsewhere. Losses sum over classes, estimates and
bins, as the equations do, and average over frames.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, pad

from lightning_modules.networks.heads import MaskKind


def prior_weight(activity: Tensor, prior: Tensor) -> Tensor:
    """W = 1/γ where the class is active, 1/(1 - γ) elsewhere: both kinds of frame weigh the same in total.

    Args:
        activity: [B, C, T].
        prior: γ, each class's share of active training frames, in (0, 1), [C].

    Returns:
        W, [B, C, T].
    """
    prior = prior.unsqueeze(-1)
    return activity / prior + (1 - activity) / (1 - prior)


def classification_loss(logits: Tensor, activity: Tensor, weight: Tensor) -> Tensor:
    """The loss of a classifier of mixtures: Σ_i W_i,τ H(l_i,τ, p_i,τ(X)), averaged over frames.

    Args:
        logits: of p(X), [B, C, T].
        activity: l, [B, C, T].
        weight: W, [B, C, T].

    Returns:
        [B]
    """
    cross_entropy = binary_cross_entropy_with_logits(logits, activity, reduction="none")
    return (weight * cross_entropy).sum(-2).mean(-1)


def estimate_classification_loss(
    logits: Tensor,
    activity: Tensor,
    weight: Tensor,
    drawn: Tensor | None = None,
    residual: bool = False,
    related: Tensor | None = None,
) -> Tensor:
    """The classifier on the estimates: Σ_i L_class(Ŝ_i), estimate i to hold class i when active, nothing else.

    W_j,τ follows the mixture's label of j also where the target is 0. A residual is to hold no class. Averaged over
    frames.

    In a hierarchy C counts parents, too, and an estimate is to hold what is active of its node, above it and below. A
    weight of 0 says that a label is not known: then neither the node's estimate counts nor the node in others.

    Args:
        logits: of p(Ŝ_i), [B, E, C, T].
        activity: l, [B, C, T].
        weight: W, [B, C, T].
        drawn: which estimates the logits are of, int64 [B, E], where they are fewer, drawn at random: the loss is C/E
            times theirs, and in the mean over draws that of all. With a residual, C + 1 times over E.
        residual: whether one of all estimates, the last, is the residual.
        related: 1 where one of two nodes contains the other, [C, C]; no two unless given.

    Returns:
        [B]
    """
    if related is None:
        related = torch.eye(activity.shape[1], dtype=activity.dtype, device=activity.device)
    # [B, E, C, T]: l_i at j = i, 0 elsewhere; in a hierarchy also at the nodes above and below.
    target = related.unsqueeze(-1) * activity.unsqueeze(2) * activity.unsqueeze(1)
    known = pad((weight > 0).to(weight), (0, 0, 0, int(residual)), value=1.0)
    if residual:
        target = pad(target, (0, 0, 0, 0, 0, 1))
    estimates = target.shape[1]
    if drawn is not None:
        target = target.take_along_dim(drawn[..., None, None], 1)
        known = known.take_along_dim(drawn[..., None], 1)
    cross_entropy = binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (weight.unsqueeze(1) * known.unsqueeze(2) * cross_entropy).sum((-3, -2)).mean(-1)
    return loss * (estimates / logits.shape[1])


def loud_frames(mixture: Tensor, threshold: float = 0.01) -> Tensor:
    """Frames that count in the spectral losses: summed magnitude at least `threshold` of the mixture's loudest frame.

    Args:
        mixture: magnitude, [B, F, T].
        threshold: share of the maximum over frames.

    Returns:
        1 for frames that count, 0 for those left out, [B, T]. A silent mixture keeps all its (zero) frames.
    """
    level = mixture.sum(1)
    return (level >= threshold * level.amax(-1, keepdim=True)).to(mixture.dtype)


def mixture_loss(
    mixture: Tensor, estimates: Tensor, activity: Tensor, kept: Tensor, residual_weight: float = 0.0
) -> Tensor:
    """The active classes' estimates add up to the mixture, the others are silent; averaged over the frames kept.

    L_mix(τ) = Σ_ω |X - Σ_{i∈A_τ} Ŝ_i| + Σ_ω Σ_{i∉A_τ} |Ŝ_i|

    A residual R always explains a part of the mixture, at a price: |X - R - Σ_{i∈A_τ} Ŝ_i| + ρ |R| takes the place of
    the first term.

    Args:
        mixture: magnitude X, [B, F, T].
        estimates: magnitudes Ŝ, non-negative, [B, E, F, T]; or complex, with phases relative to the mixture's. The last
            is R where they are one more than the classes.
        activity: A, [B, C, T]; for clip labels the clip's label in every frame.
        kept: frames that count, [B, T].
        residual_weight: ρ. Of magnitudes that add up to the mixture, 1 makes the loss that without a residual.

    Returns:
        [B]
    """
    residual = estimates[:, activity.shape[1] :]
    activity = pad(activity, (0, 0, 0, residual.shape[1]), value=1.0)
    explained = torch.einsum("bcft,bct->bft", estimates, activity.to(estimates.dtype))
    if estimates.is_complex():
        others = torch.einsum("bcft,bct->bft", estimates.abs(), 1 - activity)
    else:  # Ŝ ≥ 0, so the inactive estimates' absolute sum is the whole sum less the active part.
        others = estimates.sum(1) - explained
    price = residual_weight * residual.abs().sum(1)
    return _mean_over_kept_frames((mixture - explained).abs() + others + price, kept)


def truncated_sources(kind: MaskKind, mixture: Tensor, sources: Tensor) -> Tensor:
    """What masks of a kind are to make of the mixture's magnitude: the sources, as far as such masks reach.

    `magnitude`: min(|X|, |S|). The others take S in its phase relative to the mixture, S·X*/|X|. `phase_sensitive`: its
    real part, |S| cos θ, truncated to [0, |X|] (Erdogan et al. 2015). `complex`: that and the imaginary part, truncated
    to [-|X|, |X|] (Williamson et al. 2016, who compress both parts by a tanh, to ±10).

    Args:
        kind: of masks.
        mixture: spectrum X, complex, [B, F, T]; its magnitude is enough for `magnitude`.
        sources: spectra S, complex, [B, C, F, T].

    Returns:
        Magnitudes, or complex, [B, C, F, T].
    """
    mixture = mixture.unsqueeze(1)
    magnitude = mixture.abs()
    if kind == "magnitude":
        return torch.minimum(magnitude, sources.abs())
    # By parts: a product of complex numbers is not the same to the last bit for every batch.
    scale = magnitude.clamp_min(1e-12)
    real = (sources.real * mixture.real + sources.imag * mixture.imag) / scale
    real = real.clamp_min(0).minimum(magnitude)
    if kind == "phase_sensitive":
        return real
    imaginary = (sources.imag * mixture.real - sources.real * mixture.imag) / scale
    return torch.complex(real, imaginary.clamp(-magnitude, magnitude))


def truncated_magnitude_loss(mixture: Tensor, sources: Tensor, masks: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """Strong supervision of magnitudes: Σ_i,ω |W_i,τ (min(X, S_i) - M_i X)|, averaged over the frames kept.

    Args:
        mixture: magnitude X, [B, F, T].
        sources: magnitudes S, [B, C, F, T].
        masks: M, [B, C, F, T].
        weight: W, [B, C, T].
        kept: frames that count, [B, T].

    Returns:
        [B]
    """
    return truncated_source_loss(mixture, torch.minimum(mixture.unsqueeze(1), sources), masks, weight, kept)


def truncated_source_loss(mixture: Tensor, sources: Tensor, masks: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """Strong supervision: Σ_i,ω |W_i,τ (S_i - M_i X)|, averaged over the frames kept.

    Args:
        mixture: magnitude X, [B, F, T].
        sources: S of `truncated_sources`, [B, C, F, T].
        masks: M of the same kind, [B, C, F, T].
        weight: W, [B, C, T].
        kept: frames that count, [B, T].

    Returns:
        [B]
    """
    error = (sources - masks * mixture.unsqueeze(1)).abs()
    return _mean_over_kept_frames(torch.einsum("bcft,bct->bft", error, weight), kept)


def _mean_over_kept_frames(error: Tensor, kept: Tensor) -> Tensor:
    return (error.sum(1) * kept).sum(-1) / kept.sum(-1)
