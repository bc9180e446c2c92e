"""A programme under a selection, against the separator of recordings, each domain's own evaluation and numpy."""

from functools import partial
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from tiny_systems import Bands, saved, si_sdr

from datamodules.programmes import Programme
from experiments.programmes import evaluation
from experiments.programmes.evaluation import mean_si_sdr, programme_rows
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.recordings.separator import Separator
from lightning_modules.recordings.windows import Window
from lightning_modules.scores.fitted_ensembles import FittedEnsembles
from lightning_modules.scores.programmes import JOINS, PROGRAMME_COLUMNS, WHOLE
from lightning_modules.scores.selection_rows import SELECTION_SCORES, SIGNAL_FEATURES, Evaluated
from lightning_modules.separation_scores import LeftOut, Score, score_separation

RATE = 8000
WINDOWS = {"0.7": 0.7, "0.3": 0.3}
NEAR = 0.15
LENGTH = 4000  # of the first segment, in samples
OF_ALL = torch.ones(1, 2), torch.zeros(1), ["noise", "hum"]  # present classes, indices, names


def model(domain: str, seed: int) -> DeepClustering:
    torch.manual_seed(seed)
    network = partial(BLSTM, units=6, layers=1, output_init_scale=8.0)
    made = DeepClustering(domain, sample_rate=RATE, window=128, hop=64, dimensions=4, network=network)
    with torch.no_grad():
        made.network.output.weight.mul_(8)
    return made


@pytest.fixture(scope="module")
def selection(tmp_path_factory) -> ModelSelection:
    """Two models with embeddings and one without."""
    folder = tmp_path_factory.mktemp("models")
    modules = {"speech": model("speech", 0), "music": model("music", 1), "bands": Bands()}
    paths = [saved(module, folder / f"{name}.ckpt") for name, module in modules.items()]
    return ModelSelection(paths, signal_features=True).eval()


@pytest.fixture(scope="module")
def fitted() -> FittedEnsembles:
    """Validation mixtures in which the third model is the better, the louder one estimate is beside the other."""
    generator, names = np.random.default_rng(0), ("speech", "music", "Bands")
    columns = (*SELECTION_SCORES, *SIGNAL_FEATURES)
    scores = {name: generator.normal(size=(40, 3)) for name in columns}
    for name in SELECTION_SCORES:
        scores[name][:, 2] = np.nan
    return FittedEnsembles.fit(
        Evaluated(
            names,
            ("speech", "music"),
            np.arange(40),
            np.repeat(["speech", "music"], 20),
            (("a",),) * 40,
            generator.normal(2, 3, (40, 3, 2)),
            scores,
            np.eye(3, dtype=bool)[np.zeros(40, int)],
            {},
            {},
        )
    )


