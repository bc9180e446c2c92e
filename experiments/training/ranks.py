"""`separatrix ranks`: who starts the ranks of a command, and whether that agrees with the trainer's settings.

Lightning believes what SLURM and torchrun say in the environment. Where the trainer's settings say otherwise, ranks
wait for others that never come, or each of them trains by itself into the same folder. Both are refused here.
"""

import contextlib
import logging
import os
import platform
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from jsonargparse import ActionConfigFile, Namespace
from lightning import LightningDataModule, Trainer
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from experiments.command_parser import command_parser
from experiments.data_configuration import with_sections
from experiments.terminal_lines import counted
from experiments.training.precision import PreciseTrainer
from lightning_modules.errors import InputError

DESCRIPTION = """What SLURM's or torchrun's variables lead to with these settings of the trainer: nodes, ranks, devices.
Nothing is started. What contradicts itself is refused, as `separatrix fit` would refuse it. Inside of a job, start it
with srun."""
USAGE = "separatrix ranks --config CONFIG ... [--trainer.SETTING VALUE ...]"
EXAMPLE = "ranks --config weak_labels/base --trainer.devices 4 --trainer.num_nodes 2"


class Ranks(NamedTuple):
    """The processes of one command, and this one among them.

    Attributes:
        launcher: who starts them: `SLURM`, `torchrun`, another one that Lightning knows, or `Lightning` itself.
        nodes: machines.
        devices: ranks on each of them.
        kind: of device, such as `cuda` or `cpu`.
        size: ranks altogether.
        rank: of this process.
        node: of this process, from 0.
        local_rank: of this process on its node.
    """

    launcher: str
    nodes: int
    devices: int
    kind: str
    size: int
    rank: int
    node: int
    local_rank: int


