"""What a report says: the parts of its page, from what lies in the folder. What is not there is said to be missing."""

from collections.abc import Callable, Sequence

import torch

from experiments.report import model_selection, weak_labels
from experiments.report.drawing import Drawings
from experiments.report.examples import Tell
from experiments.report.learning_curves import learning_charts
from experiments.report.page import Block, Page, Part
from experiments.report.provenance import facts, made_with, procedural
from experiments.report.run_folder import SELECTION, Run, RunFolder
from experiments.report.selection_examples import SelectionExamples
from experiments.report.separation_examples import SeparationExamples
from experiments.reproduction.model_selection_table import read_findings
from experiments.reproduction.weak_labels_table import JUDGES, ROWS
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.scores.rows import read_rows
from lightning_modules.scores.selection_rows import Evaluated, read_evaluated
from lightning_modules.scores.summary import CLASSIFIER_FILE, SCORE_COLUMNS
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.references import ReferenceSeparator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

TITLES = {
    "weak-labels": "Separation from weak labels",
    "model-selection": "Model selection for deep clustering",
    "run": "A single run",
}
# Of a single run, by the class of its model.
TITLES_OF_MODELS = {
    EventClassifier.__name__: "A sound-event classifier",
    WeakLabelSeparator.__name__: "A separator of sound classes",
    ReferenceSeparator.__name__: "A reference for separators",
    DeepClustering.__name__: "A deep clustering model",
    ModelSelection.__name__: "Model selection on one domain",
}
Blocks = Sequence[Block | None]


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
        runs = self.folder.runs
        if self.folder.system == "weak-labels":
            self._separation(self._tested_rows())
        elif self.folder.system == "model-selection":
            self._model_selection(self._tested_selections())
        elif runs[0].scores.is_file():
            self._single(runs[0])
        judges = [run for run in runs if (run.folder / CLASSIFIER_FILE).is_file()]
        self._part("judges", "Judges", lambda: weak_labels.judge_blocks(judges, self.drawings))
        self._part("curves", "Trainings", lambda: [learning_charts(runs, self.drawings)])
        self._part("made", "How it was made", lambda: made_with(self.folder))
        title = TITLES[self.folder.system]
        if self.folder.system == "run":
            title = TITLES_OF_MODELS.get(runs[0].model, title)
        return Page(title, self.folder.title, procedural(runs), facts(runs), self.missing, self.parts)

    def _tested_rows(self) -> list[Run]:
        """The separators of the weak-label table that have been tested, in the paper's order."""
        there = [run for run in self.folder.named(ROWS[1:]) if run.scores.is_file()]
        names = [run.name for run in there]
        for name in ROWS[1:]:
            if name not in names:
                self.missing.append(f"Row {name}: it has not been tested yet.")
        for name in JUDGES:
            if not (self.folder.path / name / CLASSIFIER_FILE).is_file():
                self.missing.append(f"Judge {name}: it has not been tested yet.")
        return there

    def _tested_selections(self) -> list[Run]:
        """The domains on which models have been selected; a model's own domain is expected to be one."""
        selections = [run for run in self.folder.runs if run.name.startswith(f"{SELECTION}/")]
        there = [run for run in selections if run.scores.is_file()]
        trained = [f"{SELECTION}/{run.name}" for run in self.folder.runs if run not in selections]
        for name in dict.fromkeys((*trained, *(run.name for run in selections))):
            if name not in [run.name for run in there]:
                self.missing.append(f"Domain {name.rpartition('/')[2]}: no model was selected on its mixtures yet.")
        return there

    def _single(self, run: Run) -> None:
        first: dict[str, str] = next(iter(read_rows(run.scores)), {})
        if "model" not in first:
            self._separation([run])
            return
        evaluated = read_evaluated([run.scores])
        self._part("table", "The models", lambda: [model_selection.models_table(evaluated)])
        self._part("confidence", "Confidence", lambda: [model_selection.confidence_charts(evaluated, self.drawings)])
        self._listen_to_selection([run], evaluated)
        self._part("embeddings", "Embeddings", lambda: [model_selection.embedding_charts([run], self.drawings)])

    def _separation(self, tests: Sequence[Run]) -> None:
        if not tests:
            return
        rows = {run.name: run.scores for run in tests}
        classes = [str(label) for label in tests[0].setting("data", "classes") or []] or list(
            dict.fromkeys(row["class"] for row in read_rows(tests[0].scores, SCORE_COLUMNS))
        )
        self._part("table", "The table", lambda: [weak_labels.score_table(rows, classes)])
        self._part(
            "distributions",
            "Distributions",
            lambda: weak_labels.distribution_charts(weak_labels.read_values(rows), classes, self.drawings),
        )
        judge = next((run for run in self.folder.named(JUDGES) if run.best.is_file()), None)
        ranked_by = next((name for name in ("frame", "clip", "strong") if name in rows), tests[0].name)

        def listening() -> Blocks:
            made = SeparationExamples(tests, classes, judge, self.drawings, self.device)
            block = made.listening(ranked_by, self.examples, self.tell)
            self.missing.extend(made.missing)
            return [block]

        self._listen(listening)

    def _model_selection(self, tests: Sequence[Run]) -> None:
        self.tell("tables: scores, and intervals by the bootstrap over recordings")
        try:
            found = read_findings(self.folder.path, [run.name.rpartition("/")[2] for run in tests])
        except InputError as error:
            self.missing.append(f"Tables: {error}")
            return
        drawings = self.drawings
        self._part("table", "The table", lambda: [model_selection.score_table(found)])
        self._part("picked", "Picks", lambda: model_selection.confusion_tables(found))
        self._part(
            "distributions",
            "Distributions",
            lambda: [model_selection.distribution_charts(found, drawings)],
        )
        self._part(
            "confidence",
            "Confidence",
            lambda: [
                model_selection.confidence_charts(found.evaluated, drawings),
                model_selection.calibration_charts(found, drawings),
                *model_selection.further_tables(found),
            ],
        )
        self._listen_to_selection(tests, found.evaluated)
        self._part("embeddings", "Embeddings", lambda: [model_selection.embedding_charts(tests, drawings)])

    def _listen_to_selection(self, tests: Sequence[Run], evaluated: Evaluated) -> None:
        def listening() -> Blocks:
            made = SelectionExamples(self.folder.path, tests, evaluated, self.device)
            block = made.listening(self.examples, self.tell)
            self.missing.extend(made.missing)
            return [block]

        self._listen(listening)

    def _listen(self, listening: Callable[[], Blocks]) -> None:
        if self.examples:
            self._part("listen", "Listen", listening)

    def _part(self, name: str, title: str, blocks: Callable[[], Blocks]) -> None:
        """Add a part; where it cannot be made, say why."""
        try:
            made = [block for block in blocks() if block is not None]
        except InputError as error:
            self.missing.append(f"{title}: {error}")
            return
        if made:
            self.parts.append(Part(name, title, made))
