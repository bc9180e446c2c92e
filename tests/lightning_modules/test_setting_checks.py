"""A setting of any type and value is taken, or refused in one line that names it."""

import inspect
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.choices import choice
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import LONGEST_LINE, InputError
from lightning_modules.networks import BLSTM, CRNN, BandSplit, TFLocoformer
from lightning_modules.setting_checks import (
    require_between,
    require_class_names,
    require_names,
    require_positive,
    require_whole,
)
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.references import ReferenceSeparator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

anything: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
anything |= st.just(10**4000) | st.lists(st.integers() | st.text(), max_size=3)
anything |= st.dictionaries(st.text(), st.integers(), max_size=2)


MODELS = (DeepClustering, EventClassifier, WeakLabelSeparator, ReferenceSeparator)


def refusal(function: Any, *arguments: Any, **settings: Any) -> str | None:
    """Why it is refused, or None where it is not."""
    try:
        function(*arguments, **settings)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) <= LONGEST_LINE + 5
        return str(error)
    return None


@given(anything)
def test_numbers_are_finite_and_within_their_bounds(value):
    finite = (type(value) is int and abs(value) < 10**300) or (type(value) is float and math.isfinite(value))
    assert (refusal(require_between, -3, 5, gain=value) is None) == bool(finite and -3 <= value <= 5)
    assert (refusal(require_positive, gain=value) is None) == bool(finite and value > 0)
    assert (refusal(require_whole, 1, 9, gain=value) is None) == (type(value) is int and 1 <= value <= 9)
    assert (refusal(require_whole, 1, 9, gain=value) or "gain: ").startswith("gain: ")


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a|b", "a\nb", "\x1b[31m", "", " ", "..", ".hidden", "\u202e", "x" * 101]
)
def test_a_name_that_leads_out_of_a_folder_or_a_cell_is_refused(name):
    assert refusal(require_names, "classes", ["siren", name])


@pytest.mark.parametrize("name", ["residual", "overall", "mixture", "=1+1", "-x", "+x", "@x"])
def test_a_class_that_something_else_is_called_or_that_a_spreadsheet_computes_is_refused_with_what_to_type(name):
    assert "--data.corpus.labels" in (refusal(require_class_names, ["siren", name]) or "")
    assert refusal(require_class_names, ["siren", "0", "yes", "nan", "a=b", f"{name} x".strip("=-+@")]) is None


SMALL = {"window": 32, "hop": 16, "sample_rate": 8000, "classes": ["horn", "dog"]}
SMALL |= {"network": choice(BLSTM, units=3, layers=1), "inputs": 17, "outputs": 34}
SMALL |= {"units": 3, "layers": 1, "channels": [2, 2, 2], "bands": 4, "features": 4, "hidden": 3}


@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("kind", [*MODELS, BLSTM, CRNN, BandSplit, TFLocoformer])
@given(data=st.data())
def test_a_model_or_network_of_any_setting_is_made_or_refused_in_one_line(kind, data):
    parameters = inspect.signature(kind).parameters
    chosen = {name: value for name, value in SMALL.items() if name in parameters}
    changed = data.draw(st.sampled_from(sorted({*parameters} - {"inputs", "outputs"})))
    # Sizes that are possible are not made here.
    chosen[changed] = data.draw(anything.filter(lambda value: not (isinstance(value, int) and value > 300)))
    refusal(kind, **chosen)


def test_a_message_is_printable_and_not_of_novel_length():
    assert str(InputError("a\x1b[31m\u202eb\nc\udcff")) == "a\\x1b[31m\\u202eb\nc\\udcff"
    assert len(str(InputError("x" * 10**6))) < LONGEST_LINE + 10
