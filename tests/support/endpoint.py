"""An endpoint for messages that can fail in every way that endpoints fail."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Script = Callable[[int], str]
"""How to answer the request of this number."""

FLAKY = ("500", "429", "503", "reset", "reset after", "timeout", "cut")
"""Ways to fail after which a message has to come again."""


@dataclass(frozen=True)
class Taken:
    """A request that was answered well."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    def json(self) -> Any:
        return json.loads(self.body)


class Endpoint:
    """Takes what is posted; ``script`` says how each request is answered.

    Attributes:
        taken: what was answered well, in order.
        asked: how often each key came, however it was answered.
        lost: keys that were taken and whose answer was not heard.
        behind: an address that good requests are handed on to, whose answer is the answer.
    """

    def __init__(self, script: Script = lambda _: "200", *, behind: str | None = None) -> None:
        self.script, self.behind = script, behind
        self.taken: list[Taken] = []
        self.asked: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.lost: set[str] = set()
        self.connections = 0
        self.hang_seconds = 5.0
        self.retry_after = "1"
        self._number = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.over = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                endpoint.connections += 1
                endpoint._open.add(self.connection)

            def finish(self) -> None:
                endpoint._open.discard(self.connection)
                super().finish()

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                try:
                    endpoint._answer(self)
                except OSError:
                    self.close_connection = True

            do_PUT = do_POST  # noqa: N815 - the base class's way to name methods

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._handler, self._kind = Handler, Server
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        self._server = self._kind(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Down: nobody listens at the port, and who was connected is no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def keys(self) -> list[str]:
        with self._lock:
            return [one.headers.get("idempotency-key", "") for one in self.taken]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            number, self._number = self._number, self._number + 1
            mode = self.script(number)
            self.modes[mode] += 1
        length = int(headers.get("content-length") or 0)
        if mode == "413 unread":
            self._send(request, 413, b"too large", close=True)
            return
        body = request.rfile.read(length)
        key = headers.get("idempotency-key", "")
        with self._lock:
            self.asked[key] += 1
        taken = Taken(request.path, headers, body)
        if mode in ("200", "204"):
            status, answer = 200 if mode == "200" else 204, b"ok" if mode == "200" else b""
            if self.behind is not None:
                status, answer = self._handed_on(taken)
            if 200 <= status < 300:
                with self._lock:
                    self.taken.append(taken)
            self._send(request, status, answer)
        elif mode == "reset after":
            with self._lock:
                self.lost.add(key)
            if self.behind is not None:
                self._handed_on(taken)
            _reset(request.connection)
            request.close_connection = True
        elif mode == "reset":
            _reset(request.connection)
            request.close_connection = True
        elif mode == "timeout":
            self.over.wait(self.hang_seconds)
            request.close_connection = True
        elif mode == "drip":
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            for _ in range(1000):
                request.wfile.write(b" ")
                if self.over.wait(0.05):
                    return
        elif mode == "cut":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
            request.close_connection = True
        elif mode == "garbage":
            request.wfile.write(b"\xff\xfe SSH-2.0-nothing\r\n\r\n")
            request.close_connection = True
        elif mode == "redirect":
            self._send(request, 302, b"", ("Location", "http://127.0.0.1:1/elsewhere"))
        elif mode == "close":  # answered well, and the connection is closed behind it, unannounced
            with self._lock:
                self.taken.append(taken)
            self._send(request, 200, b"ok")
            request.close_connection = True
        elif mode in ("429", "503"):
            self._send(request, int(mode), b"slow down", ("Retry-After", self.retry_after))
        else:
            self._send(request, int(mode), b"no: " + body[:50])

    def _handed_on(self, taken: Taken) -> tuple[int, bytes]:
        wanted = urllib.request.Request(
            f"{self.behind}{taken.path.removeprefix('/hook')}",
            data=taken.body,
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(wanted, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    @staticmethod
    def _send(
        request: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        *headers: tuple[str, str],
        close: bool = False,
    ) -> None:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(body)))
        if close:
            request.send_header("Connection", "close")
            request.close_connection = True
        request.end_headers()
        if status != 204:
            request.wfile.write(body)


def _reset(connection: socket.socket) -> None:
    """End a connection by a reset, not by an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
