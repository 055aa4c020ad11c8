"""A real Alertmanager."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from kafka_broker.broker import free_ports

from support.process import wait_until

PROGRAMS = ("prometheus-alertmanager", "alertmanager")


def program() -> str:
    """Path of Alertmanager. Skip loudly without one; fail where it was asked for."""
    for name in PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return found
    if os.environ.get("REQUIRE_PROMETHEUS") == "1":
        pytest.fail("REQUIRE_PROMETHEUS=1, but Alertmanager is not installed", pytrace=False)
    pytest.skip("Alertmanager is not installed: delivery to it was NOT RUN")


class Alertmanager:
    """Notifies a webhook of every change within a second, where it is given one."""

    def __init__(self, directory: Path, receiver: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        route: dict[str, Any] = {"receiver": "hook", "repeat_interval": "1h"}
        if receiver is not None:
            # A group for each alert, looked at five times a second: not for thousands of them.
            route |= {"group_by": ["..."], "group_wait": "100ms", "group_interval": "200ms"}
        hooks: dict[str, Any] = {}
        if receiver is not None:
            hooks["webhook_configs"] = [{"url": receiver, "send_resolved": True}]
        configuration = {
            "global": {"resolve_timeout": "5s"},
            "route": route,
            "receivers": [{"name": "hook", **hooks}],
        }
        (directory / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        self._port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program(),
                    f"--config.file={self._directory / 'alertmanager.yml'}",
                    f"--storage.path={self._directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--cluster.listen-address=",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, "Alertmanager to be ready", every=0.1)
        return self

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30)
            self._process = None

    def alerts(self) -> list[dict[str, Any]]:
        """What fires now."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found
