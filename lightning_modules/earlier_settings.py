"""Checkpoints and exported models of version 0.1.0 and before, under the names of today.

The classifier was called judge then, and networks and optimisers were settings of their module: sizes of the LSTM, a
learning rate of Adam, epochs after which it was halved.
"""

from typing import Any

_INITS = {"open_gate": "orthogonal", "uniform": "uniform"}
_SETTINGS = {"judge": "classifier", "joint_judge": "joint_classifier", "masks": "mask_activation"}
_WEIGHTS = {
    "separator.recurrent.": "network.recurrent.",
    "separator.mask.": "network.output.",
    "classifier.convolutions.": "network.convolutions.",
    "classifier.recurrent.": "network.recurrent.",
    "classifier.classes.": "network.output.",
    "network.embedding.": "network.output.",
}


def with_current_names(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's contents, settings and weights under today's names; one of today is left as it is."""
    checkpoint = _with_current_words(checkpoint)
    settings = checkpoint["hyper_parameters"]
    if "learning_rate" not in settings or "optimizer" in settings:  # one of today may be of a class that has it
        return checkpoint
    settings = dict(settings)
    take = settings.pop
    settings["optimizer"] = {"class_path": "torch.optim.Adam", "init_args": {"lr": take("learning_rate")}}
    halve_after = take("halve_after", None)
    if isinstance(halve_after, int):
        schedule = {"factor": 0.5, "patience": halve_after - 1}
        settings["scheduler"] = {"class_path": "torch.optim.lr_scheduler.ReduceLROnPlateau", "init_args": schedule}
    else:
        settings["scheduler"] = None
    settings["network"] = _network(settings)
    if isinstance(settings.get("joint_classifier"), dict):
        joint = dict(settings["joint_classifier"])
        settings["joint_classifier"] = {"network": _network({"architecture": "convolutional", **joint})}
        settings["joint_classifier"] |= {"gain": joint["gain"]} if "gain" in joint else {}
    named = {"hyper_parameters": settings, "state_dict": _renamed(checkpoint["state_dict"])}
    return {**checkpoint, **named, "version": "0.1.0"}


def _with_current_words(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Judges are called classifiers, `masks` `mask_activation`, and `Stopping` is `ResumableEarlyStopping`."""
    settings, weights = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    callbacks = checkpoint.get("callbacks")
    if isinstance(callbacks, dict) and any(str(name).startswith("Stopping{") for name in callbacks):
        renamed = {
            str(name).replace("Stopping{", "ResumableEarlyStopping{", 1): value for name, value in callbacks.items()
        }
        checkpoint = {**checkpoint, "callbacks": renamed}
    earlier = {name: current for name, current in _SETTINGS.items() if name in settings and current not in settings}
    if not earlier:
        return checkpoint
    settings = {earlier.get(name, name): value for name, value in settings.items()}
    weights = {
        f"classifier.{name.removeprefix('judge.')}" if str(name).startswith("judge.") else name: value
        for name, value in weights.items()
    }
    return {**checkpoint, "hyper_parameters": settings, "state_dict": weights}


def _network(settings: dict[str, Any]) -> dict[str, Any]:
    """The network that the settings say, which are taken out."""
    sizes: dict[str, Any] = {
        name: settings.pop(name) for name in ("channels", "units", "layers", "dropout") if name in settings
    }
    if "lstm_start" in settings:
        start = settings.pop("lstm_start")
        sizes["lstm_init"] = _INITS.get(start, start) if isinstance(start, str) else start
    if "embedding_start" in settings:
        sizes["output_init_scale"] = settings.pop("embedding_start")
    name = "BLSTM"
    architecture = settings.pop("architecture", None)
    if architecture == "convolutional":
        name = "CRNN"
        sizes.pop("layers", None)
    elif architecture is not None:
        sizes.pop("channels", None)
        sizes = {"units": 100, "layers": 2, **sizes}
    return {"class_path": f"lightning_modules.networks.{name}", "init_args": sizes}


def _renamed(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights by today's names, also those of a classifier within a separator, `classifier.classifier.` then."""
    renamed = {}
    within = any(str(name).startswith("separator.") for name in weights)
    for name, value in weights.items():
        prefix = "classifier." if within and str(name).startswith("classifier.") else ""
        own = str(name).removeprefix(prefix)
        found = next((old for old in _WEIGHTS if own.startswith(old)), None)
        renamed[f"{prefix}{_WEIGHTS[found]}{own.removeprefix(found)}" if found else name] = value
    return renamed
