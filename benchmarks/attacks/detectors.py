"""The configurations that are attacked: those that are shipped, with what a stream asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "config"
DETECTORS: dict[str, dict[str, Any]] = {
    "adaptive_ensemble": {"kind": "adaptive_ensemble"},
    "ensemble": {"kind": "ensemble"},
    "classifier": {"kind": "classifier"},
    "river": {"kind": "benchmarks.attacks.river_filter:FilteredTrees"},
}
TITLES = {
    "adaptive_ensemble": "default",
    "ensemble": "ensemble",
    "classifier": "classifier",
    "river": "River's trees, filtered",
}
KEYS = 2000
"""Keys that a window remembers: fewer than a flood brings, as 100,000 are in the world."""


def configuration(stream: str, detector: str) -> dict[str, Any]:
    """What a file would hold for a stream, without Kafka."""
    made = {"payments": payments, "nsl": nsl, "http": http}[stream]()
    made["detector"] = {**DETECTORS[detector]}
    if stream == "nsl" and detector.endswith("ensemble"):
        made["detector"]["half_life"] = 100_000
    if detector != "classifier":
        made.pop("labels", None)  # nobody labels anything for these
    for section in ("kafka", "metrics", "state"):
        made.pop(section, None)
    return made


def shipped(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONFIGURATIONS / name).read_text())
    return loaded


def payments() -> dict[str, Any]:
    """config/transactions.yaml at a sixth of its traffic, labels after two days of the fourteen."""
    made = shipped("transactions.yaml")
    made["labels"]["delay"] = "2d"
    made["threshold"] = {"budget": "2 %", "burn_in": 3000}
    for window in (*made["windows"], *made["labels"]["risk"]):
        window["max_keys"] = KEYS
    return made


def nsl() -> dict[str, Any]:
    """config/network.yaml; every row alerts for itself, since each attack is a row."""
    made = shipped("network.yaml")
    made.pop("suppression")
    made["event"] = {}
    made["labels"] = {"field": "label", "delay": "10m"}
    made["threshold"] = {"budget": "3 %", "burn_in": 2000}
    return made


def nsl_columns() -> tuple[str, ...]:
    return tuple(shipped("network.yaml")["event"]["columns"])


def http() -> dict[str, Any]:
    """Three numbers, all else by default."""
    return {
        "name": "http",
        "features": [{"numeric": f"f{column}"} for column in range(3)],
        "labels": {"field": "label", "delay": "10m"},
        "threshold": {"budget": "3 %", "burn_in": 2000},
    }
