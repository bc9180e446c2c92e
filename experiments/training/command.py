"""`separatrix fit|validate|test|predict`: LightningCLI, with a folder for everything that a run makes."""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.distributed import DistError, destroy_process_group, is_available, is_initialized

import separatrix  # noqa: F401  (public classes can then be named without their module)
from callbacks.classifier_scores import ClassifierScores
from callbacks.embedding_pictures import EmbeddingPictures
from callbacks.epoch_checkpoint import EpochCheckpoint, is_of_a_whole_epoch
from callbacks.estimate_files import EstimateFiles
from callbacks.row_evaluation import RowEvaluation
from callbacks.stopping import Stopping
from callbacks.training_progress import EpochLines, TrainingProgress
from datamodules.loader_worker import lost_worker
from datamodules.sound_bank import MissingBankError
from experiments.configuration import options, read_configuration, with_named_configs
from experiments.next_steps import going_on, separates, tell_of_run
from experiments.run_files import CHECKPOINTS, CONFIGURATION_FILE, TEST_FILE, VALIDATION_FILE, last_checkpoint
from experiments.sole_writer import sole_writer
from experiments.termination import interruption
from experiments.training.end_on_sigterm import EndOnSigterm
from experiments.training.lightning_messages import silence
from experiments.training.parser import TrainingParser, parser_settings
from experiments.training.precision import PreciseTrainer
from experiments.training.ranks import cluster_environment, of_slurm, ranks_of, refused_trainer
from experiments.training.run_description import write_description
from experiments.training.run_overview import RunOverview
from experiments.training.tracking import LoggerName, WandbTracking, curve_callbacks, curve_loggers
from experiments.training.trainer_options import DEFAULTS, as_list, require_honoured
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import AtomicCheckpointIO, read_checkpoint
from lightning_modules.errors import InputError
from lightning_modules.exported_model import weights_digest
from lightning_modules.setting_checks import require_unchanged


