"""The HTTP server for /metrics, /healthz, /readyz and the pages for people."""

from __future__ import annotations

import errno
import json
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import IO, Any, cast
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app

from stream_detector.errors import ConnectorError
from stream_detector.telemetry.access import Access
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.responses import Response, available, text
from stream_detector.telemetry.status.pages import PAGE_HEADERS, StatusPages

__all__ = ["HealthState", "MetricsServer"]

MAX_CONNECTIONS = 16
REQUEST_DEADLINE_SECONDS = 10.0
SOCKET_TIMEOUT_SECONDS = 5.0
SHUTDOWN_POLL_SECONDS = 0.25
FAREWELL_SECONDS = 0.5

OPEN_TO_ALL = ("/healthz", "/readyz")
"""Paths that need no password: what starts and watches the process seldom has one."""

_log = logging.getLogger(__name__)


class MetricsServer:
    """Serves metrics, health and pages from daemon threads; GET and HEAD, POST for a label alone.

    Bounded: ``MAX_CONNECTIONS`` at a time (a further one displaces the oldest, so that idle or slow
    clients cannot keep a scrape out), each for ``REQUEST_DEADLINE_SECONDS`` in all.

    Args:
        metrics: what /metrics shows; its ``ready`` gauge follows ``health``.
        health: what /healthz and /readyz answer from.
        host: address to bind.
        port: port to bind; 0 takes a free one.
        pages: what people see; default: the figures, without alerts.
        access: TLS and the password; None: everybody, in plain text.
        deadline_seconds: longest time for one request.
    """

    def __init__(
        self,
        metrics: Metrics,
        health: HealthState,
        host: str,
        port: int,
        pages: StatusPages | None = None,
        *,
        access: Access | None = None,
        deadline_seconds: float = REQUEST_DEADLINE_SECONDS,
    ) -> None:
        self._health = health
        self._address = (host, port)
        self._pages = pages or StatusPages(metrics, health)
        self._access = access
        self._deadline_seconds = deadline_seconds
        self._prometheus = make_wsgi_app(metrics.registry)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        metrics.watch_ready(lambda: health.ready()[0])

    @property
    def port(self) -> int:
        """The port that is bound; before ``start`` the one that was asked for."""
        return self._server.server_port if self._server else self._address[1]

    def start(self) -> None:
        """Bind and serve. Raises ``ConnectorError`` where the address cannot be had."""
        host, port = self._address
        try:
            info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
                0
            ]
            self._server = _Server(info[0], info[4][:2], self._deadline_seconds, self._access)
        except OSError as error:
            raise ConnectorError(_cannot_bind(host, port, error)) from error
        self._server.set_app(self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": SHUTDOWN_POLL_SECONDS},
            name="metrics-server",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and give the port back. May be called twice.

        Who is connected already is answered first, for ``FAREWELL_SECONDS`` at most; then open
        connections are cut.
        """
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.finish(FAREWELL_SECONDS)
        self._server.server_close()
        self._server = self._thread = None

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if not self._may_see(environ):
            status, headers, body = text(HTTPStatus.UNAUTHORIZED, "a password is needed\n")
            challenge = 'Basic realm="stream-detector", charset="UTF-8"'
            headers.append(("WWW-Authenticate", challenge))
        elif method in ("GET", "HEAD"):
            status, headers, body = self._route(environ)
        elif method == "POST" and (answer := self._pages.post(environ)) is not None:
            status, headers, body = answer
        else:
            status, headers, body = text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n")
            headers.append(("Allow", "GET, HEAD"))
        headers += [
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *PAGE_HEADERS,
        ]
        start_response(status, headers)
        return [b"" if method == "HEAD" else body]

    def _may_see(self, environ: WSGIEnvironment) -> bool:
        if self._access is None or environ["PATH_INFO"] in OPEN_TO_ALL:
            return True
        return self._access.allows(environ.get("HTTP_AUTHORIZATION"))

    def _route(self, environ: WSGIEnvironment) -> Response:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._scrape(environ)
            case "/healthz":
                alive, reasons = self._health.alive()
                return text(available(alive), "ok\n" if alive else "\n".join(reasons) + "\n")
            case "/readyz":
                ready, reasons = self._health.ready()
                body = json.dumps({"ready": ready, "reasons": reasons}) + "\n"
                return text(available(ready), body, "application/json")
            case _:
                found = self._pages.get(environ)
                return found or text(HTTPStatus.NOT_FOUND, "not found\n")

    def _scrape(self, environ: WSGIEnvironment) -> Response:
        status, headers = "", list[tuple[str, str]]()

        def take(library_status: str, library_headers: list[tuple[str, str]]) -> None:
            nonlocal status, headers
            status, headers = library_status, library_headers

        body = b"".join(self._prometheus({**environ, "REQUEST_METHOD": "GET"}, take))
        return status, list(headers), body


class _Handler(SimpleHandler):
    server_software = "stream-detector"

    def log_exception(self, exc_info: Any) -> None:
        slow = issubclass(exc_info[0], TimeoutError)
        level = logging.DEBUG if slow else logging.ERROR
        _log.log(
            level,
            "a request to the metrics server failed",
            exc_info=exc_info,
            extra=fields("request-failed", stage="http"),
        )


class _RequestHandler(WSGIRequestHandler):
    server: WSGIServer
    timeout = SOCKET_TIMEOUT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """No access log: a scrape every few seconds says nothing."""

    def handle(self) -> None:
        """As the base class, which would write tracebacks to standard error past the logging."""
        self.raw_requestline = self.rfile.readline(65537)
        if self.raw_requestline and self.parse_request():
            source, target = cast("IO[bytes]", self.rfile), cast("IO[bytes]", self.wfile)
            handler = _Handler(source, target, self.get_stderr(), self.get_environ())
            app = self.server.get_app()
            assert app is not None
            handler.run(app)


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a connection, a limit on connections, and a deadline for each.

    A timeout of the socket alone does not help against a client that sends a byte now and then.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # where it is full, a client's next attempt comes a second later

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[Any, ...],
        deadline_seconds: float,
        access: Access | None,
    ) -> None:
        self.address_family = family
        self._deadline_seconds = deadline_seconds
        self._access = access
        self._open: dict[socket.socket, float] = {}  # when accepted, oldest first
        self._changed = threading.Condition()
        super().__init__((address[0], address[1]), _RequestHandler)

    def server_bind(self) -> None:
        """Without the base class's reverse look-up of the host name, which can take seconds."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; the handshake is left to its thread, since a client may stall it."""
        request, address = super().get_request()
        context = self._access.context if self._access is not None else None
        if context is None:
            return request, address
        try:
            encrypted = context.wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            request.close()
            raise
        return encrypted, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, then serve. Runs in the connection's thread."""
        if isinstance(request, ssl.SSLSocket):
            request.settimeout(SOCKET_TIMEOUT_SECONDS)
            request.do_handshake()
        super().finish_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, in the place of the oldest one if all are taken."""
        with self._changed:
            if len(self._open) >= MAX_CONNECTIONS:
                _cut(next(iter(self._open)))
                if not self._changed.wait_for(lambda: len(self._open) < MAX_CONNECTIONS, 1.0):
                    self.shutdown_request(request)
                    return
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection and give its place free."""
        with self._changed:
            self._open.pop(request, None)
            self._changed.notify_all()
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called by the accepting thread several times a second: cut what is overdue."""
        overdue = time.monotonic() - self._deadline_seconds
        with self._changed:
            for request, accepted in self._open.items():
                if accepted < overdue:
                    _cut(request)

    def finish(self, seconds: float) -> None:
        """Answer the requests that came before the end of the accepting thread.

        Closing the listening socket resets every connection that the kernel has made and nobody
        has accepted: on a busy machine a probe or a scrape saw that instead of an answer.
        """
        deadline = time.monotonic() + seconds
        self.timeout = 0.0  # a client may have given up since: nothing here waits for another
        while select.select([self.socket], [], [], 0)[0] and time.monotonic() < deadline:
            self.handle_request()
        with self._changed:
            self._changed.wait_for(lambda: not self._open, max(deadline - time.monotonic(), 0))

    def server_close(self) -> None:
        """Close the listening socket and cut open connections."""
        super().server_close()
        with self._changed:
            for request in self._open:
                _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """A client that went away or was too slow is no news."""
        _log.debug("a connection to the metrics server ended early", exc_info=True)


def _cut(request: socket.socket) -> None:
    """Wake the thread that reads from or writes to the connection; it closes it."""
    try:
        # Not the method of an SSLSocket, which takes the encryption away under the other thread.
        socket.socket.shutdown(request, socket.SHUT_RDWR)
    except OSError:
        _log.debug("a connection to the metrics server was gone already")


def _cannot_bind(host: str, port: int, error: OSError) -> str:
    cures = {
        errno.EADDRINUSE: "the port is in use: set metrics.port to another (0 takes a free one)",
        errno.EACCES: "not permitted: set metrics.port to one above 1023",
        errno.EADDRNOTAVAIL: "not an address of this machine: set metrics.host",
    }
    cure = cures.get(error.errno or 0, f"{error.strerror or error}: check metrics.host and port")
    return f"cannot serve metrics on {host}, port {port}: {cure}"
