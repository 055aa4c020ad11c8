"""Settings for kafka-python's clients out of the configuration, TLS contexts and clear causes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream_detector.config.models.config import KafkaConfig, KafkaSecurityConfig
from stream_detector.connectors.kafka.client.causes import collected_warnings
from stream_detector.connectors.kafka.client.consumer import CONSUMER_DEFAULTS
from stream_detector.connectors.kafka.client.errors import (
    CLIENT_ERRORS,
    AuthorizationError,
    KafkaError,
    SaslAuthenticationFailedError,
)
from stream_detector.connectors.kafka.client.producer import PRODUCER_DEFAULTS
from stream_detector.connectors.kafka.connection.permanent import (
    SESSION_TIMEOUT_MS,
    advertised,
    is_limit,
    permanent,
)
from stream_detector.errors import (
    BrokerLimitError,
    ConfigurationError,
    ConnectorError,
    RefusedError,
)


class _HiddenText(str):
    """A password that does not show where somebody prints the settings that hold it.

    kafka-python's admin client writes all its settings to its log at DEBUG.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


CONSUMER_KEYS = frozenset(CONSUMER_DEFAULTS)
PRODUCER_KEYS = frozenset(PRODUCER_DEFAULTS)

_RETRY_BACKOFF_MS = 5
"""kafka-python's 100 ms makes a transaction of 20 records take 115 ms; with 5 it takes 15."""


def consumer_settings(kafka: KafkaConfig, *, max_poll_records: int) -> dict[str, Any]:
    """Arguments for ``KafkaConsumer``: the pass-through map wins but for what promises rest on."""
    ours: dict[str, Any] = {
        "client_id": "stream-detector",
        "max_poll_records": max_poll_records,
        "metadata_max_age_ms": 60_000,
        "fetch_max_wait_ms": 100,
        # A member learns of a rebalance by its heartbeat, and all wait for the last one.
        "heartbeat_interval_ms": 1000,
        # A worker that was killed keeps its shards for so long; kafka-python's default is 45 s.
        "session_timeout_ms": SESSION_TIMEOUT_MS,
        "metrics_enabled": False,
        "bootstrap_timeout_ms": _milliseconds(kafka.request_timeout),
    }
    fixed: dict[str, Any] = {
        "group_id": kafka.group,
        "group_instance_id": kafka.instance_id,
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        # `earliest` and `latest` would jump silently over what retention deleted.
        "auto_offset_reset": "none",
        # Bytes in, bytes out: a deserializer that raises makes poll() spin for ever.
        "key_deserializer": None,
        "value_deserializer": None,
    }
    return {**ours, **kafka.consumer, **fixed, **connection_settings(kafka)}


def producer_settings(kafka: KafkaConfig) -> dict[str, Any]:
    """Arguments for ``KafkaProducer``, likewise."""
    ours: dict[str, Any] = {
        "client_id": "stream-detector",
        "linger_ms": 5,
        "retry_backoff_ms": _RETRY_BACKOFF_MS,
        "request_timeout_ms": _milliseconds(kafka.request_timeout),
        "delivery_timeout_ms": 3 * _milliseconds(kafka.request_timeout),
        "max_block_ms": _milliseconds(kafka.request_timeout),
        "bootstrap_timeout_ms": _milliseconds(kafka.request_timeout),
        "metrics_enabled": False,
    }
    fixed = {"acks": -1, "key_serializer": None, "value_serializer": None}
    return {**ours, **kafka.producer, **fixed, **connection_settings(kafka)}


def transactional_settings(kafka: KafkaConfig, shard: int) -> dict[str, Any]:
    """Arguments for the ``KafkaProducer`` of a shard; its id is the shard's, whoever owns it.

    The client's own delivery timeout lies above the deadline of a commit: ours is the one that
    decides.
    """
    timeout_ms = _milliseconds(kafka.transaction_timeout)
    return {
        **producer_settings(kafka),
        "transactional_id": f"{kafka.group}-shard-{shard}",
        "transaction_timeout_ms": timeout_ms,
        # What is sent while the transaction begins is gathered anyhow.
        "linger_ms": 0,
        "delivery_timeout_ms": max(timeout_ms, _milliseconds(kafka.request_timeout) + 1000),
        "enable_idempotence": True,
        # One record of a partition must not overtake another where the first is sent again.
        "max_in_flight_requests_per_connection": 5,
    }


def connection_settings(kafka: KafkaConfig) -> dict[str, Any]:
    """Return what every client needs to connect. Raises ``ConfigurationError`` on bad files."""
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    settings: dict[str, Any] = {"bootstrap_servers": servers}
    settings.update(security_settings(kafka.security))
    return settings


