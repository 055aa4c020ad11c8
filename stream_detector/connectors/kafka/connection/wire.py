"""As much of Kafka's protocol by hand as a login takes: frames, the handshake, the exchange."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time

METADATA, HANDSHAKE, API_VERSIONS, AUTHENTICATE = 3, 17, 18, 36
UNSUPPORTED_MECHANISM, NO_SASL_HERE, AUTHENTICATION_FAILED = 33, 34, 58

_MOST_BYTES = 1_000_000
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How an alert and a handshake of TLS begin."""

_CORRELATION = 1
_CORRELATION_BYTES = 4


class ForeignAnswerError(ConnectionError):
    """The peer does not speak Kafka, or at least not without TLS."""

    def __init__(self, *, tls: bool) -> None:
        super().__init__("what answers there is no Kafka broker")
        self.tls = tls


def ask(connection: socket.socket, kind: int, version: int, body: bytes, deadline: float) -> bytes:
    """Send one request and return the body of its answer.

    Args:
        connection: plain or TLS.
        kind: the request's API key.
        version: of the request; one whose headers have no tagged fields.
        body: the request's.
        deadline: by ``time.monotonic``.

    Raises:
        TimeoutError: no answer in time.
        ForeignAnswerError: the answer is not Kafka's.
        ConnectionError: the other side has closed the connection instead.
    """
    request = struct.pack(">hhi", kind, version, _CORRELATION) + text("stream-detector") + body
    connection.settimeout(left(deadline))
    connection.sendall(struct.pack(">i", len(request)) + request)
    start = _read(connection, 4, deadline)
    (length,) = struct.unpack(">i", start)
    if not _CORRELATION_BYTES <= length <= _MOST_BYTES:
        raise ForeignAnswerError(tls=start[:2] in _TLS_RECORDS)
    answer = _read(connection, length, deadline)
    if struct.unpack_from(">i", answer)[0] != _CORRELATION:
        raise ForeignAnswerError(tls=False)
    return answer[4:]


def handshake(connection: socket.socket, mechanism: str, deadline: float) -> tuple[int, list[str]]:
    """Ask for a SASL mechanism. Returns Kafka's error code and what it offers."""
    body = ask(connection, HANDSHAKE, 1, text(mechanism), deadline)
    code, count = struct.unpack_from(">hi", body)
    offered, at = [], 6
    for _ in range(count):
        (length,) = struct.unpack_from(">h", body, at)
        offered.append(body[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return code, offered


def authenticate(connection: socket.socket, token: bytes, deadline: float) -> tuple[int, bytes]:
    """Send a token of the SASL exchange. Returns Kafka's error code and the answer's token.

    Kafka's own message is passed over: what it may quote is not ours to know.
    """
    body = ask(connection, AUTHENTICATE, 0, struct.pack(">i", len(token)) + token, deadline)
    code, length = struct.unpack_from(">hh", body)
    return code, body[4 + max(length, 0) + 4 :]


def text(content: str) -> bytes:
    """A string as the older versions of the protocol write it."""
    encoded = content.encode()
    return struct.pack(">h", len(encoded)) + encoded


def left(deadline: float) -> float:
    """Seconds to the deadline, never none: a socket would take 0 for "do not wait"."""
    return max(deadline - time.monotonic(), 0.001)


def reason(error: OSError) -> str:
    """Return a failed call's reason in words: ``connection refused``, ``wrong version number``."""
    if isinstance(error, ssl.SSLError):
        said = (error.reason or str(error)).replace("_", " ").lower()
        return re.sub(r"^(?:tls|ssl)v[\d.]+ ", "", said)
    said = error.strerror or str(error) or type(error).__name__
    return said[:1].lower() + said[1:]


def _read(connection: socket.socket, count: int, deadline: float) -> bytes:
    found = bytearray()
    while len(found) < count:
        connection.settimeout(left(deadline))
        received = connection.recv(count - len(found))
        if not received:
            raise ConnectionError("it closed the connection instead of answering")
        found += received
    return bytes(found)
