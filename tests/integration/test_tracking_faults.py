"""What no training may mind: a W&B that dies or does not answer; and what `wandb sync` makes of interrupted runs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import wandb

from lightning_modules.checkpoint import read_checkpoint

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("nobody_logged_in")]

KEY = "0123456789abcdef0123456789abcdef01234567"


class Server:
    """As much of W&B's server as it takes to receive histories: they are kept by run, line by line."""

    def __init__(self) -> None:
        self.lines = defaultdict(dict)
        kept = self.lines

        class Answer(BaseHTTPRequestHandler):
            def log_message(self, *_):
                """Nothing."""

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path.endswith("/file_stream"):
                    history = (asked.get("files") or {}).get("wandb-history.jsonl")
                    if history:
                        lines = enumerate(history["content"], history["offset"])
                        kept[self.path.split("/")[-2]].update((number, json.loads(line)) for number, line in lines)
                    return self.say({"limits": {}})
                name = (asked.get("variables") or {}).get("name")
                return self.say(self.answer(asked.get("operationName") or "", name))

            def answer(self, operation, name):
                project = {"id": "p", "name": "separatrix", "entity": {"id": "e", "name": "us"}}
                bucket = {"id": "b", "name": name, "displayName": name, "project": project}
                lines = kept[name] if name else {}
                if operation == "UpsertBucket":
                    return {"data": {"upsertBucket": {"bucket": bucket, "inserted": not lines}}}
                if operation == "RunResumeStatus":
                    tail = json.dumps([json.dumps(lines[max(lines)])]) if lines else "[]"
                    state = {"summaryMetrics": "{}", "config": "{}", "wandbConfig": '{"t": 1}', "tags": []}
                    counts = {"historyLineCount": len(lines), "logLineCount": 0, "eventsLineCount": 0}
                    state |= {**bucket, **counts, "historyTail": tail, "eventsTail": "[]"}
                    return {"data": {"model": {**project, "bucket": state} if lines else None}}
                if operation == "ServerFeaturesQuery":
                    return {"data": {"serverInfo": {"features": []}}}
                return {"data": None, "errors": [{"message": "not here"}]}

            def say(self, answer):
                text = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server():
    made = Server()
    threading.Thread(target=made.http.serve_forever, daemon=True).start()
    yield made
    made.http.shutdown()


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def helpers_of(process):
    """Processes of W&B that a process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:  # ended meanwhile
            continue
        if name == "wandb-core" and int(rest.split()[1]) == process.pid:
            found.append(int(stat.parent.name))
    return found


def test_a_training_outlives_wandbs_helper_process(separatrix, tmp_path):
    settings = {"trainer.max_epochs": 40, "trainer.log_every_n_steps": 1}
    arguments = [*separatrix.arguments("strong", settings), "--logger", "wandb", "--run", tmp_path]
    wandb.teardown()
    with separatrix.process("fit", *arguments) as process:
        wait_for(tmp_path / "checkpoints" / "last.ckpt", process)
        (helper,) = helpers_of(process)
        os.kill(helper, signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert err.count("W&B failed and is left alone") == 1
    assert len([r for r in separatrix.rows(*tmp_path.glob("curves/*/metrics.csv")) if r["validation_loss"]]) == 40


def test_a_server_that_does_not_answer_makes_the_run_offline(separatrix, tmp_path):
    wandb.teardown()
    arguments = [*separatrix.arguments("strong"), "--logger", "wandb", "--run", tmp_path]
    outcome = separatrix.run_process("fit", *arguments, WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9")
    assert outcome.status == 0 and "W&B: offline run" in outcome.err
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


def test_the_starts_of_an_interrupted_run_are_synced_one_after_the_other(separatrix, server, tmp_path):
    settings = {"trainer.max_epochs": 10_000, "trainer.log_every_n_steps": 1}
    arguments = [*separatrix.arguments("strong", settings), "--logger", "wandb", "--run", tmp_path]
    wandb.teardown()
    with separatrix.process("fit", *arguments, WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL="0.1") as process:
        wait_for(tmp_path / "checkpoints" / "last.ckpt", process)
        time.sleep(3)
        os.killpg(process.pid, signal.SIGKILL)
    (killed,) = tmp_path.glob("wandb/offline-run-*")
    # As a kill leaves it at the worst: in the middle of a record.
    log = next(killed.glob("*.wandb"))
    os.truncate(log, log.stat().st_size - 3)
    for epochs in (3, 2):  # counted from the last epoch that was kept
        more = ["--trainer.max_epochs", _epoch(tmp_path) + 1 + epochs]
        separatrix.succeed("fit", *arguments, *more, "--ckpt_path", "last")
    wandb.teardown()
    # A start that was killed before anything was written.
    empty = tmp_path / "wandb" / "offline-run-20000101_000000-nothing"
    empty.mkdir()
    (empty / "run-nothing.wandb").write_bytes(log.read_bytes()[:7])
    environment = {**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url}
    for start in sorted(tmp_path.glob("wandb/offline-run-*")):
        sync = [str(Path(sys.executable).with_name("wandb")), "sync", str(start)]
        subprocess.run(sync, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    run_id = json.loads((tmp_path / "wandb.json").read_text())["id"]
    lines = [server.lines[run_id][number] for number in sorted(server.lines[run_id])]
    assert sorted(server.lines[run_id]) == list(range(len(lines)))
    assert [line["_step"] for line in lines] == sorted({line["_step"] for line in lines})
    curve = dict.fromkeys(line["trainer/global_step"] for line in lines if "validation_loss" in line)
    assert list(curve)[-5:] == [2 * epoch + 1 for epoch in range(_epoch(tmp_path) - 4, _epoch(tmp_path) + 1)]


def _epoch(run):
    return read_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"]
