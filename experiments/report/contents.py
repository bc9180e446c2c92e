"""What a report says: the parts of its page, from what lies in the folder. What is not there is said to be missing."""

from collections.abc import Callable, Sequence

from experiments.report import model_selection, weak_labels
from experiments.report.examples import ExampleOptions, ShowLine, selection_examples, separation_examples
from experiments.report.learning_curves import learning_charts
from experiments.report.page import Block, Page, Part
from experiments.report.provenance import compared, facts, made_with, procedural
from experiments.report.run_folder import SELECTION, Run, RunFolder
from experiments.reproduction.model_selection_table import further_tables, read_findings
from experiments.reproduction.sources import DOMAINS
from experiments.reproduction.weak_labels_table import CLASSIFIERS, ROWS
from lightning_modules.errors import InputError
from lightning_modules.run_files import CLASSIFIER_FILE, SCORES_FILE
from lightning_modules.scores import is_class
from lightning_modules.scores.rows import read_rows
from lightning_modules.scores.selection_rows import Evaluated, read_evaluated
from lightning_modules.scores.summary import SCORE_COLUMNS

TITLES = {
    "weak-labels": "Separation from weak labels",
    "model-selection": "Model selection for deep clustering",
    "run": "A single run",
    # Of a single run, by the class of its model.
    "EventClassifier": "A sound-event classifier",
    "WeakLabelSeparator": "A separator of sound classes",
    "ReferenceSeparator": "A reference for separators",
    "DeepClustering": "A deep clustering model",
    "ModelSelection": "Model selection on one domain",
    "LearntSelection": "Model selection on one domain",
}
Blocks = Sequence[Block | None]


class Contents:
    """Collects the parts of a page, with so many mixtures of each class or domain to listen to."""

    def __init__(self, folder: RunFolder, examples: int, show: ShowLine) -> None:
        self.folder = folder
        self.missing: list[str] = []
        self.options = ExampleOptions(examples, show, self.missing.append)
        self.parts: list[Part] = []

    def page(self) -> Page:
        """The whole page."""
        runs = self.folder.runs
        title = TITLES[self.folder.system]
        if self.folder.system == "weak-labels":
            self._separation(self._tested_rows())
        elif self.folder.system == "model-selection":
            self._model_selection(self._tested_selections())
        else:
            title = TITLES.get(runs[0].model, title)
            if runs[0].files.scores.is_file():
                self._single(runs[0])
        classifiers = [run for run in runs if run.files.classifier_scores.is_file()]
        self._part("classifiers", "Classifiers", lambda: weak_labels.classifier_blocks(classifiers))
        self._part("curves", "Trainings", lambda: [learning_charts(runs)])
        self._part("made", "How it was made", lambda: made_with(self.folder))
        return Page(title, self.folder.title, procedural(runs), facts(runs), self.missing, self.parts)

    def _tested_rows(self) -> list[Run]:
        """The separators of the weak-label table that have been tested, in the paper's order."""
        wanted = [("Row", name, SCORES_FILE) for name in ROWS[1:]]
        for what, name, file in (*wanted, *(("Classifier", name, CLASSIFIER_FILE) for name in CLASSIFIERS)):
            if not (self.folder.path / name / file).is_file():
                self.missing.append(f"{what} {name}: it has not been tested yet.")
        return [run for run in self.folder.named(ROWS[1:]) if run.files.scores.is_file()]

    def _tested_selections(self) -> list[Run]:
        """The domains on which models have been selected; a model's own domain is expected to be one."""
        selections = {run.name: run for run in self.folder.runs if run.name.startswith(f"{SELECTION}/")}
        trained = [f"{SELECTION}/{run.name}" for run in self.folder.runs if run.name not in selections]
        there = [run for run in selections.values() if run.files.scores.is_file()]
        self.missing += [
            f"Domain {name.rpartition('/')[2]}: no model was selected on its mixtures yet."
            for name in dict.fromkeys((*trained, *selections))
            if name not in [run.name for run in there]
        ]
        return there

    def _single(self, run: Run) -> None:
        if "model" not in next(iter(read_rows(run.files.scores)), {}):
            self._separation([run])
            return
        evaluated = read_evaluated([run.files.scores])
        self._part("table", "The models", lambda: [model_selection.models_table(evaluated)])
        self._part("confidence", "Confidence", lambda: [model_selection.confidence_charts(evaluated)])
        self._selected([run], evaluated)

    def _separation(self, tests: Sequence[Run]) -> None:
        if not tests:
            return
        scores = {run.name: run.files.scores for run in tests}
        classes = [str(label) for label in tests[0].tested("classes") or []]
        if not classes:
            found = dict.fromkeys(row["class"] for row in read_rows(tests[0].files.scores, SCORE_COLUMNS))
            classes = [label for label in found if is_class(label)]
        classifier = next((run for run in self.folder.named(CLASSIFIERS) if run.files.best.is_file()), None)
        self._part("table", "The table", lambda: weak_labels.tables(scores, classes, compared(tests)))
        self._part("distributions", "Distributions", lambda: weak_labels.distribution_charts(scores, classes))
        if self.options.examples:
            self._part("listen", "Listen", lambda: [separation_examples(tests, classes, classifier, self.options)])

    def _model_selection(self, tests: Sequence[Run]) -> None:
        self.options.show("tables: scores, and intervals by the bootstrap over recordings")
        try:
            names = {run.name.rpartition("/")[2]: run for run in tests}
            papers = [run for name, run in names.items() if name in DOMAINS]
            found = read_findings(self.folder.path, [*names], compared(papers))
        except InputError as error:
            self.missing.append(f"Tables: {error}")
            return
        table, picks = model_selection.coloured_tables(found)
        self._part("table", "The table", lambda: [table])
        self._part("picked", "Picks", lambda: picks)
        self._part("distributions", "Distributions", lambda: [model_selection.distribution_charts(found)])
        confidence: list[Block] = [
            model_selection.confidence_charts(found.evaluated),
            model_selection.calibration_charts(found),
            *further_tables(found),
        ]
        self._part("confidence", "Confidence", lambda: confidence)
        self._selected(tests, found.evaluated)

    def _selected(self, tests: Sequence[Run], evaluated: Evaluated) -> None:
        """Mixtures to listen to, and pictures of embeddings."""
        if self.options.examples:
            self._part(
                "listen", "Listen", lambda: [selection_examples(self.folder.path, tests, evaluated, self.options)]
            )
        self._part("embeddings", "Embeddings", lambda: [model_selection.embedding_charts(tests)])

    def _part(self, name: str, title: str, blocks: Callable[[], Blocks]) -> None:
        """Add a part; where it cannot be made, say why."""
        try:
            made = [block for block in blocks() if block is not None]
        except InputError as error:
            self.missing.append(f"{title}: {error}")
            return
        if made:
            self.parts.append(Part(name, title, made))
