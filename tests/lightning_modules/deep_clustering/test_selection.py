"""Model selection: which models can be compared, whose estimates are kept, and that nothing else decides."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningDataModule
from sklearn.ensemble import RandomForestRegressor
from tiny_systems import Bands, trainer
from tiny_systems import saved as write
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.confidence import confidence, loud_points, mask_clusters, score_clusters
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import LearntSelection, ModelSelection
from lightning_modules.deep_clustering.source_count import SourceCount
from lightning_modules.errors import InputError
from lightning_modules.exported_model import weights_digest
from lightning_modules.networks import BLSTM
from lightning_modules.scores.rows import write_rows
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, SELECTION_SCORES, SIGNAL_FEATURES
from lightning_modules.signal_features import signal_features
from lightning_modules.spectrogram import Geometry
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

SAMPLES = 4000
Save = Callable[..., str]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """A function that returns the checkpoint of a model of that domain, seed and settings."""
    folder, made = tmp_path_factory.mktemp("models"), dict[str, str]()

    def save(domain: str, seed: int = 0, **settings: Any) -> str:
        name = "-".join(map(str, (domain, seed, *settings.values())))
        if name not in made:
            torch.manual_seed(seed)
            tiny: dict[str, Any] = {"sample_rate": 8000, "window": 128, "hop": 64, "dimensions": 4}
            tiny["network"] = partial(BLSTM, units=4, layers=2, dropout=0.5, output_init_scale=8.0)
            model = DeepClustering(domain, **{**tiny, **settings})
            with torch.no_grad():  # as decided as a trained model, and each on bins of its own
                model.network.output.weight.mul_(8)
            made[name] = write(model, folder / f"{name}.ckpt")
        return made[name]

    return save


@pytest.fixture(scope="module")
def three(saved: Save) -> list[str]:
    return [saved("speech", 0), saved("music", 1), saved("environmental", 2)]


def random_batch(size: int = 6, seed: int = 0, sources: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    swell = (torch.rand(size, sources, 1, generator=generator) * torch.arange(SAMPLES) / 100).sin()
    made = 0.1 * swell * torch.randn(size, sources, SAMPLES, generator=generator)
    labels = torch.ones(size, sources, 63)
    return Batch(made.sum(1), made, labels, labels.amax(-1), 10 * seed + torch.arange(size))


class RandomPairs(LightningDataModule):
    """Two batches of mixtures that no model's domain is of."""

    domain, seed = "whatever", 0

    def __init__(self, sources: int = 2, geometry: Geometry = Geometry(8000, 32, 16)) -> None:  # noqa: B008
        super().__init__()
        self.sources, self.geometry = sources, geometry

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([random_batch(3, 0), random_batch(1, 1)], batch_size=None)  # type: ignore[arg-type]

    test_dataloader = predict_dataloader = val_dataloader


def alone(path: str, batch: Batch, fitted: Any) -> tuple[Tensor, Any]:
    """A model's estimates and confidence without any selection."""
    model = load_module(path, DeepClustering).eval()
    with torch.no_grad():
        embedded = model.embed(batch.mixture)
        separated = model.separate(embedded, batch.indices, SAMPLES)
        inputs = embedded.embedding, embedded.magnitude, batch.indices
        if fitted == "refit":
            return separated.estimates, confidence(*inputs, model.sources)
        loud = loud_points(*inputs)
        return separated.estimates, score_clusters(loud, mask_clusters(loud, separated.centres))


@pytest.mark.parametrize("clusters", ["refit", "masks"])
def test_the_model_of_highest_confidence_is_picked_and_its_estimates_are_the_answer(three, clusters):
    batch = random_batch(12)
    selection = ModelSelection(three, confidence_clusters=clusters)
    with torch.no_grad():
        chosen, answer = selection.select(batch.mixture, batch.indices), selection(batch.mixture, batch.indices)
    of_models = [alone(path, batch, clusters) for path in three]
    assert len(set(chosen["picked"].tolist())) > 1  # else the test would say little
    for b in range(12):
        confidences = [float(scores.confidence[b]) for _, scores in of_models]
        picked = confidences.index(max(confidences))
        assert chosen["picked"][b] == picked
        torch.testing.assert_close(answer[b], of_models[picked][0][b], atol=1e-6, rtol=0)
    for m, (estimates, scores) in enumerate(of_models):
        torch.testing.assert_close(chosen["estimates"][m], estimates, atol=1e-6, rtol=0)
        for name in ("silhouette", "posterior", "confidence"):
            found = getattr(chosen[clusters], name)[m]  # type: ignore[literal-required]
            torch.testing.assert_close(found, getattr(scores, name))


