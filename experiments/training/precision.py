"""A trainer whose precision is one that its device can do.

No list tells which CPU runs an LSTM in bfloat16 (without AVX-512 torch "could not create a primitive descriptor"): one
is tried.
"""

from functools import lru_cache
from typing import Any, Literal

import torch
from lightning import Trainer
from torch import nn

from lightning_modules.errors import InputError

Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "transformer-engine"
]
_TYPES = {"bf16": torch.bfloat16, "16": torch.float16}


class PreciseTrainer(Trainer):
    """Lightning's Trainer, with `auto` as a further precision.

    Args:
        precision: in which networks compute: `32-true` (the default) or another of Lightning's; losses are never in
            less than 32 bits. `auto` is `bf16-mixed` where the device can do it, `32-true` elsewhere.
    """

    def __init__(
        self,
        *args: Any,
        precision: Precision | Literal[64, 32, 16, "64", "32", "16", "bf16"] | None = None,
        **settings: Any,
    ) -> None:
        cuda = settings.get("accelerator", "auto") in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        if not cuda and torch.backends.mps.is_available():  # without float64, in which scores and clusters are computed
            if settings.get("accelerator", "auto") not in ("auto", "cpu"):
                raise InputError(f"--trainer.accelerator {settings['accelerator']}: has no 64-bit numbers; cpu has")
            settings["accelerator"] = "cpu"
        device, name = ("cuda", "GPU") if cuda else ("cpu", "CPU")
        if precision == "auto":
            precision = "bf16-mixed" if runs_lstm(torch.bfloat16, device) else "32-true"
        reduced = _TYPES.get(str(precision).partition("-")[0])
        if reduced is not None and not runs_lstm(reduced, device):
            raise InputError(
                f"--trainer.precision {precision}: this {name} cannot run an LSTM in it; "
                f"`auto` takes what it can do, 32-true goes everywhere"
            )
        super().__init__(*args, precision=precision, **settings)


@lru_cache
def runs_lstm(dtype: torch.dtype, device: str) -> bool:
    """Whether a device can run a recurrent layer in this type, forwards and backwards.

    A CPU is asked by doing it once; of a GPU torch knows, and a trial would be made on the first one by every rank.
    """
    if device == "cuda":
        return dtype is torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        with torch.autocast(device, dtype), torch.random.fork_rng(devices=[]):
            states, _ = nn.LSTM(2, 2, bidirectional=True, device=device)(torch.zeros(1, 1, 2, device=device))
        states.float().sum().backward()
    except RuntimeError:
        return False
    return True
