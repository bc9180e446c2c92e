"""LightningCLI, with a folder for everything that a run makes."""

import contextlib
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.cli import ReduceLROnPlateau as LightningPlateau
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.distributed import DistError, destroy_process_group, is_available, is_initialized

import separatrix  # noqa: F401  (public classes can then be named without their module)
from callbacks.audio_examples import AudioExamples
from callbacks.checkpoint_artifacts import CheckpointArtifacts
from callbacks.classifier_scores import ClassifierScores
from callbacks.early_stopping import ResumableEarlyStopping
from callbacks.embedding_pictures import EmbeddingPictures
from callbacks.epoch_checkpoint import EpochCheckpoint, is_of_a_whole_epoch
from callbacks.estimate_files import EstimateFiles
from callbacks.row_evaluation import RowEvaluation
from callbacks.step_progress import StepProgress
from callbacks.training_curves import TrainingCurves
from callbacks.training_progress import EpochLines, TrainingProgress
from datamodules.loader_worker import lost_worker
from datamodules.sound_bank import MissingBankError
from experiments.command_line.configurations import data_options, read_configuration, resolved
from experiments.command_line.parser import Explaining
from experiments.command_line.termination import end_on_sigterm, interruption
from experiments.command_line.text import show_lines
from experiments.output.sole_writer import sole_writer
from experiments.training.command import PURPOSES, add_run_settings, parser_settings, require_logger
from experiments.training.lightning_messages import silence
from experiments.training.next_steps import resume_command, tell_of_run
from experiments.training.precision import PreciseTrainer
from experiments.training.ranks import cluster_environment, of_slurm, refused_trainer, require_ranks_of
from experiments.training.run_description import write_description
from experiments.training.run_overview import overview
from experiments.training.tracking import TRACKERS, Tracking, run_name
from experiments.training.trainer_options import DEFAULTS, as_list, require_honoured
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.checkpoint_io import AtomicCheckpointIO
from lightning_modules.errors import InputError
from lightning_modules.exported_model import weights_digest
from lightning_modules.pretrained import model_file
from lightning_modules.run_files import RunFiles
from lightning_modules.setting_checks import require_unchanged

# LightningCLI's own class of this name is for an option that there is not here. jsonargparse passes over local classes:
# as one of these it leaves the short name to torch's.
LightningPlateau.__qualname__ = f"cli.<locals>.{LightningPlateau.__name__}"


class TrainingParser(Explaining, LightningArgumentParser):
    """LightningCLI's parser, which explains itself and its errors."""

    def __init__(self, *args: Any, description: str | None = None, **settings: Any) -> None:
        super().__init__(*args, description=description, **settings)  # Lightning would describe every parser


class RunStart(Callback):
    """When the work begins, writes down what runs, prints it, and takes SIGTERM back from Lightning.

    Lightning's handler lets the step finish, and on several ranks broadcasts within another collective.
    """

    def __init__(self, run: Path, describe: Callable[[], None]) -> None:
        self._run = run
        self._describe = describe

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        end_on_sigterm()
        if trainer.is_global_zero:
            self._describe()
            show_lines(overview(trainer, pl_module, self._run))

    on_test_start = on_predict_start = on_train_start

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":  # not of those within a training
            self.on_train_start(trainer, pl_module)


