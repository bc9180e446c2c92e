"""docs/configurations.md names what ships, all of it and nothing else."""

import re
from pathlib import Path

from experiments.cli import main
from experiments.command_line.configurations import CONFIGS, comment, shipped_configurations

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "configurations.md").read_text(encoding="utf-8")


def test_every_configuration_that_ships_has_one_row_and_every_row_is_of_one_that_ships():
    rows = re.findall(r"^\| `([^`]+/[^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(shipped_configurations())


def test_the_page_tells_to_add_only_what_ships_or_what_a_run_has_written():
    named = set(re.findall(r"--config (\S+)", PAGE))
    assert named and not {name for name in named if name not in shipped_configurations()} - {"runs/strong/config.yaml"}


def test_every_sweep_and_batch_script_is_linked_and_every_link_leads_to_a_file():
    linked = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([^)#]+)", PAGE)}
    assert all(path.is_file() for path in linked)
    assert linked >= {*(ROOT / "experiments" / "sweeps").iterdir(), *(ROOT / "experiments" / "slurm").iterdir()}


def test_the_command_lists_every_configuration_below_its_folder_with_its_own_words(capsys):
    assert main(["configs"]) == 0
    listed = capsys.readouterr().out
    place = 0
    for name, path in shipped_configurations().items():
        folder, _, last = name.rpartition("/")
        assert f"\n{folder}/\n" in listed
        place = listed.index(f"\n  {last}\n", place)
        words = " ".join(listed[place:].split())
        assert words.startswith(f"{last} {comment(path)}")


def test_the_command_shows_one_configuration_as_it_is_written_and_where_it_lies(capsys):
    path = CONFIGS / "weak_labels" / "frame.yaml"
    assert main(["configs", "weak_labels/frame"]) == 0
    assert capsys.readouterr().out == f"{path}\n\n{path.read_text(encoding='utf-8')}"


def test_the_command_refuses_what_is_no_configuration_in_one_line(tmp_path, capsys):
    (tmp_path / "sound.wav").write_bytes(b"RIFF\xff\xfe")
    for name in ("weak_labels/fraem", str(tmp_path / "sound.wav")):
        assert main(["configs", name]) == 2
        error = capsys.readouterr().err
        assert name in error and error.count("\n") == 1
