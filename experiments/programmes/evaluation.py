"""What a selection makes of a programme: every window by every model, picked by every rule, scored at the joins too."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from callbacks.selection_evaluation import selection_scores
from datamodules.programmes import Programme
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.selection import ModelSelection, Selection
from lightning_modules.errors import InputError
from lightning_modules.recordings.windows import SHORTEST, Window, in_one_order, joined, planned
from lightning_modules.scores.fitted_ensembles import FittedEnsembles
from lightning_modules.scores.programmes import JOINS, PICKING, WHOLE
from lightning_modules.scores.rows import recordings_field
from lightning_modules.scores.selection_rows import SELECTION_SCORES, SIGNAL_FEATURES, Evaluated, with_silent
from lightning_modules.separation_scores import LeftOut, Score, compare, score_comparison

Estimates = dict[tuple[str, str], tuple[Tensor, list[str]]]  # by windows and rule: [Q, T], and each segment's models


@torch.inference_mode()
def programme_rows(
    selection: ModelSelection,
    fitted: FittedEnsembles,
    programme: Programme,
    index: int,
    windows: Mapping[str, float],
    near: float,
) -> Iterator[tuple]:
    """The rows of a programme, with PROGRAMME_COLUMNS.

    Args:
        selection: on the device of the programme.
        fitted: what validation mixtures teach of its models.
        programme: of the models' rate and number of sources.
        index: its number.
        windows: the lengths of windows that know nothing of the joins, in seconds, by what they are called.
        near: what is near a join, in seconds on either side; less than half a segment.
    """
    found = _estimates(selection, fitted, programme, windows)
    sources, mixture, last = programme.sources, programme.mixture, len(programme.domains) - 1
    reach = max(1, round(near * selection.geometry.sample_rate))
    of_all = torch.ones(1, len(sources)), torch.zeros(1), selection.classes
    for segment, (start, stop) in enumerate(pairwise(programme.bounds)):
        truth, unprocessed = sources[None, :, start:stop], mixture[None, None, start:stop]
        separated = [estimates[None, :, start:stop] for estimates, _ in found.values()]
        orders = [each.best_order()[0].to(truth.device) for each in compare(truth, separated)]
        signals = [unprocessed, *(each[:, order] for each, order in zip(separated, orders, strict=True))]
        place = torch.arange(stop - start, device=truth.device)
        at_joins = (place < reach) & (segment > 0) | (place >= stop - start - reach) & (segment < last)
        regions = [torch.ones_like(at_joins), at_joins, ~at_joins]
        scores = []
        for region in regions:
            before, *after = compare(truth[..., region], [each[..., region] for each in signals])
            scores.append(mean_si_sdr([score_comparison(before, each, *of_all) for each in after]))
        described = index, segment, programme.domains[segment], recordings_field(programme.recordings[segment])
        for (way, (_, models)), si_sdr in zip(found.items(), zip(*scores, strict=True), strict=True):
            yield *described, *way, models[segment], *si_sdr


def mean_si_sdr(separations: Sequence[Sequence[Score]]) -> list[float]:
    """Mean over the sources of each separation of one mixture, in dB; NaN where one has none.

    A silent estimate scores as in the rows of a selection.
    """
    found = np.array([[row.si_sdr for row in rows] for rows in separations])
    silent = np.array([[row.left_out is LeftOut.SILENT_ESTIMATE for row in rows] for rows in separations])
    return with_silent(found, silent, np.array([row.input_si_sdr for row in separations[0]])).mean(1).tolist()


def _estimates(
    selection: ModelSelection, fitted: FittedEnsembles, programme: Programme, windows: Mapping[str, float]
) -> Estimates:
    """The programme's estimates by every rule, in windows that are the segments, and in those of every length."""
    mixture = programme.mixture.unsqueeze(0)

    def select(start: int, stop: int, mixture_id: int = 0) -> Selection:
        return selection.select(mixture[:, start:stop], torch.tensor([mixture_id], device=mixture.device))

    whole = int(select(0, mixture.shape[-1])["picked"])
    grid = math.lcm(*(each.geometry.hop for each in selection.models if isinstance(each, SeparatrixModule)))
    # The draws of segments are those of their domain's own evaluation.
    segments = [Window(start, stop, start, stop) for start, stop in pairwise(programme.bounds)]
    plans = {JOINS: (segments, programme.indices, 0)}
    rate = selection.geometry.sample_rate
    for name, seconds in windows.items():
        if seconds * rate < SHORTEST * grid:
            raise InputError(f"windows: {name}; at least {SHORTEST * grid / rate:g} s are needed")
        plan, fade = planned(mixture.shape[-1], round(seconds * rate), grid)
        plans[name] = plan, [0] * len(plan), fade
    found: Estimates = {}
    for name, (plan, ids, fade) in plans.items():
        separated = [select(window.start, window.stop, number) for window, number in zip(plan, ids, strict=True)]
        picked = _picks(selection, fitted, _evaluated(selection, programme, plan, separated), whole)
        for rule, choice in picked.items():
            chosen = (
                (window, each["estimates"][model, 0].unsqueeze(1))
                for window, each, model in zip(plan, separated, choice.tolist(), strict=True)
            )
            pieces = joined(in_one_order(chosen), fade) if fade else (piece for _, piece in chosen)
            estimates = torch.cat(list(pieces), -1).squeeze(1)
            found[name, rule] = estimates, _models(selection.names, programme.bounds, plan, choice)
    return found


