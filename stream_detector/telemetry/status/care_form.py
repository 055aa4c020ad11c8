"""Incidents acknowledged or snoozed from the status page, by who may give labels there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from stream_detector.errors import ConnectorError
from stream_detector.incidents.wording import care_text, counts_text, scope_text
from stream_detector.markup import escape
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.requests import RefusedRequestError
from stream_detector.telemetry.status.forms import LOGIN_FIELDS, WritingForm, message, typed
from stream_detector.telemetry.status.guard import Guard
from stream_detector.telemetry.status.incidents import Body, OpenIncidents
from stream_detector.telemetry.status.layout import document

_log = logging.getLogger(__name__)

ACTIONS = ("acknowledge", "snooze")
_DONE = {"acknowledge": "acknowledged", "snooze": "snoozed"}


@dataclass(frozen=True, slots=True)
class Care:
    """What somebody says of an incident.

    Attributes:
        incident: its id.
        action: one of ``ACTIONS``.
        until: a duration or a time; empty for none, which an acknowledgement may have.
        owner: who answers for it.
        why: what is known of it.
    """

    incident: str
    action: str
    until: str
    owner: str
    why: str


Write = Callable[[Care], str]
"""Writes what is said; returns its end, event time, "" for none. Raises ``ConfigurationError``
where that is no end, ``ConnectorError``."""


class CareForm(WritingForm):
    """Takes what people say of open incidents. State: none of its own.

    Args:
        guard: reads what those send who have the token.
        incidents: those on the page.
        write: writes what is said.
    """

    asks = "incident"

    def __init__(self, guard: Guard, incidents: OpenIncidents, write: Write) -> None:
        self._guard, self._incidents, self._write = guard, incidents, write

    def form(self, incident: str) -> tuple[HTTPStatus, str]:
        """The page that asks who sees to an incident, and until when."""
        body = self._incidents.find(incident)
        if body is None:
            return HTTPStatus.NOT_FOUND, message("Not open", _gone(incident), good=False)
        return HTTPStatus.OK, _page(body)

    def _log_failure(self, error: ConnectorError) -> None:
        _log.warning(
            "what was said of an incident could not be written: %s",
            error,
            extra=fields("care-failed", stage="incidents"),
        )

    def _follow(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        form = self._guard.read(environ)
        body = self._incidents.find(form.get("incident", ""))
        if body is None:
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, _gone(form.get("incident", "")))
        until, owner, why = typed(form, "until", "owner", "why")
        action = form.get("do", "")
        if action not in ACTIONS or not (owner and why):
            raise RefusedRequestError(
                HTTPStatus.BAD_REQUEST, "who sees to it, and what is known of it, are needed"
            )
        if action == "snooze" and not until:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "a snooze needs an end")
        end = self._write(Care(str(body["id"]), action, until, owner, why))
        done = _DONE[action]
        _log.info(
            "an incident was %s from the status page",
            done,
            extra=fields("care", incident=str(body["id"])),
        )
        said = f"{scope_text(body)} is {done}{f' until {end}' if end else ''}."
        return HTTPStatus.OK, message("Written", said, good=True)


def _gone(incident: str) -> str:
    return (
        f"The incident {incident} is not among the open ones of this page: it may be over, or "
        "another worker's."
    )


def _page(body: Body) -> str:
    lines = [counts_text(body), f"open since {body['opened']}", care_text(body)]
    told = "<br>".join(escape(line) for line in lines if line)
    page = (
        "<header><h1>See to an incident</h1></header>"
        f'<div class="card"><b>{escape(scope_text(body))}</b><br>{told}'
        f"<br><small>{escape(str(body['id']))}</small></div>"
        '<form class="card" method="post" action="/incident">'
        f'<input type="hidden" name="incident" value="{escape(str(body["id"]))}">'
        '<p><label>owner <input name="owner" required></label></p>'
        '<p><label>why <input name="why" required></label></p>'
        '<p><label>until <input name="until"></label> a duration of the stream\'s time (4h), or a '
        "time with its zone; a snooze needs one</p>"
        f"{LOGIN_FIELDS}"
        '<p><button name="do" value="acknowledge">Acknowledge</button> '
        '<button name="do" value="snooze">Snooze</button> <a href="/">back</a></p></form>'
    )
    return document("incident - stream-detector", page)
