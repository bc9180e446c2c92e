"""The documentation site: complete, whole, and readable from the disk without a network."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import separatrix

ROOT = Path(__file__).parents[1]
PACKAGES = ("lightning_modules", "datamodules", "callbacks", "experiments")


class Links(HTMLParser):
    """What a page names: its anchors, where its links lead, and what a browser loads with it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.add(values.get("id", ""))
        if tag == "a":
            self.targets.append(values.get("href", ""))
        elif tag == "link" and values.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.append(values.get("href", ""))
        self.loaded.append(values.get("src", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "links that leave the project: " in built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    return {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}


def public_names() -> Iterator[str]:
    """Every public module, class and function, and every method that has a docstring, by its full name."""
    for path in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.name == "__init__.py":
            continue
        module = ".".join(parts)
        yield module
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"
                members = node.body if isinstance(node, ast.ClassDef) else []
                methods = (each for each in members if isinstance(each, ast.FunctionDef) and ast.get_docstring(each))
                yield from (f"{module}.{node.name}.{each.name}" for each in methods if not each.name.startswith("_"))


def test_every_public_name_has_its_place_in_the_reference(pages):
    anchors = set().union(*(page.anchors for page in pages.values()))
    names = list(public_names())
    assert len(names) > 400 and not [name for name in names if name not in anchors]


def test_the_page_of_public_names_has_each_of_them_once():
    listed = re.findall(r"`(\w+)`", (ROOT / "docs" / "api" / "separatrix.md").read_text().split("\n## ", 1)[1])
    assert sorted(listed) == sorted(separatrix.__all__)


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor(pages):
    broken, followed = [], 0
    for page, links in pages.items():
        for target in links.targets:
            address = urlsplit(target)
            if address.scheme:
                continue
            file = (page.parent / unquote(address.path)).resolve() if address.path else page
            followed += 1
            known = file.exists() and (file.suffix != ".html" or not address.fragment or file in pages)
            if not known or (address.fragment and unquote(address.fragment) not in pages[file].anchors):
                broken.append((page.name, target))
    assert followed > 1000 and not broken


def test_no_page_loads_anything_from_elsewhere(site, pages):
    loaded = {address for page in pages.values() for address in page.loaded if address}
    assert loaded and not [address for address in loaded if urlsplit(address).netloc]
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\([\"']?(https?:)?//", style.read_text()), style
