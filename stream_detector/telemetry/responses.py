"""Answers to HTTP requests."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeAlias

from stream_detector.telemetry.status.style import POLICY

Response: TypeAlias = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers, body."""

PAGE_HEADERS = [
    ("Content-Security-Policy", POLICY),
    # Not `no-referrer`: a browser would then hide the origin of the form from us, too.
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
"""Sent with every answer of the server."""

CLIENT = "stream_detector.client"
"""Key of a request's environment: the address that it is counted under."""


def text(status: HTTPStatus, body: str, content_type: str = "text/plain") -> Response:
    """A text as UTF-8."""
    headers = [("Content-Type", f"{content_type}; charset=utf-8")]
    return f"{status.value} {status.phrase}", headers, body.encode("utf-8", "replace")


def available(good: bool) -> HTTPStatus:
    """200, or 503 where something is not as it should be."""
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE


def every_answer(body: bytes) -> list[tuple[str, str]]:
    """Headers of whatever is answered."""
    return [
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *PAGE_HEADERS,
    ]
