"""docs/first_steps.ipynb, run as a notebook runs it: its cells in their order, in one namespace, in an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
NOTEBOOK = json.loads((ROOT / "docs" / "first_steps.ipynb").read_text(encoding="utf-8"))
# Jupyter is no dependency, and nobody listens here: what would be shown is noted.
SHOWN = """
import sys, types
shown = []
display = types.SimpleNamespace(Audio=lambda *given, **named: (given, named), display=shown.append)
sys.modules |= {"IPython": types.ModuleType("IPython"), "IPython.display": display}
"""


def test_the_notebook_leads_from_a_corpus_to_a_training_and_from_a_recording_to_its_sources(tmp_path):
    assert NOTEBOOK["nbformat"] == 4 and len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    program = "\n".join([SHOWN, *("".join(cell["source"]) for cell in cells), "print(len(shown), 'sounds')"])
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    improvement = float(ran.stdout.split("mean improvement: ")[1].split(" dB")[0])
    assert improvement > 1
    separated = tmp_path / "first_steps" / "separated"
    sources = [soundfile.read(file)[0] for file in separated.glob("*.wav")]
    mixture = soundfile.read(tmp_path / "first_steps" / "recording.wav")[0]
    assert len(sources) == 6 and abs(sum(sources) - mixture).max() < 1e-5
    assert int(ran.stdout.split()[-2]) >= 1 + 1 + 1 + len(sources)


def test_the_commented_lines_are_enough_for_recordings_of_ones_own(tmp_path, monkeypatch):
    for name in [f"{label}/{number}.wav" for label in ("rain", "wind") for number in range(3)]:
        (tmp_path / "MyRecordings" / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([*name.encode()]).uniform(-0.5, 0.5, 8000)
        soundfile.write(tmp_path / "MyRecordings" / name, noise, 8000)
    monkeypatch.chdir(tmp_path)
    imports, scenes = (
        [line.rstrip() for line in cell["source"]] for cell in NOTEBOOK["cells"] if cell["id"] in ("code-1", "code-3")
    )
    own = [line.removeprefix("# ") if line.startswith(("# from", "# corpus", "# sounds")) else line for line in scenes]
    upto = next(number for number, line in enumerate(own) if line.startswith("example"))
    names: dict[str, Any] = {}
    exec("\n".join([*(line for line in imports if "IPython" not in line), *own[:upto]]), names)
    assert names["data"].classes == ("rain", "wind") and len(names["data"].bank.clips) == 6
