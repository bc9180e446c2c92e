"""Pages made of rows alone: what they say, that they are safe to open and to read, and what is said to be missing."""

import base64
import hashlib
import itertools
import re
import shutil

import numpy as np
import pytest

from experiments.reproduction.model_selection_table import published_means
from tests.experiments.report.conftest import Reader


@pytest.fixture(params=["weak-labels", "model-selection"])
def page(request, pages):
    """A page of each system."""
    return Reader(pages[request.param])


def test_the_page_loads_nothing_and_runs_no_other_script(page):
    names = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")
    attributes = [item for element in page.elements for item in element.attributes.items()]
    addresses = [value for name, value in attributes if name in names]
    assert addresses and all(value.startswith(("data:", "#")) for value in addresses)
    assert not page.all("link", "iframe", "object", "embed", "base")
    policy = next(e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes)
    (script,) = page.all("script")
    digest = base64.b64encode(hashlib.sha256("".join(script.inner).encode()).digest()).decode()
    assert policy.split("; ")[0] == "default-src 'none'" and f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"url\((?!#)", "".join(page.all("style")[0].inner))
    assert not [name for name, _ in attributes if name.startswith("on")]


def test_the_page_can_be_found_through_without_seeing_it(page):
    levels = [int(element.name[1]) for element in page.all("h1", "h2", "h3", "h4", "h5")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    attributes = [item for element in page.elements for item in element.attributes.items()]
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    referred = [value.removeprefix("#") for name, value in attributes if name in ("aria-labelledby", "href")]
    referred += re.findall(r"url\(#([^)]+)\)", " ".join(value or "" for _, value in attributes))
    assert {*referred, *(value[1:] for name, value in attributes if name == "xlink:href" and value[0] == "#")} <= {*ids}
    assert all(len(page.all(name)) == 1 for name in ("header", "nav", "main", "footer"))
    assert all(element.attributes.get("alt") for element in page.all("img"))
    drawings = page.all("svg")
    assert drawings and all(e.attributes["role"] == "img" and e.attributes["aria-label"] for e in drawings)
    assert all(element.attributes.get("scope") in ("col", "row") for element in page.all("th"))
    captions = page.texts("figcaption")
    assert len(captions) == len(page.all("figure")) and all("n" in c and re.search(r"\d", c) for c in captions)


def test_the_weak_label_table_shows_ours_the_published_figure_and_the_difference(pages):
    page = Reader(pages["weak-labels"])
    row = next(text for text in page.texts("tr") if text.startswith("Δ frame labels"))
    figures = re.match(r"Δ frame labels(−?[\d.]+) ± [\d.]+ \[(−?[\d.]+) ± [\d.]+\] ([▲▼]) ([+−][\d.]+) dB", row)
    ours, published, difference = (float(figures[place].replace("−", "-")) for place in (1, 2, 4))
    assert published == 7.0 and difference == pytest.approx(ours - published)
    assert figures[3] == ("▲" if difference > 0 else "▼") and page.of_class("above" if difference > 0 else "below")


def test_the_model_selection_table_has_every_published_figure(pages):
    page = Reader(pages["model-selection"])
    table, following = (page.elements.index(table) for table in page.all("table")[:2])
    shown = [e.text for e in page.of_class("published") if table < page.elements.index(e) < following]
    wanted = published_means(("speech", "music", "environmental"))
    figures = sorted(float(text[1:-1].replace("−", "-")) for text in shown if re.fullmatch(r"\[−?[\d.]+\]", text))
    np.testing.assert_allclose(figures, sorted(wanted.values()), atol=0.051)


def test_a_pick_is_shaded_by_its_share_of_the_true_domain(pages):
    cells = Reader(pages["model-selection"]).of_class("share")
    assert len(cells) == 5 * 9  # by confidence, standardised twice, calibrated, expected
    for cell in cells:
        count, percent = map(int, re.match(r"(\d+) \((\d+)%\)", cell.text).groups())
        assert percent == round(100 * count / 12) and f"--share: {count / 12:.3f}" == cell.attributes["style"]


def test_names_from_files_are_shown_as_they_are(report, weak_labels):
    names = ("<script>alert(1)<", '"><img src=x onerror=alert(2)>', "$\\frac{a}{b}$ {{ 7 * 7 }}")
    status, printed, page = report(weak_labels(names), "--no-audio")
    assert status == 0, printed
    assert len(page.all("script")) == 1
    assert not [e for e in page.elements if "onerror" in e.attributes or e.attributes.get("src") == "x"]
    assert {*names} <= {*page.texts("th")} and {*names} <= {*page.texts("text")}


@pytest.mark.parametrize("system", ["weak-labels", "model-selection"])
def test_the_same_run_gives_the_same_page_wherever_it_lies(system, report, pages, tmp_path):
    folder = pages[system].parent
    moved = shutil.copytree(folder, tmp_path / folder.parent.name / folder.name)
    report(moved, "--no-audio")
    page = pages[system].read_text()
    assert page == (moved / "report.html").read_text()
    assert "/secret/place" not in page and str(folder.parent.parent) not in page


def test_the_head_says_what_the_figures_are_of(pages):
    page = Reader(pages["weak-labels"])
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert facts["Corpus"] == "UrbanSound8K" and facts["Test mixtures, each run"] == "31"
    assert facts["Seed of the mixtures"] == "5" and facts["Seed of the weights"] == "3"
    assert facts["Versions"] == "separatrix 9.9" and facts["Revision"] == "abc"
    assert not page.of_class("warning")


def test_a_test_of_some_mixtures_is_no_test_of_all_and_commands_name_no_place(report, weak_labels):
    folder = weak_labels()
    configuration = folder / "strong" / "config.yaml"
    configuration.write_text(configuration.read_text().replace("test_mixtures: 31", "test_mixtures: 1000"))
    shutil.copy(configuration, folder / "strong" / "test.yaml")
    _, _, page = report(folder, "--no-audio")
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert facts["Test mixtures, each run"] == "31, 31 of 1000"
    (commands,) = (text for text in page.texts("pre") if "separatrix fit" in text)
    assert "separatrix fit --config FOLDER/strong/config.yaml --run NEW/strong" in commands
    assert "separatrix test --config FOLDER/strong/test.yaml --run NEW/strong --ckpt_path best" in commands


def test_several_revisions_are_told_apart_and_procedural_sounds_are_never_passed_off_as_recordings(report, weak_labels):
    folder = weak_labels(corpus="procedural.Procedural")
    written = folder / "strong" / "environment.json"
    written.write_text(written.read_text().replace("abc", "def+"))
    _, _, page = report(folder, "--no-audio")
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert facts["Revision"] == "2 different ones, see How it was made" and facts["Machine"] == "a machine"
    rows = {"strongseparatrix 9.9def+a machine", "frameseparatrix 9.9abca machine"}
    assert rows <= {text.replace(" def+ ", "def+").replace(" abc ", "abc") for text in page.texts("tr")}
    (warning,) = page.of_class("warning")
    assert "The sounds are procedural" in warning.text and "No recordings." in warning.text


def test_what_is_not_there_yet_is_named_and_the_rest_shown(report, weak_labels):
    folder = weak_labels()
    (folder / "frame" / "scores.csv").unlink()
    (folder / "classifier_clip" / "classifier.csv").unlink()
    status, printed, page = report(folder)
    assert status == 0 and "missing: Listen:" in printed and not page.all("audio")
    for name in ("Row frame", "Classifier classifier_clip"):
        assert f"missing: {name}: it has not been tested yet." in printed
        assert f"{name}: it has not been tested yet." in page.texts("li")
    assert "Δ strong labels" in page.texts("th") and "Δ frame labels" not in page.texts("th")
    assert page.texts("h2")[:2] == ["What is missing", "The table"]


def test_domains_without_a_selection_are_named_and_the_others_shown(report, selection_copy):
    shutil.rmtree(selection_copy / "selection" / "music")
    (selection_copy / "selection" / "speech" / "scores.csv").unlink()
    status, printed, page = report(selection_copy, "--no-audio")
    assert status == 0
    for domain in ("speech", "music"):
        assert f"missing: Domain {domain}: no model was selected on its mixtures yet." in printed
    assert "environmental" in page.texts("th") and "music" not in page.texts("th")


def test_damaged_rows_cost_their_part_of_the_page_alone(report, selection_copy):
    (selection_copy / "selection" / "music" / "scores.csv").write_text("no,rows\n1,2\n")
    (selection_copy / "speech" / "curves" / "version_0" / "metrics.csv").write_text(
        "epoch,train_loss,validation_loss\n0,1,low\n"
    )
    status, printed, page = report(selection_copy, "--no-audio")
    assert status == 0 and "missing: Tables:" in printed and re.search("missing: Trainings: .*speech.*low", printed)
    assert page.texts("h2") == ["What is missing", "How it was made"]


@pytest.mark.parametrize("name", ["frame", "classifier_frame"])
def test_a_single_run_has_a_page_too(report, weak_labels, name):
    status, _, page = report(weak_labels() / name, "--no-audio")
    parts = ["The table", "Distributions"] if name == "frame" else ["Classifiers"]
    assert status == 0 and page.texts("h2") == [*parts, "Trainings", "How it was made"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "nowhere: no such folder"),
        (["."], "neither a run"),
        (["{run}", "--examples", "-1"], "--examples: -1; 0 to 50 are possible"),
        (["{run}", "--output", "{run}"], "is a folder; give the name of a file"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(report, pages, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, printed, _ = report(*(argument.format(run=pages["weak-labels"].parent) for argument in arguments))
    assert status == 2
    (line,) = printed.splitlines()
    assert line.startswith("separatrix report: ") and message in line


@pytest.mark.parametrize("file", ["config.yaml", "environment.json", "scores.csv"])
def test_brackets_that_never_close_cost_a_line(report, weak_labels, tmp_path, file):
    folder = shutil.copytree(weak_labels() / "strong", tmp_path / "strong")
    (folder / file).write_text("[" * 10**5)
    status, printed, _ = report(folder, "--no-audio")
    if file == "config.yaml":
        assert status == 2 and printed.count("\n") == 1 and "config.yaml: not readable as YAML" in printed
    else:
        assert status == 0 and ("missing: " in printed) == (file == "scores.csv")
    assert max(map(len, printed.splitlines())) < 5000
