"""Each system learns with each network that fits it, through the Trainer; networks that do not fit are refused."""

from functools import partial
from typing import Any

import pytest
import torch
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, trainer
from torch import Tensor, nn
from torch.optim import Adam

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM, CRNN, BandSplit, TFLocoformer
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

NETWORKS = {
    "BLSTM": partial(BLSTM, units=8, layers=1),
    "BandSplit": partial(BandSplit, bands=5, features=6, units=6, layers=1),
    "TFLocoformer": partial(TFLocoformer, bands=5, features=8, hidden=6, layers=1),
    "CRNN": partial(CRNN, channels=(2, 3, 4), units=8),
}
CLUSTERING = partial(DeepClustering, "noise", sources=len(CLASSES), dimensions=4, clip_percentile=None)
SYSTEMS: dict[str, Any] = {
    "separator": partial(WeakLabelSeparator, "strong", classes=CLASSES, input_normalisation="mixture"),
    "classifier": partial(EventClassifier, "frame", classes=CLASSES, gain=10.0),
    "deep clustering": CLUSTERING,
    "mask inference": partial(CLUSTERING, head="masks"),
    "chimera": partial(CLUSTERING, head="both"),
}


def made(system: str, network: str) -> Any:
    torch.manual_seed(0)
    return SYSTEMS[system](network=NETWORKS[network], optimizer=partial(Adam, lr=1e-2), **GEOMETRY_SETTINGS)


@pytest.mark.parametrize(
    ("system", "network"),
    [*[(system, network) for system in SYSTEMS for network in NETWORKS if network != "CRNN"], ("classifier", "CRNN")],
)
def test_each_system_learns_with_each_network_that_fits_it(system, network):
    module = made(system, network)
    before = {name: value.clone() for name, value in module.named_parameters()}
    losses = []
    for epochs in (1, 7):
        training = trainer(epochs)
        training.fit(module, datamodule=RandomScenes())
        losses.append(float(training.callback_metrics["train_loss_epoch"]))
    assert losses[1] < 0.9 * losses[0]
    assert not [name for name, value in module.named_parameters() if torch.equal(before[name], value)]


@pytest.mark.parametrize("system", ["separator", "deep clustering"])
def test_masks_and_embeddings_need_a_network_that_keeps_every_frame(system):
    with pytest.raises(InputError, match=r"^network: CRNN puts out one frame for 4; [^\n]* is needed$"):
        made(system, "CRNN")


class Misshapen(BLSTM):
    """A network with outputs of another form."""

    def __init__(self, inputs: int, outputs: int, form: str) -> None:
        super().__init__(inputs, outputs, units=2, layers=1)
        self.form = form

    def forward(self, features: Tensor) -> Any:
        outputs = super().forward(features)
        return {
            "pooled": lambda: outputs.mean(2, keepdim=True),
            "frames first": lambda: outputs.mT,
            "half of them": lambda: outputs[:, 1::2],
            "a tuple": lambda: (outputs, None),
        }[self.form]()


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("form", ["pooled", "frames first", "half of them", "a tuple"])
def test_outputs_of_another_form_are_refused_by_the_networks_name_and_both_forms(system, form):
    module = SYSTEMS[system](network=partial(Misshapen, form=form), **GEOMETRY_SETTINGS)
    with pytest.raises(InputError, match=r"^network: Misshapen puts out a? ?\S+[^\n]*; [^\n]* (is|are) needed$"):
        trainer(1).fit(module, datamodule=RandomScenes())


class OneForAll(WeakLabelSeparator):
    """A loss of the whole batch."""

    def loss(self, magnitude: Tensor, masks: Tensor, batch: Any) -> Tensor:
        return super().loss(magnitude, masks, batch).mean()


def test_a_loss_that_is_not_of_each_mixture_is_refused():
    module = OneForAll("strong", classes=CLASSES, network=NETWORKS["BLSTM"], **GEOMETRY_SETTINGS)
    with pytest.raises(InputError, match=r"^loss: OneForAll has one of shape \[\]; one number for each mixture,"):
        trainer(1).fit(module, datamodule=RandomScenes())


class Forgetful(SeparatrixModule):
    """A model whose checkpoints would hold weights alone."""

    def __init__(self) -> None:
        super().__init__(**GEOMETRY_SETTINGS)
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        return self.log_loss(self.layer(batch.mixture.mean(-1, keepdim=True)).squeeze(1), batch, "train")


def test_a_model_that_does_not_keep_its_settings_is_refused_before_it_trains():
    with pytest.raises(InputError, match=r"^Forgetful: [^\n]*; call self.save_hyperparameters\(\) in its __init__$"):
        trainer(1).fit(Forgetful(), datamodule=RandomScenes())
