"""A schema registry that can be down, slow, or a liar: what a real one cannot be asked to be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeRegistry:
    """Confluent's API for schemas by id, on a port of its own.

    Attributes:
        schemas: what it has, by id: the answer's members.
        mode: how it answers: ``well``, or one of ``MODES``.
        given: the id that it gives whatever is registered.
        asked: the paths that it was asked for.
        headers: of the last request.
    """

    MODES = (
        "error", "html", "list", "no schema", "huge", "endless", "redirect", "refused", "cut",
        "empty", "garbage", "not found page",
    )  # fmt: skip

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.mode = "well"
        self.given: int = 1
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.over = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.headers = dict(self.headers)
                try:
                    registry._answer(self)
                except OSError:
                    self.close_connection = True  # whoever asked has gone

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.do_GET()

        self._handler = Handler
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def avro(self, number: int, text: str) -> None:
        self.schemas[number] = {"schema": text}

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Down: nobody listens at the port."""
        self.over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        mode, path = self.mode, request.path
        if mode == "well":
            self._well(request, path)
        elif mode in ("huge", "endless"):
            request.send_response(200)
            request.end_headers()
            for _ in range(170 if mode == "huge" else 100_000):  # of 64 KiB: 11 MB
                request.wfile.write(b" " * 65536 if mode == "huge" else b" ")
                if mode == "endless" and self.over.wait(0.05):
                    return
        elif mode == "cut":
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            request.wfile.write(b'{"schema": ')
        elif mode == "redirect":
            request.send_response(302)
            request.send_header("Location", f"{self.url}/elsewhere")
            request.end_headers()
        else:
            status, body = {
                "error": (500, b'{"error_code": 50001, "message": "store is down"}'),
                "html": (200, b"<html>log in</html>"),
                "list": (200, b"[]"),
                "no schema": (200, b'{"id": 1}'),
                "refused": (401, b'{"error_code": 401, "message": "who are you?"}'),
                "empty": (200, b""),
                "garbage": (200, b"\xff\xfe" + b"[" * 100_000),
                "not found page": (404, b"<html>no such page</html>"),
            }[mode]
            self._send(request, status, body)

    def _well(self, request: BaseHTTPRequestHandler, path: str) -> None:
        if path == "/subjects":
            self._send(request, 200, b"[]")
            return
        if request.command == "POST":
            self._send(request, 200, json.dumps({"id": self.given}).encode())
            return
        number = path.rpartition("/")[2]
        known = path.startswith(("/schemas/ids/", "/subjects/s/"))
        found = self.schemas.get(int(number)) if known and number.isdigit() else None
        if found is None:
            self._send(request, 404, b'{"error_code": 40403, "message": "Schema not found"}')
        else:
            self._send(request, 200, json.dumps(found).encode())

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()