@pytest.mark.parametrize(
    ("scores", "picked"), [([torch.nan, -1.0, -2.0], 1), ([torch.nan] * 3, 0), ([-1.0, 2.0, 2.0], 1)]
)
def test_a_model_whose_score_is_nan_is_never_picked_unless_all_are_and_the_first_of_equals_is(
    scores, picked, three, monkeypatch
):
    selection, batch, given = ModelSelection(three), random_batch(2), iter(scores)
    monkeypatch.setattr(selection, "selection_score", lambda output: torch.full((2,), next(given)))
    assert selection.select(batch.mixture, batch.indices)["picked"].tolist() == [picked] * 2


def test_scores_and_pick_of_a_mixture_depend_on_neither_batch_nor_order_nor_the_order_of_the_models(three):
    selection, batch = ModelSelection(three), random_batch()
    together = selection.select(batch.mixture, batch.indices)
    torch.rand(10)
    for order in ([4, 2, 0, 5, 1, 3], [2]):
        others = selection.select(batch.mixture[order], batch.indices[order])
        for fitted in ("refit", "masks"):
            for found, expected in zip(others[fitted], together[fitted], strict=True):
                torch.testing.assert_close(found, expected[:, order], atol=1e-4, rtol=0)
        assert torch.equal(others["picked"], together["picked"][order])
    back = ModelSelection(three[::-1]).select(batch.mixture, batch.indices)
    assert torch.equal(together["refit"].confidence, back["refit"].confidence.flip(0))
    assert torch.equal(together["picked"], 2 - back["picked"])


@pytest.mark.parametrize(("setting", "value", "own"), [("sources", 3, 2), ("activation", "sigmoid", "unit_sigmoid")])
def test_models_that_differ_in_rate_sources_or_activation_are_refused_with_both_named(saved, setting, value, own):
    same, other = [saved("speech"), saved("music", 1)], saved("environmental", 2, **{setting: value})
    with pytest.raises(InputError) as error:
        ModelSelection([*same, other])
    message = str(error.value)
    assert message.startswith(f"{setting}: {same[0]} has {own}, {other} {value}; ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("setting", "analyses"),
    [
        ({}, 1),
        *(({"hop": 32, "dimensions": 7}, 2), ({"floor_db": 20.0}, 2), ({"input_floor": "absolute"}, 2)),
        ({"clustered_share": 0.3}, 2),
    ],
)
def test_models_share_what_they_hear_alike_and_nothing_else(setting, analyses, saved, monkeypatch):
    paths, batch = [saved("speech"), saved("music", 1, **setting), saved("environmental", 2)], random_batch()
    expected = [alone(path, batch, "masks") for path in paths]
    selection, inputs, analyse = ModelSelection(paths), [], DeepClustering.analyse

    def counted(model: DeepClustering, mixture: Tensor) -> Any:
        inputs.append(model.domain)
        return analyse(model, mixture)

    monkeypatch.setattr(DeepClustering, "analyse", counted)
    with torch.no_grad():
        chosen = selection.select(batch.mixture, batch.indices)
    assert len(inputs) == analyses
    for m, (estimates, scores) in enumerate(expected):
        assert torch.equal(chosen["estimates"][m], estimates)
        assert torch.equal(chosen["masks"].confidence[m], scores.confidence)


def test_models_of_any_heads_are_compared_by_the_confidence_of_embeddings_or_of_masks_in_their_place(saved):
    batch = random_batch(4)
    paths = [saved("speech"), saved("music", 1, head="both"), saved("environmental", 2, head="masks")]
    with pytest.warns(UserWarning, match=r"^ModelSelection: models of different heads \(embeddings, both, masks\);"):
        selection = ModelSelection(paths)
    with torch.no_grad():
        chosen = selection.select(batch.mixture, batch.indices)
    for m, path in enumerate(paths):
        estimates, scores = alone(path, batch, "refit")
        model = load_module(path, DeepClustering).eval()
        assert torch.equal(chosen["estimates"][m], estimates) and torch.equal(
            model(batch.mixture, batch.indices), estimates
        )
        assert torch.equal(chosen["refit"].confidence[m], scores.confidence) and (scores.confidence > 0).all()
        torch.testing.assert_close(estimates.sum(1), batch.mixture, atol=1e-6, rtol=0)
    with pytest.raises(
        InputError, match=rf"^checkpoint: {paths[2]}; the environmental model has masks of 2 sources and"
    ):
        SourceCount(paths[2])


def test_models_of_three_sources_can_be_compared_and_those_of_one_domain_are_told_apart_by_number(saved):
    batch = random_batch(sources=3)
    selection = ModelSelection([saved(name, sources=3) for name in ("speech", "music", "speech", "speech")])
    assert selection.names == ["speech", "music", "speech-2", "speech-3"]
    assert selection.classes == ["source_1", "source_2", "source_3"]
    assert selection(batch.mixture, batch.indices).shape == batch.sources.shape


