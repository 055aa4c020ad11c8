"""Hooks of mkdocs: the repository's own files as part of the site.

The documents link as files of the repository do: README.md to docs/, docs/ to ../config/. So that
every such link leads somewhere on the site as well, pages beside docs/ are put among its pages, and
whatever else is linked is copied below repository/.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ROOT / "docs"
PAGES = {
    ROOT / "README.md": "index.md",
    ROOT / "CHANGELOG.md": "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md": "CONTRIBUTING.md",
    ROOT / "SECURITY.md": "SECURITY.md",
}
"""Pages from beside docs/, and what they are called on the site."""

LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"^(`{3,}).*?^\1`*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def place(path: Path) -> str | None:
    """Where a file of the repository is on the site; None where there is no such file."""
    if not path.is_file() or not path.is_relative_to(ROOT):
        return None  # the link stays as it is, and mkdocs says that it leads nowhere
    if path in PAGES:
        return PAGES[path]
    if path.is_relative_to(DOCUMENTS):
        return path.relative_to(DOCUMENTS).as_posix()
    return f"repository/{path.relative_to(ROOT).as_posix()}"


def targets(page: Path) -> dict[str, Path]:
    """The files that the relative links of a page lead to, by what is written."""
    written = (found[2] for found in LINK.finditer(CODE.sub("", page.read_text("utf-8"))))
    return {link: (page.parent / link).resolve() for link in written if ":" not in link}


def on_files(files: Files, *, config: Any) -> Files:
    """Add what is beside docs/: the pages, and the files that any page links to."""
    pages = [*PAGES, *sorted(DOCUMENTS.glob("*.md"))]
    linked = {path for page in pages for path in targets(page).values()}
    for path in sorted({*PAGES, *linked}):
        uri = place(path)
        if uri is not None and files.get_file_from_path(uri) is None:
            # A linked Markdown file that is no page, such as another README, is left as it is.
            level = InclusionLevel.INCLUDED if path in PAGES else InclusionLevel.NOT_IN_NAV
            made = File.generated(config, uri, abs_src_path=str(path), inclusion=level)
            files.append(made)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point relative links to where their files are on the site."""
    source = Path(page.file.abs_src_path)
    here = Path(page.file.src_uri).parent
    known = targets(source)

    def moved(found: re.Match[str]) -> str:
        path = known.get(found[2])
        uri = None if path is None else place(path)
        if uri is None:
            return found[0]
        return f"{found[1]}{Path(os.path.relpath(uri, here)).as_posix()}{found[3]}"

    return LINK.sub(moved, markdown)
