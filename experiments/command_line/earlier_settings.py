"""Settings under the names of version 0.1.0, on the command line and in configurations, for one version more.

Checkpoints have a mapping of their own, in lightning_modules/earlier_settings.py.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

_PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"


def _as_it_is(value: Any) -> Any:
    return value


def _schedule(halve_after: Any) -> dict[str, Any] | None:
    if str(halve_after) in ("None", "null"):
        return None
    return {"class_path": _PLATEAU, "init_args": {"factor": 0.5, "patience": int(halve_after) - 1}}


# Of the model: the earlier name, where it is now, and its value there.
EARLIER: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "architecture": ("network", lambda value: "CRNN" if value == "convolutional" else "BLSTM"),
    **{name: (f"network.{name}", _as_it_is) for name in ("units", "layers", "channels", "dropout")},
    "lstm_start": ("network.lstm_init", lambda value: "orthogonal" if value == "open_gate" else value),
    "embedding_start": ("network.output_init_scale", _as_it_is),
    "learning_rate": ("optimizer.lr", _as_it_is),
    "halve_after": ("scheduler", _schedule),
    "judge": ("classifier", _as_it_is),
    "joint_judge": ("joint_classifier", _as_it_is),
    "masks": ("mask_activation", _as_it_is),
}
EARLIER_SECTIONS = {"stopping": "early_stopping"}
EARLIER_CONFIGURATIONS = {
    "weak_labels/gate": "weak_labels/oracle_activity_mask",
    "weak_labels/judge_clip": "weak_labels/classifier_clip",
    "weak_labels/judge_frame": "weak_labels/classifier_frame",
    "weak_labels/demo/judge": "weak_labels/demo/classifier",
    "weak_labels/small/judge": "weak_labels/small/classifier",
    "weak_labels/ablations/recurrent_judge": "weak_labels/ablations/recurrent_classifier",
}
_EARLIER_METHOD, _METHOD = "gate", "oracle_activity_mask"  # of a ReferenceSeparator


def with_current_options(arguments: list[str], of_model: bool = True) -> list[str]:
    """Arguments under today's names: sections, configurations, and options `of_model`; each is told on stderr."""
    words: list[str] = []
    joined = iter(arguments)
    for word in joined:
        option, equals, value = word.partition("=")
        section, _, name = option.removeprefix("--").partition(".")
        if option == "--config":
            value = value if equals else next(joined, "")
            current = EARLIER_CONFIGURATIONS.get(value.removesuffix(".yaml"), value)
            if current != value:
                _tell(f"--config {value}", f"--config {current}")
            words += [option, current]
        elif option.startswith("--") and section in EARLIER_SECTIONS:
            current = f"--{EARLIER_SECTIONS[section]}.{name}"
            words.append(f"{current}{equals}{value}")
            _tell(option, current)
        elif of_model and option == f"--model.{name}" and name in EARLIER:
            current, converted = EARLIER[name]
            changed = converted(value if equals else next(joined, ""))
            words.append(f"--model.{current}={changed if isinstance(changed, str) else json.dumps(changed)}")
            _tell(option, f"--model.{current}")
        else:
            words.append(word)
    return words


def with_current_names(configuration: dict[str, Any], where: str, of_model: bool = True) -> dict[str, Any]:
    """A configuration under today's names; each that changed is told on stderr.

    Args:
        configuration: plain values by section.
        where: what it is called in the message.
        of_model: whether settings of the model have earlier names: those of a user's own class are what they are.
    """
    sections = {}
    for name, value in configuration.items():
        if name in ("optimizer", "lr_scheduler") and value is None:
            continue  # Lightning's defaults, which once were written down with a run's settings
        current = EARLIER_SECTIONS.get(name, name)
        if current == "trainer" and isinstance(value, dict) and value.get("use_distributed_sampler") is True:
            value = {option: given for option, given in value.items() if option != "use_distributed_sampler"}
        sections[current] = value
        if current != name:
            _tell(f"{where}: {name}", current)
    model = sections.get("model")
    settings = model.get("init_args") if isinstance(model, dict) else None
    if not of_model or not isinstance(model, dict) or not isinstance(settings, dict):
        return sections
    kept = {name: value for name, value in settings.items() if name not in EARLIER}
    for name, (current, converted) in EARLIER.items():
        if name not in settings:
            continue
        section, _, inner = current.partition(".")
        value = converted(settings[name])
        if inner:
            chosen = dict(kept.get(section) or {})
            kept[section] = {**chosen, "init_args": {**chosen.get("init_args", {}), inner: value}}
        elif section == "network":
            kept[section] = {"class_path": value}
        else:
            kept[section] = value
        _tell(f"{where}: model.{name}", f"model.{current}")
    if kept.get("method") == _EARLIER_METHOD:
        kept["method"] = _METHOD
        _tell(f"{where}: model.method {_EARLIER_METHOD}", _METHOD)
    return {**sections, "model": {**model, "init_args": kept}}


def _tell(earlier: str, current: str) -> None:
    print(f"{earlier} is called {current} now; the earlier name goes with the next version", file=sys.stderr)
