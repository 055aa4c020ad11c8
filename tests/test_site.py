"""The documentation site builds, strictly and from this repository alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted((REPOSITORY / "docs").glob("*.md"))
# A proxy that nobody listens at: what wanted to fetch something would fail.
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")


class Page(HTMLParser):
    """What a page links to and loads, and the ids of its elements."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe") and "src" in given:
            self.loaded.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "preload", "preconnect", "icon"):
            self.loaded.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(made)],
        cwd=REPOSITORY,
        env={**os.environ, **OFFLINE, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def relative(links: list[str]) -> Iterator[str]:
    return (link for link in links if not urlsplit(link).scheme and not link.startswith("//"))


def test_every_document_is_a_page_and_the_readme_is_the_first(site):
    names = {path.with_suffix(".html").name for path in DOCUMENTS}
    names |= {"index.html", "CHANGELOG.html", "CONTRIBUTING.html", "SECURITY.html"}
    assert names <= {path.name for path in site.glob("*.html")}
    assert "A daemon that finds unusual events" in (site / "index.html").read_text()


def test_every_link_leads_somewhere_on_the_site(site, pages):
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links hang on where it is served from
            continue
        for link in relative(page.links):
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            known = pages.get(target)
            if not target.exists() or (anchor and known and anchor not in known.ids):
                broken.append((path.name, link))
    assert broken == []


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    for name in ("docs/drift.md", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "docs" / "hooks.py").write_bytes((REPOSITORY / "docs" / "hooks.py").read_bytes())
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        (tmp_path / name).write_text("# A page\n\n[there](docs/drift.md#a-page) `[x](no.md)`\n")
    page = "# A page\n\n[a](nowhere.md) [b](../config/nowhere.yaml) [c](../README.md#nowhere)\n"
    (tmp_path / "docs" / "drift.md").write_text(page)
    settings = "site_name: x\nstrict: true\nhooks: [docs/hooks.py]\nexclude_docs: hooks.py\n"
    validation = "validation: {links: {anchors: warn}}\nplugins: []\n"
    (tmp_path / "mkdocs.yml").write_text(settings + validation)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode != 0
    for wrong in ("nowhere.md", "nowhere.yaml", "#nowhere"):
        assert re.search(rf"WARNING.*'[^']*{re.escape(wrong)}'", done.stderr), done.stderr
    assert "no.md" not in done.stderr
    assert done.stderr.count("WARNING") == 3


def test_files_of_the_repository_that_a_page_links_to_are_there_as_they_are(site):
    for name in ("config/transactions.yaml", "deploy/prometheus/rules.yml", "Dockerfile"):
        assert (site / "repository" / name).read_bytes() == (REPOSITORY / name).read_bytes()


def test_pages_load_nothing_from_elsewhere(pages):
    for path, page in pages.items():
        assert list(relative(page.loaded)) == page.loaded, path.name


def test_the_api_page_shows_names_docstrings_and_parameters(pages, site):
    page = pages[site / "api.html"]
    wanted = re.findall(
        r"^::: ([\w.]+)$", (REPOSITORY / "docs" / "api.md").read_text(), re.MULTILINE
    )
    assert len(wanted) > 5
    text = (site / "api.html").read_text()
    for name in wanted:
        assert name in page.ids
    assert "Raises" in text
    assert "Parameters" in text
