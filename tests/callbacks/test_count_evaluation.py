"""The number of sources under the real Trainer, against models of each number alone and SI-SDR by numpy."""

import json
import re
from functools import partial
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_systems import saved, si_sdr, trainer

from callbacks.count_evaluation import CountEvaluation, picked_shares
from datamodules.corpora.procedural import Procedural
from datamodules.source_pairs import SourcePairs
from lightning_modules.deep_clustering.confidence import confidence
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.source_count import SourceCount
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.rows import read_rows

SETTINGS: dict[str, Any] = {"sample_rate": 8000, "window": 256, "hop": 128}
COUNTS = (2, 3, 5)


def model(sources: int = 2) -> DeepClustering:
    """Untrained, the same weights for any number."""
    torch.manual_seed(0)
    network = partial(BLSTM, units=6, layers=1, output_init_scale=60.0)
    return DeepClustering("environmental", sources, dimensions=4, network=network, **SETTINGS).eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(model(), tmp_path_factory.mktemp("model") / "model.ckpt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SourcePairs:
    """Mixtures of two or three of a second of procedural sounds; four a batch."""
    made = SourcePairs(
        Procedural(clips_per_class=6, sample_rate=8000, folds=3),
        domain="environmental",
        sources=3,
        fewest_sources=2,
        train_folds=[1],
        validation_folds=[2],
        test_folds=[3],
        duration=1.0,
        bank_folder=str(tmp_path_factory.mktemp("banks")),
        validation_mixtures=6,
        test_mixtures=10,
        evaluation_batch_size=4,
        **SETTINGS,
    )
    made.build(workers=0)
    return made


def test_rows_say_what_a_model_of_each_number_makes_of_each_mixture_and_which_is_the_most_confident(
    checkpoint, data, tmp_path, capsys
):
    module, running = SourceCount(checkpoint, COUNTS), trainer(callbacks=[CountEvaluation(str(tmp_path))])
    running.validate(module, datamodule=data, verbose=False)
    (returned,) = running.test(module, datamodule=data, verbose=False)
    rows, picked, right = iter(read_rows(tmp_path / "count_scores.csv")), [], []
    for index in range(10):
        batch = data.dataset("test").batch([index])
        truth = batch.sources[0][batch.clip_labels[0] == 1].double().numpy()
        with torch.no_grad():
            embedded = model().embed(batch.mixture)
            inputs = embedded.embedding, embedded.magnitude, batch.indices
            found = [confidence(*inputs, sources=count) for count in COUNTS]
            estimates = [model(count)(batch.mixture, batch.indices)[0] for count in COUNTS]
            picked.append(int(np.argmax([float(each.confidence) for each in found])))
            (answer,) = module(batch.mixture, batch.indices)
        torch.testing.assert_close(answer, estimates[picked[-1]], atol=1e-6, rtol=0)
        right.append(COUNTS[picked[-1]] == len(truth))
        for place, count in enumerate(COUNTS):
            row, made = next(rows), estimates[place].double().numpy()
            maps = (m for m in product(range(count), repeat=len(truth)) if len({*m}) == min(count, len(truth)))
            expected = max(np.mean([si_sdr(made[e], s) for e, s in zip(m, truth, strict=True)]) for m in maps)
            assert [row[name] for name in ("index", "sources", "clusters")] == [*map(str, (index, len(truth), count))]
            assert row["recordings"].split("|") == data.dataset("test").recordings(index) and not row["left_out"]
            assert float(row["si_sdr_db"]) == pytest.approx(expected, abs=1e-4)
            unprocessed = np.mean([si_sdr(batch.mixture[0].double().numpy(), s) for s in truth])
            assert float(row["input_si_sdr_db"]) == pytest.approx(unprocessed, abs=1e-6)
            for name in ("silhouette", "posterior", "confidence"):
                assert float(row[name]) == pytest.approx(float(getattr(found[place], name)), abs=1e-6)
            assert row["picked"] == str(int(place == picked[-1]))
    assert next(rows, None) is None and len({*picked}) > 1
    assert len(read_rows(tmp_path / "validation_count_scores.csv")) == 6 * 3
    assert returned["test_accuracy/confidence/all"] == pytest.approx(np.mean(right))
    table = read_rows(tmp_path / "counts.csv")
    (of_all,) = (row for row in table if (row["rule"], row["sources"]) == ("confidence", "all"))
    assert float(of_all["accuracy"]) == pytest.approx(np.mean(right)) and of_all["mixtures"] == "10"
    shown = capsys.readouterr().out
    assert "by standardised confidence: " in shown and f"{np.mean(right):.0%} right" in shown
    RunFiles(tmp_path).validated.write_text(json.dumps({"weights": "another's"}))
    running.test(module, datamodule=data, verbose=False)
    shown = capsys.readouterr().out
    assert "standardised confidence" not in shown
    assert "validation_count_scores.csv: of another model; validate this one" in shown


def test_shares_of_the_picked_numbers_are_of_the_mixtures_of_one_true_number():
    counted = SimpleNamespace(counts=np.array([2, 3]), sources=np.array([2, 3, 3, 2, 3]))
    shares = ["picked for 2 sources: 2 50%, 3 50%", "picked for 3 sources: 2 0%, 3 100%"]
    assert [*picked_shares(counted, np.array([2, 3, 3, 3, 3]))] == shares


def test_numbers_that_lack_one_of_the_datas_are_refused(checkpoint, data):
    for counts, lacking in (([3, 4], 2), ([2], 3)):
        told = rf"^counts: {re.escape(str(counts))}; mixtures of the data have {lacking} sources: add it$"
        with pytest.raises(InputError, match=told):
            trainer().test(SourceCount(checkpoint, counts[::-1]), datamodule=data, verbose=False)
    with pytest.raises(InputError, match=r"^counts: none; give the numbers of sources"):
        SourceCount(checkpoint, counts=[])
    with pytest.raises(InputError, match=r"^counts: 1; at least 2 is needed$"):
        SourceCount(checkpoint, [1, 2])


def test_without_a_callback_the_trainer_returns_the_share_of_right_numbers_of_all_ranks(checkpoint, data):
    module, logged = SourceCount(checkpoint, [2, 3]), {}
    (returned,) = trainer().test(module, datamodule=data, verbose=False)
    assert set(returned) == {"test_count_accuracy"}
    module.log = lambda name, value, **_: logged.update({name: value})
    for indices in ([1, 3, 4], range(5, 10), [2, 0]):
        batch = data.dataset("test").batch(indices)
        module.log_test_scores(module.test_step(batch, 0), batch)
    # A metric, whose mixtures Lightning gathers from all ranks.
    assert float(logged["test_count_accuracy"].compute()) == pytest.approx(returned["test_count_accuracy"])
