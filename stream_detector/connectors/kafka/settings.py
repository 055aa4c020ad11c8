"""Settings for kafka-python's clients out of the configuration, TLS contexts and clear causes."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from stream_detector.config.models import Kafka, KafkaSecurity
from stream_detector.errors import ConfigurationError, ConnectorError

CONSUMER_KEYS = frozenset(KafkaConsumer.DEFAULT_CONFIG)
PRODUCER_KEYS = frozenset(KafkaProducer.DEFAULT_CONFIG)

_RETRY_BACKOFF_MS = 5
"""kafka-python's 100 ms makes a transaction of 20 records take 115 ms; with 5 it takes 15."""


def consumer_settings(kafka: Kafka, *, max_poll_records: int) -> dict[str, Any]:
    """Arguments for ``KafkaConsumer``: the pass-through map wins but for what promises rest on."""
    ours: dict[str, Any] = {
        "client_id": "stream-detector",
        "max_poll_records": max_poll_records,
        "metadata_max_age_ms": 60_000,
        "fetch_max_wait_ms": 100,
        "metrics_enabled": False,
        "bootstrap_timeout_ms": _milliseconds(kafka.request_timeout),
    }
    fixed: dict[str, Any] = {
        "group_id": kafka.group,
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        # `earliest` and `latest` would jump silently over what retention deleted.
        "auto_offset_reset": "none",
        # Bytes in, bytes out: a deserializer that raises makes poll() spin for ever.
        "key_deserializer": None,
        "value_deserializer": None,
    }
    return {**ours, **kafka.consumer, **fixed, **connection_settings(kafka)}


def producer_settings(kafka: Kafka) -> dict[str, Any]:
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


def connection_settings(kafka: Kafka) -> dict[str, Any]:
    """What every client needs to reach the broker. Raises ``ConfigurationError`` on bad files."""
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    settings: dict[str, Any] = {"bootstrap_servers": servers}
    settings.update(security_settings(kafka.security))
    return settings


def security_settings(security: KafkaSecurity) -> dict[str, Any]:
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


def _password(security: KafkaSecurity) -> str:
    if security.password is not None:
        return security.password.get_secret_value()
    assert security.password_file is not None  # the model has checked it
    try:
        return Path(security.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"kafka.security.password_file: {error}") from error


def _ssl_context(security: KafkaSecurity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        context.check_hostname = security.check_hostname
        if security.certificate_file is not None:
            password = security.key_password
            context.load_cert_chain(
                security.certificate_file,
                security.key_file,
                # A callable that refuses: without it OpenSSL would ask on the terminal.
                password.get_secret_value() if password is not None else lambda: "",
            )
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"kafka.security: cannot use the TLS files: {error}") from error
    return context


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


class _CauseCollector(logging.Handler):
    """Keeps the client's last warnings: only there does it tell why a start failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages = [*self.messages[-19:], record.getMessage()]


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


@contextmanager
def clear_cause(action: str, kafka: Kafka) -> Iterator[None]:
    """Turn a client's error into ``ConnectorError`` that says what was tried and why it failed."""
    collector = _CauseCollector()
    logger = logging.getLogger("kafka")
    logger.addHandler(collector)
    try:
        yield
    except (KafkaError, OSError) as error:
        cause = str(error) or type(error).__name__
        telling = [m for m in collector.messages if any(word in m.lower() for word in _TELLING)]
        if telling:
            cause = f"{cause} ({telling[-1][:300]})"
        where = kafka.bootstrap_servers
        raise ConnectorError(f"cannot {action} at {where}: {cause}") from error
    finally:
        logger.removeHandler(collector)
