"""Rules that hold for the whole repository: imports, sizes, pins, no traces of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = "stream_detector"
SOURCES = sorted((REPOSITORY / PACKAGE).rglob("*.py"))
MAX_LINES = 350

FLOORS = {
    "events": 0.0,
    "errors": 0.0,
    "child_process": 0.0,  # whoever needs a process beside its own
    "failpoints": 0.0,
    "foreign": 0.0,
    "log_fields": 0.0,  # every room may log
    "markup": 0.0,  # report and status page escape alike
    "visible": -0.5,  # below them: as does everybody who shows text of others
    "cells": 0.125,  # how people write numbers and times: config checks formats by it
    "parameters": 0.125,  # the base of what detectors declare and of what config holds
    "units": 0.125,  # settings of monitors and of config are made of them
    "detectors": 0.25,  # below config, which asks them what they declare
    "rules": 0.4375,  # as monitors: config takes their settings
    **dict.fromkeys(("tables", "tail"), 0.375),  # they store what they know as detectors do
    "calendars": 0.40625,  # monitors go by them
    "monitors": 0.4375,  # as detectors: below config, which asks them for their settings
    "config": 0.5,  # the rooms above take their settings from it
    "labels": 0.75,  # features count them
    "stream_time": 0.75,  # what it is, everything else asks
    "messages": 0.75,  # alerts are made of them
    "formats": 0.75,  # beside JSON, which decoding reads itself
    **dict.fromkeys(("decoding", "features", "rejections", "scaling"), 1.0),
    **dict.fromkeys(("threshold", "explanation", "alerts"), 1.0),
    "testing": 1.0,
    "counterfactuals": 1.125,  # they ask features, scaler and detector what might have been
    "incidents": 1.25,  # what alerts have in common
    "alert_avro": 1.25,  # alerts in another form, by formats
    "drift": 1.5,  # it stores River's objects as the detectors do
    "lanes": 1.75,  # what is merged
    **dict.fromkeys(("pipeline", "merge"), 2.0),
    **dict.fromkeys(("connectors", "journal", "snapshots", "telemetry"), 3.0),
    "commits": 3.5,  # what runs the pipeline writes by them
    "batches": 3.5,  # the pipeline in stages, handed over as snapshots are
    **dict.fromkeys(("daemon", "evaluation", "forwarding", "simulation", "spark"), 4.0),
    "inference": 4.5,  # proposes a configuration from a sample
    "report": 4.5,  # draws what evaluation has computed
    "api": 4.75,  # what callers use, the command line among them
    "cli": 5.0,
    "__main__": 5.5,  # nothing but the call of cli
    "": 0.0,  # the package itself: its version, and names that it imports when they are asked for
}
"""Floor of each room (a module or package directly below the package); imports go strictly down."""

ONLY_IN = {"kafka": "connectors", "prometheus_client": "telemetry"}
"""Libraries that one room alone may import; tests/test_walls.py is stricter about kafka."""

# In pieces, so that this file does not hold what it looks for.
TRACES = re.compile(
    r"(?<![\w.-])/(?:wor" + r"k|roo" + r"t|home/[a-z]\w*)/"
    r"|(?:extra-)?index-" + r"url|artifact" + r"ory|://[^\s/]+/(?:[\w-]+/)*simp" + r"le/?(?![\w-])",
    re.IGNORECASE,
)


def room_of(path: Path) -> str:
    first = path.relative_to(REPOSITORY / PACKAGE).parts[0]
    name = first.removesuffix(".py")
    return "" if name == "__init__" else name


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import, also those inside functions."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    package = parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            # `from stream_detector import merge` names a room, `from kafka import X` does not.
            names = [alias.name for alias in node.names] if module == PACKAGE else [""]
            yield from ((node.lineno, f"{module}.{name}".rstrip(".")) for name in names)


def climbing_imports(path: Path) -> Iterator[str]:
    room = room_of(path)
    for line, module in imported_modules(path):
        top, _, rest = module.partition(".")
        if top != PACKAGE:
            continue
        target = rest.split(".")[0]
        if target.startswith("__") and target != "__main__":
            target = ""  # `from stream_detector import __version__`
        if target != room and rest in FLOORS:
            target = rest
        where = f"{path.relative_to(REPOSITORY)}:{line}"
        if target not in FLOORS:
            yield f"{where} imports {module}, a room without a floor: add it to FLOORS"
        elif target != room and FLOORS[target] >= FLOORS[room]:
            yield f"{where} imports {module}: {FLOORS[room]:g} -> {FLOORS[target]:g} is not down"


def test_every_room_has_a_floor():
    assert {room_of(path) for path in SOURCES} - FLOORS.keys() == set()


def test_imports_go_strictly_down_the_floors():
    # The package names what it has only for type checkers: tests/test_api.py holds it to that.
    rooms = [path for path in SOURCES if room_of(path) in FLOORS.keys() - {""}]
    assert [finding for path in rooms for finding in climbing_imports(path)] == []


def test_a_climbing_import_would_be_found(tmp_path, monkeypatch):
    room = tmp_path / PACKAGE / "detectors"
    room.mkdir(parents=True)
    (room / "new.py").write_text(
        "from stream_detector.detectors.base import Rows\n"
        "from ..config import models\n"
        "def f():\n"
        "    from stream_detector import pipeline, __version__\n"
        "    import stream_detector.scaling\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "REPOSITORY", tmp_path)
    found = [finding.split(":")[1][:1] for finding in climbing_imports(room / "new.py")]
    assert found == ["2", "4", "5"]  # config lies above detectors, too


@pytest.mark.parametrize(("library", "room"), ONLY_IN.items())
def test_a_library_of_the_outside_world_is_imported_in_one_room_only(library, room):
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in SOURCES
        if room_of(path) != room
        for line, module in imported_modules(path)
        if module.split(".")[0] == library
    ]
    assert found == []


def test_only_the_command_line_catches_everything():
    found = []
    for path in SOURCES:
        if room_of(path) in {"cli", "__main__"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {ast.unparse(kind) if kind else "BaseException" for kind in kinds}
            if names & {"Exception", "BaseException"}:
                found.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert found == []


def test_source_files_stay_small():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    too_long = {
        str(path.relative_to(REPOSITORY)): n for path, n in lengths.items() if n > MAX_LINES
    }
    assert too_long == {}


def project_files() -> list[Path]:
    """Tracked files and those that a commit of everything would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, check=True, timeout=240
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_path_or_package_index_of_one_machine():
    found = []
    for path in project_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if match := TRACES.search(line):
                found.append(f"{path.relative_to(REPOSITORY)}:{number} {match.group()}")
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see /wor" + "k/shared/x", True),
        ("/roo" + "t/.cache", True),
        ("pip --index-" + "url=https://a", True),
        ("https://mirror.example/pypi/simp" + "le/", True),
        ("https://prometheus.io/docs/practices/naming/", False),
        (".github/workflows/ci.yml and network/home", False),
        ("https://example.org/simple-things", False),
    ],
)
def test_traces_of_a_machine_are_told_from_ordinary_text(text, expected):
    assert bool(TRACES.search(text)) is expected


def locked(name: str) -> dict[str, str]:
    """Version of each package in a lock file, by canonical name."""
    text = (REPOSITORY / name).read_text()
    pins = re.findall(r"^([\w.-]+)==(\S+) \\$", text, re.MULTILINE)
    return {canonicalize_name(package): version for package, version in pins}


@pytest.mark.parametrize("extra", ["", "progress", "test", "docs", "release", "dev", "build"])
def test_the_lock_files_hold_what_the_project_asks_for(extra):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    versions = locked("requirements.lock")
    if extra in {"test", "docs", "release", "dev"}:
        versions |= locked("requirements-dev.lock")
    wanted = {
        "": project["project"]["dependencies"],
        "build": project["build-system"]["requires"],
        **project["project"]["optional-dependencies"],
    }[extra]
    for requirement in map(Requirement, wanted):
        if requirement.name == project["project"]["name"]:
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked: make lock"
        assert requirement.specifier.contains(version), f"{requirement}, locked {version}"


def test_the_two_lock_files_do_not_disagree():
    assert locked("requirements.lock").keys() & locked("requirements-dev.lock").keys() == set()


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench"])
def test_the_makefile_has_the_target(target):
    ran = subprocess.run(
        ["make", "--dry-run", target],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
