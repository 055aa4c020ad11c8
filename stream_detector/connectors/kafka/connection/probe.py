"""A connection by hand that says exactly why the broker cannot be reached.

kafka-python says "Unable to bootstrap" of a closed port, a wrong certificate and a wrong password
alike, and tries again and again. The probe connects once: TCP, TLS, SASL or one question, within
its deadline. What waiting can cure is a ``ConnectorError``, what it cannot a ``RefusedError``.
"""

from __future__ import annotations

import time

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.connection.connection_attempt import Attempt
from stream_detector.connectors.kafka.connection.settings import connection_settings
from stream_detector.errors import ConnectorError, RefusedError


def probe(kafka: KafkaConfig) -> None:
    """Connect and log in to one of the bootstrap servers; say nothing where that works.

    Takes ``request_timeout`` at most, shared by the servers.

    Raises:
        ConfigurationError: a file of ``kafka.security`` cannot be used, an address is none.
        RefusedError: waiting is no cure (password, certificate, wrong kind of port).
        ConnectorError: nobody answers, or nobody yet.
    """
    settings = connection_settings(kafka)
    servers: list[str] = settings["bootstrap_servers"]
    end = time.monotonic() + kafka.request_timeout
    causes: list[str] = []
    refused = False
    for number, server in enumerate(servers):
        now = time.monotonic()
        deadline = now + max(end - now, 0.1) / (len(servers) - number)
        try:
            Attempt(server, kafka.security, settings, deadline).run()
        except ConnectorError as error:
            refused = refused or isinstance(error, RefusedError)
            causes.append(f"{server}: {error}")
        else:
            return
    message = f"cannot reach the broker at {'; '.join(causes)}"
    raise RefusedError(message) if refused else ConnectorError(message)


def reach(kafka: KafkaConfig, server: str, deadline: float) -> None:
    """Connect and log in to one server, by a deadline as ``time.monotonic`` has it.

    Raises ``RefusedError`` and ``ConnectorError`` as ``probe`` does, without naming the server.
    """
    Attempt(server, kafka.security, connection_settings(kafka), deadline).run()
