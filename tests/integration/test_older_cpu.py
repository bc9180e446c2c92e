"""A training on a processor without AVX-512, as oneDNN shows one anywhere."""

import os
import subprocess
import sys

import pytest

LSTM_IN_BFLOAT16 = """
import torch
with torch.autocast("cpu", torch.bfloat16):
    torch.nn.LSTM(8, 8)(torch.zeros(3, 2, 8))
"""


def test_a_cpu_without_avx_512_trains_in_what_it_can_do(separatrix, tmp_path):
    older = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    fault = subprocess.run([sys.executable, "-c", LSTM_IN_BFLOAT16], env=os.environ | older, capture_output=True)
    if fault.returncode == 0:
        pytest.skip("this torch runs an LSTM in bfloat16 without AVX-512")
    assert b"could not create a primitive descriptor" in fault.stderr
    command = ["fit", *separatrix.arguments("strong"), "--run", tmp_path / "run", "--trainer.precision"]
    refused = separatrix.run_process(*command, "bf16-mixed", **older)
    told = "this CPU cannot run an LSTM in it; `auto` takes what it can do, 32-true goes everywhere"
    assert refused.status == 2
    assert refused.err == f"separatrix fit: --trainer.precision bf16-mixed: {told}\n"
    assert not (tmp_path / "run").exists()
    trained = separatrix.run_process(*command, "auto", **older)
    assert trained.status == 0, trained.err
    assert "precision 32-true" in trained.out and (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()
