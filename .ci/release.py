"""Makes a release: ``make release`` builds wheel and sdist into dist/ and looks at both.

Refuses a tree with changes that are in no commit, and a version without an entry in the changelog.
The wheel is installed into an empty environment outside of the checkout, beside what is locked,
and runs the demo there; what is installed then is written down (a bill of materials in CycloneDX,
licences), and base images by digest.
Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import images
import licences
import lock

PACKAGE = "stream_detector"
BUILDS = frozenset({"PKG-INFO", "setup.cfg"})
"""What building adds to an sdist, beside the directory ``*.egg-info``."""

DEMO = ("demo", "--events", "30000", "--seconds", "600")
"""So many events that some alert; ended by their number, so that a busy machine gives the same."""

TIMEOUT_SECONDS = 900


class RefusedError(Exception):
    """The release is not made. The message says what to do."""


def run(*command: str | Path, where: Path, **environment: str) -> str:
    """Run a command to its end and give what it prints; RefusedError where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=where,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        shown = " ".join(map(str, command))
        raise RefusedError(f"{shown} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def version_of(root: Path) -> str:
    """Read the version out of the package, without importing it."""
    text = (root / PACKAGE / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RefusedError(f"{PACKAGE}/__init__.py has no __version__")
    return found[1]


def tracked(root: Path) -> set[str]:
    """Name the files under version control; RefusedError where the work tree differs from them."""
    changes = run("git", "status", "--porcelain", where=root)
    if changes:
        raise RefusedError(f"commit or put away first what is in no commit:\n{changes}")
    return set(filter(None, run("git", "ls-files", "-z", where=root).split("\0")))


def notes(changelog: str, version: str) -> str:
    """Give the changelog's entry of a version; RefusedError where there is none to release."""
    parts = re.split(r"^## \[([^\]]+)\](.*)$", changelog, flags=re.MULTILINE)
    entries = {
        name: (rest.strip(), text.strip())
        for name, rest, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }
    if entries.get("Unreleased", ("", ""))[1]:
        raise RefusedError("CHANGELOG.md has entries under Unreleased: move them below a version")
    if version not in entries:
        raise RefusedError(f"CHANGELOG.md has no entry of version {version}: ## [{version}] - DATE")
    date, text = entries[version]
    if not re.fullmatch(r"- \d{4}-\d\d-\d\d", date):
        raise RefusedError(f"CHANGELOG.md: version {version} has no date: ## [{version}] - DATE")
    if not re.search(r"^- ", text, re.MULTILINE):
        raise RefusedError(f"CHANGELOG.md: the entry of version {version} says nothing")
    return text


def build(root: Path, output: Path) -> tuple[Path, Path]:
    """Build sdist and, out of it, wheel, with the build tools that are installed."""
    moment = run("git", "log", "-1", "--format=%ct", where=root).strip()
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", output, root)
    run(*command, where=root, SOURCE_DATE_EPOCH=moment)
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, where=root)
    return sdist, wheel


def check_sdist(sdist: Path, files: set[str]) -> None:
    """Hold that an sdist has every file of version control, tests included, and no other."""
    with tarfile.open(sdist) as archive:
        members = (entry.name.partition("/")[2] for entry in archive if entry.isfile())
        held = {name for name in members if ".egg-info/" not in name} - BUILDS
    if held != files:
        raise RefusedError(_difference(sdist, held, files, "MANIFEST.in"))


def check_wheel(wheel: Path, files: set[str]) -> None:
    """Hold that a wheel has the package's files and no other."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {name for name in files if name.startswith(f"{PACKAGE}/")}
    if held != expected:
        raise RefusedError(_difference(wheel, held, expected, "package-data in pyproject.toml"))


def _difference(archive: Path, held: set[str], expected: set[str], where: str) -> str:
    missing, stray = sorted(expected - held), sorted(held - expected)
    return f"{archive.name}: missing {missing}, not wanted {stray}; see {where}"


def check_installed(wheel: Path, version: str, root: Path, bill: Path) -> None:
    """Run the demo of a wheel beside what is locked, outside the checkout, and write its parts.

    Args:
        wheel: to install.
        version: that it should say.
        root: of the checkout.
        bill: file that gets the software bill of materials (CycloneDX, JSON).
    """
    locked = root / "requirements.lock"
    with tempfile.TemporaryDirectory(prefix="stream-detector-release-") as place:
        empty = Path(place)
        run(sys.executable, "-m", "venv", empty / "venv", where=empty)
        programmes = empty / "venv" / "bin"
        pip = (programmes / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
        hashed = ("install", "--require-hashes", "--requirement", locked)
        run(*pip, *hashed, where=empty, PYTHONPATH="")
        run(*pip, "install", "--no-deps", wheel, where=empty, PYTHONPATH="")
        run(*pip, "check", where=empty, PYTHONPATH="")
        command = programmes / "stream-detector"
        shown = run(command, "--version", where=empty, PYTHONPATH="").split()[-1]
        if shown != version:
            raise RefusedError(f"the installed programme says version {shown}, not {version}")
        demo = run(command, *DEMO, where=empty, PYTHONPATH="")
        if not re.search(r"^alerts +[1-9]", demo, re.MULTILINE):
            raise RefusedError(f"the installed demo shows no alert:\n{demo}")
        parts = (sys.executable, "-m", "cyclonedx_py", "environment", "--no-validate")
        parts += (
            "--output-reproducible",
            "--pyproject",
            root / "pyproject.toml",
            "--output-file",
            bill,
        )
        run(*parts, programmes / "python", where=empty)


def write_licences(root: Path, output: Path) -> None:
    """Write the licences of what the lock file names; RefusedError where one needs a word."""
    rows = licences.table(lock.entries((root / "requirements.lock").read_text("utf-8")))
    if wrong := licences.mistakes(rows):
        raise RefusedError(f"licences to look at, see .ci/licences.py: {'; '.join(wrong)}")
    (output / "LICENCES.txt").write_text(licences.as_text(rows), "utf-8")


def release(
    root: Path, output: Path, *, install: bool, digests: bool = False, registry: str | None = None
) -> str:
    """Make and check a release; what to tell of it. RefusedError where something is amiss.

    Args:
        root: of the checkout.
        output: directory that gets wheel and sdist; it has to be empty or absent.
        install: whether the wheel is tried in an empty environment (a minute or two), and the
            bill of materials made from it.
        digests: whether base images are looked up and written down by digest.
        registry: mirror to ask instead of the images' own registries, ``http://host:port``.
    """
    files, version = tracked(root), version_of(root)
    text = notes((root / "CHANGELOG.md").read_text("utf-8"), version)
    if output.exists() and any(output.iterdir()):
        raise RefusedError(f"{output} holds files already: make clean, or give another directory")
    sdist, wheel = build(root, output)
    check_sdist(sdist, files)
    check_wheel(wheel, files)
    write_licences(root, output)
    if install:
        bill = output / f"{PACKAGE}-{version}.cdx.json"
        check_installed(wheel, version, root, bill)
    if digests:
        try:
            images.write_pinned(root, output, registry)
        except images.NotResolvedError as error:
            raise RefusedError(
                f"base images are not known by digest: {error}. Give --registry, or release "
                "without by --no-digests, and say so"
            ) from error
    made = sorted(output.iterdir())
    lines = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}" for each in made]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    if "urls" not in project:
        lines.append("note: pyproject.toml has no project.urls: say where the repository is")
    lines += [f"next: git tag -a v{version}, upload {output}/*, and these notes:", "", text]
    return "\n".join(lines)


def main() -> int:
    """Make a release of the checkout that this file is in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("dist"), help="directory (dist)")
    parser.add_argument("--no-install", action="store_true", help="do not try the wheel")
    parser.add_argument("--no-digests", action="store_true", help="do not look up base images")
    parser.add_argument("--registry", metavar="URL", help="mirror to ask for them (https://...)")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    try:
        told = release(
            root,
            root / arguments.output,
            install=not arguments.no_install,
            digests=not arguments.no_digests,
            registry=arguments.registry,
        )
        print(told)
    except RefusedError as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
