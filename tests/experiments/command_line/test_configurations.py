"""Configurations by name: a path, or one that ships."""

import re

import pytest

from experiments.command_line.configurations import (
    CONFIGS,
    comment,
    config_path,
    resolved,
    shipped_configurations,
    with_preset,
)
from lightning_modules.errors import InputError


def test_a_shipped_configuration_is_found_by_its_name_with_or_without_suffix():
    expected = CONFIGS / "weak_labels" / "frame.yaml"
    assert config_path("weak_labels/frame") == config_path("weak_labels/frame.yaml") == expected


def test_a_file_of_ones_own_comes_before_a_shipped_one_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "weak_labels").mkdir()
    own = tmp_path / "weak_labels" / "frame.yaml"
    own.write_text("model: {}\n")
    monkeypatch.chdir(tmp_path)
    assert config_path("weak_labels/frame.yaml").resolve() == own
    assert config_path("weak_labels/frame") == CONFIGS / "weak_labels" / "frame.yaml"


@pytest.mark.parametrize("name", ["fraem", "weak_labels/fraem", "weak_label/frame"])
def test_an_unknown_name_is_refused_with_those_like_it_and_the_command_that_lists_all(name):
    with pytest.raises(
        InputError, match=rf"^--config {name}: no such file[^\n]* did you mean [^\n]*weak_labels/frame[ ?]"
    ):
        config_path(name)
    for unlike in ("birds", "weak_labels", ".", ""):
        with pytest.raises(InputError, match=r"^--config [^\n]*: no such file, nor a built-in configuration; [^\n]*$"):
            config_path(unlike)


def test_every_way_of_writing_a_configuration_is_resolved_and_nothing_else():
    frame = str(CONFIGS / "weak_labels" / "frame.yaml")
    others = ["--run", "weak_labels/frame", "--model.configuration", "weak_labels/frame"]
    words = ["fit", "--config", "weak_labels/frame", "--config=weak_labels/frame", *others]
    assert resolved(words) == ["fit", f"--config={frame}", f"--config={frame}", *others]


@pytest.mark.parametrize(
    ("words", "chain"),
    [
        ("fit --config weak_labels/frame", "base small/data frame small/separator small/frame"),
        ("fit --config weak_labels/classifier_clip", "base small/data classifier_clip small/classifier"),
        ("test --config=weak_labels/oracle_activity_mask", "base small/data oracle_activity_mask"),
        ("bank --config weak_labels/base", "base small/data"),
        ("fit --config weak_labels/base --config weak_labels/strong", "base small/data strong small/separator"),
        (
            "fit --config deep_clustering/speech",
            "model small/model small/speech_model base speech small/data small/speech",
        ),
        ("bank --config deep_clustering/speech", "base speech small/data small/speech"),
        (
            "fit --config deep_clustering/speech --config deep_clustering/model",
            "model small/model small/speech_model base speech small/data small/speech",
        ),
        (
            "test --config deep_clustering/selection --config deep_clustering/speech",
            "selection base speech small/data small/speech",
        ),
        (
            "test --config deep_clustering/source_count --config deep_clustering/music",
            "source_count base music small/data small/music",
        ),
        (
            "fit --config weak_labels/frame --config weak_labels/ablations/joint",
            "base small/data frame small/separator small/frame ablations/joint",
        ),
    ],
)
def test_a_preset_adds_the_parts_of_its_size_in_their_order(words, chain):
    command, *configs = words.split()
    system = words.partition("config")[2][1:].partition("/")[0]
    expected = [word for part in chain.split() for word in ("--config", f"{system}/{part}")]
    assert with_preset([command, "--preset", "small", *configs]) == [command, *expected]


def test_a_preset_completes_shipped_configurations_alone(tmp_path):
    with pytest.raises(InputError, match="--preset small: completes a shipped configuration"):
        with_preset(["fit", "--config", str(tmp_path / "config.yaml"), "--preset", "small"])


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\x00", b"- 1\n"])
def test_a_file_that_holds_no_sections_is_refused_by_name(content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^--config {re.escape(str(path))}: not [^\n]*$"):
        resolved(["--config", str(path)])


def test_every_shipped_configuration_says_what_it_is():
    assert not [name for name, path in shipped_configurations().items() if not comment(path)]
