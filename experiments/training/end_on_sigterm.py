"""SIGTERM while a trainer runs."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from experiments.termination import end_on_sigterm


class EndOnSigterm(Callback):
    """Takes SIGTERM back from Lightning, which installs a handler of its own when it starts to run.

    That one lets the step finish, and on several ranks broadcasts from within the handler, where it meets whatever
    collective was under way.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it back."""
        end_on_sigterm()

    on_validation_start = on_test_start = on_predict_start = on_train_start
