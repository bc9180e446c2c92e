"""Rows of a model selection under the real Trainer, against each model alone and SI-SDR by numpy."""

from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from tiny_systems import Bands, saved, si_sdr
from torch import Tensor

from callbacks.embedding_pictures import EmbeddingPictures
from callbacks.selection_evaluation import SelectionEvaluation
from callbacks.separation_evaluation import SeparationEvaluation
from datamodules.corpora.procedural import Procedural
from datamodules.source_pairs import SourcePairs
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.confidence import Confidence, loud_points, mask_clusters, refit, score_clusters
from lightning_modules.deep_clustering.jensen_shannon import jensen_shannon
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.scores.ensembles import ensembles
from lightning_modules.scores.rows import read_rows
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, SIGNAL_FEATURES, read_evaluated
from lightning_modules.signal_features import signal_features
from lightning_modules.trained_module import load_module

Fitted = Literal["refit", "masks"]

DOMAINS = ("speech", "environmental")
MIXTURES = {"validation": 4, "test": 7}
SETTINGS: dict[str, Any] = {"sample_rate": 8000, "window": 256, "hop": 128}


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("banks")


def pairs(folder: Path, **settings: Any) -> SourcePairs:
    """Mixtures of a second of procedural environmental sounds; three a batch."""
    data = SourcePairs(
        Procedural(clips_per_class=6, sample_rate=8000, folds=3),
        domain="environmental",
        train_folds=[1],
        validation_folds=[2],
        test_folds=[3],
        duration=1.0,
        bank_folder=str(folder),
        validation_mixtures=MIXTURES["validation"],
        test_mixtures=MIXTURES["test"],
        evaluation_batch_size=3,
        **SETTINGS,
        **settings,
    )
    data.build(workers=0)
    return data


def trainer(*callbacks: Callback) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a model for each domain, untrained, but as decided as if they were."""
    folder, paths = tmp_path_factory.mktemp("models"), []
    for seed, domain in enumerate(DOMAINS):
        torch.manual_seed(seed)
        model = DeepClustering(
            domain, dimensions=4, network=partial(BLSTM, units=6, layers=2, output_init_scale=8.0), **SETTINGS
        )
        with torch.no_grad():
            model.network.output.weight.mul_(8)
        paths.append(saved(model, folder / f"{domain}.ckpt"))
    return paths


@pytest.fixture(scope="module")
def evaluated(checkpoints: list[str], data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a validation and a test by one Trainer."""
    folder = tmp_path_factory.mktemp("evaluated")
    running, selection = trainer(SelectionEvaluation(folder)), ModelSelection(checkpoints)
    running.validate(selection, datamodule=pairs(data_folder), verbose=False)
    running.test(selection, datamodule=pairs(data_folder), verbose=False)
    return folder


FILES = [("validation", "validation_scores.csv"), ("test", "scores.csv")]


def batches(data: SourcePairs, split: Any) -> list[Batch]:
    count = MIXTURES[split]
    return [data.dataset(split).batch(range(b, min(b + 3, count))) for b in range(0, count, 3)]


def alone(path: str, batch: Batch) -> tuple[Tensor, dict[Fitted, Confidence], Tensor]:
    """A model's estimates, confidence and Jensen-Shannon divergence without any selection."""
    model = load_module(path, DeepClustering).eval()
    with torch.no_grad():
        embedded = model.embed(batch.mixture)
        separated = model.separate(embedded, batch.indices, batch.mixture.shape[-1])
        loud = loud_points(embedded.embedding, embedded.magnitude, batch.indices)
        anew = refit(loud, batch.indices, 2)
        fitted: dict[Fitted, Confidence] = {
            "refit": score_clusters(loud, anew),
            "masks": score_clusters(loud, mask_clusters(loud, separated.centres)),
        }
        return separated.estimates, fitted, jensen_shannon(loud.drawn, anew.labels, 2, loud.drawn_audible)


