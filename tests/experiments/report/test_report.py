"""Pages made of rows alone: what they say, that they are safe to open and to read, and what is said to be missing."""

import base64
import hashlib
import itertools
import re
import shutil

import numpy as np
import pytest

from experiments.reproduction.model_selection_table import published_means

HEADINGS = ("h1", "h2", "h3", "h4", "h5")


@pytest.fixture(params=["weak-labels", "model-selection"])
def page(request, pages, read_page):
    """A page of each system."""
    return read_page(pages[request.param])


def test_the_page_loads_nothing_and_runs_no_other_script(page):
    addresses = [
        value
        for element in page.elements
        for name, value in element.attributes.items()
        if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset")
    ]
    assert addresses and all(value.startswith(("data:", "#")) for value in addresses)
    assert not page.all("link", "iframe", "object", "embed", "base")
    policy = next(
        e.attributes["content"] for e in page.all("meta") if "Content-Security-Policy" in e.attributes.values()
    )
    (script,) = page.all("script")
    digest = base64.b64encode(hashlib.sha256("".join(script.inner).encode()).digest()).decode()
    assert policy.split("; ")[0] == "default-src 'none'" and f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"url\((?!#)", "".join(page.all("style")[0].inner))
    assert not [name for element in page.elements for name in element.attributes if name.startswith("on")]


