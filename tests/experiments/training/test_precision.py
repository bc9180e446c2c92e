"""Precision by what the device can do, also as on a CPU without AVX-512."""

import os
import subprocess
import sys

import pytest
import torch

from experiments.training import precision
from experiments.training.precision import PreciseTrainer, runs_lstm
from lightning_modules.errors import InputError

pytestmark = pytest.mark.any_cpu
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}

LSTM_IN_BFLOAT16 = """
import torch
with torch.autocast("cpu", torch.bfloat16):
    torch.nn.LSTM(8, 8)(torch.zeros(3, 2, 8))
"""


@pytest.mark.parametrize(("able", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_bfloat16_where_the_device_can_do_it(able, chosen, monkeypatch):
    monkeypatch.setattr(precision, "runs_lstm", lambda dtype, device: able)
    assert PreciseTrainer(**QUIET, precision="auto").precision == chosen
    assert PreciseTrainer(**QUIET).precision == "32-true"


@pytest.mark.parametrize("reduced", ["bf16-mixed", "bf16-true", "16-true", "bf16", 16, "16-mixed"])
def test_a_precision_that_the_device_cannot_do_is_refused_in_one_line(reduced, monkeypatch):
    monkeypatch.setattr(precision, "runs_lstm", lambda dtype, device: False)
    with pytest.raises(InputError, match=rf"^--trainer.precision {reduced}: this CPU cannot [^\n]*32-true goes every"):
        PreciseTrainer(**QUIET, precision=reduced)


def test_what_is_asked_of_the_device_draws_no_random_number_and_agrees_with_a_larger_lstm():
    runs_lstm.cache_clear()
    state = torch.random.get_rng_state()
    able = runs_lstm(torch.bfloat16, "cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    larger = subprocess.run([sys.executable, "-c", LSTM_IN_BFLOAT16], capture_output=True)
    assert able == (larger.returncode == 0)


def test_a_cpu_without_avx_512_trains_in_what_it_can_do():
    older = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    fault = subprocess.run([sys.executable, "-c", LSTM_IN_BFLOAT16], env=older, capture_output=True, text=True)
    if fault.returncode == 0:
        pytest.skip("this torch runs an LSTM in bfloat16 without AVX-512")
    assert "could not create a primitive descriptor" in fault.stderr
    sizes = (
        "--data.epoch_mixtures 4 --data.validation_mixtures 2 --trainer.max_epochs 1 --data.corpus.clips_per_class 4"
    )
    settings = [word for name in ("base", "strong", "demo/data") for word in ("--config", f"weak_labels/{name}")]
    command = [sys.executable, "-m", "experiments.cli", "fit", *settings, *sizes.split()]
    for asked, status, told in (("bf16-mixed", 2, "cannot run an LSTM in it"), ("auto", 0, "precision 32-true")):
        run = ["--data.batch_size", "2", "--model.network.units", "4", "--model.network.layers", "1"]
        found = subprocess.run(
            [*command, *run, "--trainer.precision", asked, "--trainer.fast_dev_run", "true"],
            env=older,
            capture_output=True,
            text=True,
        )
        assert found.returncode == status, found.stderr
        assert told in found.stdout + found.stderr and "Traceback" not in found.stderr
