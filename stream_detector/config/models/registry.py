"""The section `registry`: where schemas of Avro, Protobuf and JSON Schema are asked for."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from stream_detector.config.models.base import Model, PathName, Text, human, positive
from stream_detector.config.models.login import check_login, check_mutual_tls
from stream_detector.units import Duration


class RegistryConfig(Model):
    """The schema registry."""

    url: Text = Field(
        description="Address: of Confluent's, or of Apicurio's Confluent-compatible API "
        "(`http://registry:8080/apis/ccompat/v7`); with `framing: apicurio` of its own "
        "(`http://registry:8080/apis/registry/v3`)."
    )
    framing: Literal["confluent", "apicurio"] = Field(
        "confluent",
        description="What stands before an event: Confluent's zero byte and id of four bytes, or "
        "what Apicurio's own serializers write. Ids in headers are understood in any case.",
    )
    id_bytes: Literal[4, 8] = Field(
        4, description="Bytes of an id with `framing: apicurio`: 8 up to its version 2."
    )
    ids: Literal["content", "global"] = Field(
        "content", description="Ids with `framing: apicurio`: `global` up to its version 2."
    )
    username: Text | None = Field(None, min_length=1, description="User for basic authentication.")
    password: Annotated[SecretStr, Field(max_length=4096)] | None = Field(
        None, description="Password for it; use `${NAME}`."
    )
    password_file: PathName | None = Field(None, description="A file that holds the password.")
    token: Annotated[SecretStr, Field(max_length=4096)] | None = Field(
        None, description="Bearer token instead; use `${NAME}`."
    )
    token_file: PathName | None = Field(
        None, description="A file that holds the token; read again where it is refused."
    )
    ca_file: PathName | None = Field(None, description="PEM file of the authorities to trust.")
    certificate_file: PathName | None = Field(
        None, description="PEM client certificate (mutual TLS)."
    )
    key_file: PathName | None = Field(None, description="PEM private key of it, not encrypted.")
    request_timeout: Annotated[Duration, AfterValidator(positive)] = Field(
        human("5s"), description="Deadline of a request, from its beginning to its last byte."
    )
    wait: Duration = Field(
        human("60s"), description="How long a start waits for it before exit code 3."
    )
    give_up_after: Duration = Field(
        human("10m"),
        description="How long records wait for a schema that cannot be had, input paused.",
    )
    unavailable: Literal["stop", "dead_letter"] = Field(
        "stop",
        description="After that: stop with exit code 3, or write what waits to the dead letters.",
    )

    register_alerts: bool = Field(
        True,
        description="With `kafka.alerts_format: avro`, whether the schema of alerts is registered; "
        "without, it has to be there (docs/alert.avsc).",
    )

    @model_validator(mode="after")
    def _consistent(self) -> RegistryConfig:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url begins with http:// or https:// and names a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("no login in url: give username and password")
        check_login(self)
        check_mutual_tls(self.certificate_file, self.key_file)
        if self.framing == "confluent" and (self.id_bytes, self.ids) != (4, "content"):
            raise ValueError("id_bytes and ids are for `framing: apicurio`")
        return self
