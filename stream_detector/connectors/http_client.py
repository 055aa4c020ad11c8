"""A client of one address: each request has a deadline, no redirect is followed.

Connections are kept, since messages follow each other closely. One that the other side has closed
meanwhile looks like a failure: then the request is made once more on a new one.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from stream_detector.config.models.forward import HttpConfig, url_mistake
from stream_detector.connectors.http_parts import cut, login_of, secret_of, tls_context
from stream_detector.errors import ConfigurationError

MAX_BODY_BYTES = 64 * 1024
"""So much of an answer is read; whoever says more has his connection closed."""

_LONGEST_IDLE_SECONDS = 10.0
"""Servers close what is idle, many after 15 seconds or less."""

_LEAST_SECRET = 16
_UNAUTHORIZED = 401
_PIECE = 8192
_GONE = (
    http.client.RemoteDisconnected,
    BrokenPipeError,
    ConnectionResetError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)
"""What is found where the other side has closed a connection that was kept."""


class NoAnswerError(Exception):
    """There was no whole answer.

    Attributes:
        kind: whether the time was over, or nobody was reached.
    """

    def __init__(self, why: str, kind: Literal["timeout", "unreachable"]) -> None:
        super().__init__(why)
        self.kind: Literal["timeout", "unreachable"] = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: the status, headers by their names in small letters, the body's start."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests to an address; thread-safe.

    State: connections that wait for the next request, at most as many as there were requests at a
    time; the token, which may be read again.

    Attributes:
        host: what messages may say of the address.
    """

    def __init__(
        self, section: str, config: HttpConfig, on_secret: Callable[[str], None] = lambda _: None
    ) -> None:
        """Read the files. Raises ``ConfigurationError`` where one cannot be used.

        Args:
            section: for messages.
            config: what to connect to.
            on_secret: told whatever no log may show.
        """
        self._section, self._config, self._on_secret = section, config, on_secret
        url = secret_of(f"{section}.url", config.url, config.url_file)
        if (mistake := url_mistake(url)) is not None:
            raise ConfigurationError(f"{section}.url_file: {mistake}")
        parts = urlsplit(url)
        self._tls = tls_context(section, config) if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls is not None else 80)
        self.host = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        for secret in (url, parts.path):
            if len(secret) > _LEAST_SECRET:  # a path like /hook would hide half of a log
                on_secret(secret)
        self._authorization: str | None = None
        self._read_secret()
        self._lock = threading.Lock()
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []

    def request(
        self, method: str, body: bytes, headers: Mapping[str, str], path: str = ""
    ) -> Answer:
        """Return what is answered, whatever its status. Raises ``NoAnswerError``.

        ``path`` is put behind that of the address.
        """
        answer = self._asked(method, body, headers, path)
        if answer.status == _UNAUTHORIZED and self._config.token_file is not None:
            try:
                self._read_secret()  # tokens expire, and who renews them writes the file anew
            except ConfigurationError as error:
                raise NoAnswerError(str(error), "unreachable") from error
            answer = self._asked(method, body, headers, path)
        return answer

    def unresolved(self, seconds: float = 5.0) -> str | None:
        """Tell that the host, or the proxy's, cannot be found; None where it can. Sends nothing."""
        host, port = self._reached()
        found: list[Exception | None] = []

        def look_up() -> None:  # in a thread, since it takes no deadline
            try:
                socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found.append(None)
            except (OSError, UnicodeError) as error:
                found.append(error)

        thread = threading.Thread(target=look_up, name="resolver", daemon=True)
        thread.start()
        thread.join(seconds)
        if not found:
            return f"the name {host} was not resolved in {seconds:g} s"
        if found[0] is None:
            return None
        said = getattr(found[0], "strerror", None) or "it cannot be a host's name"
        return f"the name {host} cannot be resolved: {said}"

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _asked(self, method: str, body: bytes, headers: Mapping[str, str], path: str) -> Answer:
        target = self._path.rstrip("/") + path if path else self._path or "/"
        if self._config.proxy is not None and self._tls is None:
            target = f"{self.host}{target}"
        told = {"User-Agent": "stream-detector", "Accept-Encoding": "identity", **headers}
        if self._authorization is not None:
            told.setdefault("Authorization", self._authorization)
        over = threading.Event()
        kept = self._kept()
        try:
            if kept is not None:
                with suppress(*_GONE):
                    return self._exchange(kept, method, target, body, told, over)
                kept.close()
            if over.is_set():
                raise TimeoutError
            return self._exchange(self._connection(), method, target, body, told, over)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if over.is_set() or isinstance(error, TimeoutError):
                why = f"no whole answer within {self._config.request_timeout:g} s"
                raise NoAnswerError(f"{self.host}: {why}", "timeout") from error
            why = str(error) or type(error).__name__
            raise NoAnswerError(f"{self.host}: {why[:200]}", "unreachable") from error

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        over: threading.Event,
    ) -> Answer:
        # The timeout is each read's own: a byte a second would never end.
        sockets: list[socket.socket] = []
        watch = threading.Timer(self._config.request_timeout, cut, (connection, sockets, over))
        watch.daemon = True
        watch.start()
        whole = False
        try:
            if connection.sock is None:
                connection.connect()
            sockets.append(connection.sock)
            # Some answer "too large" and hang up before they have heard it all.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers=dict(headers))
            sent = connection.getresponse()
            content = _start_of(sent)
            if over.is_set() and not _is_success(sent.status):  # it was cut, as if it had ended
                raise TimeoutError
            whole = not sent.will_close and (sent.isclosed() or sent.length == 0)
            sent.close()  # the connection takes a next request once it is
            answered = {name.lower(): value for name, value in sent.getheaders()}
            return Answer(sent.status, answered, content)
        finally:
            watch.cancel()
            if whole and not over.is_set():
                with self._lock:
                    self._idle.append((connection, time.monotonic()))
            else:
                connection.close()

    def _kept(self) -> http.client.HTTPConnection | None:
        """Return a connection that is still warm; close those that are not."""
        cold: list[http.client.HTTPConnection] = []
        found = None
        with self._lock:
            while self._idle and found is None:
                connection, since = self._idle.pop()
                if time.monotonic() - since < _LONGEST_IDLE_SECONDS:
                    found = connection
                else:
                    cold.append(connection)
        for each in cold:
            each.close()
        return found

    def _reached(self) -> tuple[str, int]:
        """Return who is connected to: the host, or the proxy."""
        if self._config.proxy is None:
            return self._host, self._port
        proxy = urlsplit(self._config.proxy)
        return proxy.hostname or "", proxy.port or 80

    def _connection(self) -> http.client.HTTPConnection:
        timeout = self._config.request_timeout
        host, port = self._reached()
        if self._tls is None:
            plain = http.client.HTTPConnection(host, port, timeout=timeout)
            plain.response_class = _Response
            return plain
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        connection.response_class = _Response
        if self._config.proxy is not None:
            connection.set_tunnel(self._host, self._port)
        return connection

    def _read_secret(self) -> None:
        if (login := login_of(self._section, self._config)) is not None:
            self._authorization, secret = login
            self._on_secret(secret)


class _Response(http.client.HTTPResponse):
    """An answer whose headers have an end: the base class takes the end of the connection for it.

    What was cut off within its headers would else be a success, by the status that came first.
    """

    def begin(self) -> None:
        """Read status and headers. Raises ``http.client.IncompleteRead`` where they are cut."""
        lines = self.fp
        watched: Any = _WatchedLines(lines)
        self.fp = watched
        super().begin()
        if self.fp is watched:
            self.fp = lines
        if watched.last not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(watched.last)


class _WatchedLines:
    """A stream that knows the last line that was read of it."""

    def __init__(self, lines: Any) -> None:
        self._lines, self.last = lines, b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._lines.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lines, name)


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - RFC 9110


def _start_of(answer: http.client.HTTPResponse) -> bytes:
    """Return the beginning of a body; after a success it need not come to its end."""
    content = b""
    try:
        while len(content) < MAX_BODY_BYTES and (piece := answer.read1(_PIECE)):
            content += piece
    except (OSError, http.client.HTTPException):
        if not _is_success(answer.status):
            raise
    return content
