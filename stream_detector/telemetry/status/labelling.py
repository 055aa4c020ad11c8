"""Labels from the status page: guarded by a token and by where the request comes from.

Off unless the configuration holds a token. Nothing here keeps a session or a cookie: the token is
in the body of each request, so no other site can make a browser send it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from stream_detector.errors import ConnectorError
from stream_detector.markup import escape
from stream_detector.telemetry.back_off import BackOff
from stream_detector.telemetry.families import RequestRefusal
from stream_detector.telemetry.logs import fields, redact
from stream_detector.telemetry.requests import RefusedRequestError
from stream_detector.telemetry.status.forms import LOGIN_FIELDS, message, unwritten
from stream_detector.telemetry.status.guard import Guard
from stream_detector.telemetry.status.layout import document
from stream_detector.telemetry.status.page import alert_card
from stream_detector.telemetry.status.recent import Recent, RecentAlert

_REMEMBERED = 200

_log = logging.getLogger(__name__)

WriteLabel = Callable[[RecentAlert, str], None]
"""Writes a label and returns once it is safe. Raises ``ConnectorError`` where it is not."""


class Labelling:
    """Takes labels. State: the last 200 given here; the guard's.

    Attributes:
        guard: reads what those send who have the token.

    Args:
        token: what a request must hold.
        words: the labels that may be given.
        recent: alerts that can be labelled: those on the page.
        write: hands a label on.
        back_off: holds back who guesses at the token.
        count_refused: hears of wrong tokens and of requests that were not looked at.
    """

    asks = "alert"

    def __init__(
        self,
        token: str,
        words: tuple[str, ...],
        recent: Recent,
        write: WriteLabel,
        back_off: BackOff | None = None,
        count_refused: Callable[[RequestRefusal], None] = lambda _: None,
    ) -> None:
        self.guard = Guard(token, back_off, count_refused)
        self._words = words
        self._recent, self._write = recent, write
        self._given: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def given(self) -> dict[str, str]:
        """Labels given here, by alert."""
        with self._lock:
            return dict(self._given)

    def form(self, alert_id: str) -> tuple[HTTPStatus, str]:
        """The page that asks for one alert's label."""
        alert = self._recent.find(alert_id)
        if alert is None:
            return HTTPStatus.NOT_FOUND, message("Not here any more", gone(alert_id), good=False)
        choices = "".join(
            f'<label><input type="radio" name="label" value="{escape(word)}" required> '
            f"{escape(word)}</label>"
            for word in self._words
        )
        body = (
            "<header><h1>What was it?</h1></header>"
            f"{alert_card(alert)}"
            f'<div class="card"><b>The event</b><pre>{escape(alert.event)}</pre></div>'
            '<form class="card" method="post" action="/label">'
            f'<input type="hidden" name="alert" value="{escape(alert.id)}">'
            f"<p>{choices}</p>"
            f"{LOGIN_FIELDS}"
            '<p><button>Write the label</button> <a href="/">back</a></p></form>'
        )
        return HTTPStatus.OK, document("label - stream-detector", body)

    def submit(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        """Follow a POST, or say why not."""
        try:
            alert, word = self._read(environ)
            self._write(alert, word)
        except RefusedRequestError as error:
            return unwritten(error)
        except ConnectorError as error:
            _log.warning(
                "the label of an alert could not be written: %s",
                error,
                extra=fields("label-failed", stage="labels", alert=_cut(alert.id)),
            )
            why = redact(f"{error}. Try again: writing a label twice does no harm.")
            return HTTPStatus.BAD_GATEWAY, message("Not written", why, good=False)
        with self._lock:
            self._given[alert.id] = word
            while len(self._given) > _REMEMBERED:
                del self._given[next(iter(self._given))]
        _log.info(
            "a label was written from the status page",
            extra=fields("label", alert=_cut(alert.id), label=word),
        )
        return HTTPStatus.OK, message("Written", f"{alert.id} is labelled {word}.", good=True)

    def _read(self, environ: WSGIEnvironment) -> tuple[RecentAlert, str]:
        form = self.guard.read(environ)
        word = form.get("label", "")
        if word not in self._words:
            raise RefusedRequestError(
                HTTPStatus.BAD_REQUEST, f"a label is one of {', '.join(self._words)}"
            )
        alert = self._recent.find(form.get("alert", ""))
        if alert is None:
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, gone(form.get("alert", "")))
        if alert.event_id is None:
            raise RefusedRequestError(HTTPStatus.CONFLICT, "the event of this alert has no id")
        return alert, word


def gone(alert_id: str) -> str:
    """Say that an alert is not among the last ones."""
    return (
        f"{_cut(alert_id)} is not among the last alerts of this worker. Use the command: "
        "stream-detector label CONFIG ALERT_ID LABEL"
    )


def _cut(name: str) -> str:
    return name[:300]
