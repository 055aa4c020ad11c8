"""A real Prometheus that scrapes what a test runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from kafka_broker.broker import free_ports

from support.process import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "deploy" / "prometheus" / "rules.yml"
SCRAPE_SECONDS = 0.25
RATE_INTERVAL = "2s"  # as Grafana's: several scrapes

_LAPSE = 300
"""A test cannot wait for an hour: durations of rules and panels are divided by this."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def require(tool: str) -> None:
    """Skip loudly without ``prometheus`` or ``promtool``; fail where they were asked for."""
    if shutil.which(tool) is not None:
        return
    if os.environ.get("REQUIRE_PROMETHEUS") == "1":
        pytest.fail(f"REQUIRE_PROMETHEUS=1, but {tool} is not installed", pytrace=False)
    pytest.skip(f"{tool} is not installed: dashboards and rules were NOT RUN")


def shortened(expression: str) -> str:
    """The expression with its ranges and offsets divided by ``_LAPSE``, but at least a second."""

    def divide(found: re.Match[str]) -> str:
        seconds = max(int(found[2]) * _UNITS[found[3]] / _LAPSE, 1.0)
        return f"{found[1]}{seconds * 1000:.0f}ms"

    return re.sub(r"(\[|offset )(\d+)([smhd])", divide, expression)


def short_rules() -> dict[str, Any]:
    """The rules with their times shortened."""
    document: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = shortened(rule["expr"])
            if "for" in rule:
                rule["for"] = shortened(f"[{rule['for']}]").strip("[]")
    return document


class Prometheus:
    """Scrapes ``targets`` several times a second, with the rules of ``deploy``."""

    def __init__(self, directory: Path, *targets: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        every = f"{SCRAPE_SECONDS * 1000:.0f}ms"
        configuration = {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": every,
            },
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "stream-detector", "static_configs": [{"targets": list(targets)}]}
            ],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        (directory / "rules.yml").write_text(yaml.safe_dump(short_rules()))
        self._directory = directory
        (port,) = free_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address={self.address.removeprefix('http://')}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        wait_until(self._ready, "Prometheus to be ready")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)
        self._log.close()

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "log").read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{self.address}/-/ready", timeout=5).close()
        except OSError:  # not listening yet, or not ready (an HTTPError is an OSError, too)
            return False
        return True

    def ask(self, path: str, **arguments: str) -> Any:
        """``data`` of an answer of the HTTP API. A refusal fails the test with its reason."""
        form = urllib.parse.urlencode(arguments)
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{form}", timeout=10) as got:
                return json.load(got)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{arguments}: {json.load(error)['error']}")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        return self.ask("query", query=expression)["result"]