def _picks(
    selection: ModelSelection, fitted: FittedEnsembles, evaluated: Evaluated, whole: int
) -> dict[str, NDArray[np.int64]]:
    """The model that each rule picks in each window, [N]; a fixed one in all of them, last."""
    probabilities = fitted.probabilities(evaluated)
    picked = {rule: probabilities[rule].argmax(1) for rule in PICKING if rule in probabilities}
    fixed = {WHOLE: whole} | {name: model for model, name in enumerate(selection.names)}
    return picked | {rule: np.full(len(evaluated.index), model) for rule, model in fixed.items()}


def _evaluated(
    selection: ModelSelection, programme: Programme, plan: Sequence[Window], separated: Sequence[Selection]
) -> Evaluated:
    """The windows as mixtures of an evaluation, whose SI-SDR is that of the part that each adds to the whole."""
    columns: tuple[str, ...] = SELECTION_SCORES
    scores = torch.cat([selection_scores(each) for each in separated])
    if selection.signal_features:
        columns += SIGNAL_FEATURES
        features = [each["features"].transpose(0, 1) for each in separated if each["features"] is not None]
        scores = torch.cat([scores, torch.cat(features)], -1)
    si_sdr = [_si_sdr(programme, *each) for each in zip(plan, separated, strict=True)]
    picked = [int(each["picked"]) for each in separated]
    return Evaluated(
        models=tuple(selection.names),
        domains=("programme",),
        index=np.arange(len(plan)),
        domain=np.full(len(plan), "programme"),
        recordings=((),) * len(plan),
        source_si_sdr=np.array(si_sdr)[..., None],
        scores=dict(zip(columns, scores.cpu().numpy().transpose(2, 0, 1), strict=True)),
        picked=np.eye(len(selection.names), dtype=bool)[picked],
        left_out={},
        silent_estimates={},
    )


def _si_sdr(programme: Programme, window: Window, separated: Selection) -> list[float]:
    """Of each model in the window's own part, in dB: mean over its samples, segments in a best order each."""
    total, mixture = np.zeros(len(separated["estimates"])), programme.mixture[None, None]
    for start, stop in pairwise(programme.bounds):
        begin, end = max(start, window.own_start), min(stop, window.own_stop)
        if begin < end:
            parts = separated["estimates"][..., begin - window.start : end - window.start]
            before, *pairs = compare(programme.sources[None, :, begin:end], [mixture[..., begin:end], *parts])
            ordered = [each.in_best_order() for each in pairs]
            si_sdr = torch.cat([each.si_sdr.diagonal(dim1=1, dim2=2) for each in ordered])
            silent = torch.cat([each.silent for each in ordered])
            of_sources = with_silent(si_sdr.numpy(), silent.numpy(), before.si_sdr[0, 0].numpy())
            total += (end - begin) * of_sources.mean(1)
    return (total / (window.own_stop - window.own_start)).tolist()


def _models(
    names: Sequence[str], bounds: Sequence[int], plan: Sequence[Window], choice: NDArray[np.int64]
) -> list[str]:
    """The models of each segment, in the order of its windows."""
    models = []
    for start, stop in pairwise(bounds):
        own = [
            names[model]
            for window, model in zip(plan, choice.tolist(), strict=True)
            if window.own_start < stop and start < window.own_stop
        ]
        models.append(recordings_field(name for name, _ in groupby(own)))
    return models
