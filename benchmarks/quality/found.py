"""Figures out of the results, and how tables write them."""

from __future__ import annotations

from typing import Any

from .peers import PEERS

Figures = dict[str, dict[str, float]]
"""By detector and stream."""


def figures(results: dict[str, Any], part: str, kind: str, prefix: str) -> Figures:
    """``auc`` or ``ap`` of a part's records that have one for the prefix."""
    found: Figures = {}
    for record in results["records"]:
        if record["part"] == part and prefix in record.get(kind, {}):
            found.setdefault(record["detector"], {})[record["set"]] = record[kind][prefix]
    return found


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".lstrip("0")


def title(detector: str) -> str:
    """What tables call a detector."""
    return PEERS[detector].title if detector in PEERS else detector
