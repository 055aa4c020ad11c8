"""Connections of the HTTP server: their number, their deadline, and one request in each."""

from __future__ import annotations

import io
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from socketserver import StreamRequestHandler, TCPServer, ThreadingMixIn
from typing import IO, Any, cast
from urllib.parse import unquote
from wsgiref.handlers import SimpleHandler
from wsgiref.types import WSGIApplication, WSGIEnvironment

from stream_detector.telemetry.access import Access
from stream_detector.telemetry.families import RequestRefusal
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.requests import RefusedRequestError, Request, read_request
from stream_detector.telemetry.responses import every_answer, text

MAX_CONNECTIONS = 16
REQUEST_DEADLINE_SECONDS = 10.0
SOCKET_TIMEOUT_SECONDS = 5.0
FAREWELL_SECONDS = 0.5
GRACE_SECONDS = 1.0
"""Time after the deadline of a request in which the client can be told of it."""

_log = logging.getLogger(__name__)


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


class _RequestHandler(StreamRequestHandler):
    server: Server
    timeout = SOCKET_TIMEOUT_SECONDS
    wbufsize = -1

    def handle(self) -> None:
        """Read a request, and answer it or say what is wrong with it."""
        deadline = time.monotonic() + self.server.deadline_seconds
        quiet = self.timeout or SOCKET_TIMEOUT_SECONDS
        try:
            request = read_request(self.request, deadline, quiet)
        except RefusedRequestError as refused:
            self._refuse(refused)
            return
        self.request.settimeout(quiet)
        environ = {**self.server.base_environ, **_environment(request, self.client_address)}
        answer = cast("IO[bytes]", self.wfile)
        handler = _Handler(io.BytesIO(request.body), answer, io.StringIO(), environ)
        handler.run(self.server.answer)

    def _refuse(self, refused: RefusedRequestError) -> None:
        status, headers, body = text(refused.status, f"{refused}\n")
        lines = [f"HTTP/1.0 {status}", f"Server: {_Handler.server_software}"]
        lines += [f"{name}: {value}" for name, value in (*headers, *every_answer(body))]
        self.request.settimeout(self.timeout)
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        self.wfile.flush()
        self.server.count_refused("malformed")
        _drain(self.request)


class Server(ThreadingMixIn, TCPServer):
    """A thread a connection, a limit on connections, and a deadline for each.

    A timeout of the socket alone does not help against a client that sends a byte now and then.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128  # where it is full, a client's next attempt comes a second later

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[Any, ...],
        deadline_seconds: float,
        access: Access | None,
        answer: WSGIApplication,
        count_refused: Callable[[RequestRefusal], None],
    ) -> None:
        self.address_family = family
        self.deadline_seconds = deadline_seconds
        self.answer, self.count_refused = answer, count_refused
        self.base_environ: dict[str, Any] = {}
        self._access = access
        self._open: dict[socket.socket, float] = {}  # when accepted, oldest first
        self._changed = threading.Condition()
        super().__init__((address[0], address[1]), _RequestHandler)

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind, and note what the environment of every request has in common."""
        super().server_bind()
        self.base_environ = {
            "SERVER_NAME": str(self.server_address[0]),
            "SERVER_PORT": str(self.port),
            "SCRIPT_NAME": "",
        }

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
        overdue = time.monotonic() - self.deadline_seconds - GRACE_SECONDS
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


def _environment(request: Request, client_address: tuple[Any, ...]) -> WSGIEnvironment:
    """A request as WSGI has it. A name with an underscore would pass for one with a hyphen: out."""
    environ: WSGIEnvironment = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in request.headers.items()
        if "_" not in name
    }
    environ |= {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote(request.path, "latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": request.version,
        "REMOTE_ADDR": str(client_address[0]),
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": request.headers.get("content-length", ""),
    }
    return environ


def _drain(request: socket.socket) -> None:
    """Take what a refused client is still sending: closed with unread bytes, it sees no answer."""
    try:
        if not isinstance(request, ssl.SSLSocket):
            request.shutdown(socket.SHUT_WR)
        end = time.monotonic() + FAREWELL_SECONDS
        while (left := end - time.monotonic()) > 0:
            request.settimeout(left)
            if not request.recv(65_536):
                return
    except OSError:
        return  # it has gone, or says nothing more


def _cut(request: socket.socket) -> None:
    """Wake the thread that reads from or writes to the connection; it closes it."""
    try:
        # Not the method of an SSLSocket, which takes the encryption away under the other thread.
        socket.socket.shutdown(request, socket.SHUT_RDWR)
    except OSError:
        _log.debug("a connection to the metrics server was gone already")
