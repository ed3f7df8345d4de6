"""What MkDocs calls while it builds the site: pages of the repository that lie outside docs/, and links to them.

On a code host a link from one file of the repository to another works as it is written. Here the same files are pages
of the site, under `project/`; a link to any other file of the repository stays as its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "ARCHITECTURE.md": "project/architecture.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
"""Files of the repository, and the pages of the site that they are."""

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_SOURCES = {page: source for source, page in PAGES.items()}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages."""
    for page, source in _SOURCES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Turn links to files of the repository into links to pages of the site."""
    here = page.file.src_uri
    source = _SOURCES.get(here, f"docs/{here}")

    def turned(found: re.Match[str]) -> str:
        words, link = found.groups()
        path, _, anchor = link.partition("#")
        if "://" in link or not path:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if place is None:
            return words
        away = posixpath.relpath(place, posixpath.dirname(here) or ".")
        return f"[{words}]({away}{'#' + anchor if anchor else ''})"

    return _LINK.sub(turned, markdown)


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Name the theme's search, which is a dialog, to those who hear it."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')
