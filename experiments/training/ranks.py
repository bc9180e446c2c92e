"""`separatrix ranks`: who starts the ranks of a command, and whether that agrees with the trainer's settings.

Lightning believes what SLURM and torchrun say in the environment. Where the trainer's settings say otherwise, ranks
wait for others that never come, or each of them trains by itself into the same folder. Both are refused here.
"""

import contextlib
import logging
import os
import platform
import warnings
from argparse import SUPPRESS
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jsonargparse import ActionConfigFile, Namespace

from experiments.command_line.configurations import resolved
from experiments.command_line.parser import CONFIG_HELP, PRESET_HELP, asks_for_help, command_parser
from experiments.command_line.text import counted
from lightning_modules.errors import InputError

if TYPE_CHECKING:
    from lightning import Trainer
    from lightning.fabric.plugins.environments import ClusterEnvironment

DESCRIPTION = """What SLURM's or torchrun's variables lead to with these settings of the trainer: nodes, ranks, devices.
Nothing is started. What contradicts itself is refused, as `separatrix fit` would refuse it. Inside of a job, start it
with srun."""
USAGE = "separatrix ranks --config CONFIG ... [--trainer.SETTING VALUE ...]"
EXAMPLE = "ranks --config weak_labels/base --trainer.devices 4 --trainer.num_nodes 2"
SETTINGS = ("devices", "num_nodes", "accelerator", "strategy")


def step_tasks() -> int:
    """Number of tasks of this process's SLURM step; 1 outside of a step, also in a batch script."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def of_slurm() -> bool:
    """Whether Lightning takes the ranks from SLURM; torchrun, also inside of a job, comes first."""
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    with warnings.catch_warnings():  # on a login node, that srun is not used
        warnings.simplefilter("ignore")
        return SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()


def job_tasks() -> int:
    """Number of SLURM's tasks that Lightning will expect; 1 where it does not take its ranks from SLURM."""
    return int(os.environ["SLURM_NTASKS"]) if of_slurm() else 1


def launched() -> bool:
    """Whether this process is one of several that torchrun or srun started."""
    return "LOCAL_RANK" in os.environ or step_tasks() > 1


def cluster_environment(trainer: "Trainer") -> "ClusterEnvironment":
    """Where Lightning took the ranks from; a trainer on one device has no public name for it."""
    return trainer._accelerator_connector.cluster_environment


