"""Settings under the names of version 0.1.0, on the command line and in configurations, for one version more.

Networks, optimisers and schedules were settings of the model then. Checkpoints have a mapping of their own, in
lightning_modules/earlier_settings.py.
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
}


def with_current_options(arguments: list[str]) -> list[str]:
    """Arguments, whose earlier settings of the model have their names of today; each is told on stderr."""
    words: list[str] = []
    joined = iter(arguments)
    for word in joined:
        option, equals, value = word.partition("=")
        name = option.removeprefix("--model.")
        if option == name or name not in EARLIER:
            words.append(word)
            continue
        current, converted = EARLIER[name]
        value = value if equals else next(joined, "")
        changed = converted(value)
        words.append(f"--model.{current}={changed if isinstance(changed, str) else json.dumps(changed)}")
        _tell(option, f"--model.{current}")
    return words


def with_current_names(configuration: dict[str, Any], where: str) -> dict[str, Any]:
    """A configuration, whose earlier settings of the model have their names of today; each is told on stderr.

    Args:
        configuration: plain values by section.
        where: what it is called in the message.
    """
    model = configuration.get("model")
    settings = model.get("init_args") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(settings, dict) or not EARLIER.keys() & settings.keys():
        return configuration
    kept = {name: value for name, value in settings.items() if name not in EARLIER}
    for name, (current, converted) in EARLIER.items():
        if name not in settings:
            continue
        section, _, inner = current.partition(".")
        value = converted(settings[name])
        if inner:
            chosen = dict(kept.get(section) or {})
            kept[section] = {**chosen, "init_args": {**chosen.get("init_args", {}), inner: value}}
        else:
            kept[section] = {"class_path": value} if isinstance(value, str) else value
        _tell(f"{where}: model.{name}", f"model.{current}")
    return {**configuration, "model": {**model, "init_args": kept}}


def _tell(earlier: str, current: str) -> None:
    print(f"{earlier} is called {current} now; the earlier name goes with the next version", file=sys.stderr)
