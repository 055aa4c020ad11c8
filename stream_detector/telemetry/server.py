"""The HTTP server for /metrics, /healthz, /readyz and the pages for people."""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Protocol
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from stream_detector.errors import ConnectorError
from stream_detector.telemetry.access import Access, Verdict
from stream_detector.telemetry.back_off import LONGEST_PAUSE_SECONDS, client_address
from stream_detector.telemetry.connections import (
    FAREWELL_SECONDS,
    REQUEST_DEADLINE_SECONDS,
    Server,
)
from stream_detector.telemetry.families import RequestRefusal
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.responses import CLIENT, Response, available, every_answer, text
from stream_detector.telemetry.status.pages import StatusPages

__all__ = ["HealthState", "MetricsServer"]

SHUTDOWN_POLL_SECONDS = 0.25

OPEN_TO_ALL = ("/healthz", "/readyz")
"""Paths that need no password: what starts and watches the process seldom has one."""


class Served(Protocol):
    """What /metrics shows."""

    @property
    def registry(self) -> CollectorRegistry:
        """What the library asks."""

    @property
    def http(self) -> Refusals:
        """What counts requests that were not followed."""

    def watch_ready(self, is_ready: Callable[[], bool]) -> None:
        """Ask ``is_ready`` at every scrape."""


class Refusals(Protocol):
    """Counts requests that were not followed."""

    def add_refused(self, reason: RequestRefusal) -> None:
        """Count one."""


class Health(Protocol):
    """What /healthz and /readyz answer from."""

    def alive(self) -> tuple[bool, list[str]]:
        """Tell whether a restart would not help, and the reasons if it would."""

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether all is well, and every reason why not."""


class Pages(Protocol):
    """What people see."""

    def get(self, environ: WSGIEnvironment) -> Response | None:
        """The answer to a GET; None where there is no such page."""

    def post(self, environ: WSGIEnvironment) -> Response | None:
        """The answer to a POST; None where none is taken."""


class NoPages:
    """Pages of a process that has none."""

    def get(self, environ: WSGIEnvironment) -> Response | None:
        """None: there is no page."""
        del environ
        return None

    def post(self, environ: WSGIEnvironment) -> Response | None:
        """None: nothing is taken."""
        del environ
        return None


class MetricsServer:
    """Serves metrics, health and pages from daemon threads; GET and HEAD, POST for a label alone.

    Bounded: ``MAX_CONNECTIONS`` at a time (a further one displaces the oldest, so that idle or slow
    clients cannot keep a scrape out), each for ``REQUEST_DEADLINE_SECONDS`` in all.

    Args:
        metrics: what /metrics shows; its ``ready`` gauge follows ``health``.
        health: what /healthz and /readyz answer from.
        host: address to bind.
        port: port to bind; 0 takes a free one.
        pages: what people see; default: the figures of a detector, without alerts.
        access: TLS and the password; None: everybody, in plain text.
        deadline_seconds: longest time for one request.
    """

    def __init__(
        self,
        metrics: Served,
        health: Health,
        host: str,
        port: int,
        pages: Pages | None = None,
        *,
        access: Access | None = None,
        deadline_seconds: float = REQUEST_DEADLINE_SECONDS,
    ) -> None:
        self._metrics, self._health = metrics, health
        self._address = (host, port)
        if pages is None and isinstance(metrics, Metrics) and isinstance(health, HealthState):
            pages = StatusPages(metrics, health)
        self._pages = pages or NoPages()
        self._access = access
        self._deadline_seconds = deadline_seconds
        self._prometheus = make_wsgi_app(metrics.registry)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        metrics.watch_ready(lambda: health.ready()[0])

    @property
    def port(self) -> int:
        """The port that is bound; before ``start`` the one that was asked for."""
        return self._server.port if self._server else self._address[1]

    def start(self) -> None:
        """Bind and serve. Raises ``ConnectorError`` where the address cannot be had."""
        host, port = self._address
        try:
            info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
                0
            ]
            self._server = Server(
                info[0],
                info[4][:2],
                self._deadline_seconds,
                self._access,
                self._answer,
                self._metrics.http.add_refused,
            )
        except OSError as error:
            raise ConnectorError(_cannot_bind(host, port, error)) from error
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
        if (refusal := self._refusal(environ)) is not None:
            status, headers, body = refusal
        elif method in ("GET", "HEAD"):
            status, headers, body = self._route(environ)
        elif method == "POST" and (answer := self._pages.post(environ)) is not None:
            status, headers, body = answer
        else:
            status, headers, body = text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n")
            headers.append(("Allow", "GET, HEAD"))
        headers += every_answer(body)
        start_response(status, headers)
        return [b"" if method == "HEAD" else body]

    def _refusal(self, environ: WSGIEnvironment) -> Response | None:
        """Name the client, and answer one that may not see what it asks for; None: it may."""
        proxies = self._access.proxies if self._access is not None else ()
        forwarded = environ.get("HTTP_X_FORWARDED_FOR")
        environ[CLIENT] = client = client_address(environ["REMOTE_ADDR"], forwarded, proxies)
        if self._access is None or environ["PATH_INFO"] in OPEN_TO_ALL:
            return None
        verdict = self._access.judge(environ.get("HTTP_AUTHORIZATION"), client)
        if verdict is Verdict.RIGHT:
            return None
        if verdict is Verdict.LATER:
            self._metrics.http.add_refused("held")
            status, headers, body = text(HTTPStatus.TOO_MANY_REQUESTS, "wrong passwords: wait\n")
            headers.append(("Retry-After", f"{LONGEST_PAUSE_SECONDS:.0f}"))
            return status, headers, body
        if verdict is Verdict.WRONG:
            self._metrics.http.add_refused("password")
        status, headers, body = text(HTTPStatus.UNAUTHORIZED, "a password is needed\n")
        challenge = 'Basic realm="stream-detector", charset="UTF-8"'
        headers.append(("WWW-Authenticate", challenge))
        return status, headers, body

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


def _cannot_bind(host: str, port: int, error: OSError) -> str:
    cures = {
        errno.EADDRINUSE: "the port is in use: set metrics.port to another (0 takes a free one)",
        errno.EACCES: "not permitted: set metrics.port to one above 1023",
        errno.EADDRNOTAVAIL: "not an address of this machine: set metrics.host",
    }
    cure = cures.get(error.errno or 0, f"{error.strerror or error}: check metrics.host and port")
    return f"cannot serve metrics on {host}, port {port}: {cure}"
