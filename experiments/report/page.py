"""What a page is made of: parts with tables, charts, settings and mixtures to listen to; and the page itself.

The templates escape every text. What is `Markup` was drawn by this package.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Literal, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from experiments.sections import Section


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: ours.
        published: the figure it stands beside, as text.
        difference: of ours from it, marked by sign and size.
        unit: of the difference.
        judged: whether more is better, and less is worse: it is then marked by colour, too.
        share: of its column's whole, which shades the cell, in [0, 1].
    """

    text: str
    published: str = ""
    difference: float | None = None
    unit: str = "dB"
    judged: bool = True
    share: float | None = None

    @property
    def direction(self) -> str:
        """`above`, `below` or `even` with what is published, to the tenth that is shown."""
        if self.difference is None or abs(self.difference) < 0.05:
            return "even"
        return "above" if self.difference > 0 else "below"


class Table(NamedTuple):
    """A table, with a heading for every column and row.

    Attributes:
        title: of the table.
        header: of its columns, the first that of the rows' headings.
        rows: the heading and the cells of each, and the colour that stands for it, if one does.
        remarks: sentences below the table.
        published: where the published figures are from; empty where there are none.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell], str]]
    remarks: Sequence[str] = ()
    published: str = ""
    kind: str = "table"


class Charts(NamedTuple):
    """Drawings that belong together, side by side where there is room.

    Attributes:
        title: of all.
        charts: the drawings, SVG that takes the page's colours.
        caption: what they show, of how many.
        keys: names and colours of what is drawn.
        layout: `wide` where each needs half of the width, `pairs` where two belong together; else as many as fit.
    """

    title: str
    charts: Sequence[Markup]
    caption: str
    keys: Sequence[tuple[str, str]] = ()
    layout: Literal["", "wide", "pairs"] = ""
    kind: str = "charts"


class Settings(NamedTuple):
    """Text that is folded away, such as a configuration, by name."""

    title: str
    texts: Sequence[tuple[str, str]]
    kind: str = "settings"


class Sound(NamedTuple):
    """Something to hear and to see.

    Attributes:
        title: what it is.
        colour: of its system.
        score: what is said of it.
        audio: as a data URI.
        spectrogram: picture, as a data URI.
        mask: effective mask, as a data URI; empty for the mixture.
        badge: a word that sets it apart, such as `picked`.
    """

    title: str
    colour: str
    score: str
    audio: str
    spectrogram: str
    mask: str = ""
    badge: str = ""


class Example(NamedTuple):
    """A mixture and all that was made of it.

    Attributes:
        group: the class or domain that it is an example of.
        rank: `best`, `median`, `worst`, or a share of the way between.
        heading: which mixture, and its score.
        mixture: the mixture itself.
        timeline: when its classes sound, and what the judge hears; empty for pairs.
        table: figures of the whole mixture; None unless there are any.
        sources: name of each true source, and its sounds: the source itself first, then every estimate.
    """

    group: str
    rank: str
    heading: str
    mixture: Sound
    timeline: Markup | None
    table: Table | None
    sources: Sequence[tuple[str, Sequence[Sound]]]


class Listening(NamedTuple):
    """Mixtures to listen to.

    Attributes:
        title: of all.
        examples: the mixtures.
        remarks: how they were chosen and what is seen.
        spectrogram_scale: colours of the spectrograms from lowest to highest, as a data URI.
        mask_scale: those of the masks.
        lowest: level at the lower end of the spectrograms' scale, in dB.
    """

    title: str
    examples: Sequence[Example]
    remarks: Sequence[str]
    spectrogram_scale: str
    mask_scale: str
    lowest: float
    kind: str = "listening"

    @property
    def groups(self) -> list[str]:
        """Classes or domains, in their order."""
        return list(dict.fromkeys(example.group for example in self.examples))


Block = Table | Charts | Settings | Listening


class Part(NamedTuple):
    """A part of the page with its own heading.

    Attributes:
        name: of the part in links.
        title: its heading.
        blocks: what it holds.
    """

    name: str
    title: str
    blocks: Sequence[Block]


class Page(NamedTuple):
    """All that a page says.

    Attributes:
        title: what was done.
        name: of the run.
        warning: that sounds are procedural; empty where they are recordings.
        facts: what the figures are of, by name.
        missing: what could not be shown, and why.
        parts: of the page, in their order.
    """

    title: str
    name: str
    warning: str
    facts: Sequence[tuple[str, str]]
    missing: Sequence[str]
    parts: Sequence[Part]


def table_of(section: Section) -> Table:
    """A report's section as a table of the page."""
    rows = [(row[0], [Cell(text) for text in row[1:]], "") for row in section.rows]
    return Table(section.title, section.header, rows, section.remarks)


def with_minus_signs(text: str) -> str:
    """Figures with the minus sign of the page's font; hyphens in names stay."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "−", text)


def with_code(text: str) -> Markup:
    """Text in which words between backticks are marked as those of a program."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def columns(count: int, most: int) -> int:
    """Columns for so many tiles, at most so many, in as few rows as need be and with as few gaps."""
    rows = -(-count // most)
    return -(-count // max(rows, 1))


def html(page: Page) -> str:
    """The page as one HTML file, which loads nothing: its Content-Security-Policy forbids it to."""
    return _TEMPLATE.render(page=page, style=Markup(_STYLE), script=Markup(_SCRIPT), script_digest=_DIGEST)


def _read_templates() -> tuple[Template, str, str]:
    files = {file.name: file.read_text(encoding="utf-8") for file in _TEMPLATES.iterdir() if file.is_file()}
    environment = Environment(
        loader=DictLoader(files),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"minus": with_minus_signs, "code": with_code, "columns": columns}
    return environment.get_template("page.html"), files["page.css"].strip(), files["page.js"].strip()


# Read when this file is: templates that change while a page is made would belong to other code.
_TEMPLATES = resources.files("experiments.report") / "templates"
_TEMPLATE, _STYLE, _SCRIPT = _read_templates()
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
