"""Check that each broker answers where the cluster says it is: ``advertised.listeners``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.metadata import BrokerAddress, Metadata
from stream_detector.connectors.kafka.connection.probe import reach
from stream_detector.errors import ConnectorError, RefusedError

_AT_ONCE = 8
"""Brokers that are reached for at the same time."""

_LOOK_SECONDS = 2.0
"""Limit of a look that only explains an error."""


def look(metadata: Metadata, kafka: KafkaConfig, deadline: float) -> list[tuple[int, str, str]]:
    """Number, address and trouble of each broker that a client's metadata names.

    As the bootstrap server has named them, for this listener: asking would go to one of them.
    """
    known = metadata.brokers()

    def one(broker: BrokerAddress) -> tuple[int, str, str]:
        number, host, port = broker
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            reach(kafka, address, min(deadline, time.monotonic() + kafka.request_timeout))
        except ConnectorError as error:
            return number, address, str(error)
        return number, address, ""

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, known))


def troubles(metadata: Metadata, kafka: KafkaConfig) -> str:
    """Words about the brokers that do not answer where they are said to be; none: they all do."""
    found = look(metadata, kafka, time.monotonic() + _LOOK_SECONDS)
    listed = "; ".join(f"broker {n} at {where}: {why}" for n, where, why in found if why)
    if not listed:
        return ""
    return (
        f". Clients are sent by advertised.listeners to {listed}. Start that broker, or correct "
        "its advertised.listeners; see docs/runbook.md#an-address-that-the-broker-gives"
    )


@contextmanager
def explained(metadata: Metadata, kafka: KafkaConfig) -> Iterator[None]:
    """Let a ``ConnectorError`` say as well which brokers do not answer where they should."""
    try:
        yield
    except RefusedError:
        raise
    except ConnectorError as error:
        if "advertised.listeners" in str(error) or not (words := troubles(metadata, kafka)):
            raise
        raise type(error)(f"{error}{words}") from error.__cause__
