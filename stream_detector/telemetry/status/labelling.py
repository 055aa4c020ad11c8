"""Labels from the status page: guarded by a token and by where the request comes from.

Off unless the configuration holds a token. Nothing here keeps a session or a cookie: the token is
in the body of each request, so no other site can make a browser send it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit
from wsgiref.types import WSGIEnvironment

from stream_detector.errors import ConnectorError
from stream_detector.markup import escape
from stream_detector.telemetry.back_off import BackOff
from stream_detector.telemetry.families import RequestRefusal
from stream_detector.telemetry.logs import fields, redact
from stream_detector.telemetry.requests import RefusedRequestError
from stream_detector.telemetry.responses import CLIENT
from stream_detector.telemetry.status.layout import document
from stream_detector.telemetry.status.page import alert_card
from stream_detector.telemetry.status.recent import Recent, RecentAlert

_REMEMBERED = 200

_log = logging.getLogger(__name__)

WriteLabel = Callable[[RecentAlert, str], None]
"""Writes a label and returns once it is safe. Raises ``ConnectorError`` where it is not."""


class Labelling:
    """Takes labels. State: the last 200 given here, and who guessed at the token (``BackOff``).

    Args:
        token: what a request must hold.
        words: the labels that may be given.
        recent: alerts that can be labelled: those on the page.
        write: hands a label on.
        back_off: holds back who guesses at the token.
        count_refused: hears of wrong tokens and of requests that were not looked at.
    """

    def __init__(
        self,
        token: str,
        words: tuple[str, ...],
        recent: Recent,
        write: WriteLabel,
        back_off: BackOff | None = None,
        count_refused: Callable[[RequestRefusal], None] = lambda _: None,
    ) -> None:
        self._expected = hashlib.sha256(token.encode()).digest()
        self._words = words
        self._recent, self._write = recent, write
        self._back_off = back_off or BackOff("token")
        self._count_refused = count_refused
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
            return HTTPStatus.NOT_FOUND, _message("Not here any more", _gone(alert_id), good=False)
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
            # Password managers keep a token under a name.
            '<input type="text" name="username" value="labels" autocomplete="username" hidden>'
            '<p><label>token <input type="password" name="token" required '
            'autocomplete="current-password"></label></p>'
            '<p><button>Write the label</button> <a href="/">back</a></p></form>'
        )
        return HTTPStatus.OK, document("label - stream-detector", body)

    def submit(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        """Follow a POST, or say why not."""
        try:
            alert, word = self._read(environ)
            self._write(alert, word)
        except RefusedRequestError as error:
            return error.status, _message("Not written", str(error), good=False)
        except ConnectorError as error:
            _log.warning(
                "the label of an alert could not be written: %s",
                error,
                extra=fields("label-failed", stage="labels", alert=_cut(alert.id)),
            )
            why = redact(f"{error}. Try again: writing a label twice does no harm.")
            return HTTPStatus.BAD_GATEWAY, _message("Not written", why, good=False)
        with self._lock:
            self._given[alert.id] = word
            while len(self._given) > _REMEMBERED:
                del self._given[next(iter(self._given))]
        _log.info(
            "a label was written from the status page",
            extra=fields("label", alert=_cut(alert.id), label=word),
        )
        return HTTPStatus.OK, _message("Written", f"{alert.id} is labelled {word}.", good=True)

    def _read(self, environ: WSGIEnvironment) -> tuple[RecentAlert, str]:
        _check_origin(environ)
        form = _form(environ)
        self._check_token(form.get("token", ""), environ.get(CLIENT, ""))
        word = form.get("label", "")
        if word not in self._words:
            raise RefusedRequestError(
                HTTPStatus.BAD_REQUEST, f"a label is one of {', '.join(self._words)}"
            )
        alert = self._recent.find(form.get("alert", ""))
        if alert is None:
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, _gone(form.get("alert", "")))
        if alert.event_id is None:
            raise RefusedRequestError(HTTPStatus.CONFLICT, "the event of this alert has no id")
        return alert, word

    def _check_token(self, given: str, client: str) -> None:
        if not self._back_off.admit(client):
            self._count_refused("held")
            raise RefusedRequestError(
                HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens: try again in a moment"
            )
        # Of digests: the comparison then tells not even the length.
        digest = hashlib.sha256(given.encode("utf-8", "replace")).digest()
        if hmac.compare_digest(digest, self._expected):
            return
        self._back_off.wrong(client)
        self._count_refused("token")
        _log.warning(
            "a label with a wrong token was refused",
            extra=fields("label-refused", stage="labels", client=client),
        )
        raise RefusedRequestError(HTTPStatus.FORBIDDEN, "the token is wrong")


def _check_origin(environ: WSGIEnvironment) -> None:
    """Only from a page of this very host and port. Browsers tell; a script may say it itself."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    origin, host = environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", "")
    try:
        netloc = urlsplit(origin or "").netloc
    except ValueError:  # a bracket that is not closed, for one
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "Origin is no address") from None
    same = origin is not None and host and netloc.lower() == host.lower()
    if not same or site not in (None, "same-origin"):
        raise RefusedRequestError(HTTPStatus.FORBIDDEN, "the request comes from another site")


def _form(environ: WSGIEnvironment) -> dict[str, str]:
    """The fields of a body; of a repeated one the first."""
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedRequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a form is expected")
    if not environ.get("CONTENT_LENGTH"):
        raise RefusedRequestError(HTTPStatus.LENGTH_REQUIRED, "a length is needed")
    stream: Any = environ["wsgi.input"]
    body: bytes = stream.read()  # whole, and bounded, when the request was read
    try:
        found = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "the form cannot be read") from None
    return {name: values[0] for name, values in found.items()}


def _gone(alert_id: str) -> str:
    return (
        f"{_cut(alert_id)} is not among the last alerts of this worker. Use the command: "
        "stream-detector label CONFIG ALERT_ID LABEL"
    )


def _cut(name: str) -> str:
    return name[:300]


def _message(title: str, what: str, *, good: bool) -> str:
    kind = "good" if good else "bad"
    body = (
        f'<header><h1 class="{kind}">{escape(title)}</h1></header><p>{escape(what)}</p>'
        '<p><a href="/">Back to the status page</a></p>'
    )
    return document(f"{title} - stream-detector", body)
