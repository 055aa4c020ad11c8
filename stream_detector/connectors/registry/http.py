"""Requests to a registry: bounded in time and size, without redirects, secrets in no message."""

from __future__ import annotations

import http.client
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import msgspec

from stream_detector.config.models.config import RegistryConfig
from stream_detector.connectors.http_parts import cut, login_of, tls_context

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A schema of a MiB in JSON's escapes, and room."""

GUIDS = "/schemas/guids/"
"""Registries before GUIDs, and Apicurio, have no such path at all."""

_PIECE = 64 * 1024
_DENIED = range(40400, 40500)
_OK, _NOT_FOUND, _UNAUTHORIZED, _FORBIDDEN = 200, 404, 401, 403
_CONFLICT, _UNPROCESSABLE = 409, 422
_LONGEST_REASON = 300
_TYPES = "application/vnd.schemaregistry.v1+json, application/json, */*;q=0.1"


class UnavailableError(Exception):
    """No answer that counts: the registry is down, slow, refuses us, or something else answers."""


class UnwelcomeError(UnavailableError):
    """The registry has understood what it was sent, and does not take it: waiting is no cure."""


class NotFoundError(Exception):
    """The registry itself says that there is no such thing."""


class Connection:
    """Asks a registry. A connection is made for each request: there are a few in a daemon's life.

    State: the token, which may be read again.
    """

    def __init__(self, config: RegistryConfig) -> None:
        """Raises ``ConfigurationError`` where a file cannot be used."""
        self._config = config
        parts = urlsplit(config.url)
        self._host, self._port = parts.hostname or "", parts.port
        self._path = parts.path.rstrip("/")
        self._context = tls_context("registry", config) if parts.scheme == "https" else None
        self.secret = ""
        self._authorization: str | None = None
        self._read_secret()

    def get_json(self, path: str) -> Any:
        """Return what the registry answers, which is JSON. Raises as ``get`` does."""
        body = self.get(path)
        try:
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnavailableError(f"{self._shown(path)} answers with what is no JSON") from error

    def get(self, path: str) -> bytes:
        """Return the body of an answer.

        Raises ``NotFoundError`` where the registry says so, else ``UnavailableError``.
        """
        status, body = self._request("GET", path, None)
        if status == _UNAUTHORIZED and self._config.token_file is not None:
            self._read_secret()  # tokens expire, and whoever renews them writes the file anew
            status, body = self._request("GET", path, None)
        return self._checked(path, status, body)

    def post_json(self, path: str, content: Any) -> Any:
        """Return the answer to JSON that is sent. Raises as ``get`` does."""
        status, body = self._request("POST", path, msgspec.json.encode(content))
        try:
            return msgspec.json.decode(self._checked(path, status, body))
        except msgspec.MsgspecError as error:
            raise UnavailableError(f"{self._shown(path)} answers with what is no JSON") from error

    def _checked(self, path: str, status: int, body: bytes) -> bytes:
        if status == _OK:
            return body
        said, denied = _said(body)
        if status == _NOT_FOUND and (denied or path.startswith(GUIDS)):
            raise NotFoundError(said or "it has no GUIDs")
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            given = "the login" if self._authorization is not None else "a request without login"
            raise UnavailableError(f"{self._shown(path)} refuses {given} ({status})")
        what = f": {said[:_LONGEST_REASON]}" if said else ""
        refuses = status in (_CONFLICT, _UNPROCESSABLE)
        raise (UnwelcomeError if refuses else UnavailableError)(
            f"{self._shown(path)} answers with status {status}{what}"
        )

    def _request(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        timeout = self._config.request_timeout
        connection: http.client.HTTPConnection
        if self._context is not None:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        # The timeout is each read's own: a byte a second would never end.
        sockets: list[socket.socket] = []
        over = threading.Event()
        watch = threading.Timer(timeout, cut, (connection, sockets, over))
        watch.daemon = True
        watch.start()
        headers = {"Accept": _TYPES, "Connection": "close"}
        if content is not None:
            headers["Content-Type"] = "application/vnd.schemaregistry.v1+json"
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        try:
            connection.connect()
            sockets.append(connection.sock)  # which the connection forgets once it is to be closed
            connection.request(method, self._path + path, body=content, headers=headers)
            answer = connection.getresponse()
            body = b""
            while piece := answer.read1(_PIECE):
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise UnavailableError(
                        f"{self._shown(path)} answers with more than {MAX_ANSWER_BYTES} bytes"
                    )
            if over.is_set():  # it was cut, which looks like an end
                raise TimeoutError
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = str(error) or type(error).__name__
            if over.is_set():
                why = f"no whole answer within {timeout:g} s"
            raise UnavailableError(f"{self._shown(path)}: {why[:200]}") from error
        else:
            return answer.status, body
        finally:
            watch.cancel()
            connection.close()

    def _shown(self, path: str) -> str:
        return f"the schema registry at {self._config.url.rstrip('/')}{path}"

    def _read_secret(self) -> None:
        if (login := login_of("registry", self._config)) is not None:
            self._authorization, self.secret = login


def _said(body: bytes) -> tuple[str, bool]:
    """Return what an error's body says, and whether it is a registry that denies a schema.

    A wrong path is an error 404 as well: Confluent numbers what it denies by 40401 and on, Apicurio
    names it.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", False
    if not isinstance(found, dict):
        return "", False
    code, name = found.get("error_code"), str(found.get("name"))
    denied = type(code) is int and code in _DENIED
    denied = denied or name in ("ContentNotFoundException", "VersionNotFoundException")
    return str(found.get("message") or found.get("title") or ""), denied
