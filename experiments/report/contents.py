"""What a report says: the parts of its page, from what lies in the folder. What is not there is said to be missing."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import yaml

from callbacks.classifier_scores import CLASSIFIER_FILE
from callbacks.rows import each_row
from callbacks.selection_rows import Evaluated, read_evaluated
from callbacks.separation_evaluation import SCORE_COLUMNS
from experiments.model_selection_table import read_findings
from experiments.report import model_selection, weak_labels
from experiments.report.drawing import Drawings
from experiments.report.learning_curves import learning_charts
from experiments.report.page import Block, Page, Part, Settings, Table, table_of
from experiments.report.run_folder import SELECTION, Run, RunFolder
from experiments.report.selection_examples import SelectionExamples
from experiments.report.separation_examples import SeparationExamples
from experiments.sections import Section
from experiments.weak_labels_table import JUDGES, ROWS
from lightning_modules.errors import InputError

TITLES = {
    "weak-labels": "Separation from weak labels",
    "model-selection": "Model selection for deep clustering",
    "run": "A single run",
}
Tell = Callable[[str], None]


class Contents:
    """Collects the parts of a page.

    Args:
        folder: what the report is of.
        examples: mixtures of each class or domain to listen to; 0 for none.
        device: that models run on.
        tell: is told what is done next.
    """

    def __init__(self, folder: RunFolder, examples: int, device: torch.device, tell: Tell) -> None:
        self.folder = folder
        self.examples = examples
        self.device = device
        self.tell = tell
        self.drawings = Drawings()
        self.missing: list[str] = []
        self.parts: list[Part] = []

    def page(self) -> Page:
        """The whole page."""
        tests = self._tests()
        if self.folder.system == "weak-labels" or self._is_of_classes(tests):
            self._separation(tests)
        elif tests:
            self._selection(tests)
        judges = [run for run in self.folder.runs if (run.folder / CLASSIFIER_FILE).is_file()]
        self._part("judges", "The judges", lambda: weak_labels.judge_blocks(judges, self.drawings), needed=bool(judges))
        trained = [run for run in self.folder.runs if list(run.folder.glob("curves/*/metrics.csv"))]
        self._part("curves", "How the trainings went", lambda: [learning_charts(trained, self.drawings)])
        self._part("made", "How it was made", lambda: made_with(self.folder.runs))
        return Page(
            TITLES[self.folder.system],
            self.folder.path.resolve().name,
            procedural(self.folder.runs),
            facts(self.folder.runs),
            self.missing,
            self.parts,
        )

    def _tests(self) -> list[Run]:
        """The runs whose rows the page is made of, in the paper's order."""
        if self.folder.system == "run":
            return [run for run in self.folder.runs if run.scores.is_file()]
        if self.folder.system == "model-selection":
            return [run for run in self.folder.runs if run.name.startswith(f"{SELECTION}/")]
        systems = ROWS[1:]
        there = [run for run in self.folder.named(systems) if run.scores.is_file()]
        names = [run.name for run in there]
        self.missing += [f"Row {name}: it has not been tested yet." for name in systems if name not in names]
        self.missing += [
            f"The judge {name}: it has not been tested yet."
            for name in JUDGES
            if not (self.folder.path / name / CLASSIFIER_FILE).is_file()
        ]
        return there

    def _is_of_classes(self, tests: Sequence[Run]) -> bool:
        if self.folder.system != "run" or not tests:
            return False
        row = next(each_row(tests[0].scores), {})
        return "model" not in row

    def _separation(self, tests: Sequence[Run]) -> None:
        if not tests:
            return
        path = self.folder.path
        names = [run.name for run in tests]
        rows = {run.name: run.scores for run in tests}
        classes = tests[0].setting("data", "classes") or list(
            dict.fromkeys(row["class"] for row in each_row(tests[0].scores, SCORE_COLUMNS))
        )
        # A single run's rows lie in the folder itself.
        where = path if self.folder.system != "run" else path.resolve().parent
        self._part("table", "The table", lambda: [weak_labels.score_table(where, classes, names)])
        self._part(
            "distributions",
            "How scores are distributed",
            lambda: [*weak_labels.distribution_charts(weak_labels.read_values(rows), classes, self.drawings)],
        )
        if self.examples:
            judge = next((run for run in self.folder.named(JUDGES) if run.best.is_file()), None)
            ranked_by = next((name for name in ("frame", "clip", "strong") if name in names), names[0])

            def listening() -> list[Block]:
                self.tell("mixtures to listen to: rendering and separating")
                made = SeparationExamples(tests, judge, self.drawings, self.device)
                found = made.listening(ranked_by, self.examples)
                self.missing.extend(made.missing)
                return [found]

            self._part("listen", "Listen", listening)

    def _selection(self, tests: Sequence[Run]) -> None:
        evaluated: Evaluated | None = None
        if self.folder.system == "run":
            evaluated = read_evaluated([run.scores for run in tests])
        else:
            names = [run.name.rpartition("/")[2] for run in tests]
            self.tell("tables: scores, bootstrap by recording")
            try:
                found = read_findings(self.folder.path, names)
            except InputError as error:
                self.missing.append(f"Tables: {error}")
                return
            evaluated = found.evaluated
            self._part("table", "The table", lambda: [model_selection.score_table(found)])
            self._part("picked", "Which model was picked", lambda: [*model_selection.confusion_tables(found)])
            self._part(
                "distributions",
                "How scores are distributed",
                lambda: [model_selection.distribution_charts(found, self.drawings)],
            )
        known = evaluated
        self._part(
            "confidence",
            "What confidence tells",
            lambda: [
                model_selection.confidence_charts(known, self.drawings),
                *(
                    [
                        model_selection.calibration_charts(found, self.drawings),
                        *model_selection.further_tables(found),
                    ]
                    if self.folder.system != "run"
                    else [single_selection(known)]
                ),
            ],
        )
        if self.examples:

            def listening() -> list[Block | None]:
                self.tell("mixtures to listen to: rendering and separating")
                made = SelectionExamples(self.folder.path, tests, known, self.device)
                block = made.listening(self.examples)
                self.missing.extend(made.missing)
                return [block]

            self._part("listen", "Listen", listening)
        self._part("embeddings", "Embeddings", lambda: [model_selection.embedding_charts(tests, self.drawings)])

    def _part(self, name: str, title: str, blocks: Callable[[], Sequence[Block | None]], needed: bool = True) -> None:
        """Add a part; where it cannot be made, say why."""
        if not needed:
            return
        try:
            made = [block for block in blocks() if block is not None]
        except InputError as error:
            self.missing.append(f"{title}: {error}")
            return
        if made:
            self.parts.append(Part(name, title, made))