@pytest.mark.parametrize(("split", "file"), FILES)
def test_a_row_says_what_each_model_makes_of_each_source_in_the_best_order(
    evaluated, checkpoints, data_folder, split, file
):
    assert sorted(path.name for path in evaluated.iterdir()) == ["scores.csv", "validation_scores.csv"]
    rows, data = iter(read_rows(evaluated / file)), pairs(data_folder)
    for batch in batches(data, split):
        of_models = [alone(path, batch) for path in checkpoints]
        for b, index in enumerate(batch.indices.tolist()):
            best = [float(scored["refit"].confidence[b]) for _, scored, _ in of_models]
            for m, (estimates, scored, divergence) in enumerate(of_models):
                truth, found = batch.sources[b].double().numpy(), estimates[b].double().numpy()
                scores = max(
                    ([si_sdr(found[o], truth[q]) for q, o in enumerate(order)] for order in permutations(range(2))),
                    key=np.mean,
                )
                for q in range(2):
                    row = next(rows)
                    assert tuple(row) == SELECTION_COLUMNS
                    assert [*row.values()][:6] == [
                        *(str(index), "environmental", "|".join(data.dataset(split).recordings(index))),
                        *(DOMAINS[m], str(q), ""),
                    ]
                    assert float(row["si_sdr_db"]) == pytest.approx(scores[q], abs=1e-4)
                    inputs = si_sdr(batch.mixture[b].double().numpy(), truth[q])
                    assert float(row["input_si_sdr_db"]) == pytest.approx(inputs, abs=1e-6)
                    for fitted, suffix in (("refit", ""), ("masks", "_masks")):
                        for name in ("silhouette", "posterior", "confidence"):
                            value = float(getattr(scored[fitted], name)[b])  # type: ignore[index]
                            assert float(row[name + suffix]) == pytest.approx(value, abs=1e-6)
                    assert float(row["jensen_shannon"]) == pytest.approx(float(divergence[b]), abs=1e-6)
                    assert float(row["cluster_balance"]) == float(scored["refit"].cluster_balance[b])
                    assert row["picked"] == str(int(m == best.index(max(best))))
    assert next(rows, None) is None


def test_the_trainer_returns_what_the_table_says(checkpoints, data_folder, tmp_path):
    running, data = trainer(SelectionEvaluation(str(tmp_path))), pairs(data_folder)
    for stage, (split, file) in zip((running.validate, running.test), FILES, strict=True):
        (returned,) = stage(ModelSelection(checkpoints), datamodule=data, verbose=False)
        found = read_evaluated([tmp_path / file])
        columns = {"si_sdr_db": found.si_sdr, "confidence": found.scores["confidence"], "picked": found.picked}
        assert returned == pytest.approx(
            {
                f"{split}_{name}/environmental/{model}": values[:, number].mean()
                for name, values in columns.items()
                for number, model in enumerate(DOMAINS)
            }
        )


def evaluate(folder: Path, selection: Any, data: Any, *callbacks: Callback, stage: str = "test") -> Any:
    """Evaluate into a folder; return the rows as arrays."""
    getattr(trainer(SelectionEvaluation(str(folder)), *callbacks), stage)(selection, datamodule=data, verbose=False)
    return read_evaluated([folder / ("scores.csv" if stage == "test" else "validation_scores.csv")])


