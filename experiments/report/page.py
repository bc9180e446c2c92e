"""What a page is made of, and the page itself. The templates escape every text but `Markup`, which charts.py draws."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from experiments.tables import Table


@dataclass(frozen=True)
class Charts:
    """Drawings that belong together, side by side where there is room."""

    title: str
    charts: Sequence[Markup]  # SVG in the page's colours
    caption: str  # what they show, of how many
    keys: Sequence[tuple[str, str]] = ()  # names and colours of what is drawn
    layout: Literal["", "wide", "pairs"] = ""  # half of the width each, two side by side, or as many as fit
    kind = "charts"


@dataclass(frozen=True)
class Settings:
    """Text that is folded away, such as a configuration, by name."""

    title: str
    texts: Sequence[tuple[str, str]]
    kind = "settings"


class Sound(NamedTuple):
    """A player and its pictures: sounds and pictures are data URIs; the mixture has no mask."""

    title: str
    colour: str
    score: str
    audio: str
    spectrogram: str
    mask: str = ""
    badge: str = ""  # a word that sets it apart, such as `picked`


class Example(NamedTuple):
    """A mixture and all that was made of it."""

    group: str  # class or domain
    rank: str  # `best`, `median`, `worst`, or a share of the way between
    heading: str
    mixture: Sound
    sources: Sequence[tuple[str, Sequence[Sound]]]  # name of each; the true source, then every estimate
    timeline: Markup | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Listening:
    """Mixtures to listen to, and how they were chosen and are shown."""

    title: str
    examples: Sequence[Example]
    notes: Sequence[str]
    spectrogram_scale: str  # colours from lowest to highest, as a data URI
    mask_scale: str
    lowest: float  # of the spectrograms' scale, in dB
    kind = "listening"

    @property
    def groups(self) -> list[str]:
        """Classes or domains, in their order."""
        return list(dict.fromkeys(example.group for example in self.examples))


Block = Table | Charts | Settings | Listening


class Part(NamedTuple):
    """A part of the page: its name in links, its heading, and its blocks."""

    name: str
    title: str
    blocks: Sequence[Block]


class Page(NamedTuple):
    """All that a page says."""

    title: str
    name: str  # of the run
    warning: str  # that sounds are procedural; empty where they are recordings
    facts: Sequence[tuple[str, str]]  # what the figures are of, by name
    missing: Sequence[str]  # what could not be shown, and why
    parts: Sequence[Part]


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
    template = _ENVIRONMENT.get_template("page.html")
    return template.render(page=page, style=Markup(_FILES["page.css"]), script=Markup(_SCRIPT), script_digest=_DIGEST)


# Read when this file is: templates that change while a page is made would belong to other code.
_TEMPLATES = resources.files("experiments.report") / "templates"
_FILES = {file.name: file.read_text(encoding="utf-8") for file in _TEMPLATES.iterdir() if file.is_file()}
_SCRIPT = _FILES["page.js"].strip()
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_ENVIRONMENT = Environment(
    loader=DictLoader(_FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters |= {"minus": with_minus_signs, "code": with_code, "columns": columns}