def security_settings(security: KafkaSecurityConfig) -> dict[str, Any]:
    """TLS and SASL arguments. Raises ``ConfigurationError`` where a file cannot be used."""
    settings: dict[str, Any] = {"security_protocol": security.protocol}
    if security.protocol in ("SSL", "SASL_SSL"):
        # Our own context: kafka-python reports a wrong CA file only as "unable to bootstrap".
        settings["ssl_context"] = _ssl_context(security)
        settings["ssl_check_hostname"] = security.check_hostname
    if security.protocol.startswith("SASL"):
        settings["sasl_mechanism"] = security.mechanism
        settings["sasl_plain_username"] = security.username
        settings["sasl_plain_password"] = _password(security)
    return settings


def _password(security: KafkaSecurityConfig) -> str:
    if security.password is not None:
        return _HiddenText(security.password.get_secret_value())
    assert security.password_file is not None  # the model has checked it
    content = read_setting("password_file", security.password_file)
    try:
        password = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        # Not the error itself: it carries the bytes.
        raise ConfigurationError(
            f"kafka.security.password_file: {security.password_file} is not UTF-8"
        ) from None
    if not password:
        raise ConfigurationError(
            f"kafka.security.password_file: {security.password_file} holds no password"
        )
    return _HiddenText(password)


def _ssl_context(security: KafkaSecurityConfig) -> ssl.SSLContext:
    """A context that verifies, with our authorities and our certificate.

    Raises:
        ConfigurationError: a file cannot be used; the message names setting, file and reason.
    """
    if security.ca_file is not None:
        read_setting("ca_file", security.ca_file)
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"kafka.security.ca_file: {security.ca_file} holds no certificate in PEM form"
        ) from error
    context.check_hostname = security.check_hostname
    if security.certificate_file is not None and security.key_file is not None:
        _load_certificate(context, security, security.certificate_file, security.key_file)
    return context


def _load_certificate(
    context: ssl.SSLContext, security: KafkaSecurityConfig, certificate_file: str, key_file: str
) -> None:
    certificate = read_setting("certificate_file", certificate_file)
    key = read_setting("key_file", key_file)
    hint = ""
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        hint = f"{certificate_file} holds no certificate in PEM form"
    elif b"PRIVATE KEY-----" not in key:
        hint = f"{key_file} holds no private key in PEM form"
    elif b"ENCRYPTED" in key:
        given = security.key_password is not None
        hint = f"{key_file} is encrypted; " + (
            "key_password does not open it" if given else "give kafka.security.key_password"
        )
    password = security.key_password
    try:
        context.load_cert_chain(
            certificate_file,
            key_file,
            # Without a password OpenSSL would ask on the terminal.
            password.get_secret_value() if password is not None else "",
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
        hint = hint or f"{certificate_file} and {key_file}: {reason}"
        raise ConfigurationError(f"kafka.security: {hint}") from error


def read_setting(setting: str, path: str) -> bytes:
    """Content of a file: ``ssl`` itself does not say which of its files is missing."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"kafka.security.{setting}: {path}: {reason}") from error


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


_TELLING = (
    "sasl",
    "authentication",
    "certificate",
    "ssl",
    "tls",
    "refused",
    "resol",
    "dns",
    "auth",
)


def refusal(error: BaseException, action: str, kafka: KafkaConfig) -> RefusedError | None:
    """Return the error to raise where the broker has refused us for good; else None."""
    where = f"cannot {action} at {kafka.bootstrap_servers}"
    if isinstance(error, SaslAuthenticationFailedError):
        return RefusedError(f"{where}: authentication failed, wrong user name or password")
    if isinstance(error, AuthorizationError):
        user = f"the user {kafka.security.username}" if kafka.security.username else "this client"
        kind = type(error).__name__.removesuffix("AuthorizationFailedError").lower()
        given = error.args[0] if error.args else ""
        named = ", ".join(sorted(map(str, given))) if isinstance(given, set) else str(given)
        return RefusedError(f"{where}: {user} is not authorised ({kind} {named})")
    if (lasting := permanent(error, kafka)) is not None:
        refused = BrokerLimitError if is_limit(error) else RefusedError
        return refused(f"{where}: {lasting}")
    return None


@contextmanager
def clear_cause(action: str, kafka: KafkaConfig) -> Iterator[None]:
    """Turn a client's error into ``ConnectorError`` that says what was tried and why it failed.

    ``RefusedError`` where it is a matter of password or rights.
    """
    with collected_warnings() as messages:
        try:
            yield
        except CLIENT_ERRORS as error:
            if (refused := refusal(error, action, kafka)) is not None:
                raise refused from error
            raise ConnectorError(
                f"cannot {action} at {kafka.bootstrap_servers}: {_cause(error, messages, kafka)}"
            ) from error


def _cause(error: Exception, messages: list[str], kafka: KafkaConfig) -> str:
    """Return what a client's error says, and the most telling of what was logged beside it."""
    cause = str(error) if isinstance(error, KafkaError | OSError) else repr(error)
    cause = cause or type(error).__name__
    cause += advertised(messages, kafka)
    telling = [m for m in messages if any(word in m.lower() for word in _TELLING)]
    return f"{cause} ({telling[-1][:300]})" if telling else cause
