"""``check`` looks at the targets of ``forward``: nothing is sent, and no secret is shown."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from support.streams import SETTINGS

from stream_detector.__main__ import main
from stream_detector.config.models.forward import WebhookConfig
from stream_detector.connectors import http_client
from stream_detector.connectors.http_client import HttpClient

SECRET = "T0SECRET/B0SECRET/xyzSECRETxyz"
KAFKA = {
    "bootstrap_servers": "localhost:1",
    "topics": ["events"],
    "group": "g",
    "alerts": "a",
    "dead_letters": "d",
}


def checked(
    directory: Path, capsys: pytest.CaptureFixture[str], *targets: dict[str, Any], **kafka: Any
) -> tuple[int, str]:
    """Exit code and all that was said."""
    config = {**SETTINGS, "kafka": {**KAFKA, **kafka}, "forward": {"targets": list(targets)}}
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    code = main(["check", str(path)])
    said = capsys.readouterr()
    assert "SECRET" not in said.out + said.err
    return code, said.out + said.err


def test_targets_that_can_be_reached_are_named_with_what_they_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = {"kind": "slack", "name": "desk", "url": f"http://127.0.0.1:9/services/{SECRET}"}
    lake = {"kind": "file", "name": "lake", "path": str(tmp_path / "findings.jsonl")}
    siem = {"kind": "topic", "name": "siem", "topic": "events.ecs"}
    code, said = checked(tmp_path, capsys, desk, lake, siem, incidents="i")
    assert code == 0
    assert "desk: slack, gets i\n" in said
    assert "lake: file, gets a, i\n" in said
    assert "siem: topic, gets a, i\n" in said
    assert "warning" not in said
    assert not (tmp_path / "findings.jsonl").exists(), "nothing is written"


def test_a_host_that_cannot_be_found_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"https://nobody.invalid/services/{SECRET}"
    desk = {"kind": "slack", "name": "desk", "url": url}
    by_proxy = {**desk, "name": "proxied", "proxy": "http://127.0.0.1:3128"}
    code, said = checked(tmp_path, capsys, desk, by_proxy)
    assert code == 0
    (line,) = [line for line in said.splitlines() if line.startswith("warning")]
    assert "desk would get nothing: the name nobody.invalid" in line
    assert "proxied" not in line, "a proxy finds it itself"


@pytest.mark.parametrize("place", ["missing/findings.jsonl", "."])
def test_a_file_that_cannot_be_written_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    lake = {"kind": "file", "name": "lake", "path": str(tmp_path / place)}
    code, said = checked(tmp_path, capsys, lake)
    assert code == 0
    assert "warning: forward: lake would get nothing" in said


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"url": "ftp://x/SECRET"}, "url begins with http"),
        ({"url_file": "/nowhere/to/be/found"}, "url_file"),
        ({"url": "http://127.0.0.1", "token_file": "/nowhere/to/be/found"}, "token_file"),
        ({"url": "https://127.0.0.1", "ca_file": "/nowhere/to/be/found"}, "cannot be used"),
        ({"url": "http://127.0.0.1", "body": {"x": "{{secrets.none}}"}}, "body"),
        ({"url": "http://127.0.0.1", "send": ["incidents"]}, "kafka.incidents is not set"),
    ],
)
def test_a_target_that_cannot_be_used_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: dict[str, Any], why: str
) -> None:
    code, said = checked(tmp_path, capsys, {"kind": "webhook", "name": "hook", **target})
    assert code == 2
    assert why in said
    assert "sound" not in said


def test_a_name_server_that_does_not_answer_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()
    monkeypatch.setattr(http_client.socket, "getaddrinfo", lambda *_, **__: released.wait(60))
    client = HttpClient("here", WebhookConfig(name="hook", url="http://127.0.0.1:9"))
    try:
        assert client.unresolved(0.1) == "the name 127.0.0.1 was not resolved in 0.1 s"
    finally:
        released.set()
