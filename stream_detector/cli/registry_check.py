"""What `check --connect` asks the schema registry: which schemas there are, what they lack."""

from __future__ import annotations

from collections.abc import Iterator

from stream_detector.alert_avro.schema import ALERT_SCHEMA
from stream_detector.cli.terminal import say
from stream_detector.config import Config, FieldPlan
from stream_detector.config.models.config import KafkaConfig, RegistryConfig
from stream_detector.connectors.kafka.inspection.findings import (
    Finding,
    error,
    not_checked,
    warning,
)
from stream_detector.connectors.registry.alerts import SECTION as ALERTS_SECTION
from stream_detector.connectors.registry.alerts import alerts_subject, number_in
from stream_detector.connectors.registry.client import RegistryClient, schema_of_texts
from stream_detector.connectors.registry.http import NotFoundError, UnavailableError
from stream_detector.connectors.registry.local import local_schemas
from stream_detector.connectors.registry.source import needs_registry
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.framing import LOCAL
from stream_detector.formats.outline import fitting_outline, has_field, outline
from stream_detector.formats.schemas import Schema
from stream_detector.visible import shown

SECTION = "docs/runbook.md#a-schema-cannot-be-had"


def check_schemas(config: Config, kafka: KafkaConfig) -> list[Finding]:
    """Return what is wrong with the schemas of the input; says on the screen which there are.

    Raises ``ConfigurationError`` where a file cannot be used.
    """
    local = local_schemas(config).get(LOCAL)
    registry = config.registry
    findings: list[Finding] = []
    if local is not None and (registry is None or not needs_registry(config)):
        findings += _fields_of(config, local, "event.schema_file")
    needed = needs_registry(config) or config.alerts_are_avro
    named = needs_registry(config) or config.event.format == "json_schema"
    if registry is None or not (needed or named):
        return findings
    client = RegistryClient(registry)
    try:
        client.check()
    except UnavailableError as why:
        level = error if needed else not_checked  # JSON is read without it
        return [*findings, level(f"registry.url: {why}", SECTION)]
    say(f"  {shown(registry.url):<40} answers")
    if named:
        findings += _registered(config, kafka, registry, client)
    if config.alerts_are_avro:
        findings += _of_alerts(kafka, registry, client)
    return findings


def _of_alerts(
    kafka: KafkaConfig, registry: RegistryConfig, client: RegistryClient
) -> Iterator[Finding]:
    """Yield what would keep alerts from being written as Avro; says what the registry has."""
    subject = alerts_subject(kafka)
    name = f"  {shown(subject):<40}"
    try:
        found = client.latest(subject)
        if found is None and registry.register_alerts:
            say(f"{name} not there yet: the daemon registers it")
            return
        level = client.level(subject)
        asked = f"compatibility {shown(level)}" if level else "no compatibility asked"
        try:
            number = number_in(client, subject)
        except NotFoundError:
            if not registry.register_alerts:
                yield error(
                    f"{subject}: the registry does not have the schema of alerts: register "
                    "docs/alert.avsc there, or set registry.register_alerts",
                    ALERTS_SECTION,
                )
                return
        else:
            say(f"{name} avro, ours has the id {number}, {asked}")
            return
        takes, reasons = client.compatible(subject, "avro", ALERT_SCHEMA)
    except (UnavailableError, NotFoundError) as why:
        yield error(f"registry.url: {why}", ALERTS_SECTION)
        return
    newest = found[2] if found is not None else 0
    say(f"{name} newest id {newest}, not ours; {asked}")
    if takes:
        say(f"{'':<43}takes ours: the daemon registers it")
    else:
        yield error(
            f"{subject}: the schema of alerts is not compatible with id {newest} "
            f"({shown(reasons or 'the registry does not say why')})",
            ALERTS_SECTION,
        )


def _registered(
    config: Config, kafka: KafkaConfig, registry: RegistryConfig, client: RegistryClient
) -> Iterator[Finding]:
    if registry.framing == "apicurio":
        yield not_checked(
            "the schemas of the topics: they have subjects in Confluent's API alone", SECTION
        )
        return
    for topic in kafka.topics:
        subject = f"{topic}-value"
        try:
            found = client.latest(subject)
        except UnavailableError as why:
            level = error if needs_registry(config) else not_checked
            yield level(f"registry.url: {why}", SECTION)
            return
        if found is None:
            yield not_checked(f"{topic}: the registry has no subject {subject}", SECTION)
            continue
        said, texts, number = found
        say(f"  {shown(subject):<40} {shown(said)}, newest id {number}")
        try:
            schema = schema_of_texts(config.event.format, said, texts)
        except SchemaError as why:
            yield error(f"{subject}, id {number}: {why}", SECTION)
            continue
        yield from _fields_of(config, schema, f"the newest schema of {subject}, id {number},")


def _fields_of(config: Config, schema: Schema, whose: str) -> Iterator[Finding]:
    """Yield what is read of an event and a schema does not have."""
    if config.event.envelope is not None:
        return
    plan, time = FieldPlan.of(config), config.event.time
    label = config.labels.field if config.labels is not None else None
    read = [*plan.numeric, *plan.text, config.event.id, *(time.names if time else ()), label]
    names = list(dict.fromkeys(each for each in read if each is not None))
    try:
        message = config.event.message
        fields, called = (
            (outline(schema, message), message) if message else fitting_outline(schema, names)
        )
    except (SchemaError, PayloadError) as why:
        yield error(f"{whose} cannot be used: {why}", SECTION)
        return
    if called:
        whose = f"{whose} message {called},"
    for name in names:
        if not has_field(fields, name):
            if schema.kind == "json_schema":  # whose events may have more than it says
                yield warning(f"{whose} does not name the field {name}", SECTION)
                continue
            needed = name in plan.required or (time is not None and name in time.names)
            what = "every event is a bad record" if needed else "it is missing in every event"
            yield warning(f"{whose} has no field {name}: {what}", SECTION)
