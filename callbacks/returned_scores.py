"""What `Trainer.test` and `Trainer.validate` return of the scores that a callback finds."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback, Trainer


class ReturnedScores(Callback):
    """A callback that scores an evaluation, and knows its scores when Lightning's `log` takes nothing any more."""

    scores_tests = True  # the module itself need not

    def __init__(self) -> None:
        self._returned: list[dict[str, Any]] = []

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        loop = trainer.test_loop if trainer.testing else trainer.validate_loop
        self._returned = loop._logged_outputs  # filled by the loop, which returns it

    on_validation_start = on_test_start

    def return_scores(self, scores: Mapping[str, float]) -> None:
        """Add scores to what the trainer returns; to be called in `teardown`."""
        for outputs in self._returned:
            outputs.update(scores)