def require_ranks_of(trainer: "Trainer") -> str:
    """Who starts the ranks: `SLURM`, `torchrun`, another launcher that Lightning knows, or `Lightning` itself.

    InputError where the trainer's settings contradict what started this process.
    """
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    environment = cluster_environment(trainer)
    asked = f"--trainer.devices {trainer.num_devices} --trainer.num_nodes {trainer.num_nodes}"
    if isinstance(environment, TorchElasticEnvironment):
        launcher, tasks = "torchrun", environment.world_size()
        per_node = int(os.environ.get("LOCAL_WORLD_SIZE", tasks // trainer.num_nodes))
        nodes = tasks // per_node
    elif isinstance(environment, SLURMEnvironment):
        launcher, tasks = "SLURM", environment.world_size()
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        per_node = int(os.environ.get("SLURM_NTASKS_PER_NODE", tasks // nodes))
        if nodes * per_node != tasks:
            raise InputError(
                f"SLURM started {tasks} tasks on {nodes} nodes, not {per_node} on each; "
                f"ask for --nodes and --ntasks-per-node, and give srun no --ntasks of its own"
            )
    elif environment.creates_processes_externally:
        # Further ranks that Lightning started by itself, or a launcher that does not say how many it starts.
        return type(environment).__name__.removesuffix("Environment")
    elif step_tasks() > 1:
        raise InputError(
            f"SLURM started {step_tasks()} tasks, but Lightning takes a job named {SLURMEnvironment.job_name()} for an "
            f"interactive one and would run the whole command in each; choose another --job-name"
        )
    elif trainer.num_nodes > 1 and not {"NODE_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise InputError(
            f"{asked}: nothing starts the ranks of the other nodes; start the command with srun or torchrun, or on "
            f"every node with NODE_RANK, MASTER_ADDR and MASTER_PORT set"
        )
    else:
        return "Lightning"
    if (trainer.num_nodes, trainer.num_devices) != (nodes, per_node):
        raise InputError(
            f"{asked}: {launcher} started {counted(per_node, 'rank')} a node on {counted(nodes, 'node')}; give "
            f"--trainer.devices {per_node} --trainer.num_nodes {nodes}, or start as many as that says"
        )
    return launcher


@contextlib.contextmanager
def refused_trainer() -> Iterator[None]:
    """Where a trainer is made: tells the user in one line what Lightning refuses of settings and variables."""
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    if job_tasks() > 1 and step_tasks() != job_tasks():
        raise InputError(
            f"the SLURM job has {job_tasks()} tasks and this process is not one of them: they would wait for each "
            f"other forever; start the command with srun"
        )
    try:
        yield
    except KeyError as error:
        if not str(error.args[0]).startswith("SLURM_"):
            raise
        raise InputError(f"{error.args[0]} is not set, although SLURM_NTASKS is; start the command with srun") from None
    except (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError) as error:
        alone = "SLURM_JOB_ID" in os.environ and "machine only has" in str(error)
        hint = " (with --gpus-per-task a task sees its own GPU alone: ask for --gres=gpu:N)" if alone else ""
        raise InputError(f"--trainer: {' '.join(str(error).split())}{hint}") from None


def command(arguments: list[str]) -> None:
    """`separatrix ranks ...`."""
    parser = command_parser("ranks", DESCRIPTION, EXAMPLE, usage=USAGE)
    parser.add_argument("--config", action=ActionConfigFile, help=f"{CONFIG_HELP}; its data and trainer count")
    if asks_for_help(arguments):
        parser.add_argument("--preset", default=SUPPRESS, help=PRESET_HELP)
        for name in (*SETTINGS, "accumulate_grad_batches"):
            parser.add_argument(
                f"--trainer.{name}", metavar=name.upper(), default=SUPPRESS, help="as in `separatrix fit`"
            )
        parser.add_argument("--data", metavar="CLASS", default=SUPPRESS, help="for the mixtures of a step")
        parser.parse_args(arguments[1:])
    from lightning import LightningDataModule, Trainer

    import separatrix  # noqa: F401  (public classes can then be named without their module)
    from experiments.training.precision import PreciseTrainer

    parser.add_class_arguments(PreciseTrainer, "trainer", instantiate=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=False, help="for the mixtures of a step")
    settings = parser.parse_args(resolved(arguments[1:], ("data", "trainer")))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # what it says of every trainer is no answer
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with refused_trainer():
        trainer = Trainer(**{name: settings.trainer[name] for name in SETTINGS}, **quiet, enable_checkpointing=False)
    launcher = require_ranks_of(trainer)
    if trainer.global_rank == 0:
        print("\n".join(_overview(trainer, launcher, settings)))
    place = f"{trainer.strategy.root_device.type} {trainer.local_rank} of node {trainer.node_rank}, {platform.node()}"
    print(f"rank {trainer.global_rank} of {trainer.world_size}: {place}", flush=True)


def _overview(trainer: "Trainer", launcher: str, settings: Namespace) -> list[str]:
    size, environment = trainer.world_size, cluster_environment(trainer)
    started = {
        "SLURM": f"srun, job {os.environ.get('SLURM_JOB_ID', 'unknown')}",
        "Lightning": "Lightning, when training starts" if size > 1 else "one process",
    }
    devices = f"{trainer.num_devices} {trainer.strategy.root_device.type}"
    lines = [f"launcher  {started.get(launcher, launcher)}"]
    lines.append(f"ranks     {counted(trainer.num_nodes, 'node')} x {devices} = {size}")
    if environment.creates_processes_externally and size > 1:
        lines.append(f"meet at   {environment.main_address}:{environment.main_port}")
    if settings.data is not None:
        batch, batches = settings.data.init_args["batch_size"], settings.trainer["accumulate_grad_batches"]
        accumulated = f" x {batches} accumulated" if batches > 1 else ""
        lines.append(f"a step    {counted(size, 'rank')} x {batch} mixtures{accumulated} = {size * batch * batches}")
    return lines