def test_one_path_is_a_list_of_one_and_what_is_no_path_is_refused(saved):
    path = saved("speech")
    assert ModelSelection(path).names == ModelSelection([path]).names == ["speech"]
    for wrong in (load_module(path), [load_module(path)]):
        with pytest.raises(InputError, match=r"^checkpoints: a DeepClustering; paths of files, or names of included"):
            ModelSelection(wrong)
    with pytest.raises(InputError, match=r"^path: a list; paths of files"):
        load_module([path])


def test_estimates_that_do_not_fit_the_mixture_are_refused_with_both_sizes(tmp_path, monkeypatch):
    selection = ModelSelection([write(Bands(), tmp_path / "bands.ckpt")])
    batch, whole = random_batch(2), Bands.forward
    monkeypatch.setattr(Bands, "forward", lambda self, mixture: whole(self, mixture)[..., :-9])
    with pytest.raises(InputError, match=f"^Bands: estimates: {SAMPLES - 9} samples, but the mixture has {SAMPLES}; "):
        selection(batch.mixture)
    monkeypatch.setattr(Bands, "forward", lambda self, mixture: whole(self, mixture)[:, :1])
    with pytest.raises(InputError, match=rf"^Bands: estimates of shape \[2, 1, {SAMPLES}\]; \[2, 2, {SAMPLES}\], "):
        selection(batch.mixture)


def test_a_checkpoint_of_another_module_is_refused_with_both_kinds_named(saved, tmp_path):
    tiny = partial(BLSTM, units=3, layers=1)
    classifier = EventClassifier(classes=["a", "b"], sample_rate=8000, window=32, hop=16, network=tiny)
    path = write(classifier, tmp_path / "classifier.ckpt")
    told = f"^{path}: a checkpoint of EventClassifier, which makes no estimates; leave it out$"
    with pytest.raises(InputError, match=told):
        ModelSelection([saved("speech"), path])


class Halved(DeepClustering):
    def forward(self, mixture, mixture_ids=None):
        return super().forward(mixture, mixture_ids) / 2


class Scaled(DeepClustering):
    def __init__(self, factor=0.0, **settings):
        super().__init__(**settings)
        self.factor = factor

    def input_features(self, magnitude, statistics=None):
        return self.factor * super().input_features(magnitude, statistics)


def test_what_a_subclass_does_in_its_own_way_is_done_or_refused(saved, tmp_path):
    batch = random_batch()
    settings = load_module(saved("speech"), DeepClustering).hparams
    with pytest.raises(InputError, match=r"^Halved: has its own `forward`, which a selection passes over"):
        ModelSelection([saved("speech"), write(Halved(**settings), tmp_path / "halved.ckpt")])
    torch.manual_seed(0)
    scaled = [write(Scaled(factor, **settings), tmp_path / f"{factor}.ckpt") for factor in (0.0, 3.0)]
    together = ModelSelection([saved("speech"), *scaled]).select(batch.mixture, batch.indices)["estimates"]
    for path, estimates in zip(scaled, together[1:], strict=True):
        assert torch.equal(estimates, load_module(path, Scaled).eval()(batch.mixture, batch.indices))


@pytest.fixture(scope="module")
def mixed(saved, tmp_path_factory) -> list[str]:
    """A deep clustering model between two separators without embeddings."""
    folder, tiny = tmp_path_factory.mktemp("mixed"), partial(BLSTM, units=3, layers=1)
    torch.manual_seed(0)
    weak = WeakLabelSeparator("strong", classes=["a", "b"], sample_rate=8000, window=64, hop=32, network=tiny)
    return [write(Bands(), folder / "bands.ckpt"), saved("speech"), write(weak, folder / "weak.ckpt")]


def test_separators_without_embeddings_take_part_without_confidence_and_are_not_picked_by_it(mixed):
    batch, selection = random_batch(4), ModelSelection(mixed, signal_features=True)
    assert selection.names == ["Bands", "speech", "WeakLabelSeparator"] and selection.sources == 2
    with torch.no_grad():
        chosen = selection.select(batch.mixture, batch.indices)
    for m, kind in ((0, Bands), (2, WeakLabelSeparator)):
        assert torch.equal(chosen["estimates"][m], load_module(mixed[m], kind).eval()(batch.mixture))
        assert all(score[m].isnan().all() for fitted in ("refit", "masks") for score in chosen[fitted])
    expected = alone(mixed[1], batch, "refit")
    assert torch.equal(chosen["estimates"][1], expected[0]) and chosen["picked"].tolist() == [1] * 4
    for m, estimates in enumerate(chosen["estimates"]):
        found = signal_features(batch.mixture, estimates, selection.geometry)
        assert torch.equal(chosen["features"][m], found)
    assert ModelSelection(mixed).select(batch.mixture, batch.indices)["features"] is None
    unsure = ModelSelection([mixed[0], mixed[2]]).select(batch.mixture, batch.indices)
    assert unsure["picked"].tolist() == [0] * 4


