"""From sections to a whole dashboard: variables, links and the place of every panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dashboards.parts import COLUMNS, DATASOURCE, RUNBOOK, SCHEMA_VERSION, Json, Section

_INSTANCES = 'stream_detector_config_info{job=~"$job", group=~"$group"}'
_EVENTS = 'stream_detector_events_total{job=~"$job", instance=~"$instance"'


def dashboard(uid: str, title: str, description: str, sections: Sequence[Section]) -> Json:
    """The JSON of a dashboard. Raises ``ValueError`` where a section's panel is too wide."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["stream-detector", "kafka", "anomaly-detection"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "weekStart": "",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "links": [
            {
                "title": "Stream detector",
                "type": "dashboards",
                "tags": ["stream-detector"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "annotations": {"list": [_annotations()]},
        "templating": {"list": _variables()},
        "panels": list(_placed(sections)),
    }


def _annotations() -> Json:
    return {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }


def _variables() -> list[Json]:
    return [
        # Without an `id`: with one, every panel says that its data source was not found.
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "multi": False,
            "includeAll": False,
            "hide": 0,
            "skipUrlSync": False,
            "options": [],
        },
        _variable("job", "Job", "stream_detector_config_info", ".+"),
        _variable("group", "Consumer group", 'stream_detector_config_info{job=~"$job"}', ".+"),
        # All of them means those of the groups chosen, so there is no pattern for all.
        _variable("instance", "Instance", _INSTANCES, None),
        _variable("topic", "Topic", f"{_EVENTS}}}", ".+"),
        _variable("partition", "Partition", f'{_EVENTS}, topic=~"$topic"}}', ".+"),
        {
            "name": "runbook",
            "label": "Address of the runbook",
            "type": "constant",
            "query": RUNBOOK,
            "hide": 2,
            "skipUrlSync": True,
            "options": [],
            "current": {"selected": True, "text": RUNBOOK, "value": RUNBOOK},
        },
    ]


def _variable(name: str, label: str, series: str, everything: str | None) -> Json:
    query = f"label_values({series}, {name})"
    variable: Json = {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {
            "qryType": 1,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "refresh": 2,
        "sort": 3 if name == "partition" else 1,  # by number, by letter
        "multi": True,
        "includeAll": True,
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
    if everything is not None:
        variable["allValue"] = everything
    return variable


def _placed(sections: Sequence[Section]) -> Iterator[Json]:
    """Rows and panels from left to right, then down; ids in this order."""
    number, y = 1, 0
    for section in sections:
        panels: list[Json] = []
        row_number, row_y = number, y
        number, y, x, tallest = number + 1, y + 1, 0, 0
        for panel in section.panels:
            if panel.width > COLUMNS:
                raise ValueError(f"{panel.title} is {panel.width} columns wide, of {COLUMNS}")
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.at(number, x, y))
            number, x, tallest = number + 1, x + panel.width, max(tallest, panel.height)
        y += tallest
        yield {
            "id": row_number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": row_y},
            "panels": [],
        }
        yield from panels