def test_the_page_can_be_found_through_without_seeing_it(page):
    levels = [int(element.name[1]) for element in page.all(*HEADINGS)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    named = [
        element.attributes["aria-labelledby"] for element in page.elements if "aria-labelledby" in element.attributes
    ]
    linked = [e.attributes["href"].removeprefix("#") for e in page.all("a")]
    assert {*named, *linked} <= set(ids)
    for name in ("header", "nav", "main", "footer"):
        assert len(page.all(name)) == 1
    assert all(element.attributes.get("alt") for element in page.all("img"))
    drawings = page.all("svg")
    assert drawings and all(e.attributes["role"] == "img" and e.attributes["aria-label"] for e in drawings)
    assert all(element.attributes.get("scope") in ("col", "row") for element in page.all("th"))
    captions = [element.text for element in page.all("figcaption")]
    assert len(captions) == len(page.all("figure")) and all("n" in c and re.search(r"\d", c) for c in captions)


def test_the_weak_label_table_shows_ours_the_published_figure_and_the_difference(pages, read_page):
    page = read_page(pages["weak-labels"])
    start = next(i for i, e in enumerate(page.elements) if e.text == "Δ frame labels")
    cell = page.elements[start:][next(i for i, e in enumerate(page.elements[start:]) if e.name == "td")]
    figures = re.fullmatch(r"(−?[\d.]+) ± [\d.]+ (−?[\d.]+) ± [\d.]+ [▲▼=] ([+−][\d.]+) dB", cell.text)
    assert figures
    ours, published, difference = figures.groups()
    ours, published, difference = (float(figure.replace("−", "-")) for figure in (ours, published, difference))
    assert published == 7.0 and difference == pytest.approx(ours - published)
    mark = next(e for e in page.elements[start:] if "difference" in e.classes)
    assert ("above" if difference > 0 else "below") in mark.classes


def test_the_model_selection_table_has_every_published_row_and_domain(pages, read_page):
    page = read_page(pages["model-selection"])
    table, following = (page.elements.index(table) for table in page.all("table")[:2])
    spans = [e for e in page.elements[table:following] if e.name == "span" and "published" in e.classes]
    wanted = published_means(("speech", "music", "environmental"))
    shown = sorted(float(e.text.replace("−", "-")) for e in spans if re.fullmatch(r"−?[\d.]+", e.text))
    np.testing.assert_allclose(shown, sorted(wanted.values()), atol=0.051)


def test_names_from_files_are_shown_as_they_are(report, read_page, weak_labels):
    names = ("<script>alert(1)<", '"><img src=x onerror=alert(2)>', "$\\frac{a}{b}$ {{ 7 * 7 }}")
    folder = weak_labels(names)
    status, printed = report(folder, "--no-audio")
    assert status == 0, printed
    page = read_page(folder / "report.html")
    assert len(page.all("script")) == 1
    assert not [e for e in page.elements if "onerror" in e.attributes or e.attributes.get("src") == "x"]
    headings = [e.text for e in page.all("th")]
    drawn = [e.text for e in page.all("text")]
    for name in names:
        assert name in headings and name in drawn


@pytest.mark.parametrize("system", ["weak-labels", "model-selection"])
def test_the_same_run_gives_the_same_page_wherever_it_lies(system, report, pages, tmp_path):
    folder = pages[system].parent
    moved = tmp_path / folder.parent.name / folder.name
    shutil.copytree(folder, moved)
    report(moved, "--no-audio")
    page = pages[system].read_text()
    assert page == (moved / "report.html").read_text()
    assert "/secret/place" not in page and str(folder.parent.parent) not in page


def test_the_head_says_what_the_figures_are_of(pages, read_page):
    page = read_page(pages["weak-labels"])
    facts = dict(zip([e.text for e in page.all("dt")], [e.text for e in page.all("dd")], strict=True))
    assert facts["Corpus"] == "UrbanSound8K" and facts["Test mixtures, each run"] == "30"
    assert facts["Seed of the mixtures"] == "5" and facts["Seed of the weights"] == "3"
    assert facts["Versions"] == "separatrix 9.9" and facts["Revision"] == "abc"
    assert not [e for e in page.elements if "warning" in e.classes]


def test_runs_of_several_revisions_are_told_apart_below(report, read_page, weak_labels):
    folder = weak_labels()
    written = folder / "strong" / "environment.json"
    written.write_text(written.read_text().replace("abc", "def+"))
    report(folder, "--no-audio")
    page = read_page(folder / "report.html")
    facts = dict(zip([e.text for e in page.all("dt")], [e.text for e in page.all("dd")], strict=True))
    assert facts["Revision"] == "2 different ones, see How it was made" and facts["Machine"] == "a machine"
    rows = [e.text for e in page.all("tr")]
    assert {"strongseparatrix 9.9 def+ a machine", "frameseparatrix 9.9 abc a machine"} <= set(rows)


def test_procedural_sounds_are_never_passed_off_as_recordings(report, read_page, weak_labels):
    folder = weak_labels(corpus="procedural.Procedural")
    report(folder, "--no-audio")
    (warning,) = [e for e in read_page(folder / "report.html").elements if "warning" in e.classes]
    assert "The sounds are procedural" in warning.text and "No recordings." in warning.text


def test_rows_that_are_not_there_yet_are_named_and_the_others_shown(report, read_page, weak_labels):
    folder = weak_labels()
    (folder / "frame" / "scores.csv").unlink()
    (folder / "judge_clip" / "classifier.csv").unlink()
    status, printed = report(folder, "--no-audio")
    assert status == 0
    page = read_page(folder / "report.html")
    for name in ("Row frame", "Judge judge_clip"):
        assert f"{name}: it has not been tested yet." in printed.replace("missing: ", "")
        assert [e for e in page.all("li") if e.text == f"{name}: it has not been tested yet."]
    headings = [e.text for e in page.all("th")]
    assert "Δ strong labels" in headings and "Δ frame labels" not in headings


def test_domains_without_a_selection_are_named_and_the_others_shown(report, read_page, model_selection, tmp_path):
    folder = shutil.copytree(model_selection, tmp_path / "half")
    shutil.rmtree(folder / "selection" / "music")
    (folder / "selection" / "speech" / "scores.csv").unlink()
    status, printed = report(folder, "--no-audio")
    assert status == 0
    for domain in ("speech", "music"):
        assert f"missing: Domain {domain}: no model was selected on its mixtures yet." in printed
    headings = [e.text for e in read_page(folder / "report.html").all("th")]
    assert "environmental" in headings and "music" not in headings


def test_damaged_rows_cost_their_part_of_the_page_alone(report, read_page, model_selection, tmp_path):
    folder = shutil.copytree(model_selection, tmp_path / "damaged")
    (folder / "selection" / "music" / "scores.csv").write_text("no,rows\n1,2\n")
    status, printed = report(folder, "--no-audio")
    assert status == 0 and "missing: Tables:" in printed
    page = read_page(folder / "report.html")
    assert "Trainings" in [e.text for e in page.all("h2")]


def test_without_models_and_sounds_the_page_is_made_and_says_what_is_missing(report, read_page, weak_labels):
    folder = weak_labels()
    status, printed = report(folder)
    assert status == 0 and "missing: Listen:" in printed
    page = read_page(folder / "report.html")
    assert [e.text for e in page.all("h2")][:2] == ["What is missing", "The table"] and not page.all("audio")


@pytest.mark.parametrize("name", ["frame", "judge_frame"])
def test_a_single_run_has_a_page_too(report, read_page, weak_labels, name):
    folder = weak_labels() / name
    status, _ = report(folder, "--no-audio", "--output", folder / "page.html")
    assert status == 0
    titles = [e.text for e in read_page(folder / "page.html").all("h2")]
    assert titles == [
        *(["The table", "Distributions"] if name == "frame" else ["Judges"]),
        "Trainings",
        "How it was made",
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "nowhere: no such folder"),
        (["."], "neither a run"),
        (["{run}", "--examples", "-1"], "--examples: -1; 0 to 50 are possible"),
        (["{run}", "--output", "{run}"], "is a folder; give the name of a file"),
        (["{run}", "--device", "typewriter"], "--device typewriter: cannot be used here"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(report, weak_labels, tmp_path, monkeypatch, arguments, message):
    folder = weak_labels()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    status, printed = report(*(argument.format(run=folder) for argument in arguments))
    assert status == 2
    (line,) = printed.splitlines()
    assert line.startswith("separatrix report: ") and message in line
