"""Panels, sections and whole dashboards as Grafana's JSON.

In an expression ``{@}`` stands for the matchers of job and instance, ``{@p}`` for these and those
of topic and partition: ``rate(stream_detector_events_total{@p}[$__rate_interval])``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

Json = dict[str, Any]
Steps = Sequence[tuple[float | None, str]]

COLUMNS = 24
SCHEMA_VERSION = 37
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
HERE = 'job=~"$job", instance=~"$instance"'
OF_PARTITIONS = HERE + ', topic=~"$topic", partition=~"$partition"'
RUNBOOK = "/public/stream-detector/runbook.md"
"""Where docker-compose.yml lets Grafana itself serve the runbook; the variable ``runbook``."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the name of its series; ``format`` is one of the Prometheus data source."""

    expression: str
    legend: str = ""
    format: str = "time_series"


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel without its place.

    Attributes:
        kind: Grafana's type of panel.
        title: what stands above it.
        description: what it shows and what to make of it.
        unit: Grafana's id of a unit.
        queries: what it asks for.
        runbook: anchor of the section in docs/runbook.md that it links to.
        width: of 24 columns.
        height: in rows of about 30 pixels.
        defaults: more of ``fieldConfig.defaults``.
        overrides: ``fieldConfig.overrides``.
        options: of the kind.
        transformations: what is done to the answer before it is shown.
    """

    kind: str
    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    runbook: str
    width: int
    height: int
    defaults: Json
    options: Json
    overrides: list[Json] = field(default_factory=list)
    transformations: list[Json] = field(default_factory=list)

    def at(self, number: int, x: int, y: int) -> Json:
        """As JSON at a place; ``number`` is its id."""
        targets = [
            _target(
                query, ascii_uppercase[place], instant=self.kind in ("stat", "table", "bargauge")
            )
            for place, query in enumerate(self.queries)
        ]
        panel: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "links": [
                {"title": "Runbook", "url": f"${{runbook}}#{self.runbook}", "targetBlank": True}
            ],
            "targets": targets,
            "fieldConfig": {
                "defaults": {"unit": self.unit, **self.defaults},
                "overrides": self.overrides,
            },
            "options": self.options,
        }
        if self.transformations:
            panel["transformations"] = self.transformations
        return panel


@dataclass(frozen=True, slots=True)
class Section:
    """A row with a title and the panels below it; they flow from left to right."""

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


def _target(query: Query, name: str, *, instant: bool) -> Json:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": _filled_in(query.expression),
        "format": query.format,
        "legendFormat": query.legend,
        "refId": name,
        "instant": instant,
        "range": not instant,
    }


def _filled_in(expression: str) -> str:
    return expression.replace("{@p", f"{{{OF_PARTITIONS}").replace("{@", f"{{{HERE}")


def _thresholds(steps: Steps) -> Json:
    return {
        "mode": "absolute",
        "steps": [{"color": color, "value": value} for value, color in steps],
    }


# --- kinds of panels ------------------------------------------------------------------------------


def stat(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    runbook: str,
    steps: Steps = ((None, "text"),),
    words: Mapping[int, str] | None = None,
    names: bool = False,
    width: int = 3,
) -> Panel:
    """One number of now. ``steps``: from which value on it has which colour.

    Args:
        title: see ``Panel``, also for ``description``, ``unit`` and ``runbook``.
        description: .
        unit: .
        query: .
        runbook: .
        steps: (lower bound, colour), the first without a bound.
        words: shown in place of a value.
        names: show the name of the series instead of its value.
        width: of 24 columns.
    """
    mappings: list[Json] = []
    if words is not None:
        texts = {
            str(value): {"text": text, "index": n} for n, (value, text) in enumerate(words.items())
        }
        mappings.append({"type": "value", "options": texts})
    return Panel(
        "stat",
        title,
        description,
        unit,
        [query],
        runbook,
        width,
        4,
        {
            "color": {"mode": "thresholds"},
            "thresholds": _thresholds(steps),
            "mappings": mappings,
        },
        {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "name" if names else "value",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    )


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    runbook: str,
    limit: float | None = None,
    stacked: bool = False,
    least: float | None = 0,
    most: float | None = None,
    logarithmic: bool = False,
    width: int = 8,
) -> Panel:
    """Series over time.

    ``limit`` draws a line at the value from which on an alert rule minds; ``least`` and ``most``
    bound the axis.
    """
    custom: Json = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 40 if stacked else 10,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if limit is None else "dashed"},
    }
    if logarithmic:
        custom["scaleDistribution"] = {"type": "log", "log": 10}
    defaults: Json = {"color": {"mode": "palette-classic"}, "custom": custom}
    if limit is not None:
        defaults["thresholds"] = _thresholds(((None, "green"), (limit, "red")))
    defaults |= {n: bound for n, bound in (("min", least), ("max", most)) if bound is not None}
    return Panel(
        "timeseries",
        title,
        description,
        unit,
        queries,
        runbook,
        width,
        8,
        defaults,
        {
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": [],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def heatmap(
    title: str, description: str, unit: str, query: Query, *, runbook: str, width: int = 12
) -> Panel:
    """Buckets of a histogram over time; ``query`` has the format ``heatmap`` and a label ``le``."""
    return Panel(
        "heatmap",
        title,
        description,
        unit,
        [query],
        runbook,
        width,
        9,
        {
            "custom": {
                "scaleDistribution": {"type": "linear"},
                "hideFrom": {"legend": False, "tooltip": False, "viz": False},
            }
        },
        {
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": unit},
            "color": {
                "mode": "scheme",
                "scheme": "Oranges",
                "scale": "exponential",
                "exponent": 0.5,
                "steps": 64,
                "reverse": False,
                "fill": "dark-orange",
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "none"},
        },
    )


def bars(
    title: str, description: str, unit: str, query: Query, *, runbook: str, width: int = 8
) -> Panel:
    """One bar a series, of now."""
    return Panel(
        "bargauge",
        title,
        description,
        unit,
        [query],
        runbook,
        width,
        8,
        {"color": {"mode": "continuous-BlPu"}, "min": 0},
        {
            "displayMode": "basic",
            "orientation": "horizontal",
            "valueMode": "text",
            "namePlacement": "auto",
            "showUnfilled": True,
            "sizing": "auto",
            "minVizWidth": 8,
            "minVizHeight": 10,
            "maxVizHeight": 300,
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": False,
                "calcs": [],
            },
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    )


def table(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    runbook: str,
    columns: Mapping[str, str],
    width: int = 8,
) -> Panel:
    """The series of now as lines. ``columns``: label (or ``Value``) to heading, in their order."""
    organise: Json = {
        "id": "organize",
        "options": {
            "excludeByName": {"Time": True},
            "indexByName": {label: place for place, label in enumerate(columns)},
            "renameByName": dict(columns),
        },
    }
    return Panel(
        "table",
        title,
        description,
        unit,
        [query],
        runbook,
        width,
        8,
        {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}},
        {"showHeader": True, "cellHeight": "sm", "frameIndex": 0},
        transformations=[organise],
    )
