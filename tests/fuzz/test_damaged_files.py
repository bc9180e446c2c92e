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


# The numbers of the tests and of the soak do not meet.
LONG = [("audio", 20_000), ("table", 10_000), ("checkpoint", 5_000), ("configuration", 5_000)]


@pytest.mark.parametrize(
    ("subject", "files"), [("audio", 150), *(pytest.param(*of_subject, marks=pytest.mark.soak) for of_subject in LONG)]
)
def test_damaged_files_are_read_right_or_refused_by_name(subject, files, tmp_path):
    first = 100_000 if (subject, files) in LONG else 0
    counts, problems = read_damaged(subject, first, first + files, tmp_path)
    print(f"{subject}: {files} damaged files, {counts['read']} read, {counts['refused']} refused")
    assert not problems
    assert counts["read"] + counts["refused"] == files and min(counts["read"], counts["refused"]) > 10
