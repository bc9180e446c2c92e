"""The parser of `separatrix fit|validate|test|predict`: what each of them is for, and how its settings are found."""

import inspect
from textwrap import fill
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from experiments.command_parser import Explaining, description
from experiments.configuration import shipped_configurations
from lightning_modules import networks

_SETTINGS = """Configurations, files or shipped ones by name, are added up from left to right, and every setting can be
overridden behind them. Settings of the model and of the data depend on their classes:

  separatrix {command} --model.help WeakLabelSeparator      EventClassifier, DeepClustering, ModelSelection, ...
  separatrix {command} --config weak_labels/base --config weak_labels/strong --model.network.help BLSTM
  separatrix {command} --data.help UrbanScenes              SourcePairs
  separatrix {command} --data UrbanScenes --data.corpus.help UrbanSound8K
  separatrix {command} --config ... --print_config          what all of it adds up to, and nothing is run

networks (--model.network NETWORK, or MODULE.CLASS of your own) and their settings:
{networks}"""

_PURPOSES = {
    "fit": "Train a model. Everything that it makes lies in the folder --run. Interrupted, the same command goes on\n"
    "with --ckpt_path last after the last complete epoch.",
    "validate": "Evaluate a model on the validation mixtures.",
    "test": "Evaluate a model on the test mixtures: a row of scores for each, and their means, in the folder --run.",
    "predict": "Write a separator's estimates of the test mixtures as audio files, into the folder --run.",
}
_WEAK_LABELS = "--config weak_labels/base --config weak_labels/{row} --data.corpus.root UrbanSound8K"
_EXAMPLES = {
    "fit": (
        f"fit {_WEAK_LABELS.format(row='strong')} --run runs/strong",
        f"fit {_WEAK_LABELS.format(row='judge_frame')} --run runs/judge_frame",
        f"fit {_WEAK_LABELS.format(row='frame')} --model.judge runs/judge_frame/checkpoints/best.ckpt --run runs/frame",
        "fit --config deep_clustering/model --config deep_clustering/base --config deep_clustering/speech "
        "--data.corpus.root LibriSpeech --run runs/speech",
    ),
    "validate": (f"validate {_WEAK_LABELS.format(row='strong')} --run runs/strong --ckpt_path best",),
    "test": (
        "test --config runs/strong/config.yaml --run runs/strong --ckpt_path best",
        f"test {_WEAK_LABELS.format(row='gate')} --run runs/gate",
    ),
    "predict": ("predict --config runs/strong/config.yaml --run runs/strong --ckpt_path best",),
}


def parser_settings() -> dict[str, dict[str, Any]]:
    """Of the parser of each command: what `--help` says first."""
    return {
        command: {
            "usage": f"separatrix {command} --config CONFIG ... [--SETTING VALUE ...] [--run RUN] [--ckpt_path CKPT]",
            "description": "\n\n".join(
                (
                    description(purpose, *_EXAMPLES[command]),
                    _SETTINGS.format(command=command, networks=_networks()),
                    _shipped(),
                )
            ),
        }
        for command, purpose in _PURPOSES.items()
    }


def _networks() -> str:
    """Each network that ships, with its settings and their defaults."""
    lines = []
    for name in networks.__all__:
        _, _, *settings = inspect.signature(getattr(networks, name)).parameters.values()
        told = ", ".join(f"{setting.name} {setting.default}" for setting in settings)
        lines.append(fill(told, 100, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12))
    return "\n".join(lines)


def _shipped() -> str:
    """The shipped configurations, one folder a line."""
    by_folder: dict[str, list[str]] = {}
    for name in shipped_configurations():
        folder, _, last = name.rpartition("/")
        by_folder.setdefault(folder, []).append(last)
    lines = [f"  {folder}/{{{','.join(names)}}}" for folder, names in sorted(by_folder.items())]
    return "\n".join(["shipped configurations:", *lines])


class TrainingParser(Explaining, LightningArgumentParser):
    """LightningCLI's parser, which explains itself and its errors."""

    def __init__(self, *args: Any, description: str | None = None, **settings: Any) -> None:
        super().__init__(*args, description=description, **settings)  # Lightning would describe every parser
