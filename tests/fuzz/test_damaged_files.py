"""Thousands of damaged files: each is read right or refused in one line that names it, and none ends the process."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("read_damaged.py")


def read_damaged(subject: str, begin: int, end: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """How many files of these numbers were read and refused, and what went wrong, file by file."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parents[2])}
    while begin < end and len(problems) < 20:
        command = [sys.executable, str(PROGRAM), subject, str(begin), str(end), str(folder)]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        for line in child.stdout.splitlines():
            report = json.loads(line)
            if "problem" in report:
                problems.append(f"{subject} {report['number']}: {report['problem']}")
            else:
                counts.update(report)
        if not child.returncode:
            return counts, problems
        # It ended within the file under way: the next child goes on behind it.
        last = int((folder / "now").read_text())
        problems.append(f"{subject} {last}: ended the process with {child.returncode}: {child.stderr[-300:]}")
        begin = last + 1
    return counts, problems


# The seeds of the tests and of the soak do not meet.
@pytest.mark.parametrize(("subject", "files"), [("audio", 150), ("table", 150)])
def test_damaged_audio_and_tables_are_read_right_or_refused_by_name(subject, files, tmp_path):
    counts, problems = read_damaged(subject, 0, files, tmp_path)
    assert not problems
    assert counts["read"] + counts["refused"] == files and min(counts["read"], counts["refused"]) > 10


@pytest.mark.soak
@pytest.mark.parametrize(
    ("subject", "files"),
    [
        *(("audio", 20000), ("table", 10000), ("bank", 5000), ("checkpoint", 5000)),
        *(("exported", 5000), ("configuration", 5000)),
    ],
)
def test_tens_of_thousands_of_damaged_files_are_read_right_or_refused_by_name(subject, files, tmp_path):
    counts, problems = read_damaged(subject, 100_000, 100_000 + files, tmp_path)
    print(f"{subject}: {files} damaged files, {counts['read']} read, {counts['refused']} refused")
    assert not problems
    assert counts["read"] + counts["refused"] == files and counts["refused"] > 10
    # Of an exported model digests are compared: hardly any damage goes unnoticed.
    assert counts["read"] > 10 or subject == "exported"
