"""Who may change anything from the status page: a token, and where the request comes from.

Nothing here keeps a session or a cookie: the token is in the body of each request, so no other site
can make a browser send it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit
from wsgiref.types import WSGIEnvironment

from stream_detector.telemetry.back_off import BackOff
from stream_detector.telemetry.families import RequestRefusal
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.requests import RefusedRequestError
from stream_detector.telemetry.responses import CLIENT

_log = logging.getLogger(__name__)


class Guard:
    """Reads forms of those who have the token. State: who guessed at it (``BackOff``).

    Args:
        token: what a request must hold.
        back_off: holds back who guesses at it.
        count_refused: hears of wrong tokens and of requests that were not looked at.
    """

    def __init__(
        self,
        token: str,
        back_off: BackOff | None = None,
        count_refused: Callable[[RequestRefusal], None] = lambda _: None,
    ) -> None:
        self._expected = hashlib.sha256(token.encode()).digest()
        self._back_off = back_off or BackOff("token")
        self._count_refused = count_refused

    def read(self, environ: WSGIEnvironment) -> dict[str, str]:
        """The fields of a POST. Raises ``RefusedRequestError``."""
        _check_origin(environ)
        form = _form(environ)
        self._check_token(form.get("token", ""), environ.get(CLIENT, ""))
        return form

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
            "a request with a wrong token was refused",
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
