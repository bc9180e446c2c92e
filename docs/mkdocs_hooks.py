"""MkDocs hook: what the site has besides the pages in this folder."""

import html
import logging
import re
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# What pages link to, besides this folder.
LINKED = (
    *("README.md", "RESULTS.md", "LICENSE"),
    *("experiments/configs/**/*.yaml", "experiments/slurm/*", "experiments/sweeps/*.yaml"),
)
log = logging.getLogger("mkdocs.hooks")
elsewhere: set[str] = set()
PACKAGES = ("lightning_modules", "datamodules", "callbacks", "experiments", "separatrix")
PUBLIC_NAMES = "docs/api/separatrix.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Give the site the repository's layout, so that links work in both: docs/, and beside it what pages link to."""
    root, docs = Path(config.config_file_path).parent, Path(config.docs_dir)
    own = [file for file in files if file.abs_src_path and Path(file.abs_src_path).is_relative_to(docs)]
    paths = {path.relative_to(root).as_posix(): path for file in own if (path := Path(str(file.abs_src_path)))}
    paths |= {path.relative_to(root).as_posix(): path for pattern in LINKED for path in root.glob(pattern)}
    of_the_theme = [file for file in files if file not in own]
    of_the_repository = [File.generated(config, uri, abs_src_path=str(path)) for uri, path in paths.items()]
    return Files([*of_the_theme, *of_the_repository])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make tables of the lists of public names: each name, linked to its definition, and what its docstring says."""
    if page.file.src_uri != PUBLIC_NAMES:
        return markdown
    loader = griffe.GriffeLoader(search_paths=[Path(config.config_file_path).parent])
    *_, public = (loader.load(package) for package in PACKAGES)

    def table(names: re.Match[str]) -> str:
        lines = ["| name | what it is |", "|---|---|"]
        for name in re.findall("`(.+?)`", names[0]):
            defined = public[name].final_target
            summary = html.escape(defined.docstring.value.splitlines()[0]).replace("|", "\\|")
            lines.append(f"| [`{name}`][{defined.canonical_path}] | {summary} |")
        return "\n".join(lines) + "\n"

    return re.sub(r"^- `\w+`(?:,\s+`\w+`)*$", table, markdown, flags=re.MULTILINE)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Note the links that leave the site."""
    elsewhere.update(html.unescape(link) for link in re.findall(r'href="(https?:[^"]+)"', content))


def on_post_build(config: MkDocsConfig) -> None:
    """List them: nobody follows them here."""
    log.info("links that leave the project: %s", ", ".join(sorted(elsewhere)) or "none")
