"""Classes and settings as plain values: there and back, and whose classes a file of anybody's may have made."""

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from lightning_modules import choices
from lightning_modules.choices import choice, completed, described, made_of, without_callables
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM, CRNN, BandSplit, TFLocoformer

KINDS = dict.fromkeys((BLSTM, CRNN, BandSplit, TFLocoformer), nn.Module) | {Adam: Optimizer, StepLR: LRScheduler}


class Own(nn.Linear):
    """A network of one's own."""


@pytest.mark.parametrize("cls", [*KINDS, Own], ids=lambda cls: cls.__name__)
def test_a_class_and_a_partial_of_it_are_described_and_made_again(cls):
    kind = KINDS.get(cls, nn.Module)
    for given, settings in ((cls, {}), (partial(cls, units=3, sizes=[1, 2]), {"units": 3, "sizes": [1, 2]})):
        stated = described(given)
        assert stated["init_args"] == settings
        again: Any = made_of(stated, kind)
        assert isinstance(again, partial) and again.func is cls and again.keywords == settings
        assert described(again) == stated
        assert made_of(given, kind) is given


def test_networks_of_the_project_are_named_where_they_are_offered_and_their_module_need_not_be_given():
    assert described(BLSTM) == choice(BLSTM) == {"class_path": "lightning_modules.networks.BLSTM", "init_args": {}}
    for name in ("BLSTM", "lightning_modules.networks.BLSTM", "lightning_modules.networks.blstm.BLSTM"):
        assert made_of({"class_path": name}, nn.Module).func is BLSTM  # type: ignore[attr-defined]
    given = {"network": partial(BLSTM, units=3), "gain": 2.0, "classes": ["a"]}
    assert without_callables(given) == {**given, "network": choice(BLSTM, units=3)}


def test_a_class_of_ones_own_with_the_name_of_ours_stays_ones_own(own_file):
    theirs = own_file("their_networks", "class BLSTM(nn.Linear): pass").BLSTM
    assert described(theirs)["class_path"] == "their_networks.BLSTM"
    assert made_of(described(theirs), nn.Module).func is theirs  # type: ignore[attr-defined]


def test_what_a_checkpoint_could_not_name_or_hold_is_refused_in_one_line():
    class Local(nn.Linear):
        pass

    for given in (lambda inputs, outputs: nn.Linear(inputs, outputs), partial(BLSTM, 4), partial(lambda: None), Local):
        with pytest.raises(InputError, match=r"^[^\n]*: give a class of a module's top level, or functools\.[^\n]*$"):
            described(given)
    for value in (nn.ReLU, torch.ones(2), [{1: {2}}], Own):
        with pytest.raises(InputError, match=r"^BLSTM: activation is [^\n]*; numbers, words and lists of them are n"):
            described(partial(BLSTM, activation=value))


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that imports a module of these lines from a folder, and forgets it afterwards."""

    def load(name: str, lines: str, folder: str = "mine") -> ModuleType:
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"from torch import nn\nfrom torchmetrics import MeanMetric\n\n\n{lines}\n")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def refusal(path: Any, kind: type = nn.Module, **settings: Any) -> str:
    """The line with which a choice is refused; nothing is imported for it."""
    before = set(sys.modules)
    with pytest.raises(InputError) as error:
        made_of({"class_path": path, "init_args": settings}, kind)
    assert set(sys.modules) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_class_of_a_library_is_refused_though_it_is_loaded():
    for path in ("torch.nn.Bilinear", "torchmetrics.MeanMetric", "lightning.Trainer", "subprocess.Popen"):
        for kind in (nn.Module, Optimizer):
            assert refusal(path, kind).startswith(f"{path}: no such class is known here; --import ")


@pytest.mark.parametrize("path", ["turtledemo.clock.Hand", "lazy.Network"])
def test_nothing_is_imported_for_a_choice(path, own_file):
    # As large packages do: asked for what it lacks, a module imports another.
    own_file("lazy", "def __getattr__(name):\n    import turtledemo\n    return nn.Linear")
    assert "turtledemo" not in sys.modules
    assert "no such class is known here" in refusal(path)


def test_what_is_no_class_no_choice_or_a_class_of_another_kind_is_refused():
    for path in ("Network", "", ".", "networks.BLSTM.forward", "blstm", 3, None, ["BLSTM"]):
        refusal(path)
    for chosen in ("BLSTM", None, {}, {"class_path": "BLSTM", "init_args": [3]}):
        with pytest.raises(InputError, match=r"^[^\n]*: neither a callable nor class_path and init_args of a Module$"):
            made_of(chosen, nn.Module)
    assert refusal("torch.optim.Adam", nn.Module) == "torch.optim.Adam: makes no Module"
    assert refusal("BLSTM", Optimizer) == "BLSTM: makes no Optimizer"
    assert refusal("lightning_modules.errors.InputError").endswith("makes no Module")


def test_a_class_of_the_users_own_is_made_and_one_that_it_imports_from_a_library_is_not(own_file):
    own = own_file("my_networks", "class Mine(nn.Linear): pass")
    assert made_of({"class_path": "my_networks.Mine"}, nn.Module).func is own.Mine  # type: ignore[attr-defined]
    assert "no such class is known here" in refusal("my_networks.MeanMetric")
    assert "no such class is known here" in refusal("my_networks.Theirs")


@pytest.mark.parametrize("folder", ["lib/python3/dist-packages", ".local/lib/site-packages/deep"])
def test_a_class_of_an_installed_package_is_made_once_the_user_has_named_its_module(own_file, folder, monkeypatch):
    installed = own_file("installed_networks", "class Theirs(nn.Linear): pass", folder)
    message = refusal("installed_networks.Theirs")
    assert message.endswith("--import installed_networks makes a class of your own known")
    monkeypatch.setattr(choices, "named_modules", {"installed_networks"})
    made = made_of({"class_path": "installed_networks.Theirs"}, nn.Module)
    assert made.func is installed.Theirs  # type: ignore[attr-defined]


def test_two_ways_to_write_one_choice_are_the_same_once_completed():
    short = completed({"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1}})
    assert short == completed(choice(torch.optim.Adam, lr=0.1, weight_decay=0))
    assert short != completed(choice(torch.optim.Adam, lr=0.1, weight_decay=0.1))
    network = completed({"class_path": "BLSTM", "init_args": {"units": 4}})
    of_blstm = {"layers": 3, "dropout": 0.0, "lstm_init": "orthogonal", "output_init_scale": None}
    assert network["init_args"] == {"units": 4, **of_blstm}
    unknown = {"class_path": "nowhere.Mine", "init_args": {"units": 4}}
    assert completed(unknown) == unknown and completed(3) == 3
