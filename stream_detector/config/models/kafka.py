"""The section `kafka`: broker, topics, security."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator

from stream_detector.config.models.base import Model, Name, PathName, Text, Topic, human
from stream_detector.config.models.login import check_mutual_tls
from stream_detector.units import Duration


class KafkaSecurityConfig(Model):
    """Authentication to the broker, and what to trust."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As in Kafka's own `security.protocol`."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism; needed with SASL_PLAINTEXT and SASL_SSL."
    )
    username: Text | None = Field(None, description="SASL user name.")
    password: Annotated[SecretStr, Field(max_length=4096)] | None = Field(
        None, description="SASL password; use `${NAME}`."
    )
    password_file: PathName | None = Field(None, description="A file that holds the SASL password.")
    ca_file: PathName | None = Field(None, description="PEM file of the authorities to trust.")
    certificate_file: PathName | None = Field(
        None, description="PEM client certificate (mutual TLS)."
    )
    key_file: PathName | None = Field(
        None, description="PEM private key of the client certificate."
    )
    key_password: Annotated[SecretStr, Field(max_length=4096)] | None = Field(
        None, description="Password of the private key."
    )
    check_hostname: bool = Field(True, description="Whether the certificate must name the host.")

    @model_validator(mode="after")
    def _consistent(self) -> KafkaSecurityConfig:
        if self.protocol.startswith("SASL"):
            if self.mechanism is None or self.username is None:
                raise ValueError(f"{self.protocol} needs mechanism and username")
            if (self.password is None) == (self.password_file is None):
                raise ValueError(f"{self.protocol} needs one of password and password_file")
        check_mutual_tls(self.certificate_file, self.key_file)
        return self


class KafkaConfig(Model):
    """The broker and the topics."""

    bootstrap_servers: Annotated[str, Field(min_length=1, max_length=10_000)] = Field(
        description="Brokers to ask first, `host:port,host:port`."
    )
    topics: Annotated[list[Topic], Field(min_length=1, max_length=1000)] = Field(
        description="Topics to read."
    )
    group: Name = Field(description="Consumer group; also names the stored state.")
    alerts: Topic = Field(description="Topic that alerts are written to.")
    alerts_format: Literal["json", "avro"] = Field(
        "json",
        description="How alerts are written: JSON, or Avro by a schema that `registry` has under "
        "the topic's name and `-value`.",
    )
    incidents: Topic | None = Field(
        None,
        description="Topic that incidents are written to, compacted by their ids; made where it is "
        "missing. Default: none are.",
    )
    dead_letters: Topic = Field(description="Topic that records which cannot be used go to, whole.")
    labels: Topic | None = Field(
        None,
        description="Topic of labels that come later: `event_id`, `label`, and `time` if it is not "
        "the record's own. With `processing.shards` it has the partitions of the topics, and a "
        "label goes to the partition of its event.",
    )
    rules: Topic | None = Field(
        None,
        description="Topic that `rule` and `incidents acknowledge` write to, compacted, one "
        "partition; made where it is missing. Default: nobody can.",
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a group without a committed offset begins."
    )
    security: KafkaSecurityConfig = Field(
        default_factory=KafkaSecurityConfig, description="TLS and SASL."
    )
    wait_for_input: Duration = Field(
        human("60s"), description="How long to wait for broker and topics before exit code 3."
    )
    request_timeout: Duration = Field(
        human("10s"), description="Deadline of every single call to the broker."
    )
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once",
        description="Transactions, or, for brokers without them, alerts that may come twice with "
        "the same id.",
    )
    journal: Topic | None = Field(
        None,
        description="Topic of the journal, one partition a shard; made where it is missing. "
        "Default: the group's name and `-journal`.",
    )
    transaction_timeout: Duration = Field(
        human("60s"),
        description="After this the broker aborts a transaction; a commit gets half of it.",
    )
    give_up_after: Duration = Field(
        human("10m"),
        description="How long a broker that takes no output is sat out, input paused, before exit "
        "code 3.",
    )
    lost_input: Literal["stop", "continue"] = Field(
        "stop",
        description="Where retention has deleted input before it was read: stop with exit code 4, "
        "or count it and continue from the earliest.",
    )
    unreadable: Literal["stop", "dead_letter"] = Field(
        "stop",
        description="Where a batch of the input cannot be read (wrong checksum, unknown codec, a "
        "decompression bomb): stop with exit code 3 once everything before it is committed, or "
        "write a dead letter with its place and its first bytes and go on after it.",
    )
    instance_id: Name | None = Field(
        None,
        description="Static membership: a name for this worker, its own in the group, under which "
        "it may restart within the session timeout without a rebalance.",
    )
    consumer: Annotated[dict[Name, Any], Field(max_length=200)] = Field(
        default_factory=dict,
        description="Any setting of kafka-python's KafkaConsumer; wins over ours, but for "
        "those that the delivery promises depend on.",
    )
    producer: Annotated[dict[Name, Any], Field(max_length=200)] = Field(
        default_factory=dict, description="Any setting of kafka-python's KafkaProducer, likewise."
    )

    @property
    def input_topics(self) -> list[str]:
        """Topics of events, and that of labels."""
        return [*self.topics, *([self.labels] if self.labels is not None else [])]

    @property
    def output_topics(self) -> dict[str, str]:
        """Topics that results are written to, by what they are; the journal is none of them."""
        topics = {"alerts": self.alerts, "incidents": self.incidents, "rules": self.rules}
        return {
            **{kind: topic for kind, topic in topics.items() if topic is not None},
            "dead_letters": self.dead_letters,
        }

    @property
    def journal_topic(self) -> str:
        """Topic of the journal."""
        return self.journal or f"{self.group}-journal"
