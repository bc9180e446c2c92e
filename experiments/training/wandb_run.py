"""The W&B run of a folder: always the same one, offline where there is no other way, and never a prompt."""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callbacks.tracker import in_one_line
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles

if TYPE_CHECKING:
    from wandb import Run

PROJECT = "separatrix"
# At the end W&B uploads what is left. It must not hold a machine for ever where the network is gone: `wandb sync` can.
FINISH_SECONDS = 1800.0
# Of these a run's summary has the best value of all epochs in place of the last.
BEST = {"validation_loss": "min", "validation_improvement_db": "max"}
BEST |= dict.fromkeys(("validation_frame_average_precision", "validation_clip_average_precision"), "max")


def run_record(run: RunFiles, job_type: str, name: str = "") -> dict[str, str]:
    """The `id`, `job_type` and `name` of a folder's W&B run; the first command that asks makes them.

    Earlier versions stored no name: there, and without one, it is the end of the folder's path.
    """
    end_of_path = "/".join(run.folder.absolute().parts[-2:])
    if run.wandb_run.exists():
        try:
            stored = {"name": end_of_path, **json.loads(run.wandb_run.read_text())}
            return {key: str(stored[key]) for key in ("id", "job_type", "name")}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{run.wandb_run}: not a record of this program's; delete it for a new W&B run") from None
    record = {"id": os.environ.get("WANDB_RUN_ID") or secrets.token_hex(6), "job_type": job_type}
    record["name"] = name or end_of_path
    if name and "WANDB_SWEEP_ID" in os.environ:  # whose runs are of one experiment
        record["name"] += f", {record['id']}"
    write_text_atomically(run.wandb_run, json.dumps(record) + "\n")
    return record


@contextlib.contextmanager
def wandb_run(
    files: RunFiles, job_type: str, group: str | None, configuration: Mapping[str, Any], name: str = ""
) -> Iterator["Run | None"]:
    """The run of a folder, begun or resumed, finished when the block ends; None where W&B cannot start.

    The configuration of the command that began the run is the run's; that of a later one, such as the test of a
    training, stands below the name of its job type. All of W&B's files lie in the folder's `wandb`.
    """
    record, folder = run_record(files, job_type, name), files.folder.absolute()
    own = record["job_type"] == job_type
    init = {
        **record,
        "resume": "allow",  # of an online run; offline it is `wandb sync --append` that continues one
        "name": os.environ.get("WANDB_NAME") or record["name"],
        "project": os.environ.get("WANDB_PROJECT", PROJECT),
        "group": group,
        "config": dict(configuration) if own else {job_type: dict(configuration)},
        "dir": str(folder),
    }
    with _files_in(files.wandb.absolute()):
        run = _begin(init)
        try:
            yield run
        except BaseException:
            _finish(run, 1)
            raise
        _finish(run, 0)


def log_data(run: Any, described: Mapping[str, Any]) -> None:
    """Note data as an input of the run: an artifact of type `dataset`, the same one for the same data, without sounds.

    Offline, where W&B knows no inputs, the run logs it.
    """
    import wandb

    artifact = wandb.Artifact(f"{described['corpus']}-{described['digest']}", "dataset", metadata=dict(described))
    with artifact.new_file("data.json") as file:
        json.dump(described, file, indent=2)
    run.log_artifact(artifact) if run.offline else run.use_artifact(artifact)


def _begin(init: dict[str, Any]) -> "Run | None":
    """Online where somebody is logged in and W&B answers, otherwise as asked for, or offline."""
    try:
        import wandb

        # W&B itself prints more than a person needs, and would ask for a key: what counts is its first setup.
        settings = wandb.Settings(console="off", silent=True, save_code=False, disable_job_creation=True)
        settings.init_timeout, settings.reinit = 60.0, "finish_previous"
        if not wandb.setup(settings=settings).settings.finish_timeout:
            settings.finish_timeout = FINISH_SECONDS
        asked = wandb.setup(settings=settings).settings.mode
        mode: Any = "disabled" if asked == "disabled" else "offline"
        reason, run = "as asked for", None
        if asked not in ("offline", "dryrun", "disabled"):
            reason = "nobody is logged in: `wandb login`"
            try:
                if wandb.login():
                    run, mode = wandb.init(mode="online", settings=settings, **init), "online"
            except wandb.errors.UsageError:  # no key, and silent W&B asks for none
                pass
            except wandb.errors.Error as error:  # a key that is refused, or no network: after some 10 s
                reason = in_one_line(error)
        if run is None:
            run = wandb.init(mode=mode, settings=settings, **init)
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        for name, best in BEST.items():
            run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary=best)
        if mode == "online":
            _say(str(run.url))
        elif mode != "disabled":
            _say(f"offline run {run.id} ({reason}); to upload it: wandb sync --append {Path(run.dir).parent}")
        return run
    except Exception as error:  # of whatever kind: no training ends for its diary
        _say(f"cannot start and is left alone: {in_one_line(error)}")
        return None


def _finish(run: "Run | None", exit_code: int) -> None:
    if run is None:
        return
    import wandb

    try:
        run.finish(exit_code=exit_code)
    except Exception as error:
        _say(f"did not finish the run: {in_one_line(error)}")
        # Its helper process is gone: without this, W&B would complain again at exit, and no later run could begin.
        with contextlib.suppress(Exception):
            wandb.teardown()


@contextlib.contextmanager
def _files_in(folder: Path) -> Iterator[None]:
    """Copies of artifacts wait in the run's folder to be uploaded, not in the user's home."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder / "data")
    try:
        yield
    finally:
        os.environ.pop("WANDB_DATA_DIR", None)


def _say(message: str) -> None:
    print(f"W&B: {message}", file=sys.stderr, flush=True)
