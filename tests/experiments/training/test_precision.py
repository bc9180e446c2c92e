"""Precision by what the device can do, also as on a CPU without AVX-512."""

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
