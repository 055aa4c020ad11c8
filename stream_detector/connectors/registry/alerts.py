"""The schema of alerts in the registry: registered or looked up once, and read by later."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import msgspec

from stream_detector.alert_avro.form import AlertForm, body_of, number_of
from stream_detector.alert_avro.schema import ALERT_SCHEMA
from stream_detector.config.models.config import Config, KafkaConfig, RegistryConfig
from stream_detector.connectors.registry.client import RegistryClient
from stream_detector.connectors.registry.http import (
    NotFoundError,
    UnavailableError,
    UnwelcomeError,
)
from stream_detector.errors import (
    ConfigurationError,
    ConnectorError,
    InputMissingError,
    RefusedError,
)
from stream_detector.formats.avro import AvroReader, fingerprint
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.schemas import Schema

SECTION = "docs/runbook.md#the-schema-of-alerts"

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_PREFIX_BYTES = 5


def alerts_subject(kafka: KafkaConfig) -> str:
    """Return the subject of the schema of alerts."""
    return f"{kafka.alerts}-value"


def alert_form(
    config: Config,
    kafka: KafkaConfig,
    waiting: Callable[[str], None] = lambda _reason: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Schema | None:
    """Return how alerts are to be written, once the registry has their schema; None for JSON.

    Waits for ``registry.wait`` at the longest, for a registry that does not answer and for a schema
    that others have to register. Raises ``InputMissingError`` after that, ``RefusedError`` where
    the registry does not take the schema.
    """
    registry = config.registry
    if kafka.alerts_format != "avro" or registry is None:
        return None
    if find_spec("fastavro") is None:
        raise ConfigurationError(
            "kafka.alerts_format avro needs more: pip install 'stream-detector[formats]'"
        )
    client, subject = RegistryClient(registry), alerts_subject(kafka)
    until = time.monotonic() + registry.wait
    pause = _FIRST_PAUSE_SECONDS
    while not stopping():
        try:
            number = _number(client, registry, subject)
            _check(client, number)
        except UnwelcomeError as error:
            raise RefusedError(
                f"the schema of alerts is refused under the subject {subject}: {error}. Other "
                "schemas stand there, or it may not be written to: give kafka.alerts a topic of "
                f"its own, or set the subject's compatibility; {SECTION}"
            ) from error
        except (UnavailableError, NotFoundError) as error:
            left = until - time.monotonic()
            why = _why(error, registry, subject)
            if left <= 0:
                raise InputMissingError(
                    f"no schema of alerts after {registry.wait:g} s: {why}; {SECTION}"
                ) from error
            waiting(why)
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            return AlertForm(number, ALERT_SCHEMA).stored()
    return None


def _number(client: RegistryClient, registry: RegistryConfig, subject: str) -> int:
    if registry.register_alerts:
        return client.register(subject, "avro", ALERT_SCHEMA)
    return number_in(client, subject)


def number_in(client: RegistryClient, subject: str) -> int:
    """Return the id of the schema of alerts under a subject; without its docs it is the same.

    Raises ``UnavailableError``, and ``NotFoundError`` where it is not there.
    """
    try:
        return client.number_of(subject, "avro", ALERT_SCHEMA)
    except NotFoundError:
        newest = client.latest(subject)
        if newest is not None and _is_ours(newest[0], newest[1][""]):
            return newest[2]
        raise


def _is_ours(said: str, text: str) -> bool:
    """Tell whether alerts are read by a schema as by that of alerts."""
    try:
        return said == "avro" and fingerprint([text]) == fingerprint([ALERT_SCHEMA])
    except SchemaError:
        return False


def _why(error: Exception, registry: RegistryConfig, subject: str) -> str:
    if isinstance(error, NotFoundError) and not registry.register_alerts:
        return (
            f"the registry has it not under the subject {subject}: register docs/alert.avsc there, "
            "or set registry.register_alerts"
        )
    return str(error)


def _check(client: RegistryClient, number: int) -> None:
    """Raise ``UnavailableError`` where the schema of an id is another one than that of alerts."""
    said, texts = client.described(f"id:{number}")
    if not _is_ours(said, texts[""]):
        raise UnavailableError(f"the registry gives the id {number}, which is of another schema")


class AlertValues:
    """Reads the values of an alert topic, whatever they are written in, as JSON.

    State: readers of the schemas that were met; at most ``_MOST``.
    """

    _MOST = 100

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigurationError`` where a file of the registry's section cannot be used."""
        self._client = RegistryClient(config.registry) if config.registry is not None else None
        self._readers: dict[int, AvroReader | str] = {}

    def json_of(self, value: bytes) -> bytes:
        """Return an alert as JSON.

        Raises ``PayloadError`` where it is none, ``ConnectorError`` where the registry is away.
        """
        number = number_of(value)
        if number is None or self._client is None:
            return value
        reader = self._readers.get(number)
        if reader is None:
            reader = self._reader(self._client, number)
            if len(self._readers) >= self._MOST:
                self._readers.clear()
            self._readers[number] = reader
        if isinstance(reader, str):
            raise PayloadError("schema_unknown", f"its schema {number}: {reader}")
        body: dict[str, Any] = body_of(reader.read(value, _PREFIX_BYTES))
        return msgspec.json.encode(body)

    @staticmethod
    def _reader(client: RegistryClient, number: int) -> AvroReader | str:
        answer = client.answer(f"id:{number}", "avro")
        if answer.schema is not None:
            return AvroReader(list(answer.schema.parts), {}, whole=True)
        if not answer.final:
            raise ConnectorError(f"alerts are of the schema {number}: {answer.why}; {SECTION}")
        return answer.why
