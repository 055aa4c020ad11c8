"""Reading of one HTTP request: whole, within a deadline, and refused where it is not well formed.

The standard library's reader takes what two programmes may read in two ways (a length twice, a
length beside ``Transfer-Encoding``, folded headers, HTTP/0.9), answers some of it with a traceback,
and has limits that ten connections together make gigabytes of. So the bytes are judged here first.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus

MAX_LINE_BYTES = 8192
MAX_HEAD_BYTES = 16_384
MAX_HEADERS = 64
MAX_BODY_BYTES = 4096

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"/(?:[!-$&-~]|%[2-689A-Fa-f][0-9A-Fa-f]|%7[0-9A-Ea-e])*")
"""Visible ASCII, and escapes that are whole and of no control character."""

_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_LENGTH = re.compile(rb"\d{1,10}")
_ONCE = frozenset(
    {b"host", b"content-length", b"content-type", b"authorization", b"origin", b"sec-fetch-site"}
)
"""Headers on which a decision rests: given twice, two readers may take two of them."""


class RefusedRequestError(Exception):
    """A request that is not followed. Never leaves the server."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is well formed: method, path and query as sent, headers by lower-case name."""

    method: str
    path: str
    query: str
    version: str
    headers: dict[str, str]
    body: bytes


def read_request(connection: socket.socket, deadline: float, quiet_seconds: float) -> Request:
    """Read a request from a connection; what comes after it is not looked at.

    Args:
        connection: of a client.
        deadline: moment of the monotonic clock at which all of it has to be there.
        quiet_seconds: longest time without a byte.

    Raises:
        RefusedRequestError: with the status that it deserves.
        OSError: the client is gone.
    """
    received = bytearray()

    def more() -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise RefusedRequestError(HTTPStatus.REQUEST_TIMEOUT, "the request took too long")
        connection.settimeout(min(left, quiet_seconds))
        try:
            part = connection.recv(8192)
        except TimeoutError:
            raise RefusedRequestError(
                HTTPStatus.REQUEST_TIMEOUT, "the request took too long"
            ) from None
        if not part:
            if not received:
                raise ConnectionResetError("the client sent nothing")
            raise _bad("the request is not complete")
        received.extend(part)

    while (found := _end_of_head(received)) is None:
        if len(received) > MAX_HEAD_BYTES:
            raise _too_long(received)
        more()
    head, rest = bytes(received[: found[0]]), found[1]
    if len(head) > MAX_HEAD_BYTES:
        raise _too_long(received)
    method, target, version = _request_line(head.split(b"\n", 1)[0].rstrip(b"\r"))
    headers = _headers(head, version)
    length = _length(headers)
    while len(received) < rest + length:
        more()
    path, _, query = target.decode("ascii").partition("?")
    texts = {name.decode("ascii"): value.decode("latin-1") for name, value in headers.items()}
    body = bytes(received[rest : rest + length])
    return Request(method.decode("ascii"), path, query, version.decode("ascii"), texts, body)


def _end_of_head(received: bytearray) -> tuple[int, int] | None:
    """Where the empty line begins and ends; None where it has not come yet."""
    found = re.search(rb"\r?\n\r?\n", received)
    if found is not None:
        return found.start(), found.end()
    line = received.split(b"\n", 1)
    if len(line) == 1:
        if len(received) > MAX_LINE_BYTES:
            raise RefusedRequestError(HTTPStatus.REQUEST_URI_TOO_LONG, "the first line is too long")
        return None
    _request_line(bytes(line[0].rstrip(b"\r")))  # what is no HTTP is not waited for
    return None


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    if len(line) > MAX_LINE_BYTES:
        raise RefusedRequestError(HTTPStatus.REQUEST_URI_TOO_LONG, "the first line is too long")
    words = line.split(b" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]):  # noqa: PLR2004 - as HTTP has it
        raise _bad("the first line is no HTTP")
    method, target, version = words
    found = _VERSION.fullmatch(version)
    if found is None:
        raise _bad("the first line is no HTTP")
    if found[1] != b"1":
        raise RefusedRequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.0 or 1.1 is taken")
    if not _TARGET.fullmatch(target):
        raise _bad("the address is not well formed")
    return method, target, version


def _headers(head: bytes, version: bytes) -> dict[bytes, bytes]:
    lines = head.split(b"\n")[1:]
    if len(lines) > MAX_HEADERS:
        raise RefusedRequestError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "there are too many headers"
        )
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.removesuffix(b"\r").partition(b":")
        # A line that begins with a blank, or has one before the colon, is not a token either.
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _bad("a header is not well formed")
        name, value = name.lower(), value.strip(b" \t")
        if name in headers and name in _ONCE:
            raise _bad("a header is there twice that may be there once")
        headers[name] = headers[name] + b", " + value if name in headers else value
    if version != b"HTTP/1.0" and b"host" not in headers:
        raise _bad("the header Host is missing")
    return headers


def _length(headers: dict[bytes, bytes]) -> int:
    if b"transfer-encoding" in headers:
        raise _bad("Transfer-Encoding is not taken: send a Content-Length")
    given = headers.get(b"content-length", b"0")
    if not _LENGTH.fullmatch(given):
        if given.isdigit():  # int() would refuse 5,000 digits with an error of its own
            raise _too_large()
        raise _bad("Content-Length is no length")
    if int(given) > MAX_BODY_BYTES:
        raise _too_large()
    return int(given)


def _bad(why: str) -> RefusedRequestError:
    return RefusedRequestError(HTTPStatus.BAD_REQUEST, why)


def _too_large() -> RefusedRequestError:
    return RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")


def _too_long(received: bytearray) -> RefusedRequestError:
    if b"\n" not in received[: MAX_LINE_BYTES + 2]:
        return RefusedRequestError(HTTPStatus.REQUEST_URI_TOO_LONG, "the first line is too long")
    return RefusedRequestError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large"
    )
