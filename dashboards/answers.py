"""What a Prometheus answers to a panel's queries."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from dashboards.parts import Json

Point = tuple[float, float]
POINTS = 100
_RATE_INTERVAL = "1m"


@dataclass(frozen=True, slots=True)
class Series:
    """A name as the legend has it, its labels, and (seconds since 1970, value) points."""

    name: str
    labels: Mapping[str, str]
    points: list[Point]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Asks a server for one span of time.

    Attributes:
        address: ``http://host:9090``.
        start: seconds since 1970.
        end: likewise.
    """

    address: str
    start: float
    end: float

    def answer(self, panel: Json) -> list[Series]:
        """All series of a panel; values that are not numbers are left out.

        Raises ``OSError`` where the server does not answer, or refuses the query.
        """
        found: list[Series] = []
        for target in panel["targets"]:
            for result in self._ask(target):
                labels = result["metric"]
                name = target["legendFormat"]
                for label, value in labels.items():
                    name = name.replace(f"{{{{{label}}}}}", value)
                raw = result.get("values") or [result["value"]]
                pairs = ((float(when), float(value)) for when, value in raw)
                points = [(t, v) for t, v in pairs if v == v and abs(v) != float("inf")]  # noqa: PLR0124 - NaN
                if points:
                    found.append(Series(name or panel["title"], labels, points))
        return found

    def _ask(self, target: Json) -> list[Json]:
        form = {"query": self._filled_in(target["expr"])}
        if target["instant"]:
            form["time"] = str(self.end)
        else:
            step = (self.end - self.start) / POINTS
            form |= {"start": str(self.start), "end": str(self.end), "step": str(step)}
        kind = "query" if target["instant"] else "query_range"
        url = f"{self.address}/api/v1/{kind}?{urllib.parse.urlencode(form)}"
        with urllib.request.urlopen(url, timeout=30) as got:  # noqa: S310 - the user's own server
            result: list[Json] = json.load(got)["data"]["result"]
        return result

    def _filled_in(self, expression: str) -> str:
        values = {"$__rate_interval": _RATE_INTERVAL}
        values["$__range"] = f"{round(self.end - self.start)}s"
        values |= dict.fromkeys(("$job", "$instance", "$topic", "$partition"), ".+")
        for variable, value in values.items():
            expression = expression.replace(variable, value)
        return expression