class SeparatrixCLI(LightningCLI):
    """One parser for every system: the model and the data are classes named in the configuration."""

    def __init__(self, arguments: list[str], **settings: Any) -> None:
        silence()
        self._arguments = arguments
        super().__init__(
            SeparatrixModule,
            LightningDataModule,
            args=with_named_configs(arguments),
            trainer_class=PreciseTrainer,
            trainer_defaults=DEFAULTS,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,  # they are settings of the model
            seed_everything_default=0,
            parser_class=TrainingParser,
            parser_kwargs={"prog": "separatrix", "description": "", **parser_settings()},
            **settings,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's folder, its logger, and stopping; data settings that a model must share are given once."""
        parser.add_argument("--run", type=str, default="runs/latest", help="folder of everything that the run makes")
        parser.add_argument("--logger", type=LoggerName, default="csv", help="where curves go besides the run's folder")
        parser.add_argument(
            "--group", type=str | None, default=None, help="name of the runs in W&B that belong together"
        )
        parser.add_lightning_class_args(Stopping, "stopping")
        parser.set_defaults({"stopping.monitor": "validation_loss", "stopping.patience": 5, "stopping.verbose": False})
        for shared in ("classes", "domain", "sources", "sample_rate", "window", "hop"):
            parser.link_arguments(f"data.init_args.{shared}", f"model.init_args.{shared}")

    def _parse_ckpt_path(self) -> None:
        # Lightning would replace the model's configuration by the checkpoint's. Here the configuration holds, and a
        # checkpoint that is not of it is refused by name (SeparatrixModule.on_load_checkpoint).
        config = self.config[self.config["subcommand"]]
        if config["ckpt_path"] in ("best", "last"):
            path = Path(config["run"]) / CHECKPOINTS / f"{config['ckpt_path']}.ckpt"
            # A training that is queued again and again may always say `last`: the first time there is none.
            begins = self.config["subcommand"] == "fit" and not path.exists()
            config["ckpt_path"] = None if begins else str(path)
        if config["ckpt_path"]:
            checkpoint = read_checkpoint(config["ckpt_path"])
            if "card" in checkpoint and self.config["subcommand"] == "fit":
                raise InputError(
                    f"{config['ckpt_path']}: an exported model, which is no state of a training; go on from the "
                    f"checkpoint that it was made of"
                )
            if self.config["subcommand"] == "fit" and not is_of_a_whole_epoch(checkpoint):
                raise InputError(
                    f"{config['ckpt_path']}: written within an epoch, where no training goes on exactly; give one that "
                    f"was written at an epoch's end"
                )

    def instantiate_trainer(self, **settings: Any) -> Trainer:
        """A trainer that keeps the best and the last checkpoint in the run's folder and logs where it was told to."""
        run = Path(self._get(self.config, "run"))
        # Two callbacks: one with `save_last` would write last.ckpt only after epochs that are the best so far.
        keep = [
            EpochCheckpoint(run / CHECKPOINTS, "best", monitor="validation_loss"),
            EpochCheckpoint(run / CHECKPOINTS, "last"),
        ]
        options = self._get(self.config_init, "trainer", default={})
        command = str(self.subcommand)
        require_honoured(options, command)
        given = as_list(options.get("callbacks"))
        for callback in given:
            if isinstance(callback, RowEvaluation | ClassifierScores | EmbeddingPictures) and callback.folder is None:
                callback.folder = str(run)
        shows = options.get("enable_progress_bar")
        if shows is None:
            shows = sys.stdout.isatty() or any(isinstance(callback, ProgressBar) for callback in given)
        if shows and not any(isinstance(callback, ProgressBar) for callback in given):
            given.append(TrainingProgress())
        logger: LoggerName = self._get(self.config, "logger")
        loggers = curve_loggers(logger, options.get("logger"), run)
        # Once training starts: one that is refused leaves the description of an earlier one as it is.
        describe = LambdaCallback(
            on_train_start=lambda trainer, module: self._describe(run, CONFIGURATION_FILE),
            on_validation_start=lambda trainer, module: self._describe(run, VALIDATION_FILE),
            on_test_start=lambda trainer, module: self._describe(run, TEST_FILE, weights_digest(module.state_dict())),
        )
        self._tracking = WandbTracking(
            run if logger == "wandb" and command != "predict" and not options.get("fast_dev_run") else None,
            command,
            self._get(self.config, "group"),
            lambda: yaml.safe_load(self._configuration(run)),
        )
        curves = curve_callbacks(logger, command, run / CHECKPOINTS, given) if loggers else []
        # The tracking first: the others log into its run. Lightning adds `stopping`.
        callbacks = [
            self._tracking,
            *given,
            EndOnSigterm(),
            RunOverview(),
            EpochLines(),
            describe,
            *curves,
            *(keep if options.get("enable_checkpointing") is not False else ()),
        ]
        if self.subcommand == "predict":
            callbacks.append(EstimateFiles(run))
        with refused_trainer():
            return super().instantiate_trainer(
                default_root_dir=run,
                callbacks=callbacks,
                logger=[*loggers, self._tracking.tracker] if loggers and logger == "wandb" else loggers,
                plugins=[*as_list(options.get("plugins")), AtomicCheckpointIO(), *_cluster()],
                enable_progress_bar=shows,
                **settings,
            )

    def _run_subcommand(self, subcommand: str) -> None:
        ranks_of(self.trainer)
        run = Path(self.trainer.default_root_dir)
        first = self.trainer.is_global_zero
        with sole_writer(run, "--run", inside=True) if first else contextlib.nullcontext():
            self._run_alone(subcommand)

    def _run_alone(self, subcommand: str) -> None:
        try:
            try:
                with self._tracking.until_finished():
                    super()._run_subcommand(subcommand)
            except MisconfigurationException as error:
                told, name = " ".join(str(error).split()), type(self.model).__name__
                raise InputError(f"{subcommand}: not for a {name} ({told})" if "_step()" in told else told) from None
            except ValueError as error:
                if "val_check_interval" not in str(error):
                    raise
                raise InputError(f"--trainer: {' '.join(str(error).split())}") from None
            except RuntimeError as error:
                if self.trainer.world_size > 1 and _tells_of_another_rank(error):
                    raise InputError("another rank ended; its own message says why") from error
                if (lost := lost_worker(error)) is None:
                    raise
                raise lost from error
            except BaseException as error:
                if interruption(error) is not None:
                    error.add_note(going_on(self._arguments, Path(self.trainer.default_root_dir)))
                raise
            if self.trainer.is_global_zero:
                tested = str(self.trainer.ckpt_path) if self.trainer.ckpt_path else None
                tell_of_run(subcommand, self._arguments, Path(self.trainer.default_root_dir), self.model, tested)
        except InputError:
            # Lightning makes the folder of the curves before anything is checked: what is refused leaves none.
            curves = next((logger.log_dir for logger in self.trainer.loggers if isinstance(logger, CSVLogger)), None)
            if (
                curves
                and self.trainer.is_global_zero
                and not (Path(curves) / ExperimentWriter.NAME_METRICS_FILE).exists()
            ):
                shutil.rmtree(curves, ignore_errors=True)
                with contextlib.suppress(OSError):  # not empty: of an earlier start
                    Path(curves).parent.rmdir()
                    Path(self.trainer.default_root_dir).rmdir()
            raise

    def _describe(self, run: Path, file: str, tested: str | None = None) -> None:
        """Write down what runs: the resolved configuration, versions and revision."""
        fitting = file == VALIDATION_FILE and self.subcommand == "fit"
        if not self.trainer.is_global_zero or fitting or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        write_description(run, file, self._configuration(run), str(self.trainer.precision), tested)

    def _configuration(self, run: Path) -> str:
        """The resolved configuration, as YAML."""
        config = self.config[self.subcommand].clone()
        if self._resumes(run):
            config["ckpt_path"] = None  # to go on from the run's own last epoch is no part of what makes it again
        return self._parser(self.subcommand).dump(config, skip_link_targets=False, skip_none=False)

    def _resumes(self, run: Path) -> bool:
        """Whether this is a training that goes on from a checkpoint of its own folder."""
        checkpoint = self._get(self.config, "ckpt_path")
        return (
            self.subcommand == "fit"
            and bool(checkpoint)
            and Path(checkpoint).parent.resolve() == (run / CHECKPOINTS).resolve()
        )

    def before_fit(self) -> None:
        """Refuse a run's folder that holds a training already, or one begun otherwise, and decode the corpus.

        Raises:
            InputError: the folder holds a training and no checkpoint is given to go on from, or cannot be written to;
                the training to go on with began with another seed or kind of data.
        """
        run = Path(self.trainer.default_root_dir)
        if last_checkpoint(run).exists() and not self._get(self.config, "ckpt_path"):
            raise InputError(f"{run}: holds a training; --ckpt_path last goes on, another --run starts anew")
        if self._resumes(run) and (run / CONFIGURATION_FILE).exists():
            begun = read_configuration(str(run / CONFIGURATION_FILE))
            require_unchanged(_of_no_checkpoint(self.config[self.subcommand]), _of_no_checkpoint(begun))
        self._prepare()

    def _prepare(self) -> None:
        run = Path(self.trainer.default_root_dir)
        there = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise InputError(f"{run}: cannot be written to; choose another --run")
        if self._alone():
            self.datamodule.build()
            return
        try:
            self.datamodule.bank  # noqa: B018  (opened before any process group exists)
        except MissingBankError as error:
            raise InputError(f"{error}: {self._bank_command()}") from None

    def _alone(self) -> bool:
        """Whether no other process may be building the same bank: this one starts the other ranks, if there are any."""
        return self.trainer.world_size == 1 or (
            self.trainer.num_nodes == 1 and not cluster_environment(self.trainer).creates_processes_externally
        )

    def _bank_command(self) -> str:
        """What builds the sound bank of this command's data."""
        given = options(self._arguments)
        return shlex.join(["separatrix", "bank", *(word for option in given if _of_data(option[0]) for word in option)])

    def before_test(self) -> None:
        """Decode the corpus for a model that has learnt, or that has nothing to learn.

        Raises:
            InputError: a model with weights is given without a checkpoint.
        """
        if not self._get(self.config, "ckpt_path") and self.model.learns:
            raise InputError("--ckpt_path: needed, such as `best` of the run or the path of a .ckpt file")
        self._prepare()

    before_validate = before_test

    def before_predict(self) -> None:
        """Only separators make estimates."""
        if not separates(self.model):
            raise InputError(f"predict: a {type(self.model).__name__} makes no estimates; give a separator")
        self.before_test()

    def predict(self, **settings: Any) -> None:
        """Write the estimates as files; together they would not fit into memory."""
        self.trainer.predict(**{**settings, "return_predictions": False})


def _tells_of_another_rank(error: RuntimeError) -> bool:
    gloo = ("Connection closed by peer", "Connection reset by peer", "Connection refused")
    return isinstance(error, DistError) or any(words in str(error) for words in gloo)


def _of_no_checkpoint(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a training's configuration: what decides its result, and can be compared with an earlier one's only here."""
    data = config.get("data") or {}
    kind = str(data.get("class_path", "")).split(".")[-1]  # a class may be imported from more than one place
    return {"seed_everything": config.get("seed_everything"), "data": kind}


def _of_data(option: str) -> bool:
    return option.split("=")[0] in ("--config", "--data") or option.startswith("--data.")


def _cluster() -> list[SLURMEnvironment]:
    # Lightning would answer SLURM's signal with a checkpoint amid the epoch, which holds no random state and does not
    # rewind the loader. Here a job that is queued again goes on from the end of an epoch, exactly.
    return [SLURMEnvironment(auto_requeue=False)] if of_slurm() else []


def command(arguments: list[str]) -> None:
    """`separatrix fit|validate|test|predict ...`.

    Args:
        arguments: the command's name and what follows it.

    Raises:
        InputError: an argument is wrong; the message says which.
    """
    SeparatrixCLI(arguments)
    if is_available() and is_initialized():
        # Else gloo's threads sometimes outlive the interpreter, and abort a rank that was done.
        destroy_process_group()