def drawn(segments: int = 4, seed: int = 0) -> Programme:
    """Bursts of noise beside a hum; of segments of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [LENGTH + 400 * number for number in range(segments)]
    bounds = [0, *np.cumsum(lengths).tolist()]
    time = torch.arange(bounds[-1]) / RATE
    noise = 0.1 * torch.randn(bounds[-1], generator=generator) * (0.2 + ((17 * time).sin() > 0.3))
    hum = 0.1 * (2 * torch.pi * (200 + 300 * (time * 2).floor()) * time).sin()
    sources = torch.stack([noise, hum])
    names = ["speech", "music"] * segments
    return Programme(
        sources.sum(0), sources, bounds, names[:segments], list(range(segments)), [[f"r{n}"] for n in range(segments)]
    )


@pytest.fixture(scope="module")
def found(selection, fitted) -> dict[tuple, dict]:
    rows = [
        dict(zip(PROGRAMME_COLUMNS, row, strict=True))
        for row in programme_rows(selection, fitted, drawn(), 3, WINDOWS, NEAR)
    ]
    assert all(row["programme"] == 3 and row["recordings"] == f"r{row['segment']}" for row in rows)
    by = {(row["windows"], row["rule"], row["segment"]): row for row in rows}
    assert len(by) == len(rows)
    return by


def scores(estimates: torch.Tensor, programme: Programme, segment: int) -> list[float]:
    """Of a segment, of what is near its joins and of the rest, in the order that is best for the segment."""
    start, stop = programme.bounds[segment : segment + 2]
    of, truth = (each[:, start:stop].double().numpy() for each in (estimates, programme.sources))
    order = max(permutations(range(2)), key=lambda order: sum(si_sdr(of[o], truth[q]) for q, o in enumerate(order)))
    reach, near = round(NEAR * RATE), np.zeros(stop - start, bool)
    near[:reach] |= segment > 0
    near[-reach:] |= segment < len(programme.domains) - 1
    regions = np.ones_like(near), near, ~near
    return [np.mean([si_sdr(of[o][region], truth[q][region]) for q, o in enumerate(order)]) for region in regions]


def test_by_confidence_it_is_what_the_separator_of_recordings_makes_of_windows(found, selection, tmp_path):
    programme = drawn()
    of_two = ModelSelection(
        [saved(each, tmp_path / f"{number}.ckpt") for number, each in enumerate(selection.deep_clustering_models)]
    )
    for windows, seconds in WINDOWS.items():
        separated = Separator(of_two, "segment", window=seconds, device="cpu")(programme.mixture, RATE)
        estimates = torch.stack(list(separated.sources.values()))
        for segment in range(4):
            row = found[windows, "confidence", segment]
            assert [row[name] for name in PROGRAMME_COLUMNS[-3:]] == pytest.approx(
                scores(estimates, programme, segment), abs=1e-3
            )
            assert set(row["models"].split("|")) <= {selection.picked for selection in separated.selections}


def test_where_the_joins_are_known_it_is_each_mixture_by_itself_under_every_rule(found, selection, fitted):
    programme = drawn()
    for segment, (start, stop) in enumerate(pairwise(programme.bounds)):
        chosen = selection.select(programme.mixture[None, start:stop], torch.tensor([programme.indices[segment]]))
        whole = torch.zeros(3, *programme.sources.shape)
        whole[:, :, start:stop] = chosen["estimates"][:, 0]
        of_models = [scores(estimates, programme, segment) for estimates in whole]
        for name, expected in zip(selection.names, of_models, strict=True):
            row = found[JOINS, name, segment]
            assert [row[each] for each in PROGRAMME_COLUMNS[-3:]] == pytest.approx(expected, abs=1e-3)
            assert row["models"] == name
        best = [expected[0] for expected in of_models]
        features = chosen["features"][:, 0].numpy()
        expectation = [
            fitted.expected["expected_signals"].of_model(name, features[m : m + 1])[0]
            for m, name in enumerate(selection.names)
        ]
        confident = int(chosen["refit"].confidence[:2, 0].argmax())
        picks = {"oracle": np.argmax(best), "confidence": confident, "expected_signals": np.argmax(expectation)}
        for rule, pick in picks.items():
            assert found[JOINS, rule, segment]["models"] == selection.names[pick], rule


def test_near_a_join_is_one_sample_at_least_which_has_no_score(selection, fitted):
    for row in programme_rows(selection, fitted, drawn(2), 0, {}, 1e-9):
        assert np.isnan(row[-2]) and row[-1] == pytest.approx(row[-3], abs=0.01)


def test_a_silent_estimate_scores_as_the_worst_of_mixture_and_other_estimates():
    silent, none = LeftOut.SILENT_ESTIMATE, LeftOut.NO
    first = [(none, -7.0, 4.0), (silent, -3.0, np.nan)]
    second = [(none, -7.0, -6.0), (none, -3.0, 2.0)]
    third = [(silent, -7.0, np.nan), (none, -3.0, -8.0)]
    separations = [[Score(0, "source", *row) for row in rows] for rows in (first, second, third)]
    assert mean_si_sdr(separations) == [(4 - 8) / 2, (-6 + 2) / 2, (-7 - 8) / 2]
    gone = [[Score(0, "source", LeftOut.SILENT_SOURCE, np.nan, np.nan), *rows[1:]] for rows in separations]
    assert np.isnan(mean_si_sdr(gone)).all()


def test_the_oracle_knows_a_silent_estimate_by_the_same_rule():
    programme, window = drawn(2), Window(0, LENGTH, 0, LENGTH)
    sources, mixture = programme.sources[:, :LENGTH], programme.mixture[:LENGTH]
    fair = sources + 0.3 * sources.flip(0)
    systems = [torch.stack([fair[0], torch.zeros(LENGTH)]), fair, torch.stack([mixture, fair[1]])]
    rows = [score_separation(mixture[None], sources[None], each[None], *OF_ALL) for each in systems]
    seen = evaluation._si_sdr(programme, window, {"estimates": torch.stack(systems).unsqueeze(1)})
    assert seen == pytest.approx(mean_si_sdr(rows)) and seen[0] < seen[1]


def test_windows_too_short_to_be_taken_at_their_word_are_refused(selection, fitted):
    with pytest.raises(InputError, match=r"^windows: 0\.05; at least 0\.064 s are needed$"):
        list(programme_rows(selection, fitted, drawn(2), 0, {"0.05": 0.05}, NEAR))


def test_one_model_for_all_is_the_most_confident_one_of_the_whole(found, selection):
    programme = drawn()
    picked = selection.names[
        int(selection.select(programme.mixture[None], torch.zeros(1, dtype=torch.int64))["picked"])
    ]
    for windows in (JOINS, *WINDOWS):
        for segment in range(4):
            row = found[windows, WHOLE, segment]
            assert row == found[windows, picked, segment] | {"rule": WHOLE}


def test_the_oracle_is_not_worse_than_any_model_in_the_parts_that_windows_add(found, selection, monkeypatch):
    seen = []
    monkeypatch.setattr(
        evaluation, "_picks", lambda *given: seen.append(given[2]) or {"oracle": given[2].si_sdr.argmax(1)}
    )
    list(programme_rows(selection, None, drawn(), 0, {"0.3": 0.3}, NEAR))  # type: ignore[arg-type]
    segments, windows = seen
    assert segments.si_sdr.shape == (4, 3) and len(windows.si_sdr) > 8 and np.isfinite(windows.si_sdr).all()
    for segment in range(4):
        for m, name in enumerate(selection.names):
            assert segments.si_sdr[segment, m] == pytest.approx(found[JOINS, name, segment]["si_sdr_db"], abs=1e-3)
