"""Requests to the metrics server, judged by its reader of bytes."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from fuzz.target import Target
from stream_detector.telemetry.requests import (
    MAX_BODY_BYTES,
    MAX_HEADERS,
    RefusedRequestError,
    read_request,
)

SEEDS = [
    b"GET /metrics HTTP/1.1\r\nHost: localhost:9108\r\nAccept: */*\r\n\r\n",
    b"GET /?a=1&b=%20x HTTP/1.0\r\n\r\n",
    b"POST /label HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nContent-Length: 9\r\n\r\nid=1&x=23",
    b"HEAD /healthz HTTP/1.1\nHost: [::1]:80\nAuthorization: Basic dTpw\n\n",
]


def read(data: bytes) -> bool:
    """Send the bytes through a pair of sockets and close; the reader answers or refuses."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with suppress(BlockingIOError):
            ours.send(data)
        ours.shutdown(socket.SHUT_WR)
        try:
            request = read_request(theirs, time.monotonic() + 5, 5)
        except (RefusedRequestError, OSError):
            return False
    assert request.method.isascii()
    assert request.path.startswith("/")
    assert not any(c < " " or c == "\x7f" for c in request.path + request.query)
    assert len(request.body) <= MAX_BODY_BYTES
    assert len(request.headers) <= MAX_HEADERS
    return True


TARGET = Target(lambda: SEEDS, read)
