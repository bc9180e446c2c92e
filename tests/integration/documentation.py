"""What README.md and docs/*.md ask a reader to write into files, to type into a shell and to run in Python."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")))

# The shell itself reads the blocks, loops and variables and all. It finds no program: `separatrix` writes its words
# down, launchers hand on to what they launch, everything else is nothing.
SHELL = r"""
PATH=
command_not_found_handle() { :; }
separatrix() { printf '%s\x1f' "$@" >&3; printf '\x1e' >&3; }
srun() { while [[ $1 == -* ]]; do shift; done; "$@"; }
torchrun() { until [[ $1 == -- ]]; do shift; done; shift; "$@"; }
sbatch() {
    while (($#)) && [[ $1 != *.sbatch ]]; do shift; done
    local script=${1##*/}; shift
    case $script in
        "") ;;
        fit.sbatch) separatrix fit "$@" ;;
        *) separatrix reproduce --preset "${script%.sbatch}" "$@" ;;
    esac
}
exec() { shift; "$@"; }
source() { :; }
"""


class Step(NamedTuple):
    """Something for a reader to do.

    Attributes:
        kind: a `file` to be written, a `command` to be typed, or `python` to be run.
        name: of the file; of the others the document.
        content: of the file; the command's words after `separatrix`; the program.
    """

    kind: Literal["file", "command", "python"]
    name: str
    content: list[str]

    def __str__(self) -> str:
        return {"command": f"separatrix {' '.join(self.content)}"}.get(self.kind, f"{self.kind} {self.content[0]}")


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Code blocks of a Markdown file: language, `shell` where none is given, and lines."""
    language: str | None = None
    lines: list[str] = []
    before = ""
    for line in [*text.splitlines(), "end"]:
        if language == "indented" and line and not line.startswith("    "):
            yield "shell", lines
            language, lines = None, []
        if language is None and (opening := re.match(r"```(\w*)$", line)):
            language = opening[1] or "shell"
        elif language not in (None, "indented"):
            if line == "```":
                yield str(language), lines
                language, lines = None, []
            else:
                lines.append(line)
        elif line.startswith("    ") and (language == "indented" or not before):
            language = "indented"
            lines.append(line[4:])
        before = line


def commands(lines: list[str]) -> list[list[str]]:
    """The words of every `separatrix` command of a block, as a shell would pass them on."""
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]  # the rest is what was printed
    block = "\n".join(typed or lines)
    if "separatrix" not in block and ".sbatch" not in block:
        return []
    script = f"exec 3>&1 >&2\n{SHELL}\n{block}"
    subprocess.run(["/bin/bash", "-n", "-c", script], check=True)
    ran = subprocess.run(
        ["/bin/bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True
    )
    return [command.split("\x1f")[:-1] for command in ran.stdout.split("\x1e")[:-1]]


def steps(document: str) -> list[Step]:
    """All that a document asks for, in its order. A file's block begins with a comment that is its name."""
    found: list[Step] = []
    for language, lines in blocks((REPOSITORY / document).read_text(encoding="utf-8")):
        name = re.fullmatch(r"# ([\w-]+\.(py|yaml))", lines[0]) if lines else None
        if name:
            found.append(Step("file", name[1], lines))
        elif language == "python":
            found.append(Step("python", document, lines))
        elif language in ("shell", "sh", "bash"):
            found += [Step("command", document, words) for words in commands(lines)]
    return found
