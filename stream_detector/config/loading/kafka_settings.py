"""Settings that the `kafka` section may hold, kafka-python's among them. Does not import kafka."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from stream_detector.config.loading.cross_checks import check_repeats
from stream_detector.config.loading.diagnostics import Path, quoted, suggestion
from stream_detector.config.loading.document import Document

_DELIVERY = "is fixed: exactly-once delivery depends on it"
_BYTES = "is fixed: events are decoded by the pipeline, not inside the client"
_SECURITY = "belongs under kafka.security"
_OBJECT = "takes a Python object, which YAML cannot hold"
_REFUSED = {
    **dict.fromkeys(
        (
            "enable_auto_commit",
            "isolation_level",
            "auto_offset_reset",
            "partition_assignment_strategy",
            "transactional_id",
            "enable_idempotence",
            "acks",
        ),
        _DELIVERY,
    ),
    **dict.fromkeys(
        ("key_deserializer", "value_deserializer", "key_serializer", "value_serializer"), _BYTES
    ),
    **dict.fromkeys(
        (
            "default_offset_commit_callback",
            "kafka_client",
            "metric_reporters",
            "partitioner",
            "selector",
        ),
        _OBJECT,
    ),
    "group_id": "is kafka.group",
    "group_instance_id": "is kafka.instance_id",
    "transaction_timeout_ms": "is kafka.transaction_timeout",
    "bootstrap_servers": "is kafka.bootstrap_servers",
}
_SECURITY_PREFIXES = ("security_", "sasl_", "ssl_")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Names of the settings that the installed client knows.

    Attributes:
        consumer: keys of ``KafkaConsumer.DEFAULT_CONFIG``.
        producer: keys of ``KafkaProducer.DEFAULT_CONFIG``.
    """

    consumer: frozenset[str]
    producer: frozenset[str]


def refusal(name: str) -> str | None:
    """Why the setting ``name`` may not be given, None where it may."""
    if name.startswith(_SECURITY_PREFIXES):
        return _SECURITY
    return _REFUSED.get(name)


def check_kafka(document: Document, known: KafkaSettings | None) -> None:
    """Report settings of the client that cannot be, topics that clash, security set in vain.

    Args:
        document: the configuration.
        known: what the client knows; None: names are not checked.
    """
    _check_topics(document)
    _check_security(document)
    _check(document, "consumer", known.consumer if known is not None else None)
    _check(document, "producer", known.producer if known is not None else None)


def _check(
    document: Document, client: Literal["consumer", "producer"], known: Collection[str] | None
) -> None:
    settings = document.get("kafka", client)
    if not isinstance(settings, dict):
        return
    path = ("kafka", client)
    for name in settings:
        # Java's spelling of a refused setting (`enable.auto.commit`) is that setting.
        pythonic = name.strip().replace(".", "_").replace("-", "_")
        if (reason := refusal(pythonic)) is not None:
            document.report(path, f"{quoted(name)} {reason}", key=(*path, name))
        elif known is not None and name not in known:
            allowed = [setting for setting in sorted(known) if refusal(setting) is None]
            message = f"the {client} has no setting {quoted(name)}{suggestion(name, allowed)}"
            document.report(path, message, key=(*path, name))


def _check_topics(document: Document) -> None:
    topics = document.get("kafka", "topics")
    if isinstance(topics, list):
        check_repeats(document, ("kafka", "topics"), "the same topic")
    else:
        topics = []
    for output in ("alerts", "incidents", "dead_letters", "journal", "rules"):
        topic = document.get("kafka", output)
        if isinstance(topic, str) and topic in topics:
            message = "is also read (kafka.topics): the detector would feed on its own output"
            path = ("kafka", output)
            document.report(path, f"{document.shown(path)} {message}")
    taken: dict[str, str] = {}
    for output in ("alerts", "incidents", "dead_letters", "journal", "rules"):
        path = ("kafka", output)
        topic = document.get(*path)
        if not isinstance(topic, str):
            continue
        if (other := taken.setdefault(topic, output)) != output:
            document.report(
                path, f"{document.shown(path)} is also kafka.{other}; readers could not tell"
            )


def _check_security(document: Document) -> None:
    """A setting that the protocol ignores is one that somebody relies on in vain."""
    security = document.get("kafka", "security")
    if not isinstance(security, dict):
        return
    protocol = security.get("protocol", "PLAINTEXT")
    if protocol not in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
        return
    path: Path = ("kafka", "security")
    shown = document.shown((*path, "protocol")) if "protocol" in security else "'PLAINTEXT'"
    vain: list[str] = []
    if "SSL" not in protocol:
        vain += ["ca_file", "certificate_file", "key_file", "key_password"]
    if "SASL" not in protocol:
        vain += ["mechanism", "username", "password", "password_file"]
    for name in vain:
        if security.get(name) is not None:
            message = f"{name} has no effect with protocol {shown}"
            document.report(path, message, key=(*path, name))
