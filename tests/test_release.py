"""What `make release` makes, and what it refuses."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_project import project_files

import stream_detector

REPOSITORY = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("release", REPOSITORY / ".ci" / "release.py")
assert _spec is not None
assert _spec.loader is not None
release = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)

ENTRY = "# Changelog\n\n## [Unreleased]\n\n## [1.0.0] - 2026-01-02\n\n### Added\n\n- A thing.\n"


def git(where: Path, *arguments: str) -> None:
    # Neither a person's settings nor a hook of theirs.
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    command = ["git", *identity, *arguments]
    subprocess.run(command, cwd=where, env=environment, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean checkout of the files as they are now."""
    root = tmp_path_factory.mktemp("release") / "checkout"
    for path in project_files():
        copy = root / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "all")
    return root


@pytest.fixture(scope="module")
def made(checkout: Path) -> tuple[Path, str]:
    """Directory with wheel and sdist, and what was told."""
    output = checkout.parent / "dist"
    # Between two versions: released as if what is new were the last version's.
    changelog = checkout / "CHANGELOG.md"
    edge = re.compile(r"^## \[Unreleased\]\n|^(?=## \[\d)", re.MULTILINE)
    head, new, rest = edge.split(changelog.read_text(), maxsplit=2)
    if new.strip():
        title, _, text = rest.partition("\n")
        changelog.write_text(f"{head}## [Unreleased]\n\n{title}\n\n{new.strip()}\n{text}")
        git(checkout, "commit", "--quiet", "--all", "--message", "as if it were a version")
    return output, release.release(checkout, output, install=False)


def test_wheel_and_sdist_are_built_and_hold_what_they_should(made):
    output, told = made
    version = stream_detector.__version__
    names = {path.name for path in output.iterdir()}
    assert names == {
        f"stream_detector-{version}.tar.gz",
        f"stream_detector-{version}-py3-none-any.whl",
        "LICENCES.txt",
    }
    assert all(name in told for name in names)
    assert f"git tag -a v{version}" in told


def test_the_wheel_runs_outside_of_the_checkout(made, tmp_path):
    (wheel,) = made[0].glob("*.whl")
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    command = [*pip, "--no-deps", "--no-index", "--target", str(installed), str(wheel)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    code = (
        "import stream_detector as s, stream_detector.cli as c; print(s.__file__); c.build_parser()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_an_sdist_without_a_file_of_the_tests_is_refused(made, checkout):
    (sdist,) = made[0].glob("*.tar.gz")
    files = release.tracked(checkout)
    release.check_sdist(sdist, files)
    with pytest.raises(release.RefusedError, match=r"missing \['tests/data/new\.bin'\].*MANIFEST"):
        release.check_sdist(sdist, files | {"tests/data/new.bin"})
    with pytest.raises(release.RefusedError, match=r"not wanted \['tests/conftest\.py'\]"):
        release.check_sdist(sdist, files - {"tests/conftest.py"})


def test_a_wheel_without_a_module_is_refused(made, checkout):
    (wheel,) = made[0].glob("*.whl")
    files = release.tracked(checkout) | {"stream_detector/new/data.json"}
    with pytest.raises(release.RefusedError, match=r"missing \['stream_detector/new/data\.json'\]"):
        release.check_wheel(wheel, files)


def test_a_directory_that_holds_files_is_refused(made, checkout):
    with pytest.raises(release.RefusedError, match="holds files already"):
        release.release(checkout, made[0], install=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkout with nothing but a version and a changelog."""
    (tmp_path / "stream_detector").mkdir()
    (tmp_path / "stream_detector" / "__init__.py").write_text('__version__ = "1.0.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(ENTRY)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    return tmp_path


@pytest.mark.parametrize("changed", ["CHANGELOG.md", "new.py"])
def test_a_tree_with_changes_is_refused(small, changed):
    (small / changed).write_text("x")
    with pytest.raises(release.RefusedError, match=rf"in no commit:\n.*{re.escape(changed)}"):
        release.release(small, small.parent / "never", install=False)


def test_a_version_without_an_entry_is_refused(small):
    (small / "stream_detector" / "__init__.py").write_text('__version__ = "1.1.0"\n')
    git(small, "commit", "--quiet", "--all", "--message", "1.1.0")
    with pytest.raises(release.RefusedError, match=r"no entry of version 1\.1\.0"):
        release.release(small, small.parent / "never", install=False)


@pytest.mark.parametrize(
    ("changelog", "why"),
    [
        (ENTRY.replace(" - 2026-01-02", ""), "has no date"),
        (ENTRY.replace("- A thing.", ""), "says nothing"),
        (ENTRY.replace("## [1", "### Fixed\n\n- More.\n\n## [1"), "under Unreleased"),
    ],
)
def test_an_entry_that_is_not_finished_is_refused(changelog, why):
    assert release.notes(ENTRY, "1.0.0").endswith("- A thing.")
    with pytest.raises(release.RefusedError, match=why):
        release.notes(changelog, "1.0.0")


def test_the_changelog_has_the_version_and_the_newest_first():
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == stream_detector.__version__
    dates = [date for _, date in headings[1:]]
    assert all(dates)
    assert dates == sorted(dates, reverse=True)
    kinds = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
