"""Attempt to connect to a server and to log in, which says exactly where it ends.

Where a port seems to speak something else, a second connection finds out what.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

from stream_detector.config.models.config import KafkaSecurityConfig
from stream_detector.connectors.kafka.client.login import ScramClient, host_and_port
from stream_detector.connectors.kafka.connection import wire
from stream_detector.errors import ConfigurationError, ConnectorError, RefusedError

_LOOK_SECONDS = 2.0
"""Limit of a second connection, which only finds out what the port speaks."""

# As OpenSSL numbers the results of a verification.
_EXPIRED, _NOT_YET_VALID, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 27})


class Attempt:
    """Attempt at one server; holds what it was given and nothing else."""

    def __init__(
        self, server: str, security: KafkaSecurityConfig, settings: dict[str, Any], deadline: float
    ) -> None:
        try:
            self._host, self._port = host_and_port(server)
        except ValueError:
            raise ConfigurationError(
                f"kafka.bootstrap_servers: {server!r} is not of the form host:port"
            ) from None
        self._security, self._settings = security, settings
        self._deadline = deadline

    def run(self) -> None:
        """Connect, log in, or ask something. Raises ``ConnectorError`` and ``RefusedError``."""
        try:
            with self._connected(self._deadline) as plain:
                if "ssl_context" in self._settings:
                    with self._over_tls(plain) as encrypted:
                        self._talk(encrypted)
                else:
                    self._talk(plain)
        except TimeoutError as error:
            raise ConnectorError("no answer in time") from error
        except OSError as error:
            raise ConnectorError(wire.reason(error)) from error
        except (struct.error, UnicodeDecodeError) as error:
            raise ConnectorError("what answers there is no Kafka broker") from error

    # --- TCP ---

    @contextlib.contextmanager
    def _connected(self, deadline: float) -> Iterator[socket.socket]:
        failure = OSError("no address")
        for family, address in self._resolve(deadline):
            connection = socket.socket(family, socket.SOCK_STREAM)
            with connection:
                connection.settimeout(wire.left(deadline))
                try:
                    connection.connect(address)
                except OSError as error:
                    failure = error
                    continue
                yield connection
                return
        raise failure

    def _resolve(self, deadline: float) -> list[tuple[int, Any]]:
        """Addresses of the host. In a thread, since the look-up takes no deadline."""
        found: list[Any] = []

        def look_up() -> None:
            try:
                found.append(socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                found.append(error)

        thread = threading.Thread(target=look_up, name="resolver", daemon=True)
        thread.start()
        thread.join(wire.left(deadline))
        if not found:
            raise ConnectorError(f"the name {self._host} was not resolved in time")
        if isinstance(found[0], Exception):
            said = getattr(found[0], "strerror", None) or "it cannot be a host's name"
            raise ConnectorError(f"the name {self._host} cannot be resolved: {said}")
        return [(info[0], info[4]) for info in found[0]]

    # --- TLS ---

    @contextlib.contextmanager
    def _over_tls(self, connection: socket.socket) -> Iterator[ssl.SSLSocket]:
        context: ssl.SSLContext = self._settings["ssl_context"]
        try:
            encrypted = context.wrap_socket(connection, server_hostname=self._host)
        except TimeoutError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise RefusedError(self._distrust(error)) from error
        except (ssl.SSLError, ConnectionError) as error:
            raise self._failed_handshake(error) from error
        with encrypted:
            try:
                yield encrypted
            except ssl.SSLEOFError:
                raise
            except ssl.SSLError as error:  # TLS 1.3 refuses a certificate after the handshake
                raise RefusedError(self._refused_certificate(wire.reason(error))) from error
            except ConnectionError as error:
                if isinstance(error, wire.ForeignAnswerError) or not self._wants_certificate():
                    raise
                raise RefusedError(self._refused_certificate(wire.reason(error))) from error

    def _distrust(self, error: ssl.SSLCertVerificationError) -> str:
        said = error.verify_message.rstrip(".")
        if error.verify_code == _EXPIRED:
            return "its certificate has expired"
        if error.verify_code == _NOT_YET_VALID:
            return "its certificate is not valid yet (is the clock of this machine right?)"
        if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
            return f"its certificate is for another host ({said})"
        if error.verify_code in _UNKNOWN_AUTHORITY:
            trusted = self._security.ca_file or "this system (set kafka.security.ca_file)"
            return f"its certificate is of an authority unknown to {trusted} ({said})"
        return f"its certificate is not trusted ({said})"

    def _failed_handshake(self, error: OSError) -> ConnectorError:
        reason, protocol = wire.reason(error), self._security.protocol
        if "wrong version number" in reason or self._answers_without_tls():
            plain = protocol.replace("SSL", "PLAINTEXT")
            return RefusedError(
                f"this port speaks without TLS: take the TLS port, or set the protocol {plain}"
            )
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            if "alert" in reason and "certificate" in reason:
                return RefusedError(self._refused_certificate(reason))
            return RefusedError(f"TLS failed ({reason})")
        return ConnectorError("it closed the connection during the TLS handshake")

    def _refused_certificate(self, reason: str) -> str:
        if self._security.certificate_file is None:
            return f"it demands a client certificate, set certificate_file and key_file ({reason})"
        return f"it refuses the client certificate {self._security.certificate_file} ({reason})"

    # --- Kafka ---

    def _talk(self, connection: socket.socket) -> None:
        protocol = self._security.protocol
        try:
            if protocol.startswith("SASL"):
                self._log_in(connection)
            else:
                # About no topic; a listener that wants a login first closes the connection.
                wire.ask(connection, wire.METADATA, 1, struct.pack(">i", 0), self._deadline)
        except (TimeoutError, ssl.SSLError):
            raise
        except ConnectionError as error:
            foreign = isinstance(error, wire.ForeignAnswerError)
            if "SSL" not in protocol and (getattr(error, "tls", False) or self._answers_in_tls()):
                wanted = protocol.replace("PLAINTEXT", "SSL")
                raise RefusedError(f"this port speaks TLS: set the protocol {wanted}") from error
            if "SASL" not in protocol and not foreign and self._demands_login():
                raise RefusedError(
                    f"this port demands a login: set the protocol SASL_{protocol}, mechanism, "
                    "username and password"
                ) from error
            raise

    def _log_in(self, connection: socket.socket) -> None:
        mechanism = str(self._security.mechanism)
        code, offered = wire.handshake(connection, mechanism, self._deadline)
        if code == wire.UNSUPPORTED_MECHANISM:
            raise RefusedError(
                f"it does not offer the mechanism {mechanism}, but {', '.join(sorted(offered))}"
            )
        if code == wire.NO_SASL_HERE:
            without = self._security.protocol.removeprefix("SASL_")
            raise RefusedError(
                f"this port takes no login: take another one, or set the protocol {without}"
            )
        if code:
            raise ConnectorError(f"it refuses the beginning of a login with error {code}")
        username: str = self._settings["sasl_plain_username"]
        password: str = self._settings["sasl_plain_password"]
        if mechanism == "PLAIN":
            self._send(connection, f"{username}\0{username}\0{password}".encode())
            return
        scram = ScramClient(username, password, mechanism)
        challenge = self._send(connection, scram.first_message())
        try:
            scram.process_server_first_message(challenge)
            scram.process_server_final_message(self._send(connection, scram.final_message()))
        except (ValueError, KeyError):  # not the error itself: it may quote the exchange
            raise RefusedError("it does not prove that it knows the password") from None

    def _send(self, connection: socket.socket, token: bytes) -> bytes:
        code, answer = wire.authenticate(connection, token, self._deadline)
        if code == wire.AUTHENTICATION_FAILED:
            raise RefusedError(
                f"authentication failed: wrong password of the user {self._security.username}, "
                f"or no such user ({self._security.mechanism})"
            )
        if code:
            raise ConnectorError(f"the login failed with error {code}")
        return answer

    # --- a second connection: what does the port speak? ---

    @contextlib.contextmanager
    def _second_look(self) -> Iterator[socket.socket]:
        with self._connected(time.monotonic() + _LOOK_SECONDS) as connection:
            connection.settimeout(_LOOK_SECONDS)
            yield connection

    def _answers_without_tls(self) -> bool:
        with contextlib.suppress(OSError, ConnectorError), self._second_look() as connection:
            wire.ask(connection, wire.API_VERSIONS, 0, b"", time.monotonic() + _LOOK_SECONDS)
            return True
        return False

    def _answers_in_tls(self) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with self._second_look() as connection, context.wrap_socket(connection):
                return True
        except ssl.SSLError as error:
            return "alert" in wire.reason(error)
        except (OSError, ConnectorError):
            return False

    def _wants_certificate(self) -> bool:
        """Tell whether an alert comes unasked: a request may have pushed the first one away."""
        context: ssl.SSLContext = self._settings["ssl_context"]
        try:
            with (
                self._second_look() as connection,
                context.wrap_socket(connection, server_hostname=self._host) as encrypted,
            ):
                encrypted.recv(1)
        except ssl.SSLError as error:
            return "certificate" in wire.reason(error)
        except (OSError, ConnectorError):
            return False
        return False

    def _demands_login(self) -> bool:
        context: ssl.SSLContext | None = self._settings.get("ssl_context")
        with contextlib.suppress(OSError, ConnectorError), self._second_look() as plain:
            deadline = time.monotonic() + _LOOK_SECONDS
            if context is None:
                code, _ = wire.handshake(plain, "PLAIN", deadline)
            else:
                with context.wrap_socket(plain, server_hostname=self._host) as encrypted:
                    code, _ = wire.handshake(encrypted, "PLAIN", deadline)
            return code in (0, wire.UNSUPPORTED_MECHANISM)
        return False
