"""Folders with rows and no model, as reproductions leave them, and a reader of the pages made of them."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from experiments.cli import main
from lightning_modules.scores.rows import write_rows
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, SELECTION_SCORES
from lightning_modules.scores.summary import CLASSIFIER_COLUMNS, SCORE_COLUMNS

CLASSES = ("car_horn", "siren")
SYSTEMS = ("clip", "frame", "strong", "oracle_activity_mask", "ideal_ratio_mask")
DOMAINS = ("speech", "music", "environmental")
VOID = {"meta", "img", "br", "input", "link"}


class Element(NamedTuple):
    """An element of a page, with its own text and that of what it holds."""

    name: str
    attributes: dict[str, str | None]
    inner: list[str]

    @property
    def text(self) -> str:
        return " ".join("".join(self.inner).split())


class Reader(HTMLParser):
    """Reads a page; refuses one whose elements are not closed in the order in which they were opened."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(path.read_text())
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(Element(tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append(Element(tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop().name == tag, tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.inner.append(data)

    def all(self, *names: str) -> list[Element]:
        return [element for element in self.elements if element.name in names]

    def texts(self, name: str) -> list[str]:
        return [element.text for element in self.all(name)]

    def of_class(self, name: str) -> list[Element]:
        return [element for element in self.elements if name in (element.attributes.get("class") or "").split()]


@pytest.fixture(scope="session")
def pages(weak_labels, model_selection):
    """The pages of rows of both systems, by system."""
    folders = {"weak-labels": weak_labels(), "model-selection": model_selection}
    for folder in folders.values():
        assert main(["report", str(folder), "--no-audio"]) == 0
    return {system: folder / "report.html" for system, folder in folders.items()}


@pytest.fixture
def report(capsys):
    """A function that runs `separatrix report` and gives its exit status, what it printed, and the page."""

    def run(folder, *arguments):
        status = main(["report", str(folder), *map(str, arguments)])
        page = Path(folder) / "report.html"
        return status, "".join(capsys.readouterr()), Reader(page) if page.is_file() else None

    return run


def write_run(folder: Path, model: str, corpus: str, classes: Any = ()) -> Path:
    data = {
        "corpus": {"class_path": f"datamodules.corpora.{corpus}", "init_args": {"root": "/secret/place"}},
        "classes": list(classes),
        "test_mixtures": 31,
        "seed": 5,
    }
    settings = {
        "seed_everything": 3,
        "trainer": {"max_epochs": 4, "precision": None},
        "model": {"class_path": f"lightning_modules.{model}", "init_args": {"classes": list(classes)}},
        "data": {"class_path": "datamodules.urban_scenes.UrbanScenes", "init_args": data},
    }
    (folder / "curves" / "version_0").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    versions = {"versions": {"separatrix": "9.9"}, "revision": "abc", "machine": "a machine"}
    (folder / "environment.json").write_text(json.dumps(versions))
    lines = ["epoch,train_loss,validation_loss", *(f"{epoch},{9 - epoch},{8 - epoch}" for epoch in range(3))]
    (folder / "curves" / "version_0" / "metrics.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def weak_labels(tmp_path_factory):
    """A function that leaves the rows of a weak-label reproduction, of these classes, and gives its folder."""

    def make(classes=CLASSES, corpus="urbansound8k.UrbanSound8K"):
        output = tmp_path_factory.mktemp("rows") / "weak-labels"
        generator = np.random.default_rng(0)
        before = generator.normal(-4, 3, (30, len(classes)))
        for number, system in enumerate(SYSTEMS):
            run = write_run(output / system, "separator.WeakLabelSeparator", corpus, classes)
            after = before + generator.normal(number, 2, before.shape)
            rows = [
                (index, label, "", before[index, c], after[index, c], after[index, c] - before[index, c])
                for index in range(30)
                for c, label in enumerate(classes)
            ]
            nan = float("nan")
            write_rows(run / "scores.csv", SCORE_COLUMNS, [*rows, (30, classes[0], "single class", nan, nan, nan)])
        for supervision in ("frame", "clip"):
            run = write_run(output / f"classifier_{supervision}", "classifier.EventClassifier", corpus, classes)
            scores = [
                (supervision, level, label, 0.9, 0.8, 0.7, 100, 40) for level in ("frame", "clip") for label in classes
            ]
            write_rows(run / "classifier.csv", CLASSIFIER_COLUMNS, scores)
        return output

    return make


@pytest.fixture(scope="session")
def model_selection(tmp_path_factory):
    """The folder of a model-selection reproduction's rows: each domain's own model does best there."""
    output = tmp_path_factory.mktemp("rows") / "model-selection"
    generator = np.random.default_rng(1)
    for domain in DOMAINS:
        write_run(output / domain, "deep_clustering.DeepClustering", "librispeech.LibriSpeech")
        run = write_run(output / "selection" / domain, "selection.ModelSelection", "librispeech.LibriSpeech")
        rows = []
        for index in range(12):
            si_sdr = generator.normal(0, 2, 3) + 6 * (np.array(DOMAINS) == domain)
            confidence = 0.02 * si_sdr + 0.3
            for number, model in enumerate(DOMAINS):
                scores = [confidence[number] if name != "cluster_balance" else 0.5 for name in SELECTION_SCORES]
                told = *scores, int(number == confidence.argmax())
                for source in range(2):
                    scores = "", -1.0, si_sdr[number] + source
                    rows.append((index, domain, f"r{index}|s{index}", model, source, *scores, *told))
        for file in ("scores.csv", "validation_scores.csv"):
            write_rows(run / file, SELECTION_COLUMNS, rows)
    return output


@pytest.fixture
def selection_copy(model_selection, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(model_selection, tmp_path / "copy")
