"""How values, tables and examples look in TensorBoard."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from callbacks.tracker import Example, Tracker
from lightning_modules.scores.rows import read_rows

MOST_ROWS = 200  # of a table, which TensorBoard shows as text


class TensorBoardTracker(Tracker):
    """Logs through a `torch.utils.tensorboard.SummaryWriter`, each sound and picture under a name of its own."""

    program = "TensorBoard"

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self.run.add_scalar(name, float(value), step)

    def show_figures(self, figures: Mapping[str, float]) -> None:
        """Show them as a table: a chart of one point says nothing."""
        self._show_table(self.command, ("figure", "value"), figures.items())

    def show_rows(self, path: Path) -> None:
        """Show the table as text; of more than `MOST_ROWS` rows nothing, the file is in the run's folder."""
        rows = read_rows(path)
        if 0 < len(rows) <= MOST_ROWS:
            self._show_table(f"tables/{path.stem}", rows[0], (row.values() for row in rows))

    def show_examples(self, name: str, examples: Sequence[Example], rate: int, step: int) -> None:
        step = self.step_of(step)
        for example in examples:
            place = f"{name}/{example.mixture}/{example.source}"
            for sound in ("mixture_audio", "truth", "estimate"):
                self.run.add_audio(f"{place}/{sound}", getattr(example, sound), step, rate)
            self.run.add_image(f"{place}/spectrograms", example.spectrograms, step, dataformats="HWC")
            self.run.add_text(
                place,
                f"{example.model}, SI-SDR in dB: {example.input_si_sdr_db} before, {example.si_sdr_db} after",
                step,
            )
        self.run.flush()

    def _show_table(self, name: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        columns = list(columns)
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |" for line in lines)
        self.run.add_text(name, text, self.step_of(None))
