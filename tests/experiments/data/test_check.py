import os
import re
from io import StringIO

import numpy as np
import pytest
import soundfile
from rich.console import Console

from datamodules.corpora.corpus import Clip
from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.corpora.own_recordings import OwnRecordings
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import inspect_table
from datamodules.scene_statistics import distinct_classes_law, scene_statistics
from datamodules.sound_bank import BankOnDemand, build_sound_bank
from datamodules.urban_scenes import URBAN_CLASSES
from experiments.cli import main
from experiments.data.check import Scenes, check_clips, pieces

FEW = ["--mixtures", "200", "--scored", "10", "--classes", "[car_horn,dog_bark]"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(["check", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def cells(report: str, row: str) -> list[str]:
    line = next(line for line in report.splitlines() if line.startswith(row))
    return line.removeprefix(row).split()


def test_mixtures_of_the_whole_corpus_have_the_published_statistics(real_data):
    table = real_data / "UrbanSound8K-all-8732-clips.csv"
    scenes = Scenes()
    bank = BankOnDemand.of(inspect_table(table, 16_000), 16_000)
    assert len(bank.clips) == 8732
    recipes = scenes.recipes(bank)
    drawn = (recipes(index) for index in range(8_000))
    statistics = scene_statistics(drawn, bank, scenes.geometry, 64_000, len(scenes.classes))
    law = distinct_classes_law(5, 5.0)
    assert np.all(np.abs(statistics.distinct - law) < 3 * np.sqrt(law * (1 - law) / 8_000))
    assert np.all(np.abs(statistics.active - (0.17, 0.28, 0.30, 0.18, 0.06, 0.01)) < 0.04)
    assert statistics.prior.mean() == pytest.approx(0.342, abs=0.04)


def test_the_report_counts_what_is_there_and_leaves_nothing_behind(urbansound_factory, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = urbansound_factory(folds=(10, 2), clips_per_class=3, seconds=0.5)
    before = sorted(os.walk(root))
    status, report, _ = run(capsys, "urbansound8k", "--root", str(root), *FEW)
    assert status == 0 and run(capsys, "urbansound8k", "--root", str(root), *FEW)[1] == report
    assert sorted(os.walk(root)) == before and not list(tmp_path.iterdir())
    assert re.search("2 +10 +all", report)  # in the order of numbers
    assert cells(report, "car_horn") == ["3", "3", "6"]
    assert cells(report, "all") == ["6", "6", "12"]
    assert len(re.findall("recordings +3 +3 +6\\n", report)) == 2 and "12 clips decoded: 0 broken, 0 without" in report
    assert float(cells(report, "overall")[0]) > 0.1


def test_sound_banks_of_the_corpus_are_compared_with_their_checksums(urbansound_factory, tmp_path, capsys):
    corpus = UrbanSound8K(urbansound_factory(clips_per_class=3, seconds=0.5))
    whole, damaged = (
        build_sound_bank(corpus, corpus.clips(), rate, tmp_path, progress=False).path for rate in (8000, 16_000)
    )
    words = ["urbansound8k", "--root", str(corpus.root), "--bank_folder", str(tmp_path), *FEW]
    status, report, _ = run(capsys, *words)
    assert status == 0 and report.count("18 clips, all as they were built") == 2
    samples = bytearray((damaged / "samples.f32").read_bytes())
    samples[-1] ^= 128
    (damaged / "samples.f32").write_bytes(samples)
    status, report, told = run(capsys, *words)
    assert status == 2 and f"{whole}: 18 clips, all as they were built" in report
    assert f"{damaged}: 1 of 18 clips damaged, the first number 17" in report
    assert told.splitlines()[-1].endswith("damaged sound banks of urbansound8k: 1, listed above")


def test_folds_can_be_chosen(urbansound_factory, capsys):
    root = urbansound_factory(folds=(2, 9))
    _, report, _ = run(capsys, "urbansound8k", "--root", str(root), "--folds", "[9]", *FEW)
    assert cells(report, "car_horn") == ["2", "2"]
    status, _, error = run(capsys, "urbansound8k", "--root", str(root), "--folds", "[4]", *FEW)
    assert status == 2 and "no clip in folds [4]; choose others with --folds" in error
    status, _, error = run(capsys, "urbansound8k", "--root", str(root), "--mixtures", "10")
    assert status == 2 and "gun_shot: no usable clip, so no mixtures" in error


def test_all_broken_clips_are_listed_and_the_rest_is_reported(urbansound_factory, capsys):
    root = urbansound_factory()
    clips = sorted(root.glob("audio/*/*.wav"))
    clips[0].unlink()
    clips[3].write_bytes(clips[3].read_bytes()[:1000])
    soundfile.write(clips[7], np.zeros(8_000), 16_000)
    status, report, error = run(capsys, "urbansound8k", "--root", str(root), *FEW)
    assert status == 2
    broken = re.findall(r"^broken: (\S+): (no such file|truncated)", report, re.MULTILINE)
    assert sorted(name for name, _ in broken) == [str(clips[i].relative_to(root)) for i in (0, 3)]
    assert f"left out: {clips[7].relative_to(root)}: silent" in report
    assert "12 clips decoded: 2 broken, 1 without a loudness" in report and "distinct classes" in report
    assert error.splitlines()[-1] == "separatrix check: 2 of 12 clips are broken; they are listed above"


@pytest.mark.parametrize("linked", ["audio", "audio/fold2", "audio/*/*.wav"])
def test_a_corpus_of_links_is_refused_once_and_read_when_told_to(urbansound_factory, tmp_path, capsys, linked):
    root = urbansound_factory()
    for number, path in enumerate(sorted(root.glob(linked))):
        path.rename(tmp_path / str(number))
        path.symlink_to(tmp_path / str(number))
    status, _, error = run(capsys, "urbansound8k", "--root", str(root), *FEW)
    assert status == 2 and error.splitlines()[-1].startswith("separatrix check: audio/fold")
    assert error.count("leads out of") == 1 and "--follow-links" in error
    status, report, _ = run(capsys, "urbansound8k", "--root", str(root), "--follow-links", *FEW)
    assert status == 0 and "12 clips decoded: 0 broken" in report
    assert "--follow-links" in report.partition("\nnext ")[2]  # or what comes next is refused


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_the_first_of_many_broken_clips_and_a_file_all(tmp_path, terminal):
    (tmp_path / "hiss").mkdir()
    soundfile.write(tmp_path / "hiss" / "whole.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 16_000)
    for number in range(50):
        (tmp_path / "hiss" / f"{number:02}.wav").touch()
    console = Console(file=StringIO(), force_terminal=terminal, color_system=None)
    inspections = check_clips(FolderPerClass(tmp_path), None, 16_000, console)
    report = console.file.getvalue().splitlines()
    listed = [line for line in report if line.startswith("broken: ")]
    assert sum(bool(found.broken) for found in inspections) == 50
    assert [line.split(":")[1] for line in listed] == [f" hiss/{n:02}.wav" for n in range(20 if terminal else 50)]
    rest = "... and 30 more; direct the report into a file to list all of them"
    assert (rest in report) == terminal and "51 clips decoded: 50 broken, 0 without a loudness" in report


def test_the_table_alone_gives_the_statistics_that_need_no_audio(urbansound_factory, capsys):
    root = urbansound_factory()
    table = str(root / "metadata" / "UrbanSound8K.csv")
    _, inputs, _ = run(capsys, "urbansound8k", "--root", str(root), *FEW)
    status, read, _ = run(capsys, "urbansound8k", "--metadata", table, *FEW)
    assert status == 0 and "no audio was decoded" in read
    # All clips are audible and as long as the table says: the same recipes, the same frames.
    statistics = [report[report.index("distinct classes") : report.index("by class\n")] for report in (inputs, read)]
    assert statistics[0] == statistics[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --root, the corpus's folder, or --metadata"),
        (["--root", "/nowhere"], "/nowhere: no such folder"),
        (["--metadata", "/nowhere.csv"], "/nowhere.csv: not readable"),
        (["--root", ".", "--mixtures", "0"], "mixtures: 0; at least 1"),
        (["--root", ".", "--scored", "-1"], "scored: -1; at least 0"),
        (["--root", ".", "--classes", "[]"], "a list of different names"),
        (["--root", ".", "--geometry.hop", "0"], "hop: 0; between 1 and"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(capsys, arguments, message):
    status, _, error = run(capsys, "urbansound8k", *arguments)
    assert status == 2 and message in error and len(error.splitlines()) == 1


def test_speakers_and_songs_are_counted_by_their_split_and_procedural_sounds_by_class(real_data, capsys):
    few = ["--folds", "[1,2]", "--mixtures", "100", "--scored", "4"]
    status, report, _ = run(capsys, "procedural", "--clips_per_class", "20", *few)
    assert status == 0 and all(cells(report, label) for label in URBAN_CLASSES)
    status, report, _ = run(capsys, "librispeech", "--root", str(real_data))
    assert status == 0 and "by class (256 of them) and fold" in report
    assert cells(report, "all") == ["214", "45", "50", "309"]  # train, validation, test, all
    status, report, _ = run(capsys, "musdb18", "--root", str(real_data))
    assert status == 0 and cells(report, "vocals") == ["80", "14", "25", "119"]
    assert "recordings that occur in several folds: 0" in report


NUMBERS = range(6)


@pytest.mark.parametrize(
    "names, told",
    [
        (
            [f"{label}/{r}{label}-4-{n}" for label in "ab" for r in NUMBERS for n in range(2)],
            "some of 24 file names are alike",
        ),
        (
            [f"{label}/{r}{label}_{n}" for label in "ab" for r in NUMBERS for n in range(2)],
            "recording_separator _ keeps",
        ),
        ([f"{r}/{r}-{n}" for r in NUMBERS for n in range(1)] + ["0/0-1"], "7 file names are alike up to the first -,"),
        ([f"{label}/{label}_{n}" for label in "abcdefgh" for n in NUMBERS], ""),  # numbered
        ([f"{label}/{n}" for label in "ab" for n in NUMBERS], ""),  # one sound in two classes
        ([f"{label}/{label}{n}-far" for label in "ab" for n in NUMBERS], ""),
    ],
)
def test_names_that_agree_up_to_a_separator_are_asked_about(names, told):
    line = pieces([Clip(f"{name}.wav", name[0], "train", name[2:]) for name in names])
    assert told in line and bool(told) == bool(line)


def record(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 16_000)


def test_a_folder_of_pieces_is_checked_with_the_option_that_the_warning_names(tmp_path, capsys):
    names = [f"{label}/{label}{number}-{piece}.wav" for label in "ab" for number in NUMBERS for piece in "xy"]
    record(tmp_path, *names)
    for other in ("a/read me", "notes.TXT", "more.txt", ".hidden", ".git/config"):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).touch()
    status, report, _ = run(capsys, str(tmp_path))
    assert "3 other files ignored: 2 .txt, 1 without an ending\n" in report
    option = "--data.corpus.recording_separator -"
    assert status == 0 and option in report and re.search("recordings +[0-9 ]+ 24\n", report)
    status, report, _ = run(capsys, str(tmp_path), *option.split())
    assert status == 0 and "warning" not in report and re.search("recordings +[0-9 ]+ 12\n", report)
    assert " ".join(report.replace("\\\n", "").split()).count(option) == 2


@pytest.mark.parametrize(
    "names, advice",
    [
        ([f"rain/{n}.wav" for n in NUMBERS], "rain is the only class; add a folder of recordings for each other class"),
        ([f"all/{label}/{n}.wav" for label in "ab" for n in NUMBERS], "in it are: separatrix check {root}/all"),
        ([f"{label}/{label}{n}.wav" for label in "ab" for n in range(2)], "too few recordings: each class needs 3"),
        (["1.wav"], "a folder without classes needs 6"),
    ],
)
def test_a_folder_that_nothing_can_be_trained_on_ends_with_advice(names, advice, tmp_path, capsys):
    record(tmp_path, *names)
    status, report, _ = run(capsys, str(tmp_path))
    following = " ".join(report.partition("\nnext ")[2].split())
    assert status == 0 and advice.format(root=tmp_path) in following


def test_of_own_folders_the_banks_of_this_one_are_compared(tmp_path, capsys):
    banks = tmp_path / "banks"
    for name in ("mine", "other"):
        record(tmp_path / name, *(f"{label}/{name}{n}.wav" for label in "ab" for n in range(3)))
        corpus = OwnRecordings(tmp_path / name)
        path = build_sound_bank(corpus, corpus.clips(), 8000, banks, progress=False).path
    (path / "samples.f32").write_bytes(b"")
    status, report, _ = run(capsys, str(tmp_path / "mine"), "--bank_folder", str(banks))
    assert status == 0 and report.count("6 clips, all as they were built") == 1
    assert f"{banks}: 1 sound bank of other folders or of some clips only, not compared" in report
    status, _, told = run(capsys, str(tmp_path / "other"), "--bank_folder", str(banks))
    assert status == 2 and "damaged sound banks of own_recordings: 1" in told
