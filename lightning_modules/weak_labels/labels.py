"""How the labels of a mixture meet a classifier's frames: what classifier and separator share."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.class_tree import ClassTree
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_names
from lightning_modules.weak_labels.losses import prior_weight

LabelSupervision = Literal["frame", "clip"]


class WeakLabelModule(SeparatrixModule):
    """Classes, their hierarchy, and the class prior γ that weights frame labels.

    The prior is counted over the training recipes when training starts, and travels in the checkpoint.
    """

    prior: Tensor

    def __init__(self, classes: Sequence[str], hierarchy: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        require_names("classes", classes)
        self.classes = list(classes)
        self.hierarchy = hierarchy
        self.tree = ClassTree(self.classes, hierarchy)
        self.register_buffer("prior", torch.full((len(self.tree.names),), 0.5))

    def signature(self) -> dict[str, Any]:
        return {**super().signature(), "classes": self.classes, "hierarchy": self.hierarchy}

    def setup(self, stage: str) -> None:
        """Check the data and, before training, take the class prior from its recipes.

        Raises:
            InputError: the data has another rate, geometry or classes, or cannot tell its class prior.
        """
        super().setup(stage)
        supervision = self.signature().get("supervision")
        data = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or (data is None and supervision == "clip"):  # clip labels are not weighted
            return
        if data is None:
            raise InputError(
                f"fit: {supervision} supervision weighs frames by the class prior, which plain loaders do not know; "
                f"give a data module such as UrbanScenes"
            )
        # A class active in every training frame, or in none, would get an infinite weight.
        self.prior.copy_(data.class_prior().clamp(1e-3, 1 - 1e-3))

    def targets(self, batch: Batch, supervision: LabelSupervision, reduction: int) -> tuple[Tensor, Tensor]:
        """Activity l and weight W of all nodes, at a classifier's frame rate, [B, N, F'] each.

        A clip is one frame, unweighted. What is not known, NaN among the labels, is 0 in both.
        """
        clip = supervision == "clip"
        labels = batch.clip_labels.unsqueeze(-1) if clip else pool_frame_labels(batch.frame_labels, reduction)
        activity = labels.nan_to_num(0)
        weight = torch.ones_like(activity) if clip else prior_weight(activity, self.prior)
        return activity, weight.masked_fill(labels.isnan(), 0)


def logits_at_label_rate(logits: Tensor, supervision: LabelSupervision) -> Tensor:
    """The logits that the labels speak of: every frame's, or the maximum over frames as the clip's only one."""
    return logits if supervision == "frame" else clip_logits(logits).unsqueeze(-1)


def pool_frame_labels(labels: Tensor, reduction: int) -> Tensor:
    """Frame labels at a classifier's rate: active where any of `reduction` frames is, [B, C, F] -> [B, C, F']."""
    return functional.max_pool1d(labels, reduction)


def clip_logits(logits: Tensor) -> Tensor:
    """Clip-level logits, [B, C]: the maximum over frames (a probability's maximum is the maximal logit's)."""
    return logits.amax(-1)
