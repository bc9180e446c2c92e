"""When a training stops by itself."""

from functools import partial
from types import SimpleNamespace

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


@pytest.mark.parametrize(("waited", "patience", "stops"), [(2, 2, True), (1, 2, False), (0, 0, False)])
def test_a_resumed_training_stops_where_patience_had_run_out(waited, patience, stops):
    stopping = ResumableEarlyStopping("validation_loss", patience=patience)
    stopping.load_state_dict({**stopping.state_dict(), "wait_count": waited})
    running = SimpleNamespace(should_stop=False)
    stopping.on_train_start(running, None)
    assert running.should_stop == stops
