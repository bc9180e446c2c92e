"""Checkpoints: none runs code, a bad one is named in one line, and a failing save leaves the last one."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters_context
from torch import Tensor, nn

from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.checkpoint_io import AtomicCheckpointIO
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

SETTINGS: dict[str, Any] = {"classes": ["horn", "dog"], "sample_rate": 8000, "window": 32, "hop": 16}
TINY = partial(BLSTM, units=3, layers=1)


def save(module: Any, path: Path) -> Path:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, plugins=[AtomicCheckpointIO()])
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    module = EventClassifier(network=TINY, gain=2.5, **SETTINGS)
    module.prior.copy_(torch.tensor([0.25, 0.75]))
    return save(module, tmp_path_factory.mktemp("trained") / "classifier.ckpt")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "given.ckpt"


def refusal(path: Path, kind: Any = EventClassifier) -> str:
    """The message with which a checkpoint is refused: one line that begins with its path."""
    with pytest.raises(InputError) as error:
        load_module(path, kind)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_a_module_comes_back_with_its_settings_weights_and_prior(trained):
    module = load_module(trained, EventClassifier)
    torch.manual_seed(0)
    original = EventClassifier(network=TINY, gain=2.5, **SETTINGS)
    assert module.signature() == original.signature()
    assert module.prior.tolist() == [0.25, 0.75]
    inputs = torch.rand(2, 17, 9)
    assert torch.equal(module(inputs), original(inputs))


def test_the_file_says_which_of_several_kinds_it_is(trained, path):
    assert type(load_module(trained, WeakLabelSeparator, EventClassifier)) is EventClassifier
    with pytest.raises(InputError, match="a checkpoint of EventClassifier; one of WeakLabelSeparator or DeepCl"):
        load_module(trained, WeakLabelSeparator, DeepClustering)
    with pytest.raises(InputError, match=r"^kinds: 'EventClassifier' is no class of module"):
        load_module(trained, "EventClassifier")


class Dense(nn.Module):
    """A network of one's own."""

    def __init__(self, inputs: int, outputs: int, width: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features.mT).mT


class Stretched(WeakLabelSeparator):
    """A separator with a setting of its own."""

    def __init__(self, width: int = 2, **settings: Any) -> None:
        super().__init__(**settings)


def test_a_network_of_one_s_own_comes_back_with_its_settings(path):
    module = Stretched(width=4, network=partial(Dense, width=3), **SETTINGS)
    save(module, path)
    restored = load_module(path, WeakLabelSeparator)
    assert type(restored) is Stretched and restored.hparams["width"] == 4
    assert type(restored.network) is Dense
    mixture = torch.randn(1, 400)
    assert torch.equal(restored.eval()(mixture), module.eval()(mixture))


def test_of_a_class_that_was_defined_again_the_last_one_is_made(path):
    first, last = (type("Redefined", (Stretched,), {}) for _ in range(2))
    save(last(width=4, network=TINY, **SETTINGS), path)
    assert type(load_module(path)) is last is not first


def test_what_is_loaded_while_another_module_is_made_keeps_its_own_settings(path):
    save(Stretched(width=4, network=TINY, **SETTINGS), path)
    # As LightningCLI makes modules: with the settings of the one that loads.
    with _given_hyperparameters_context({"width": 1, "_class_path": "somebody.Else"}, "maker"):
        restored = load_module(path, WeakLabelSeparator)
    assert restored.hparams["width"] == 4 and "_class_path" not in restored.hparams


def test_a_checkpoint_of_an_unknown_class_says_how_to_make_it_known(trained, path):
    torch.save({**torch.load(trained, weights_only=True), "module": "SomebodysClassifier"}, path)
    assert refusal(path).endswith("one of EventClassifier is needed; --import MODULE makes a class of your own known")


def test_settings_in_a_checkpoint_are_plain_values(trained):
    def plain(value: Any) -> bool:
        if isinstance(value, list | dict):
            return all(map(plain, value.values() if isinstance(value, dict) else value))
        return value is None or type(value) in (bool, int, float, str)

    settings = read_checkpoint(trained)["hyper_parameters"]
    assert settings["classes"] == ["horn", "dog"]
    assert {name for name, value in settings.items() if not plain(value)} == set()


class Payload:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return self.path.touch, ()


@pytest.mark.parametrize("form", ["pickle", "archive", "old archive"])
def test_code_in_a_checkpoint_is_refused_and_does_not_run_whatever_the_trainer_asks_for(form, path, tmp_path):
    trap = tmp_path / "trap"
    contents = {"state_dict": {}, "hyper_parameters": {}, "module": "EventClassifier", "extra": Payload(trap)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(contents, protocol=2))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=form == "archive")
    assert "not a readable checkpoint" in refusal(path)
    for weights_only in (None, False, True):
        with pytest.raises(InputError, match="not a readable checkpoint of weights and plain values"):
            AtomicCheckpointIO().load_checkpoint(path, weights_only=weights_only)
    assert not trap.exists()
    if form != "pickle":
        torch.load(path, weights_only=False)  # the trap is armed: a careless reader would have sprung it
        assert trap.exists()


def test_a_folder_is_refused_and_a_runs_folder_told_its_checkpoint(tmp_path):
    assert "no such checkpoint; train it first" in refusal(tmp_path)
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    best.touch()
    assert refusal(tmp_path).endswith(f"did you mean {best}?")


def test_a_truncated_checkpoint_and_what_is_none_of_this_project_are_refused(trained, path):
    whole = trained.read_bytes()
    for contents in (whole[:100], whole[:-10], b"", b"hello world\n", b"\x80\x02.", b"PK\x03\x04"):
        path.write_bytes(contents)
        assert "not a readable checkpoint" in refusal(path)
    for others in ([1, 2], {"model": {}}, {"state_dict": {}}):
        torch.save(others, path)
        assert "not a checkpoint of this project" in refusal(path)


class Failing:
    """Cannot be pickled, which shows after most of the checkpoint has been."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise OSError("disk full")


def test_a_failing_save_leaves_the_old_checkpoint_and_nothing_beside_it(trained, path):
    path.write_bytes(trained.read_bytes())
    with pytest.raises(OSError, match="disk full"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": torch.ones(1000), "last": Failing()}, path)
    assert path.read_bytes() == trained.read_bytes()
    assert list(path.parent.iterdir()) == [path]
