"""Writes the dashboards' JSON: ``python -m dashboards``."""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.build import dashboard
from dashboards.detection import DETECTION
from dashboards.operations import OPERATIONS

DIRECTORY = Path(__file__).resolve().parents[1] / "config" / "grafana"
DASHBOARDS = {
    "operations": lambda: dashboard(
        "stream-detector-operations",
        "Stream detector: operations",
        "Whether it runs and keeps up: throughput, lag, rejects, time, commits, snapshots, memory.",
        OPERATIONS,
    ),
    "detection": lambda: dashboard(
        "stream-detector-detection",
        "Stream detector: detection",
        "What it finds: alerts against the budget, scores, reasons, learning, what labels say.",
        DETECTION,
    ),
}


def text(name: str) -> str:
    """The JSON of a dashboard as it lies in ``config/grafana``."""
    return json.dumps(DASHBOARDS[name](), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    for name in DASHBOARDS:
        (DIRECTORY / f"{name}.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
