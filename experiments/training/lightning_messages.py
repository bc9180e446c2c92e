"""What Lightning says that is not for the user."""

import logging
import warnings

_WARNINGS = (
    ".*LightningCLI's args parameter is intended to run from within Python.*",
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*isinstance.treespec, LeafSpec.* is deprecated.*",
    r".*module\(s\) in eval mode at the start of training.*",  # a frozen classifier is
    ".*It is recommended to use .self.log.*sync_dist=True.*",  # what is logged is the same on every rank
)
# Recommendations of other products, and what the overview of a run says in one line.
_TOLD = (
    *("Tip: ", "GPU available: ", "TPU available: ", "Seed set to ", "`Trainer.fit` stopped: "),
    *("Restoring states from the checkpoint", "Restored all states from", "Loaded model weights from"),
    *("Automatic Mixed Precision", "Detected KeyboardInterrupt"),
)
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")


def silence() -> None:
    """Keep them back, in this process."""
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_for_the_user)


def _is_for_the_user(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in _TOLD)