def test_rows_have_features_where_asked_for_and_no_confidence_of_what_has_no_embeddings(
    checkpoints, data_folder, tmp_path
):
    data, bands = pairs(data_folder), saved(Bands(**SETTINGS), tmp_path / "bands.ckpt")
    selection = ModelSelection([checkpoints[0], bands], signal_features=True)
    pictures, running = EmbeddingPictures((1, 4, 6), bins=50, folder=str(tmp_path)), SelectionEvaluation(str(tmp_path))
    (returned,) = trainer(running, pictures).test(selection, datamodule=data, verbose=False)
    found = read_evaluated([tmp_path / "scores.csv"])
    assert {name: value for name, value in returned.items() if name.endswith("/Bands")} == pytest.approx(
        {"test_si_sdr_db/environmental/Bands": found.si_sdr[:, 1].mean(), "test_picked/environmental/Bands": 0}
    )
    assert found.models == ("speech", "Bands") and found.without_confidence == ("Bands",) and found.own_scores == ()
    assert found.picked.tolist() == [[True, False]] * 7 and np.isfinite(found.si_sdr).all()
    for index in (1, 4, 6):  # embeddings of that model alone
        drawn = np.load(tmp_path / "embeddings" / f"{index}-speech.npz")
        assert drawn["embedding"].shape == (50, 4)
        # No other numbering of two clusters fits their sources better.
        assert np.mean(drawn["clusters"] == drawn["sources"]) >= 0.5
    assert len(list((tmp_path / "embeddings").glob("*.npz"))) == 3
    for m, of_model in enumerate(
        (lambda batch: alone(checkpoints[0], batch)[0], lambda batch: Bands(**SETTINGS)(batch.mixture))
    ):
        with torch.no_grad():
            of_batches = [
                signal_features(batch.mixture, of_model(batch), selection.geometry) for batch in batches(data, "test")
            ]
        written = np.stack([found.scores[name][:, m] for name in SIGNAL_FEATURES], -1)
        np.testing.assert_allclose(written, torch.cat(of_batches), rtol=1e-5, atol=1e-6)


class Decorrelation(ModelSelection):
    """Trusts the model whose estimates have least in common."""

    score_name = "decorrelation"

    def selection_score(self, output):
        return 1 - torch.cosine_similarity(*output.estimates.abs().unbind(1), dim=-1)


def test_clusters_of_the_masks_or_a_measure_of_ones_own_pick_which_has_a_column(checkpoints, data_folder, tmp_path):
    data = pairs(data_folder)
    found = evaluate(tmp_path, ModelSelection(checkpoints, confidence_clusters="masks"), data)
    assert (found.picked == np.eye(2, dtype=bool)[found.scores["confidence_masks"].argmax(1)]).all()
    found = evaluate(tmp_path, Decorrelation(checkpoints), data)
    for m, path in enumerate(checkpoints):
        estimates = torch.cat([alone(path, batch)[0] for batch in batches(data, "test")]).double().abs().numpy()
        expected = [1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other) for one, other in estimates]
        np.testing.assert_allclose(found.scores["decorrelation"][:, m], expected, atol=1e-5)
    assert (found.picked == np.eye(2, dtype=bool)[found.scores["decorrelation"].argmax(1)]).all()
    assert found.own_scores == ("decorrelation",) and "decorrelation" in ensembles(found)


def test_a_measure_of_ones_own_needs_a_name_of_its_own(checkpoints, data_folder, tmp_path):
    class Nameless(ModelSelection):
        selection_score = Decorrelation.selection_score

    class Clashing(Decorrelation):
        score_name = "picked"

    with pytest.raises(InputError, match="Nameless: has a selection score of its own; name it"):
        Nameless(checkpoints)
    with pytest.raises(InputError, match="score_name: 'picked' is a column of its own"):
        evaluate(tmp_path, Clashing(checkpoints), pairs(data_folder))


class InterruptionError(Exception):
    """Ends an evaluation before its last batch."""


class Interrupting(Callback):
    """Ends a test before its second batch."""

    def on_test_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, *_: Any) -> None:
        if batch_idx == 1:
            raise InterruptionError


