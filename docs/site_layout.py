"""MkDocs hook: the site has the repository's layout, so that a link works in both.

README.md and RESULTS.md lie beside docs/, which alone MkDocs reads.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

TOP = ("README.md", "RESULTS.md", "LICENSE")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put what MkDocs found into docs/ again, and the files at the top beside it."""
    root, docs = Path(config.config_file_path).parent, Path(config.docs_dir)
    own = [file for file in files if file.abs_src_path and Path(file.abs_src_path).is_relative_to(docs)]
    paths = {path.relative_to(root).as_posix(): path for file in own if (path := Path(str(file.abs_src_path)))}
    paths |= {name: root / name for name in TOP}
    of_the_theme = [file for file in files if file not in own]
    of_the_repository = [File.generated(config, uri, abs_src_path=str(path)) for uri, path in paths.items()]
    return Files([*of_the_theme, *of_the_repository])
