"""One method on one draw, and the record of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import departures, ours, score
from .peers import PEERS

REPORTED = (1, 2, 3, 4, 5)
TUNING = (7, 11, 12, 13)
"""Draws on which settings were chosen, ours and the peers'; none of them is reported."""

ELSEWHERE = (21, 22, 23)
"""Draws that nobody had looked at when all of it was chosen."""


@dataclass(frozen=True)
class Ours:
    """One of our configurations: what tables call it, and what its monitor says besides."""

    title: str
    monitor: dict[str, Any] = field(default_factory=dict)


OURS = {
    "ours": Ours("this project"),
    "ours-high": Ours("this project, `side: high`", {"side": "high"}),
    "ours-calendar": Ours("this project, with public holidays", {"calendars": ["holidays"]}),
}
"""By the name that results bear."""

METHODS = (*OURS, *PEERS)


def title(method: str) -> str:
    """What tables call a method."""
    return OURS[method].title if method in OURS else PEERS[method].title


def measure(method: str, seed: int, directory: Path) -> dict[str, Any]:
    """A record for the results.

    ``plain`` and ``calendar``: by budget, what is found at the threshold that keeps it; with
    ``calendar``, nothing on a holiday is false. ``as_it_comes``: with every alert that was raised.
    """
    drawn = departures.draw(seed, directory)
    began = time.process_time()
    if method in OURS:
        monitor = OURS[method].monitor
        lines = ours.lines(ours.bodies(ours.configuration(**monitor), drawn))
    else:
        lines = PEERS[method].lines(drawn)
    record: dict[str, Any] = {"method": method, "draw": seed, "events": len(drawn.rows)}
    record["lines"] = len(lines)
    record["seconds"] = round(time.process_time() - began, 1)
    for name, calendar in (("plain", False), ("calendar", True)):
        record[name] = score.score(drawn.plants, lines, calendar=calendar)
    if method in OURS:
        record["as_it_comes"] = score.Scorer(drawn.plants, lines, calendar=False).at(0.0)
    return record
