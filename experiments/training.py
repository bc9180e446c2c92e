"""`separatrix fit|validate|test|predict`: LightningCLI, with a folder for everything that a run makes."""

import json
import os
import platform
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from callbacks.epoch_lines import EpochLines
from experiments.configuration import with_named_configs
from lightning_modules.checkpoint import AtomicCheckpointIO, read_checkpoint
from lightning_modules.module import SeparatrixModule

LoggerName = Literal["csv", "wandb", "none"]
CHECKPOINTS = "checkpoints"


class SeparatrixCLI(LightningCLI):
    """One parser for every system: the model and the data are classes named in the configuration."""

    def __init__(self, arguments: list[str], **settings: Any) -> None:
        _silence(".*LightningCLI's args parameter is intended to run from within Python.*")
        super().__init__(
            SeparatrixModule,
            LightningDataModule,
            args=with_named_configs(arguments),
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={"prog": "separatrix", "default_env": False},
            **settings,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's folder, its logger, and stopping; data settings that a model must share are given once."""
        parser.add_argument("--run", type=str, default="runs/latest", help="folder of everything that the run makes")
        parser.add_argument("--logger", type=LoggerName, default="csv", help="where curves go besides the run's folder")
        parser.add_lightning_class_args(EarlyStopping, "stopping")
        parser.set_defaults({"stopping.monitor": "validation_loss", "stopping.patience": 5, "stopping.verbose": False})
        for shared in ("classes", "sample_rate", "window", "hop"):
            parser.link_arguments(f"data.init_args.{shared}", f"model.init_args.{shared}")

    def _parse_ckpt_path(self) -> None:
        # Lightning would replace the model's configuration by the checkpoint's. Here the configuration holds, and a
        # checkpoint that is not of it is refused by name (SeparatrixModule.on_load_checkpoint).
        path = self.config.get(self.config["subcommand"], {}).get("ckpt_path") if "subcommand" in self.config else None
        if path and path not in ("best", "last", "hpc", "registry"):
            read_checkpoint(path)

    def before_instantiate_classes(self) -> None:
        """Quiet what is not for the user."""
        _silence(
            ".*does not have many workers.*",
            ".*Checkpoint directory .* exists and is not empty.*",
            ".*The number of training batches .* is smaller than the logging interval.*",
            ".*isinstance.treespec, LeafSpec.* is deprecated.*",
        )

    def instantiate_trainer(self, **settings: Any) -> Trainer:
        """A trainer that keeps the best and the last checkpoint in the run's folder and logs where it was told to."""
        run = Path(self._get(self.config, "run"))
        keep = ModelCheckpoint(
            dirpath=run / CHECKPOINTS,
            filename="best",
            monitor="validation_loss",
            save_last=True,
            enable_version_counter=False,
            # After the validation that belongs to the epoch, so that a resumed run starts with the next epoch.
            save_on_train_epoch_end=True,
        )
        trainer_config = self._get(self.config_init, "trainer", default={})
        shown: Callback = RichProgressBar() if sys.stdout.isatty() else EpochLines()
        callbacks = [*(trainer_config.get("callbacks") or []), keep, shown]  # Lightning adds `stopping`
        return super().instantiate_trainer(
            default_root_dir=run,
            callbacks=callbacks,
            logger=_loggers(self._get(self.config, "logger"), run),
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_progress_bar=sys.stdout.isatty(),
            enable_model_summary=sys.stdout.isatty(),
            **settings,
        )

    def _build_bank(self) -> None:
        # Under torchrun or SLURM every rank comes here at once: the bank must exist, or `prepare_data` says so.
        if "LOCAL_RANK" not in os.environ and "SLURM_PROCID" not in os.environ:
            self.datamodule.build()

    def before_fit(self) -> None:
        """Decode the corpus, and write down what is about to run."""
        self._build_bank()
        if self.trainer.is_global_zero:
            write_run_description(Path(self.trainer.default_root_dir), self)

    def before_validate(self) -> None:
        """Decode the corpus."""
        self._build_bank()

    before_test = before_predict = before_validate


def _silence(*messages: str) -> None:
    for message in messages:
        warnings.filterwarnings("ignore", message)


def _loggers(name: LoggerName, run: Path) -> list[Logger] | bool:
    if name == "none":
        return False
    # Each start has a folder of its own under `curves`: a resumed run goes on and erases nothing.
    loggers: list[Logger] = [CSVLogger(run, name="curves")]
    if name == "wandb":
        logged_in = bool(os.environ.get("WANDB_API_KEY"))
        loggers.append(WandbLogger(name=run.name, project="separatrix", save_dir=run, offline=not logged_in))
    return loggers


def write_run_description(run: Path, cli: SeparatrixCLI) -> None:
    """Write the resolved configuration, the versions and the revision into the run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    subcommand = cli.config["subcommand"]
    parser = cli._parser(subcommand)
    (run / "config.yaml").write_text(parser.dump(cli.config[subcommand], skip_link_targets=False, skip_none=False))
    packages = ("separatrix", "torch", "lightning", "torchaudio", "torchmetrics", "numpy", "pyloudnorm", "soundfile")
    description = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "versions": {package: version(package) for package in packages},
        "revision": _revision(),
    }
    (run / "environment.json").write_text(json.dumps(description, indent=2) + "\n")


def _revision() -> str | None:
    """The git revision of this checkout, with a plus sign where it has changes; None outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def command(arguments: list[str]) -> None:
    """`separatrix fit|validate|test|predict ...`."""
    SeparatrixCLI(arguments)