def step_tasks() -> int:
    """How many tasks of a SLURM step this process is one of; 1 outside of a step, also in a batch script."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def of_slurm() -> bool:
    """Whether Lightning takes the ranks from SLURM; torchrun, also inside of a job, comes first."""
    with warnings.catch_warnings():  # on a login node, that srun is not used
        warnings.simplefilter("ignore")
        return SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()


def job_tasks() -> int:
    """How many tasks of SLURM Lightning will expect; 1 where it does not take its ranks from SLURM."""
    return int(os.environ["SLURM_NTASKS"]) if of_slurm() else 1


def launched() -> bool:
    """Whether this process is one of several that torchrun or srun started."""
    return "LOCAL_RANK" in os.environ or step_tasks() > 1


def cluster_environment(trainer: Trainer) -> ClusterEnvironment:
    """What Lightning took the ranks from. A trainer on one device keeps it, but does not say so in public."""
    return trainer._accelerator_connector.cluster_environment


def ranks_of(trainer: Trainer) -> Ranks:
    """The ranks of a trainer.

    Raises:
        InputError: what started this process and the trainer's settings contradict each other.
    """
    environment = cluster_environment(trainer)
    settings = f"--trainer.devices {trainer.num_devices} --trainer.num_nodes {trainer.num_nodes}"
    if isinstance(environment, TorchElasticEnvironment):
        launcher, started = "torchrun", environment.world_size()
        per_node = int(os.environ.get("LOCAL_WORLD_SIZE", started // trainer.num_nodes))
        _require_agreement(trainer, launcher, started // per_node, per_node)
    elif isinstance(environment, SLURMEnvironment):
        launcher = "SLURM"
        _check_slurm(trainer, environment)
    elif not environment.creates_processes_externally:
        launcher = "Lightning"
        if step_tasks() > 1:
            raise InputError(
                f"SLURM started {step_tasks()} tasks, but Lightning takes a job named {SLURMEnvironment.job_name()} "
                f"for an interactive one and would run the whole command in each; choose another --job-name"
            )
        if trainer.num_nodes > 1 and not {"NODE_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
            raise InputError(
                f"{settings}: nothing starts the ranks of the other nodes; start the command with srun or torchrun, or "
                f"on every node with NODE_RANK, MASTER_ADDR and MASTER_PORT set"
            )
    else:
        # Further ranks that Lightning started by itself, or a launcher that does not say how many it starts.
        launcher = type(environment).__name__.removesuffix("Environment")
    return Ranks(
        launcher=launcher,
        nodes=trainer.num_nodes,
        devices=trainer.num_devices,
        kind=trainer.strategy.root_device.type,
        size=trainer.world_size,
        rank=trainer.global_rank,
        node=trainer.node_rank,
        local_rank=trainer.local_rank,
    )


def _check_slurm(trainer: Trainer, environment: SLURMEnvironment) -> None:
    tasks = environment.world_size()
    nodes = int(os.environ.get("SLURM_NNODES", "1"))
    per_node = int(os.environ.get("SLURM_NTASKS_PER_NODE", tasks // nodes))
    if nodes * per_node != tasks:
        raise InputError(
            f"SLURM started {tasks} tasks on {nodes} nodes, not {per_node} on each; "
            f"ask for --nodes and --ntasks-per-node, and give srun no --ntasks of its own"
        )
    _require_agreement(trainer, "SLURM", nodes, per_node)


def _require_agreement(trainer: Trainer, launcher: str, nodes: int, per_node: int) -> None:
    if (trainer.num_nodes, trainer.num_devices) != (nodes, per_node):
        raise InputError(
            f"--trainer.devices {trainer.num_devices} --trainer.num_nodes {trainer.num_nodes}: {launcher} started "
            f"{counted(per_node, 'rank')} a node on {counted(nodes, 'node')}; give --trainer.devices {per_node} "
            f"--trainer.num_nodes {nodes}, or start as many as that says"
        )


@contextlib.contextmanager
def refused_trainer() -> Iterator[None]:
    """Where a trainer is made: what Lightning does not take is the user's fault, told in one line.

    Raises:
        InputError: the trainer's settings or the launcher's variables are wrong, or ask for devices that are not there.
    """
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
        told = " ".join(str(error).split())
        alone = "SLURM_JOB_ID" in os.environ and "machine only has" in told
        hint = " (with --gpus-per-task a task sees its own GPU alone: ask for --gres=gpu:N)" if alone else ""
        raise InputError(f"--trainer: {told}{hint}") from None


def command(arguments: list[str]) -> None:
    """`separatrix ranks ...`.

    Args:
        arguments: the command's name and what follows it.

    Raises:
        InputError: an argument is wrong; the message says which.
    """
    parser = command_parser("ranks", DESCRIPTION, EXAMPLE, usage=USAGE)
    parser.add_argument(
        "--config",
        action=ActionConfigFile,
        help="a file or shipped configuration, of which data and trainer count; repeatable",
    )
    parser.add_class_arguments(PreciseTrainer, "trainer", instantiate=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=False, help="for the mixtures of a step")
    settings = parser.parse_args(with_sections(arguments[1:], ("data", "trainer")))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # what it says of every trainer is no answer
    with refused_trainer():
        trainer = Trainer(
            **{name: settings.trainer[name] for name in ("devices", "num_nodes", "accelerator", "strategy")},
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    ranks = ranks_of(trainer)
    if ranks.rank == 0:
        print("\n".join(_overview(ranks, cluster_environment(trainer), settings)))
    print(
        f"rank {ranks.rank} of {ranks.size}: {ranks.kind} {ranks.local_rank} of node {ranks.node}, {platform.node()}",
        flush=True,
    )


def _overview(ranks: Ranks, environment: ClusterEnvironment, settings: Namespace) -> list[str]:
    started = {
        "SLURM": f"srun, job {os.environ.get('SLURM_JOB_ID', 'unknown')}",
        "Lightning": "Lightning, when training starts" if ranks.size > 1 else "one process",
    }
    lines = [
        f"launcher  {started.get(ranks.launcher, ranks.launcher)}",
        f"ranks     {counted(ranks.nodes, 'node')} x {ranks.devices} {ranks.kind} = {ranks.size}",
    ]
    if environment.creates_processes_externally and ranks.size > 1:
        lines.append(f"meet at   {environment.main_address}:{environment.main_port}")
    if settings.data is not None:
        batch, batches = settings.data.init_args["batch_size"], settings.trainer["accumulate_grad_batches"]
        accumulated = f" x {batches} accumulated" if batches > 1 else ""
        mixtures = ranks.size * batch * batches
        lines.append(f"a step    {counted(ranks.size, 'rank')} x {batch} mixtures{accumulated} = {mixtures}")
    return lines
