"""What the dashboards' JSON and the rules ask Prometheus for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from support.prometheus import RATE_INTERVAL, REPOSITORY, RULES, shortened

DIRECTORY = REPOSITORY / "config" / "grafana"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))
}
METRIC = re.compile(r"\b(?:stream_detector|process|python)_\w+|\bup\b")


def panels(name: str) -> list[dict[str, Any]]:
    """The panels of a dashboard without the rows that group them."""
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


def every_panel() -> list[tuple[str, dict[str, Any]]]:
    return [(name, panel) for name in DASHBOARDS for panel in panels(name)]


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every query of every panel, with a name to tell it by."""
    for name, panel in every_panel():
        for target in panel["targets"]:
            yield f"{name}: {panel['title']} {target['refId']}", target


def filled_in(expression: str) -> str:
    """The expression as Grafana sends it with everything selected, its times shortened."""
    values = {"$__rate_interval": RATE_INTERVAL, "$__range": "1h"}
    values |= dict.fromkeys(("$job", "$group", "$instance", "$topic", "$partition"), ".+")
    for variable, value in values.items():
        expression = expression.replace(variable, value)
    return shortened(expression.replace(f"[{RATE_INTERVAL}]", "[600s]"))


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def operands(expression: str) -> list[str]:
    """What an alert rule compares, each with ``bool``: 0 or 1 where there is data, else nothing."""
    parts = re.split(r"^(?:and|unless)(?: on \([^)]*\))?$", expression, flags=re.MULTILINE)
    return [re.sub(r" (==|!=|<=?|>=?) (?!bool )", r" \1 bool ", part.strip()) for part in parts]
