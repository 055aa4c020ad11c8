"""Incidents that are open: the first section of the status page."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote

from stream_detector.alerts import SEVERITIES
from stream_detector.incidents.wording import (
    attribute_text,
    care_text,
    condition_text,
    counts_text,
    scope_text,
)
from stream_detector.markup import escape
from stream_detector.telemetry.status.layout import number

SHOWN = 20

Body: TypeAlias = Mapping[str, Any]


class OpenIncidents:
    """Incidents that are open, by shard; thread-safe.

    State: of each shard its ``SHOWN`` most severe ones, and how many there are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_shard: dict[int, tuple[Sequence[Body], int]] = {}

    def put(self, shard: int, found: Sequence[Body]) -> None:
        """These are open in a shard."""
        with self._lock:
            self._by_shard[shard] = (_sorted(found)[:SHOWN], len(found))

    def forget(self, shard: int) -> None:
        """A shard was given up."""
        with self._lock:
            self._by_shard.pop(shard, None)

    def find(self, identity: str) -> Body | None:
        """An open one of those that are kept, by its id."""
        with self._lock:
            each = [body for bodies, _ in self._by_shard.values() for body in bodies]
        return next((body for body in each if body["id"] == identity), None)

    def found(self) -> tuple[list[Body], int] | None:
        """The most severe ones first, and how many there are; None where nobody looks for any."""
        with self._lock:
            if not self._by_shard:
                return None
            each = [body for bodies, _ in self._by_shard.values() for body in bodies]
            return _sorted(each)[:SHOWN], sum(count for _, count in self._by_shard.values())


def _sorted(found: Sequence[Body]) -> list[Body]:
    """The most severe ones first, of equal ones the newest."""
    newest = sorted(found, key=lambda body: str(body["last_seen"]), reverse=True)
    return sorted(newest, key=lambda body: -SEVERITIES.index(body["severity"]))


def incidents_section(
    incidents: OpenIncidents, *, shows_values: bool, offers_care: bool = False
) -> str:
    """What is going on, since when; nothing where there are no incidents in the configuration.

    Values come from events: ``shows_values`` says whether the reader may see them, ``offers_care``
    whether incidents can be acknowledged from here.
    """
    known = incidents.found()
    if known is None:
        return ""
    found, count = known
    title = "<h2>Open incidents</h2>"
    if not found:
        return title + '<p class="dim">None: nothing is going on.</p>'
    rows = "".join(_row(body, shows_values=shows_values, offers_care=offers_care) for body in found)
    more = f'<p class="dim">{number(count - len(found))} more.</p>' if count > len(found) else ""
    return (
        f'{title}<div class="card"><table class="incidents"><thead><tr><th>about</th>'
        "<th>since</th><th>last</th><th>alerts</th><th>what explains it</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _row(body: Body, *, shows_values: bool, offers_care: bool) -> str:
    severity = escape(str(body["severity"]))
    about, why = "", ""
    if shows_values:
        about = f"<b>{escape(scope_text(body))}</b><br><small>{escape(str(body['id']))}</small>"
        lines = (attribute_text(body), condition_text(body), care_text(body))
        why = "<br>".join(escape(line) for line in lines if line)
        if offers_care:
            address = f"/incident?incident={quote(str(body['id']), safe='')}"
            about += f' <a href="{address}">see to it</a>'
    else:
        about = '<span class="dim">not shown</span>'
    kinds = ", ".join(f"{number(n)} {escape(str(kind))}" for kind, n in body["kinds"].items())
    times = "once" if body["reopened"] == 1 else f"{number(body['reopened'])} times"
    again = f"<br><small>opened again {times}</small>"
    return (
        f'<tr><td><span class="{severity}">{severity}</span> {about}</td>'
        f"<td>{_time(body['opened'])}{again if body['reopened'] else ''}</td>"
        f"<td>{_time(body['last_seen'])}</td>"
        f"<td>{escape(counts_text(body))}<br><small>{kinds}</small></td><td>{why}</td></tr>"
    )


def _time(iso: str) -> str:
    """``2018-04-01 00:00:31``, in UTC as everything here."""
    return escape(str(iso)[:19].replace("T", " "))
