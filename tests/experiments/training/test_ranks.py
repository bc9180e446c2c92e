"""What the variables of SLURM and torchrun lead to, beside what a trainer makes of them."""

import pytest
from lightning.fabric.utilities import rank_zero as fabric_rank_zero
from lightning.pytorch.utilities import rank_zero

from experiments.cli import main
from experiments.training.ranks import job_tasks, launched

VARIABLES = ("LOCAL_RANK", "RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
VARIABLES += ("MASTER_PORT", "TORCHELASTIC_RUN_ID", "PL_GLOBAL_SEED")


def srun(tasks, nodes=1, rank=0, **others):
    """What srun tells a task of a job with that many tasks on each node."""
    of_step = {"SLURM_STEP_NUM_TASKS": tasks * nodes, "SLURM_PROCID": rank}
    of_step |= {"SLURM_LOCALID": rank % tasks, "SLURM_NODEID": rank // tasks}
    return {**sbatch(tasks, nodes), **of_step, **others}


def sbatch(tasks, nodes=1, **others):
    """What a batch script is told, which is no task itself."""
    job = {"SLURM_JOB_ID": 71234, "SLURM_JOB_NAME": "separatrix", "SLURM_NODELIST": "gpu[07-08],gpu11"}
    job |= {"SLURM_NTASKS": tasks * nodes, "SLURM_NTASKS_PER_NODE": tasks, "SLURM_NNODES": nodes}
    return {**job, "SLURM_PROCID": 0, "SLURM_LOCALID": 0, "SLURM_NODEID": 0, **others}


def torchrun(processes, nodes=1, rank=0):
    """What torchrun tells a process."""
    place = {"RANK": rank, "LOCAL_RANK": rank % processes, "GROUP_RANK": rank // processes}
    size = {"WORLD_SIZE": processes * nodes, "LOCAL_WORLD_SIZE": processes, "TORCHELASTIC_RUN_ID": "none"}
    return {**place, **size, "MASTER_ADDR": "gpu07", "MASTER_PORT": 29500}


@pytest.fixture
def environment(monkeypatch):
    """A function that sets a launcher's variables; what Lightning makes of them in this process is undone."""
    for module in (fabric_rank_zero, rank_zero):
        monkeypatch.setattr(module.rank_zero_only, "rank", 0, raising=False)

    def set_variables(variables):
        for name in VARIABLES:  # set first, so that it is undone even where Lightning sets it
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        for name, value in variables.items():
            if value != "":
                monkeypatch.setenv(name, str(value))

    set_variables({})
    return set_variables


def asked(devices=1, nodes=1, accelerator="cpu"):
    """Options of the command."""
    options = ["--trainer.devices", devices, "--trainer.num_nodes", nodes, "--trainer.accelerator", accelerator]
    return list(map(str, options))


AGREE = [
    ({}, (1, 1), "one process"),
    ({}, (4, 1), "Lightning, when training starts"),
    (srun(4, rank=3), (4, 1), "srun, job 71234"),
    (srun(4, nodes=2, rank=5), (4, 2), "srun, job 71234"),
    (sbatch(1), (1, 1), "srun, job 71234"),
    (sbatch(4, SLURM_JOB_NAME="interactive"), (4, 1), "Lightning, when training starts"),
    (torchrun(2, nodes=3, rank=0), (2, 3), "torchrun"),
    (torchrun(2, nodes=3, rank=5), (2, 3), "torchrun"),
    ({**srun(1, nodes=2, rank=1), **torchrun(4, nodes=2, rank=6)}, (4, 2), "torchrun"),
    ({"NODE_RANK": 1, "MASTER_ADDR": "gpu07", "MASTER_PORT": 29500}, (2, 2), "Lightning, when training starts"),
]


@pytest.mark.parametrize(("variables", "devices_nodes", "launcher"), AGREE)
def test_ranks_are_those_of_the_trainer(variables, devices_nodes, launcher, environment, capsys):
    devices, nodes = devices_nodes
    environment(variables)
    step = ["--data.batch_size", "3", "--trainer.accumulate_grad_batches", "2"]
    assert main(["ranks", "--config", "weak_labels/base", *step, *asked(*devices_nodes)]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = devices * nodes
    default = int(variables.get("NODE_RANK", 0)) * devices
    rank = int(variables.get("RANK", variables.get("SLURM_PROCID", default)))
    assert lines[-1].startswith(f"rank {rank} of {size}: cpu {rank % devices} of node {rank // devices}, ")
    if rank == 0:
        assert lines[0] == f"launcher  {launcher}"
        assert lines[1] == f"ranks     {nodes} node{'s' * (nodes > 1)} x {devices} cpu = {devices * nodes}"
        assert lines[-2].startswith("a step    ")
        assert lines[-2].endswith(f" x 3 mixtures x 2 accumulated = {6 * devices * nodes}")
        meeting = [line for line in lines if line.startswith("meet at")]
        of_slurm = launcher.startswith("srun")
        external = of_slurm or launcher == "torchrun"
        assert meeting == ([f"meet at   gpu07:{16234 if of_slurm else 29500}"] if external and size > 1 else [])
    else:
        assert len(lines) == 1  # one rank tells what is the same for all


REFUSED = [
    # One trainer for each task, or tasks that wait for others.
    (srun(4), (1, 1), "SLURM started 4 ranks a node on 1 node; give --trainer.devices 4 --trainer.num_nodes 1"),
    (srun(4, nodes=2), (4, 1), "4 ranks a node on 2 nodes; give --trainer.devices 4 --trainer.num_nodes 2"),
    (srun(1), (1, 2), "SLURM started 1 rank a node on 1 node; give --trainer.devices 1 --trainer.num_nodes 1"),
    (srun(4, nodes=2, SLURM_NTASKS=6, SLURM_STEP_NUM_TASKS=6), (4, 2), "SLURM started 6 tasks on 2 nodes, not 4 on"),
    (sbatch(4), (4, 1), "the SLURM job has 4 tasks and this process is not one of them"),
    (srun(4, SLURM_JOB_NAME="bash"), (4, 1), "a job named bash for an interactive one"),
    ({"SLURM_NTASKS": 4, "SLURM_STEP_NUM_TASKS": 4}, (4, 1), "Use `--ntasks-per-node=4` instead"),
    ({"SLURM_NTASKS": 1, "SLURM_NTASKS_PER_NODE": 1}, (2, 1), "SLURM_NODEID is not set, although SLURM_NTASKS is"),
    (torchrun(4), (1, 1), "torchrun started 4 ranks a node on 1 node; give --trainer.devices 4"),
    ({**torchrun(2), "LOCAL_WORLD_SIZE": ""}, (4, 1), "torchrun started 2 ranks a node on 1 node; give"),
    ({}, (2, 2), "nothing starts the ranks of the other nodes; start the command with srun or torchrun"),
    ({}, ("many", 1), "should be an int > 0"),
]


@pytest.mark.parametrize(("variables", "devices_nodes", "told"), REFUSED)
def test_what_contradicts_itself_is_refused_in_one_line(variables, devices_nodes, told, environment, capsys):
    environment(variables)
    assert main(["ranks", *asked(*devices_nodes)]) == 2
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if line.startswith("separatrix ")]
    assert told in line and line.startswith("separatrix ranks: ")
    assert not printed.out


def test_more_ranks_than_gpus_are_refused_and_where_they_are_hidden_that_is_told(environment, capsys, monkeypatch):
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 1)
    monkeypatch.setattr("lightning.pytorch.accelerators.cuda.num_cuda_devices", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda *_: (9, 0))
    for variables, hint in (({}, False), (srun(4), True)):
        environment(variables)
        assert main(["ranks", *asked(4, accelerator="cuda")]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("separatrix ranks: ")]
        assert "You requested gpu: [0, 1, 2, 3] But your machine only has: [0]" in line
        assert ("ask for --gres=gpu:N" in line) == hint


def test_a_training_is_refused_as_the_dry_check_is(environment, capsys):
    environment(srun(4))
    configs = ["--config", "weak_labels/base", "--config", "weak_labels/strong"]
    assert main(["fit", *configs, *asked(1), "--logger", "none"]) == 2
    assert "SLURM started 4 ranks a node on 1 node" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "tasks", "one_of_several"),
    [
        ({}, 1, False),
        (sbatch(4), 4, False),
        (sbatch(4, SLURM_JOB_NAME="bash"), 1, False),
        (srun(4), 4, True),
        (srun(1), 1, False),
        (torchrun(2), 1, True),
        ({**srun(1, nodes=2), **torchrun(4, nodes=2)}, 1, True),
    ],
)
def test_a_batch_script_is_told_from_a_task(variables, tasks, one_of_several, environment):
    environment(variables)
    assert (job_tasks(), launched()) == (tasks, one_of_several)