def write_learnt(path: Path, names: list[str], columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Validation rows of 30 mixtures, without confidence; their features, [N, M, K], and SI-SDR in dB, [N, M]."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, len(names), len(SIGNAL_FEATURES)))
    si_sdr = 5 * features[..., 3] + generator.normal(size=(30, len(names)))
    unknown = [np.nan] * len(SELECTION_SCORES)
    rows = [
        (index, "d", "r", name, source, "", 0.0, si_sdr[index, m], *unknown, int(m == 0), *features[index, m])
        for index in range(30)
        for m, name in enumerate(names)
        for source in range(2)
    ]
    write_rows(path, columns, [row[: len(columns)] for row in rows])
    return features, si_sdr


def test_the_selection_that_learnt_picks_what_a_forest_of_the_signals_expects_most_of(mixed, tmp_path):
    path, names, batch = tmp_path / "rows.csv", ["Bands", "speech", "WeakLabelSeparator"], random_batch(5)
    features, si_sdr = write_learnt(path, names, [*SELECTION_COLUMNS, *SIGNAL_FEATURES])
    selection = LearntSelection(mixed, [str(path)])
    with torch.no_grad():
        chosen, answer = selection.select(batch.mixture, batch.indices), selection(batch.mixture, batch.indices)
    for m in range(3):
        forest = RandomForestRegressor(200, min_samples_leaf=5, random_state=0).fit(features[:, m], si_sdr[:, m])
        np.testing.assert_array_equal(chosen["scores"][m], forest.predict(chosen["features"][m].numpy()))
    assert torch.equal(chosen["picked"], chosen["scores"].argmax(0))
    assert torch.equal(answer, chosen["estimates"][chosen["picked"], torch.arange(5)])
    validated = path.with_name("validated.json")
    validated.write_text(json.dumps({"weights": weights_digest(ModelSelection(mixed).state_dict())}))
    LearntSelection(mixed, [str(path)])
    with pytest.raises(InputError, match=r"rows.csv: rows of other models, or in another order; [^\n]*$"):
        LearntSelection(mixed[::-1], [str(path)])
    validated.unlink()
    write_learnt(path, names[:2], [*SELECTION_COLUMNS, *SIGNAL_FEATURES])
    with pytest.raises(InputError, match=r"rows.csv: no rows of the WeakLabelSeparator model to learn from; [^\n]*$"):
        LearntSelection(mixed, [str(path)])
    write_learnt(path, names, list(SELECTION_COLUMNS))
    for rows, told in (
        ([str(path)], "rows.csv: rows without features; validate with"),
        ([], "validation_scores: none"),
    ):
        with pytest.raises(InputError, match=told):
            LearntSelection(mixed, rows)


def test_a_selection_of_nothing_and_data_of_another_rate_or_number_of_sources_are_refused(three):
    with pytest.raises(InputError, match=r"^checkpoints: none; [^\n]*$"):
        ModelSelection([])
    with pytest.raises(InputError, match="sources: the model has 2, the data 3"):
        trainer().test(ModelSelection(three), datamodule=RandomPairs(sources=3), verbose=False)
    with pytest.raises(InputError, match="sample_rate: the model has 8000, the data 16000"):
        trainer().test(ModelSelection(three), datamodule=RandomPairs(geometry=Geometry(16_000)), verbose=False)


@pytest.mark.parametrize("stage", ["validate", "predict"])
def test_models_are_frozen_and_stay_in_evaluation_mode_through_the_trainer(three, stage):
    selection, batch = ModelSelection(three), random_batch()
    before = {name: value.clone() for name, value in selection.state_dict().items()}
    estimates = selection(batch.mixture, batch.indices)
    getattr(trainer(), stage)(
        selection, datamodule=RandomPairs()
    )  # of another window and hop, and of no model's domain
    assert not any(parameter.requires_grad for parameter in selection.parameters())
    assert not any(part.training for part in selection.models.modules())
    assert all(torch.equal(value, before[name]) for name, value in selection.state_dict().items())
    assert torch.equal(selection(batch.mixture, batch.indices), estimates)  # no dropout


def test_a_silent_mixture_has_no_confidence_and_silent_estimates(three):
    chosen = ModelSelection(three).select(torch.zeros(2, SAMPLES), torch.arange(2))
    assert torch.count_nonzero(chosen["estimates"]) == 0
    for fitted in ("refit", "masks"):
        assert torch.count_nonzero(chosen[fitted].confidence) == 0
    assert chosen["picked"].tolist() == [0, 0]
