"""What is installed: hashes, licences, parts, vulnerabilities; base images by digest."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / ".ci"))
import audit  # noqa: E402
import images  # noqa: E402
import licences  # noqa: E402
import lock  # noqa: E402

LOCKS = ("requirements.lock", "requirements-dev.lock")


# --- lock files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_every_release_in_a_lock_file_has_hashes(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    locked = lock.entries(text)
    assert len(locked) > 20
    assert [entry for entry, (_, hashes) in locked.items() if not hashes] == []
    pinned = [line for line in text.splitlines() if "==" in line]
    assert len(pinned) == len(locked)
    assert not re.search(r"https?://|--find-links|--index|@ file", text)


def test_what_installs_them_asks_for_hashes() -> None:
    for name in ("Makefile", "Dockerfile", "docs/operations.md", ".ci/release.py"):
        text = (REPOSITORY / name).read_text()
        found = re.findall(r"^.*install\b.*requirements(?:-dev)?\.lock.*$", text, re.MULTILINE)
        assert all("--require-hashes" in line for line in found), (name, found)
        if name != ".ci/release.py":
            assert found, name


def test_pip_refuses_another_file_than_the_one_that_was_locked(tmp_path: Path) -> None:
    """The attack: the registry gives another file for a version that is pinned."""
    wheel = tmp_path / "planted-1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))
    locked = tmp_path / "lock"
    right = "sha256:" + hashlib.sha256(b"the file that was reviewed").hexdigest()
    locked.write_text(f"planted==1.0 --hash={right}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-index", "--no-deps", "--require-hashes"]
    command = [*pip, "--find-links", str(tmp_path), "-d", str(tmp_path / "got"), "-r", str(locked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout + done.stderr


def test_a_lock_file_is_read_as_it_is_written() -> None:
    locked = {
        "a-b": ("1.0", [f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"]),
        "c": ("2", [f"sha256:{'2' * 64}"]),
    }
    assert lock.entries(lock.written(locked)) == locked


# --- licences ------------------------------------------------------------------------------------


def installed() -> list[str]:
    names = [name for each in LOCKS for name in lock.entries((REPOSITORY / each).read_text())]
    found = []
    for name in names:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue  # of another platform
        found.append(name)
    return found


def test_every_licence_is_accepted_or_explained() -> None:
    names = installed()
    assert len(names) > 80
    assert licences.mistakes(licences.table(names)) == []


def test_no_explanation_is_left_of_what_needs_none() -> None:
    for name in licences.EXPLAINED:
        assert not licences.is_accepted(licences.licence_of(distribution(name))), name


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only WITH GCC-exception-3.1", False),
        ("LGPL-2.1-or-later", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_which_licences_are_accepted(expression: str, accepted: bool) -> None:
    assert licences.is_accepted(expression) is accepted
    told = licences.mistakes([("planted", "1", expression, "")])
    assert bool(told) is not accepted


# --- the bill of materials -----------------------------------------------------------------------


def test_the_bill_of_materials_names_what_runs(tmp_path: Path) -> None:
    bill = tmp_path / "bill.json"
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--no-validate"]
    command += [
        "--output-reproducible",
        "--pyproject",
        str(REPOSITORY / "pyproject.toml"),
        "--output-file",
        str(bill),
    ]
    subprocess.run([*command, sys.executable], check=True, capture_output=True, timeout=120)
    made = json.loads(bill.read_text())
    assert made["bomFormat"] == "CycloneDX"
    assert made["metadata"]["component"]["name"] == "stream-detector"
    parts = {
        (each["name"].lower().replace("_", "-"), each["version"]) for each in made["components"]
    }
    runs = lock.entries((REPOSITORY / "requirements.lock").read_text())
    assert {(name, version) for name, (version, _) in runs.items() if name in installed()} <= parts


# --- vulnerabilities -----------------------------------------------------------------------------

REPORT: dict[str, Any] = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
FLAW = {"id": "PYSEC-1", "fix_versions": ["2"]}


FLAWED = {"dependencies": [{**REPORT["dependencies"][0], "vulns": [FLAW]}]}
SKIPPED = {"dependencies": [{"name": "a", "skip_reason": "no"}]}


@pytest.mark.parametrize(
    ("code", "report", "expected", "said"),
    [
        (0, REPORT, audit.CLEAN, "1 releases checked"),
        (1, FLAWED, audit.VULNERABLE, "PYSEC-1"),
        (0, {"dependencies": []}, audit.UNKNOWN, "0 checked"),
        (0, SKIPPED, audit.UNKNOWN, "NOT CHECKED: a"),
        (1, None, audit.UNKNOWN, "nothing is known: no route to host"),
        (0, None, audit.UNKNOWN, "NOT CHECKED"),
        (1, [], audit.UNKNOWN, "NOT CHECKED"),
    ],
)
def test_a_scan_that_saw_nothing_does_not_pass(
    code: int, report: Any, expected: int, said: str
) -> None:
    output = "" if report is None else json.dumps(report)
    found, text = audit.verdict(code, output, "Traceback\nno route to host\n")
    assert found == expected
    assert said in text


# --- base images ---------------------------------------------------------------------------------

INDEX = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
DIGEST = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"


class FakeRegistry(BaseHTTPRequestHandler):
    """A small registry of our own that speaks the real API: token service, manifests, digests."""

    kind = "right"

    def do_GET(self) -> None:
        if self.path.startswith("/token?"):
            asked = "service=fake" in self.path and "scope=repository" in self.path
            return self.answer(200 if asked else 400, json.dumps({"token": "t"}).encode())
        if self.headers.get("Authorization") != "Bearer t":
            where = f"http://{self.headers['Host']}/token"
            scope = 'scope="repository:x:pull"'
            challenge = f'Bearer realm="{where}",service="fake",{scope}'
            return self.answer(401, b"", **{"WWW-Authenticate": challenge})
        if self.kind == "absent" or not re.fullmatch(r"/v2/[\w/.-]+/manifests/[\w.-]+", self.path):
            return self.answer(404, b"{}")
        assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
        digest = {"right": DIGEST, "lying": f"sha256:{'0' * 64}", "odd": "md5:1"}[self.kind]
        return self.answer(200, INDEX, **{"Docker-Content-Digest": digest})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeRegistry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
    FakeRegistry.kind = "right"


def test_base_images_are_written_by_digest(registry: str, tmp_path: Path) -> None:
    digests = images.write_pinned(REPOSITORY, tmp_path, registry)
    assert {"python:3.12-slim-bookworm", "apache/kafka:4.1.0"} <= digests.keys()
    assert set(digests.values()) == {DIGEST}
    for name in images.FILES:
        before, after = (REPOSITORY / name).read_text(), (tmp_path / name).read_text()
        lines = [line for line in after.splitlines() if re.match(r"\s*(FROM|image:)", line)]
        assert lines
        assert all(f"@{DIGEST}" in line or images.OWN in line for line in lines), lines
        assert after.replace(f"@{DIGEST}", "") == before
        assert images.pinned(after, dict.fromkeys(digests, DIGEST)) == after
    assert json.loads((tmp_path / "images.json").read_text()) == digests


@pytest.mark.parametrize("kind", ["absent", "lying", "odd"])
def test_a_registry_that_lies_or_knows_nothing_is_an_error(registry: str, kind: str) -> None:
    FakeRegistry.kind = kind
    with pytest.raises(images.NotResolvedError, match=r"library/python:3\.12"):
        images.resolve(images.Image.parse("python:3.12"), registry)


def test_a_registry_that_is_not_reached_is_an_error() -> None:
    with pytest.raises(images.NotResolvedError, match="said"):
        images.resolve(images.Image.parse("python:3.12"), "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python:3.12", ("docker.io", "library/python", "3.12")),
        ("apache/kafka", ("docker.io", "apache/kafka", "latest")),
        ("ghcr.io/a/b:c", ("ghcr.io", "a/b", "c")),
        ("localhost:5000/a:b", ("localhost:5000", "a", "b")),
    ],
)
def test_images_are_named_as_docker_names_them(text: str, expected: tuple[str, str, str]) -> None:
    image = images.Image.parse(text)
    assert (image.registry, image.name, image.tag) == expected


def test_the_threat_model_names_tests_that_exist() -> None:
    text = (REPOSITORY / "docs" / "security.md").read_text()
    model = text.partition("## Threat model")[2].partition("### Out of reach")[0]
    rows = [line for line in model.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 12
    for row in rows:
        named = re.findall(r"`(tests/\w+\.py)`", row)
        assert named, row
        assert [name for name in named if not (REPOSITORY / name).exists()] == []
