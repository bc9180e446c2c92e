"""`separatrix fit|validate|test|predict`: purposes and settings; Lightning is imported to run one of them."""

import importlib.util
from argparse import SUPPRESS
from typing import Any, Literal

from experiments.command_line.parser import CONFIG_HELP, PRESET_HELP, Explaining, asks_for_help, description
from lightning_modules.errors import InputError

LoggerName = Literal["csv", "wandb", "tensorboard", "none"]

PURPOSES = {
    "fit": "Train a model. Everything that it makes lies in the folder --run. Interrupted, the same command resumes "
    "with --ckpt_path last after the last complete epoch.",
    "validate": "Evaluate a model on the validation mixtures.",
    "test": "Evaluate a model on the test mixtures: a row of scores for each, and their means, in the folder --run.",
    "predict": "Write a separator's estimates of the test mixtures as audio files, into the folder --run.",
}
_SETTINGS = """Configurations, files or shipped ones by name (`separatrix configs`), are added up from left to right,
and every setting can be overridden behind them. Settings of the model and of the data depend on their classes:

  separatrix {command} --model.help WeakLabelSeparator
  separatrix {command} --config weak_labels/strong --model.network.help BLSTM
  separatrix {command} --data.help UrbanScenes
  separatrix {command} --data UrbanScenes --data.corpus.help UrbanSound8K
  separatrix {command} --config weak_labels/strong --preset small --print_config
  separatrix {command} --help-all

The last two print what all of it adds up to, and all settings of Lightning's."""
_WEAK_LABELS = "--config weak_labels/{row} --preset small --data.corpus.root UrbanSound8K"
EXAMPLES = {
    "fit": (
        f"fit {_WEAK_LABELS.format(row='strong')} --run runs/strong",
        f"fit {_WEAK_LABELS.format(row='classifier_frame')} --run runs/classifier_frame",
        f"fit {_WEAK_LABELS.format(row='frame')} --run runs/frame "
        "--model.classifier runs/classifier_frame/checkpoints/best.ckpt",
        "fit --config deep_clustering/speech --preset small --data.corpus.root LibriSpeech --run runs/speech",
    ),
    "validate": (f"validate {_WEAK_LABELS.format(row='strong')} --run runs/strong --ckpt_path best",),
    "test": (
        "test --config runs/strong/config.yaml --run runs/strong --ckpt_path best",
        f"test {_WEAK_LABELS.format(row='oracle_activity_mask')} --run runs/oracle_activity_mask",
    ),
    "predict": ("predict --config runs/strong/config.yaml --run runs/strong --ckpt_path best",),
}
# Settings of Lightning and of the classes, for `--help`.
_BRIEFLY = {
    "--seed_everything": "seed of the initial weights; mixtures follow --data.seed (default: 0)",
    "--model": "EventClassifier, WeakLabelSeparator, ReferenceSeparator, DeepClustering, ModelSelection, "
    "LearntSelection, SourceCount, or MODULE.CLASS of your own; its settings are --model.SETTING",
    "--model.network": "BLSTM, CRNN, BandSplit, TFLocoformer, or MODULE.CLASS of your own; its settings are "
    "--model.network.SETTING",
    "--model.optimizer": "a class of torch.optim; its settings are --model.optimizer.SETTING, such as lr",
    "--model.scheduler": "a class of torch.optim.lr_scheduler; its settings are --model.scheduler.SETTING",
    "--data": "UrbanScenes, StemScenes, SourcePairs, or MODULE.CLASS of your own; its settings are --data.SETTING",
    "--data.corpus": "UrbanSound8K, ESC50, FSD50K, LibriSpeech, MUSDB18, OwnRecordings, JoinedCorpora, Procedural, "
    "...; its settings are --data.corpus.SETTING, such as root; --follow-links reads what links lead to",
    "--early_stopping.patience": "epochs without a better validation loss before training stops (default: 5)",
    "--trainer.SETTING": "of Lightning's Trainer, such as max_epochs, devices, accelerator, precision, callbacks",
    "--ckpt_path": "a checkpoint, or an included model; `best`, `last`: those in the folder --run; fit resumes from it",
    "--print_config": "print what all settings add up to, and run nothing",
    "--import": "a module of your own, imported first; repeatable",
}


def add_run_settings(parser: Any) -> None:
    """Settings of a run that are neither the model's nor the data's nor the trainer's."""
    parser.add_argument("--run", type=str, default="runs/latest", help="folder of everything that the run makes")
    parser.add_argument("--logger", type=LoggerName, default="csv", help="where curves go besides the run's folder")
    parser.add_argument("--group", type=str | None, help="name of the runs in W&B that belong together")


def require_logger(name: str) -> None:
    """Raise InputError where the package of a `--logger` is missing."""
    if name == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--logger tensorboard: needs the package tensorboard: pip install 'separatrix[tensorboard]'")


def parser_settings(command: str) -> dict[str, str]:
    """The description and the usage of the parser of a command."""
    text = f"{PURPOSES[command]}\n\n{_SETTINGS.format(command=command)}"
    usage = f"separatrix {command} --config CONFIG ... [--preset SIZE] [--SETTING VALUE]"
    return {"description": description(text, *EXAMPLES[command]), "usage": usage}


def _brief_help(command: str) -> str:
    parser = Explaining(prog=f"separatrix {command}", **parser_settings(command))
    parser.add_argument("--config", default=SUPPRESS, help=CONFIG_HELP)
    parser.add_argument("--preset", default=SUPPRESS, help=PRESET_HELP)
    add_run_settings(parser)
    for name, meaning in _BRIEFLY.items():
        parser.add_argument(name, default=SUPPRESS, metavar=name.rpartition(".")[2].lstrip("-").upper(), help=meaning)
    parser.add_argument("--help-all", action="store_true", default=SUPPRESS, help="all settings, Lightning's too")
    return parser.format_help()


def command(arguments: list[str]) -> None:
    """`separatrix fit|validate|test|predict ...`."""
    if asks_for_help(arguments):
        print(_brief_help(arguments[0]))
        return
    from experiments.training.lightning_cli import run

    run([*arguments[:1], "--help"] if "--help-all" in arguments else arguments)