class Seen(Callback):
    """Keeps the indices of the mixtures that are evaluated."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        self.indices += batch.indices.tolist()

    on_validation_batch_end = on_test_batch_end


def test_rows_of_other_models_or_data_are_not_gone_on_with(checkpoints, data_folder, tmp_path):
    selection, data = ModelSelection(checkpoints), pairs(data_folder)
    with pytest.raises(InterruptionError):
        evaluate(tmp_path, selection, data, Interrupting())
    others = [
        (ModelSelection(checkpoints[::-1]), data),
        (ModelSelection(checkpoints, "masks"), data),
        (selection, pairs(data_folder, seed=1)),
    ]
    for other, of_data in others:
        with pytest.raises(InputError, match="rows of an interrupted test of another model or data"):
            evaluate(tmp_path, other, of_data)


def test_a_silent_estimate_is_a_row_that_says_so(checkpoints, data_folder, tmp_path):
    class Mute(ModelSelection):
        def select(self, mixture: Tensor, identity: Tensor) -> Any:
            selection = super().select(mixture, identity)
            selection["estimates"][1, :, 0] = 0
            return selection

    found = evaluate(tmp_path, Mute(checkpoints), pairs(data_folder))
    rows = read_rows(tmp_path / "scores.csv")
    for of_model in (rows[begin : begin + 2] for begin in range(0, len(rows), 2)):
        silent = [row["left_out"] == "silent estimate" for row in of_model]
        assert sum(silent) == (of_model[0]["model"] == DOMAINS[1])
        assert [np.isnan(float(row["si_sdr_db"])) for row in of_model] == silent
        assert all(np.isfinite(float(row["input_si_sdr_db"])) for row in of_model)
    assert len(found.index) == 7 and found.silent_estimates == {("environmental", DOMAINS[1]): 7}


class Logged(DummyLogger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.statistics: dict[str, float] = {}

    def log_metrics(self, metrics: dict[str, float], *_: Any, **__: Any) -> None:
        self.statistics |= metrics


def test_what_is_reported_is_each_models_mean_and_share(checkpoints, data_folder, tmp_path, capsys):
    running, logged = trainer(SelectionEvaluation(str(tmp_path))), Logged()
    running.loggers = [logged]
    running.validate(ModelSelection(checkpoints), datamodule=pairs(data_folder), verbose=False)
    found = read_evaluated([tmp_path / "validation_scores.csv"])
    expected = {
        f"validation_{quantity}/environmental/{name}": values[:, m].mean()
        for quantity, values in (
            ("si_sdr_db", found.si_sdr), ("confidence", found.confidence), ("picked", found.picked)
        )
        for m, name in enumerate(DOMAINS)
    }  # fmt: skip
    assert logged.statistics == pytest.approx(expected)
    shown = capsys.readouterr().out
    for name, mean, confidence, picked in zip(
        DOMAINS, found.si_sdr.mean(0), found.confidence.mean(0), found.picked.mean(0), strict=True
    ):
        line = next(line for line in shown.splitlines() if f" {name} " in line and "validation" not in line)
        assert [cell.strip() for cell in line.split("│")[2:5]] == [f"{mean:.1f}", f"{confidence:.3f}", f"{picked:.0%}"]


@pytest.mark.parametrize("other", ["validate", "predict"])
def test_a_stage_that_leaves_no_rows_leaves_those_of_the_test_alone(other, checkpoints, data_folder, tmp_path):
    model, data, seen = load_module(checkpoints[1], DeepClustering), pairs(data_folder), Seen()
    running = trainer(SeparationEvaluation(str(tmp_path)), seen)
    with pytest.raises(InterruptionError):
        trainer(SeparationEvaluation(str(tmp_path)), Interrupting()).test(model, datamodule=data, verbose=False)
    running.test(model, datamodule=data, verbose=False)
    before = (tmp_path / "scores.csv").read_bytes()
    assert len(read_rows(tmp_path / "scores.csv")) == 14 and seen.indices == [3, 4, 5, 6]
    seen.indices = []
    getattr(running, other)(model, datamodule=data, **({"verbose": False} if other == "validate" else {}))
    assert (tmp_path / "scores.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "summary.csv"]
    # All mixtures, whatever the test had left to do.
    assert seen.indices == ([0, 1, 2, 3] if other == "validate" else [])
