"""Settings of every kind: either mixtures of finite samples, or one line that names the setting."""

import contextlib
import io

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from experiments.cli import main

NUMBERS = ["nan", "inf", "-inf", "-1", "0", "1", "2", "0.5", "-0.0", "1e308", "1e-308", "256", "1e5"]
OTHERS = ["[]", "{}", "null", "true", "abc", "''", "[1,1]", "[[1]]", "[null]", "\x1b[31m", "[red]", "[a|b,c]", "[../x]"]
LONG = ["9" * 30, "9" * 5000]
values = st.sampled_from((*NUMBERS, *OTHERS, *LONG)) | st.text(max_size=8).filter(lambda text: "\0" not in text)
names = st.sampled_from(
    (
        *("duration", "sample_rate", "window", "hop", "seed", "batch_size", "evaluation_batch_size", "workers"),
        *("train_mixtures", "test_mixtures", "epoch_mixtures", "train_folds", "test_folds", "classes", "quietest"),
        *("loudest", "latest_onset", "event_rate", "saliences", "train_sources", "corpus", "bank_folder", "no_such"),
        *("corpus.folds", "corpus.seed", "corpus.sample_rate", "corpus.class_path"),
    )
)
pair_names = st.sampled_from(("sources", "labels", "stems", "quietest", "loudest", "duration", "domain", "sample_rate"))


@pytest.fixture(scope="module")
def attempt(separatrix, tmp_path_factory):
    """A function that synthesises one mixture with further settings, and checks what comes of it."""
    folder = tmp_path_factory.mktemp("settings")
    elsewhere = folder / "elsewhere"  # where folders are made that drawn settings name
    elsewhere.mkdir()
    scenes = ["--config", "weak_labels/base", "--config", "weak_labels/demo/data"]
    scenes += separatrix.as_options(separatrix.data())
    pairs = ["--config", "deep_clustering/base", "--config", "deep_clustering/environmental"]
    pairs += ["--config", "deep_clustering/demo/data", "--config", "deep_clustering/demo/environmental"]
    pairs += separatrix.as_options({**separatrix.pairs, "data.bank_folder": separatrix.banks})
    number = 0

    def run(kind, further):
        nonlocal number
        number += 1
        output = folder / str(number)
        arguments = [*(scenes if kind == "scenes" else pairs), "--mixtures", "1", "--output", str(output)]
        arguments += [word for name, value in further for word in (f"--data.{name}", value)]
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()) as stderr,
            contextlib.chdir(elsewhere),
        ):
            status = main(["synthesize", *arguments])
        if status == 0:
            files = list(output.glob("*/*.wav")) + list(output.glob("sources/*/*.wav"))
            assert files and all(np.isfinite(soundfile.read(file)[0]).all() for file in files)
        else:
            lines = [line for line in stderr.getvalue().splitlines() if not line.startswith(("sound bank", "writing"))]
            assert status == 2 and len(lines) == 1 and lines[0].isprintable(), lines
            assert lines[0].startswith("separatrix synthesize: ") and not output.exists()

    return run


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(further=st.lists(st.tuples(names, values), min_size=1, max_size=2))
@example(further=[("duration", "nan")])
@example(further=[("seed", "9" * 30)])
@example(further=[("classes", "[car_horn, ../x]")])
@example(further=[("quietest", "-1e308"), ("loudest", "1e308")])
@example(further=[("latest_onset", "null")])
@example(further=[("latest_onset", "-0.0")])
@example(further=[("quietest", "0.0"), ("loudest", "-0.0")])
def test_scenes_of_any_setting_are_rendered_or_refused_in_one_line(attempt, further):
    attempt("scenes", further)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(further=st.lists(st.tuples(pair_names, values), min_size=1, max_size=2))
@example(further=[("quietest", "0.0"), ("loudest", "-0.0")])
def test_pairs_of_any_setting_are_rendered_or_refused_in_one_line(attempt, further):
    attempt("pairs", further)
