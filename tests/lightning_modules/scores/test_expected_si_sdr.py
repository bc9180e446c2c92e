"""SI-SDR that all of a model's scores let expect."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from lightning_modules.errors import InputError
from lightning_modules.scores.expected_si_sdr import ExpectedSiSdr
from lightning_modules.scores.selection_rows import SELECTION_SCORES


@pytest.fixture
def validation(evaluated_factory):
    return evaluated_factory()


def test_it_is_scikit_learns_forest_of_a_models_own_scores_on_validation_mixtures(validation, evaluated_factory):
    evaluated = evaluated_factory(seed=1)
    expected = ExpectedSiSdr.fit(validation).expected(evaluated)
    for place in range(3):
        known, asked = (
            np.stack([each.scores[name][:, place] for name in SELECTION_SCORES], 1) for each in (validation, evaluated)
        )
        forest = RandomForestRegressor(200, min_samples_leaf=5, random_state=0).fit(known, validation.si_sdr[:, place])
        np.testing.assert_array_equal(expected[:, place], forest.predict(asked))
    np.testing.assert_array_equal(expected, ExpectedSiSdr.fit(validation).expected(evaluated))


def test_it_tells_what_no_score_alone_does(validation, evaluated_factory):
    def odd(evaluated):
        """Good where two scores agree in sign, each of which says nothing by itself."""
        generator = np.random.default_rng(len(evaluated.domain))
        one, other = generator.normal(size=(2, *evaluated.confidence.shape))
        si_sdr = np.where(one * other > 0, 9.0, 0.0)
        of_names = {name: np.zeros_like(one) for name in SELECTION_SCORES}
        of_names |= {"posterior": one, "cluster_balance": other}
        return replace(evaluated, scores=of_names, source_si_sdr=np.stack([si_sdr, si_sdr], -1))

    evaluated = odd(evaluated_factory(mixtures=50))
    expected = ExpectedSiSdr.fit(odd(evaluated_factory(mixtures=100))).expected(evaluated)
    assert np.corrcoef(expected.ravel(), evaluated.si_sdr.ravel())[0, 1] > 0.8


def test_models_are_matched_by_name_and_unknown_scores_expect_nothing(validation):
    places = [2, 0, 1]
    turned = replace(
        validation,
        models=tuple(validation.models[place] for place in places),
        source_si_sdr=validation.source_si_sdr[:, places],
        scores={name: values[:, places] for name, values in validation.scores.items()},
    )
    np.testing.assert_array_equal(
        ExpectedSiSdr.fit(validation).expected(turned), ExpectedSiSdr.fit(validation).expected(validation)[:, places]
    )
    unknown = validation.scores["jensen_shannon"].copy()
    unknown[7, 1] = np.nan
    odd = replace(validation, scores=validation.scores | {"jensen_shannon": unknown})
    assert np.argwhere(np.isnan(ExpectedSiSdr.fit(validation).expected(odd))).tolist() == [[7, 1]]
    assert np.isfinite(ExpectedSiSdr.fit(odd).expected(validation)).all()


def test_a_model_without_validation_mixtures_is_refused(validation, evaluated_factory):
    for lacking in (evaluated_factory(models=("speech", "music")), evaluated_factory(mixtures=0)):
        with pytest.raises(InputError, match=r"^\w+ model: no validation mixture to learn from; [^\n]*$"):
            ExpectedSiSdr.fit(lacking).expected(validation)
