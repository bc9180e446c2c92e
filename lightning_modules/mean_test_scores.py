"""What `Trainer.test` returns without a callback that scores: the mean SI-SDR of all sources."""

from typing import TYPE_CHECKING, Any

from lightning_modules.batch import Batch
from lightning_modules.mixture_mean import MixtureMean
from lightning_modules.separation_scores import defined_scores, in_best_order

if TYPE_CHECKING:
    from lightning import LightningModule as Base
else:
    Base = object


class MeanTestScores(Base):
    """Logs `test_si_sdr_db` and `test_improvement_db`: to be inherited from beside LightningModule."""

    # Whether estimates come in any order, and are to be compared with the sources in the best one.
    permutation_invariant = False

    def __init__(self) -> None:
        super().__init__()
        self.test_si_sdr, self.test_improvement = MixtureMean(), MixtureMean()

    def on_test_batch_end(self, outputs: Any, batch: Batch, batch_index: int, loader_index: int = 0) -> None:
        if not any(getattr(callback, "scores_tests", False) for callback in self.trainer.callbacks):  # type: ignore[attr-defined]
            self.log_test_scores(outputs, batch)

    def log_test_scores(self, outputs: Any, batch: Batch) -> None:
        """Log SI-SDR and its improvement, in dB, over all sources that have one.

        Args:
            outputs: of the test step: estimates, [B, Q, T].
            batch: with their sources.
        """
        estimates = in_best_order(outputs, batch.sources) if self.permutation_invariant else outputs
        scores = defined_scores(batch, estimates).to(self.device)
        self.test_si_sdr.update(scores[:, 0])
        self.test_improvement.update(scores[:, 1])
        means = {"test_si_sdr_db": self.test_si_sdr, "test_improvement_db": self.test_improvement}
        self.log_dict(means, on_epoch=True, batch_size=len(batch.indices))