class SeparatrixCLI(LightningCLI):
    """One parser for every system: the model and the data are classes named in the configuration."""

    def __init__(self, arguments: list[str]) -> None:
        silence()
        self._arguments = arguments
        super().__init__(
            SeparatrixModule,
            LightningDataModule,
            args=resolved(arguments),
            trainer_class=PreciseTrainer,
            trainer_defaults=DEFAULTS,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,  # they are settings of the model
            seed_everything_default=0,
            parser_class=TrainingParser,
            parser_kwargs={
                "prog": "separatrix",
                "description": "",
                **{command: parser_settings(command) for command in PURPOSES},
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        add_run_settings(parser)
        parser.add_lightning_class_args(ResumableEarlyStopping, "early_stopping")
        early_stopping = {"monitor": "validation_loss", "patience": 5, "verbose": False}
        parser.set_defaults({f"early_stopping.{name}": value for name, value in early_stopping.items()})
        for shared in ("classes", "hierarchy", "domain", "sources", "sample_rate", "window", "hop"):
            parser.link_arguments(f"data.init_args.{shared}", f"model.init_args.{shared}")

    def _parse_ckpt_path(self) -> None:
        # Lightning would replace the model's configuration by the checkpoint's. Here the configuration holds, and a
        # checkpoint that is not of it is refused by name (SeparatrixModule.on_load_checkpoint).
        config, fitting = self.config[self.config["subcommand"]], self.config["subcommand"] == "fit"
        self._files = RunFiles(config["run"])
        if config["ckpt_path"] in ("best", "last"):
            path: Path = getattr(self._files, config["ckpt_path"])
            # A training that is queued again and again may always say `last`: the first time there is none.
            config["ckpt_path"] = str(path) if path.exists() or not fitting else None
        if not config["ckpt_path"]:
            return
        config["ckpt_path"] = model_file(config["ckpt_path"])
        checkpoint, reason = read_checkpoint(config["ckpt_path"]), ""
        if "card" in checkpoint:
            reason = "an exported model, which is no state of a training; resume from the checkpoint behind it"
        elif "version" in checkpoint:
            reason = f"of version {checkpoint['version']}, whose losses were means; now they are sums: train anew"
        elif not is_of_a_whole_epoch(checkpoint):
            reason = "written within an epoch, where no training resumes exactly; give one written at an epoch's end"
        if fitting and reason:
            raise InputError(f"{config['ckpt_path']}: {reason}")

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except Exception as error:
            if (reason := _unmade_logger(error)) is None:
                raise
            raise InputError(f"--trainer.logger: {reason}") from error

    def instantiate_trainer(self, **settings: Any) -> Trainer:
        options, command = self._get(self.config_init, "trainer", default={}), str(self.subcommand)
        require_honoured(options, command)
        given = as_list(options.get("callbacks"))
        for callback in given:
            if isinstance(callback, RowEvaluation | ClassifierScores | EmbeddingPictures) and callback.folder is None:
                callback.folder = str(self._files.folder)
        has_bar = any(isinstance(callback, ProgressBar) for callback in given)
        shows = options.get("enable_progress_bar")
        shows = sys.stdout.isatty() or has_bar if shows is None else shows
        logger, loggers = self._get(self.config, "logger"), as_list(options.get("logger"))
        self._own_loggers = list(loggers)
        if options.get("logger") is not False and logger != "none":
            # Each start has a folder of its own below: a resumed run erases nothing.
            loggers.append(CSVLogger(self._files.folder, name=self._files.curves.name))
        require_logger(logger)
        followed = command != "predict" and not options.get("fast_dev_run")
        tracker = TRACKERS[logger](command) if logger in TRACKERS else None
        self._tracking = Tracking(
            self._files if followed else None,
            tracker,
            self._get(self.config, "group"),
            self._run_name,
            lambda: yaml.safe_load(self._configuration()),
        )
        loggers += [tracker] if tracker is not None else []
        # The tracking first: the others log into its run. Lightning adds `early_stopping`.
        callbacks = [self._tracking, *given, *([TrainingProgress()] if shows and not has_bar else [])]
        callbacks += [RunStart(self._files.folder, self._describe), EpochLines(), StepProgress()]
        curves = [TrainingCurves(), LearningRateMonitor()] if loggers and command == "fit" else []
        curves += [AudioExamples()] if tracker is not None else []
        curves += [CheckpointArtifacts(self._files)] if logger == "wandb" else []
        callbacks += [curve for curve in curves if type(curve) not in map(type, given)]
        if options.get("enable_checkpointing") is not False:
            # Two callbacks: one with `save_last` would write last.ckpt only after epochs that are the best so far.
            callbacks.append(EpochCheckpoint(self._files.checkpoints, "best", monitor="validation_loss"))
            callbacks.append(EpochCheckpoint(self._files.checkpoints, "last"))
        if command == "predict":
            callbacks.append(EstimateFiles(self._files.folder))
        # Lightning would answer SLURM's signal with a checkpoint amid the epoch, which holds no random state and does
        # not rewind the loader. Here a job that is queued again resumes from the end of an epoch, exactly.
        cluster = [SLURMEnvironment(auto_requeue=False)] if of_slurm() else []
        with refused_trainer():
            return super().instantiate_trainer(
                default_root_dir=self._files.folder,
                callbacks=callbacks,
                logger=loggers,
                plugins=[*as_list(options.get("plugins")), AtomicCheckpointIO(), *cluster],
                enable_progress_bar=shows,
                **settings,
            )

    def _run_subcommand(self, subcommand: str) -> None:
        require_ranks_of(self.trainer)
        first = self.trainer.is_global_zero
        with sole_writer(self._files.folder, "--run", inside=True) if first else contextlib.nullcontext():
            try:
                with self._refusing(subcommand), self._tracking.finished:
                    super()._run_subcommand(subcommand)
            except BaseException as error:
                if first and isinstance(error, InputError):
                    self._remove_empty_curves()
                if interruption(error) is not None:
                    error.add_note(resume_command(self._arguments, self._files))
                raise
            if first:
                tested = str(self.trainer.ckpt_path) if self.trainer.ckpt_path else None
                tell_of_run(subcommand, self._arguments, self._files, self.model, tested)

    @contextlib.contextmanager
    def _refusing(self, subcommand: str) -> Any:
        """Tell in one line what libraries raise where the user, or another process, is at fault."""
        try:
            yield
        except MisconfigurationException as error:
            name = type(self.model).__name__
            raise InputError(f"{subcommand} of a {name}: {' '.join(str(error).split())}") from None
        except ValueError as error:
            if "val_check_interval" not in str(error):
                raise
            raise InputError(f"--trainer: {' '.join(str(error).split())}") from None
        except RuntimeError as error:
            of_gloo = any(f"Connection {words}" in str(error) for words in ("closed by", "reset by", "refused"))
            if self.trainer.world_size > 1 and (of_gloo or isinstance(error, DistError)):
                raise InputError("another rank ended; its own message says why") from error
            if "conditioned on metric" in str(error):  # early stopping's monitor, of a model of one's own
                way_out = 'a validation step logs the loss: self.log_loss(losses, batch, "validation")'
                raise InputError(
                    f"early_stopping.monitor: {str(error).split('`')[1]} was not logged; {way_out}"
                ) from None
            if (lost := lost_worker(error)) is None:
                raise
            raise lost from error

    def _remove_empty_curves(self) -> None:
        """Lightning makes the folder of the curves before anything is checked: what is refused leaves none."""
        for logger in self.trainer.loggers:
            if isinstance(logger, CSVLogger) and not list(Path(logger.log_dir).glob("metrics.csv")):
                shutil.rmtree(logger.log_dir, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: of an earlier start
            self._files.curves.rmdir()
            self._files.folder.rmdir()

    def _describe(self) -> None:
        """Write down what runs: the resolved configuration, versions and revision."""
        files = {"fit": self._files.configuration, "validate": self._files.validation, "test": self._files.test}
        file = files.get(str(self.subcommand))
        if file is None or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        weights = None if self.subcommand == "fit" else weights_digest(self.model.state_dict())
        write_description(self._files, file, self._configuration(), str(self.trainer.precision), weights)

    def _configuration(self) -> str:
        config = self.config[self.subcommand].clone()
        if self._resumes():
            config["ckpt_path"] = None  # to make the run again, no checkpoint of its own is needed
        return self._parser(self.subcommand).dump(config, skip_link_targets=False, skip_none=False)

    def _run_name(self) -> str:
        seeds = self._get(self.config, "seed_everything"), getattr(self.datamodule, "seed", None)
        return run_name(self._arguments, self._files.folder, *seeds)

    def _resumes(self) -> bool:
        checkpoint = self._get(self.config, "ckpt_path")
        own = self._files.checkpoints.resolve()
        return self.subcommand == "fit" and bool(checkpoint) and Path(checkpoint).parent.resolve() == own

    def before_fit(self) -> None:
        """Refuse a run's folder that holds a training already, or one begun otherwise, and decode the corpus."""
        holds_one = self._files.last.exists() or self._files.best.exists()
        if holds_one and not self._resumes():
            raise InputError(f"{self._files.folder}: holds a training; --ckpt_path last resumes, another --run starts")
        if self._resumes() and self._files.configuration.exists():
            begun = read_configuration(str(self._files.configuration))
            require_unchanged(_in_no_checkpoint(self.config[self.subcommand]), _in_no_checkpoint(begun))
        self._prepare()

    def _prepare(self) -> None:
        self._open_bank()
        for logger in [] if self.trainer.fast_dev_run else self._own_loggers:  # type: ignore[attr-defined]
            try:
                getattr(logger, "experiment", None)  # which Lightning would open next
            except Exception as error:  # whatever a library raises that finds no server or no account
                raise InputError(f"--trainer.logger: {_failed(type(logger).__name__, error)}") from error

    def _open_bank(self) -> None:
        run = self._files.folder
        there = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise InputError(f"{run}: cannot be written to; choose another --run")
        # Whether no other process may be building the same bank: this one starts the other ranks, if there are any.
        starts_others = not cluster_environment(self.trainer).creates_processes_externally
        if self.trainer.world_size == 1 or (self.trainer.num_nodes == 1 and starts_others):
            split = {"fit": None, "validate": "validation"}.get(str(self.subcommand), "test")
            # Ranks that are started open the bank of all splits, whose name tells which clips it has.
            self.datamodule.build(split=split if self.trainer.world_size == 1 else None)
            return
        try:
            self.datamodule.bank  # noqa: B018  (opened before any process group exists)
        except MissingBankError as error:
            words = ["separatrix", "bank", *data_options(self._arguments)]
            raise InputError(f"{error}: {shlex.join(words)}") from None

    def before_test(self) -> None:
        if not self._get(self.config, "ckpt_path") and self.model.learns:
            raise InputError("--ckpt_path: needed, such as `best` of the run or the path of a .ckpt file")
        self._prepare()

    before_validate = before_test

    def before_predict(self) -> None:
        if not self.model.separates:
            raise InputError(f"predict: a {type(self.model).__name__} makes no estimates; give a separator")
        self.before_test()

    def predict(self, **settings: Any) -> None:
        self.trainer.predict(**{**settings, "return_predictions": False})  # together they would not fit into memory


def _in_no_checkpoint(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide a training's result and that its checkpoint does not hold."""
    data = config.get("data") or {}
    kind = str(data.get("class_path", "")).split(".")[-1]  # a class may be imported from more than one place
    return {"seed_everything": config.get("seed_everything"), "data": kind}


def _unmade_logger(error: BaseException) -> str | None:
    """Why a logger that the user named could not be made; None where the error is of something else."""
    while error.__cause__ is not None:
        error = error.__cause__
    within = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((_failed(type(each).__name__, error) for each in within if isinstance(each, Logger)), None)


def _failed(name: str, error: BaseException) -> str:
    return f"no {name} could be made ({' '.join(str(error).split()) or type(error).__name__})"


def run(arguments: list[str]) -> None:
    """Run one of Lightning's commands: its name and what follows it."""
    SeparatrixCLI(arguments)
    if is_available() and is_initialized():
        # Else gloo's threads sometimes outlive the interpreter, and abort a rank that was done.
        destroy_process_group()
