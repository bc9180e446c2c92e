"""When a training stops by itself."""

from functools import partial

import pytest
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, trainer

from callbacks.early_stopping import ResumableEarlyStopping
from lightning_modules.networks import BLSTM
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


@pytest.mark.parametrize("patience", [0, 2])
def test_a_training_stops_after_as_many_epochs_without_a_better_one_as_patience_says(patience):
    tiny = partial(BLSTM, units=4, layers=1)
    module = WeakLabelSeparator("strong", classes=CLASSES, network=tiny, **GEOMETRY_SETTINGS)
    stopping = ResumableEarlyStopping("validation_loss", min_delta=1e6, patience=patience)  # no epoch is better
    running = trainer(9, callbacks=[stopping])
    running.fit(module, datamodule=RandomScenes())
    assert running.current_epoch == 1 + max(patience, 1)
