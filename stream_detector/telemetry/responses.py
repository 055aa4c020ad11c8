"""Answers to HTTP requests."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeAlias

Response: TypeAlias = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers, body."""


def text(status: HTTPStatus, body: str, content_type: str = "text/plain") -> Response:
    """A text as UTF-8."""
    headers = [("Content-Type", f"{content_type}; charset=utf-8")]
    return f"{status.value} {status.phrase}", headers, body.encode("utf-8", "replace")


def available(good: bool) -> HTTPStatus:
    """200, or 503 where something is not as it should be."""
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
