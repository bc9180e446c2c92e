"""docs/first_steps.ipynb, run as a notebook runs it: its cells in their order, in one namespace, in an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import soundfile

ROOT = Path(__file__).parents[1]
# Jupyter is no dependency, and nobody listens here: what would be shown is noted.
SHOWN = """
import sys, types
shown = []
display = types.SimpleNamespace(Audio=lambda *given, **named: (given, named), display=shown.append)
sys.modules |= {"IPython": types.ModuleType("IPython"), "IPython.display": display}
"""


def test_the_notebook_leads_from_a_corpus_to_a_training_and_from_a_recording_to_its_sources(tmp_path):
    notebook = json.loads((ROOT / "docs" / "first_steps.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
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