def single_selection(evaluated: Evaluated) -> Table:
    """The models of one selection run: SI-SDR, confidence, how often picked."""
    rows = [
        [
            f"{model} model",
            f"{evaluated.si_sdr[:, n].mean():.1f} ± {evaluated.si_sdr[:, n].std():.1f}",
            f"{evaluated.confidence[:, n].mean():.3f}",
            f"{evaluated.picked[:, n].mean():.0%}",
        ]
        for n, model in enumerate(evaluated.models)
    ]
    header = ["model", "SI-SDR, dB", "confidence", "picked"]
    return table_of(Section("The models", header, rows, [f"Means over {len(evaluated.index)} mixtures."]))


def procedural(runs: Sequence[Run]) -> str:
    """That sounds are procedural, where any are; empty where all are recordings."""
    corpora = [run.configuration.get("data", {}).get("init_args", {}).get("corpus", {}) for run in runs]
    names = [str(corpus.get("class_path", "")).rpartition(".")[2] for corpus in corpora if isinstance(corpus, dict)]
    if not any(name.startswith("Procedural") for name in names):
        return ""
    return (
        "Procedural sounds, made by formulas: no recordings. The figures say that the system works, not how well it "
        "separates recordings; the published figures are of recordings."
    )


def facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the figures are of, by name; several values where the runs differ."""

    def distinct(values: Sequence[Any]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "", [], {})))

    def of_data(name: str) -> str:
        return distinct([run.setting("data", name) for run in runs])

    def corpus(run: Run) -> str:
        section = run.setting("data", "corpus")
        return str(section.get("class_path", "")).rpartition(".")[2] if isinstance(section, dict) else ""

    def folds(run: Run) -> str:
        named = [
            f"{split} {', '.join(map(str, run.setting('data', f'{split}_folds') or []))}"
            for split in ("train", "validation", "test")
            if run.setting("data", f"{split}_folds")
        ]
        return "; ".join(named)

    environments = [run.environment for run in runs]
    versions = [
        f"{package} {version}"
        for environment in environments
        for package, version in (environment.get("versions") or {}).items()
        if package in ("separatrix", "torch", "lightning")
    ]
    listed = [
        ("Corpus", distinct([corpus(run) for run in runs])),
        ("Folds", " | ".join(dict.fromkeys(filter(None, map(folds, runs))))),
        ("Test mixtures", of_data("test_mixtures")),
        ("Training mixtures", of_data("train_mixtures")),
        ("Mixtures an epoch", of_data("epoch_mixtures")),
        ("Length of a mixture", (length := of_data("duration")) and f"{length} s"),
        ("Sample rate", (rate := of_data("sample_rate")) and f"{rate} Hz"),
        ("Seed of the mixtures", of_data("seed")),
        ("Seed of the weights", distinct([run.configuration.get("seed_everything") for run in runs])),
        ("Versions", distinct(versions)),
        ("Revision", distinct([environment.get("revision") for environment in environments])),
        ("Machine", distinct([environment.get("machine") for environment in environments])),
    ]
    return [(name, value) for name, value in listed if value]


def made_with(runs: Sequence[Run]) -> list[Block]:
    """The commands that make every run again, and their settings."""
    blocks: list[Block] = []
    lines = []
    for run in runs:
        for file, command in (("config.yaml", "fit"), ("validate.yaml", "validate"), ("test.yaml", "test")):
            if (run.folder / file).is_file():
                lines.append([run.name, f"separatrix {command} --config {run.name}/{file} --run NEW/{run.name}"])
    if lines:
        remark = "From the folder of this report, with paths in the configurations as they were; NEW is another folder."
        blocks.append(table_of(Section("Commands", ["run", "command"], lines, [remark])))
    texts = [
        (run.name, yaml.safe_dump(run.settings(), sort_keys=False, allow_unicode=True))
        for run in runs
        if run.configuration
    ]
    if texts:
        blocks.append(Settings("Settings", texts))
    return blocks
