"""The section `metrics`: the HTTP server, who may see what, and who may label."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, IPvAnyNetwork, SecretStr, model_validator

from stream_detector.config.models.base import Model, Name, PathName, Text

LEAST_TOKEN_CHARACTERS = 16


class MetricsConfig(Model):
    """The HTTP server with /metrics, /healthz, /readyz and the status page."""

    host: Name = Field("127.0.0.1", description="Address to bind; 0.0.0.0 for all.")
    port: int = Field(9108, ge=0, le=65535, description="Port; 0 takes a free one.")
    enabled: bool = Field(True, description="Whether to serve at all.")
    certificate_file: PathName | None = Field(
        None, description="PEM certificate of the server, with those between it and the authority."
    )
    key_file: PathName | None = Field(None, description="PEM private key of it, not encrypted.")
    client_ca_file: PathName | None = Field(
        None, description="PEM file of the authorities whose client certificates are let in."
    )
    username: Text | None = Field(
        None,
        description="User for basic authentication; /healthz and /readyz need none.",
        min_length=1,
        pattern="^[^:]*$",
    )
    password: Annotated[SecretStr, Field(max_length=4096)] | None = Field(
        None, description="Password for it; use `${NAME}`."
    )
    password_file: PathName | None = Field(None, description="A file that holds the password.")
    trusted_proxies: Annotated[list[IPvAnyNetwork], Field(max_length=64)] = Field(
        default_factory=list,
        description="Addresses or networks of proxies in front, whose `X-Forwarded-For` says who "
        "asks: for holding back who guesses. Default: who connects, asks.",
    )
    monitor_keys: int = Field(
        10,
        ge=0,
        le=100,
        description="Keys of each monitor whose counts and bands are metrics, those with most "
        "events: their names, which come from events, are values of a label.",
    )
    show_alerts: bool | None = Field(
        None,
        description="Whether the status page at / shows alerts, which quote events. Default: with "
        "a login or client certificates, or where `host` is this machine's own and so is the "
        "address that was asked for.",
    )
    label_token: Annotated[SecretStr, Field(max_length=4096)] | None = Field(
        None,
        description="Lets who knows it label alerts on the status page (at least 16 characters; "
        "use `${NAME}`). Default: nobody can.",
    )
    label_token_file: PathName | None = Field(None, description="A file that holds the token.")

    @model_validator(mode="after")
    def _consistent(self) -> MetricsConfig:
        if self.label_token is not None and self.label_token_file is not None:
            raise ValueError("give one of label_token and label_token_file")
        token = self.label_token
        if token is not None and len(token.get_secret_value()) < LEAST_TOKEN_CHARACTERS:
            raise ValueError(f"label_token is shorter than {LEAST_TOKEN_CHARACTERS} characters")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("TLS needs both certificate_file and key_file")
        if self.client_ca_file is not None and self.certificate_file is None:
            raise ValueError("client_ca_file needs certificate_file and key_file")
        given = sum(value is not None for value in (self.password, self.password_file))
        if given != (0 if self.username is None else 1):
            raise ValueError("a login needs username and one of password and password_file")
        if self.password is not None and not self.password.get_secret_value():
            raise ValueError("password is empty")
        return self

    @property
    def labels_alerts(self) -> bool:
        """Tell whether alerts can be labelled on the status page."""
        return self.label_token is not None or self.label_token_file is not None
