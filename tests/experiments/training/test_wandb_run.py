"""The W&B run of a folder, begun for real, offline; where it would be online, with W&B's own calls replaced."""

import json
from pathlib import Path

import pytest
import wandb

from experiments.reproduction.tracking import track_tables
from experiments.training import wandb_run as module
from experiments.training.wandb_run import log_data, run_record, wandb_run
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles

pytestmark = pytest.mark.usefixtures("nobody_logged_in")


def kinds(records, kind):
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def test_a_folder_keeps_the_id_of_its_first_start_and_a_new_one_takes_the_one_that_was_asked_for(tmp_path, monkeypatch):
    first = run_record(RunFiles(tmp_path / "run"), "fit")
    monkeypatch.setenv("WANDB_RUN_ID", "chosen")
    assert run_record(RunFiles(tmp_path / "run"), "test") == first
    named = {"id": "chosen", "job_type": "test", "name": f"{tmp_path.name}/new"}
    assert run_record(RunFiles(tmp_path / "new"), "test") == named
    monkeypatch.setenv("WANDB_SWEEP_ID", "sw33p")
    assert run_record(RunFiles(tmp_path / "swept"), "fit", "frame, seed 0")["name"] == "frame, seed 0, chosen"
    assert first["id"] != "chosen" and [path.name for path in (tmp_path / "run").iterdir()] == ["wandb.json"]


@pytest.mark.parametrize("text", ["{", '{"id": "a"}', "[" * 10**5])
def test_a_file_that_is_not_a_record_is_named(text, tmp_path):
    (tmp_path / "wandb.json").write_text(text)
    with pytest.raises(InputError, match=r"wandb\.json: not a record of this program's; delete it"):
        run_record(RunFiles(tmp_path), "fit")


def test_a_record_of_an_earlier_version_has_no_name(tmp_path):
    (tmp_path / "wandb.json").write_text('{"id": "abc", "job_type": "fit"}')
    name = f"{tmp_path.parent.name}/{tmp_path.name}"
    assert run_record(RunFiles(tmp_path), "test", "another") == {"id": "abc", "job_type": "fit", "name": name}


def test_the_summary_has_the_best_value_of_what_is_ranked_and_data_are_the_same_artifact_each_time(
    tmp_path, wandb_records
):
    described = {"corpus": "birds", "digest": "0123", "classes": ["wren"]}
    for name in ("a", "b"):
        with wandb_run(RunFiles(tmp_path / name), "fit", None, {}) as run:
            log_data(run, described)
    digests = set()
    for name in ("a", "b"):
        (records,) = wandb_records(tmp_path / name)
        best = {metric.name: metric.summary for metric in kinds(records, "metric") if metric.name.startswith("valid")}
        assert {name for name, of in best.items() if of.min} == {"validation_loss"}
        assert {name for name, of in best.items() if of.max} == {*best} - {"validation_loss"} and len(best) == 4
        (data,) = [artifact for artifact in kinds(records, "artifact") if artifact.type == "dataset"]
        (file,) = data.manifest.contents
        assert (data.name, file.path) == ("birds-0123", "data.json") and json.loads(data.metadata) == described
        assert json.loads(Path(file.local_path).read_text()) == described
        digests.add(data.digest)
    assert len(digests) == 1


def test_a_block_that_ends_badly_leaves_a_failed_run_and_the_environment_as_it_was(
    tmp_path, monkeypatch, wandb_records
):
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    with pytest.raises(RuntimeError), wandb_run(RunFiles(tmp_path), "fit", None, {}):
        raise RuntimeError
    (records,) = wandb_records(tmp_path)
    assert kinds(records, "exit")[0].exit_code == 1
    assert "WANDB_DATA_DIR" not in module.os.environ


def test_project_name_and_group_can_be_had_from_the_environment(tmp_path, nobody_logged_in, wandb_records):
    with pytest.MonkeyPatch.context() as environment:
        for name in ("PROJECT", "NAME", "RUN_GROUP", "ENTITY"):
            environment.setenv(f"WANDB_{name}", f"my-{name.lower()}")
        wandb.teardown()
        with wandb_run(RunFiles(tmp_path), "fit", None, {}):
            pass
    wandb.teardown()
    (run,) = kinds(wandb_records(tmp_path)[0], "run")
    assert (run.project, run.display_name, run.run_group, run.entity) == (
        *("my-project", "my-name", "my-run_group", "my-entity"),
    )


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_a_mode_that_is_asked_for_holds_without_a_look_at_the_network(mode, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setattr(wandb, "login", lambda **_: pytest.fail("looked"))
    wandb.teardown()
    with wandb_run(RunFiles(tmp_path), "fit", None, {}) as run:
        run.log({"loss": 1.0})
    wandb.teardown()
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == (0 if mode == "disabled" else 1)


def raising(error):
    def call(**_):
        raise error

    return call


TIMEOUT = wandb.errors.CommError("Run initialization\nhas timed out")


@pytest.mark.parametrize("moment", ["login", "init"])
def test_a_network_that_is_not_there_makes_the_run_offline(moment, tmp_path, monkeypatch, capsys):
    begin = wandb.init

    def init(mode, **settings):
        return raising(TIMEOUT)() if mode == "online" else begin(mode=mode, **settings)

    monkeypatch.setattr(wandb, "login", raising(TIMEOUT) if moment == "login" else lambda **_: True)
    monkeypatch.setattr(wandb, "init", init)
    with wandb_run(RunFiles(tmp_path), "fit", None, {}) as run:
        assert run.settings.mode == "offline"
    (line,) = capsys.readouterr().err.splitlines()
    assert "CommError: Run initialization has timed out" in line


def test_where_wandb_cannot_start_at_all_the_work_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wandb, "init", raising(OSError("No space left on device")))
    with wandb_run(RunFiles(tmp_path), "fit", None, {}) as run:
        assert run is None
    assert capsys.readouterr().err == "W&B: cannot start and is left alone: OSError: No space left on device\n"


def test_the_tables_of_a_reproduction_are_a_run_of_its_group(tmp_path, wandb_records):
    output = tmp_path / "small" / "weak-labels"
    output.mkdir(parents=True)
    (output / "table.csv").write_text("row,mean_db\nstrong,9.5\n")
    (output / "scores.csv").write_text("index,si_sdr_db\n0,1.5\n1,\n")
    (output / "table.md").write_text("| strong | 9.5 |\n")
    for _ in range(2):
        track_tables(output, "small/weak-labels", {"preset": "small"})
    first, second = wandb_records(output)
    runs = [run for records in (first, second) for run in kinds(records, "run")]
    assert {run.run_id for run in runs} == {json.loads((output / "wandb.json").read_text())["id"]}
    assert {(run.run_group, run.job_type) for run in runs} == {("small/weak-labels", "tables")}
    (files,) = [artifact for artifact in kinds(first, "artifact") if artifact.type == "tables"]
    contents = {entry.path: Path(entry.local_path).read_text() for entry in files.manifest.contents}
    assert contents == {path.name: path.read_text() for path in output.iterdir() if path.suffix in (".csv", ".md")}
    shown = {
        entry.path: json.loads(Path(entry.local_path).read_text())
        for artifact in kinds(first, "artifact")
        if artifact.type == "run_table"
        for entry in artifact.manifest.contents
    }
    assert shown["tables/table.table.json"]["data"] == [["strong", 9.5]]
    assert shown["tables/scores.table.json"]["data"] == [[0, 1.5], [1, None]]
