"""Parts of every client of HTTP: TLS out of files, secrets out of files, the end of a request."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from stream_detector.config.models.login import Login
from stream_detector.errors import ConfigurationError


class TlsFiles(Protocol):
    """Settings that name the files of TLS."""

    @property
    def ca_file(self) -> str | None:
        """PEM file of the authorities to trust."""

    @property
    def certificate_file(self) -> str | None:
        """PEM client certificate."""

    @property
    def key_file(self) -> str | None:
        """PEM private key of it."""


def tls_context(section: str, config: TlsFiles) -> ssl.SSLContext:
    """Return a context that verifies. Raises ``ConfigurationError``, which names the section."""
    files = [config.ca_file, config.certificate_file, config.key_file]
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.certificate_file is not None:
            # Without a password OpenSSL would ask on the terminal.
            context.load_cert_chain(config.certificate_file, config.key_file, "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        named = ", ".join(each for each in files if each is not None)
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{section}: {named} cannot be used: {why}") from error
    return context


def secret_of(setting: str, value: Any, file: str | None) -> str:
    """Return what a setting holds, or the file that ``setting`` and ``_file`` name.

    Raises ``ConfigurationError`` where the file cannot be used.
    """
    if value is not None:
        return str(value.get_secret_value())
    name = setting.rpartition(".")[2]
    try:
        secret = Path(str(file)).read_text(encoding="utf-8").strip("\r\n")
    except UnicodeDecodeError:
        # Not the error itself: it carries the bytes.
        raise ConfigurationError(f"{setting}_file: {file} is not UTF-8") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{setting}_file: {file}: {why}") from error
    if not secret or not secret.isprintable():
        raise ConfigurationError(f"{setting}_file: {file} holds no {name}")
    return secret


def login_of(section: str, config: Login) -> tuple[str, str] | None:
    """Return the header ``Authorization`` and the secret in it; None without a login.

    Raises ``ConfigurationError``, which names the section, where a file cannot be used.
    """
    if config.username is not None:
        secret = secret_of(f"{section}.password", config.password, config.password_file)
        pair = b64encode(f"{config.username}:{secret}".encode()).decode("ascii")
        return f"Basic {pair}", secret
    if config.token is not None or config.token_file is not None:
        secret = secret_of(f"{section}.token", config.token, config.token_file)
        return f"Bearer {secret}", secret
    return None


def cut(
    connection: http.client.HTTPConnection, sockets: list[socket.socket], over: threading.Event
) -> None:
    """End a request whose time is over, from outside."""
    over.set()  # before whoever reads wakes up
    for each in sockets or [connection.sock]:
        if each is not None:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
