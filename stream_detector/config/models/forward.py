"""The section `forward`: where `stream-detector forward` sends alerts and incidents."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, SecretStr, model_validator

from stream_detector.config.models.base import (
    Model,
    Name,
    Parameters,
    PathName,
    Text,
    Topic,
    human,
    positive,
)
from stream_detector.config.models.kafka import KafkaConfig
from stream_detector.config.models.login import check_login, check_mutual_tls
from stream_detector.units import Duration

Secret = Annotated[SecretStr, Field(max_length=4096)]
_Positive = Annotated[Duration, AfterValidator(positive)]
_Header = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
_Label = Annotated[str, Field(max_length=100, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]

_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "proxy-authorization"}
)
"""Headers that say how a request is framed, which nobody else may set."""


class TargetConfig(Model):
    """What every target has."""

    prefers_incidents: ClassVar[bool] = False

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = Field(
        description="Its name, in logs and metrics; its place in the topics is kept under it."
    )
    send: Annotated[list[Literal["alerts", "incidents"]], Field(max_length=2)] | None = Field(
        None,
        min_length=1,
        description="What it gets. Default: both; Alertmanager and Slack incidents, and alerts "
        "where `kafka.incidents` is not set.",
    )
    severity: Literal["low", "medium", "high", "critical"] = Field(
        "low", description="Least severity that it gets."
    )
    kinds: Annotated[list[Name], Field(max_length=50)] = Field(
        default_factory=list,
        description="Kinds that it gets: `event`, or a monitor's kind; an incident passes with one "
        "of them. Default: all.",
    )
    start: Literal["earliest", "latest"] = Field(
        "latest", description="Where it begins in the topics when it is new."
    )
    per_second: float | None = Field(
        None, gt=0, le=10_000, description="Messages a second at most. Default: no limit."
    )
    first_pause: _Positive = Field(
        human("1s"), description="Pause after a first failure; it doubles with each further one."
    )
    longest_pause: _Positive = Field(human("1m"), description="Longest pause between attempts.")
    give_up_after: _Positive = Field(
        human("1h"),
        description="A message that has failed for so long, while others got through, goes to the "
        "dead letters. While none gets through nothing is given up.",
    )

    def topics(self, kafka: KafkaConfig) -> dict[str, Literal["alerts", "incidents"]]:
        """Topics to read for it, and what they hold; none where it asks for what there is not."""
        there: dict[Literal["alerts", "incidents"], str] = {"alerts": kafka.alerts}
        if kafka.incidents is not None:
            there["incidents"] = kafka.incidents
        wanted = self.send
        if wanted is None:
            few = self.prefers_incidents and "incidents" in there
            wanted = ["incidents"] if few else ["alerts", "incidents"]
        return {there[kind]: kind for kind in wanted if kind in there}


class StatesConfig(TargetConfig):
    """What every target has that can do without one of an incident's states."""

    states: Annotated[
        list[Literal["open", "updated", "resolved"]], Field(min_length=1, max_length=3)
    ] = Field(["open", "updated", "resolved"], description="States of incidents that it gets.")


class HttpConfig(Model):
    """Settings of a connection by HTTP."""

    url: Secret | None = Field(
        None, description="Address, `http://` or `https://`; no log shows more than its host."
    )
    url_file: PathName | None = Field(None, description="A file that holds the address.")
    username: Text | None = Field(None, min_length=1, description="User for basic authentication.")
    password: Secret | None = Field(None, description="Password for it; use `${NAME}`.")
    password_file: PathName | None = Field(None, description="A file that holds the password.")
    token: Secret | None = Field(None, description="Bearer token instead; use `${NAME}`.")
    token_file: PathName | None = Field(
        None, description="A file that holds the token; read again where it is refused."
    )
    ca_file: PathName | None = Field(None, description="PEM file of the authorities to trust.")
    certificate_file: PathName | None = Field(
        None, description="PEM client certificate (mutual TLS)."
    )
    key_file: PathName | None = Field(None, description="PEM private key of it, not encrypted.")
    proxy: Text | None = Field(
        None, description="Proxy to go through, `http://HOST:PORT`. The environment's is not used."
    )
    request_timeout: Annotated[Duration, Field(gt=0, le=60)] = Field(
        human("10s"), description="Deadline of a request, from its beginning to its last byte."
    )

    @model_validator(mode="after")
    def _connects(self) -> HttpConfig:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give one of url and url_file")
        if self.url is not None and (mistake := url_mistake(self.url.get_secret_value())):
            raise ValueError(mistake)
        if self.proxy is not None:
            parts = urlsplit(self.proxy)
            if parts.scheme != "http" or not parts.hostname or parts.username is not None:
                raise ValueError("proxy is http://HOST:PORT")
        check_login(self)
        check_mutual_tls(self.certificate_file, self.key_file)
        return self


def url_mistake(url: str) -> str | None:
    """What is wrong with an address, without a word of it; None where nothing is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "url is none"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "url begins with http:// or https:// and names a host"
    if parts.username is not None or parts.password is not None:
        return "no login in url: give username and password"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "url holds a character that no address has: write it as %XX"
    return None


class WebhookConfig(StatesConfig, HttpConfig):
    """A webhook: one request a message."""

    kind: Literal["webhook"] = "webhook"
    method: Literal["POST", "PUT"] = Field("POST", description="Method of the request.")
    headers: Annotated[dict[_Header, Secret], Field(max_length=50)] = Field(
        default_factory=dict, description="Further headers; for secrets use `${NAME}`."
    )
    format: Literal["json", "ecs", "ocsf"] = Field(
        "json", description="The message as it is, or as ECS or OCSF; without `body`."
    )
    body: Parameters | None = Field(
        None,
        description="The body instead: members and lists, with `{{path.to.field}}` in their texts.",
    )
    words: Annotated[
        dict[Name, Annotated[dict[Name, Text], Field(max_length=50)]], Field(max_length=20)
    ] = Field(
        default_factory=dict,
        description="The receiver's words for ours, in `body`: `severity: {low: info}`.",
    )
    secrets: Annotated[dict[Name, Secret], Field(max_length=20)] = Field(
        default_factory=dict, description="What `{{secrets.NAME}}` stands for; use `${NAME}`."
    )
    concurrency: int = Field(4, ge=1, le=32, description="Requests at a time.")

    @model_validator(mode="after")
    def _sound(self) -> WebhookConfig:
        if self.body is not None and self.format != "json":
            raise ValueError("give one of body and format")
        for name, value in self.headers.items():
            text = value.get_secret_value()
            if name.lower() in _OURS:
                raise ValueError("headers: one of them is set by the request itself")
            if not text.isprintable() or not text.isascii():
                raise ValueError("headers: a value holds a character that no header has")
        return self


class AlertmanagerConfig(TargetConfig, HttpConfig):
    """Prometheus' Alertmanager: an incident fires, changes and is resolved."""

    prefers_incidents: ClassVar[bool] = True

    kind: Literal["alertmanager"] = "alertmanager"
    labels: Annotated[dict[_Label, Text], Field(max_length=20)] = Field(
        default_factory=dict, description="Further labels, for its routes."
    )
    severity_label: bool = Field(
        False,
        description="Whether the severity is a label, for its routes. An incident that gets worse "
        "is then resolved under the old one and fires under the new.",
    )
    resend: Annotated[Duration, Field(ge=0.1, le=86_400)] = Field(
        human("1m"), description="How often what is open is sent again."
    )
    expires: Annotated[Duration, Field(ge=0.5, le=604_800)] = Field(
        human("10m"),
        description="When Alertmanager takes for resolved what is not sent again. At least three "
        "times `resend`.",
    )
    alert_lasts: _Positive = Field(
        human("15m"), description="How long an alert fires, which has no end of its own."
    )
    max_open: int = Field(
        10_000, ge=1, le=1_000_000, description="Open incidents remembered; the oldest go first."
    )
    max_batch: int = Field(64, ge=1, le=1000, description="Messages in a request at most.")

    @model_validator(mode="after")
    def _lasts(self) -> AlertmanagerConfig:
        if self.expires < 3 * self.resend:
            raise ValueError("expires is at least three times resend")
        return self


class SlackConfig(StatesConfig, HttpConfig):
    """Slack's incoming webhook."""

    prefers_incidents: ClassVar[bool] = True

    kind: Literal["slack"] = "slack"
    per_second: float | None = Field(
        1.0, gt=0, le=100, description="Messages a second; Slack takes one."
    )
    link: Text | None = Field(
        None,
        pattern=r"^https?://[^<>|\s]+$",
        description="Address that a message's title links to, a dashboard or the status page.",
    )


class TopicTargetConfig(StatesConfig):
    """A topic of the same brokers."""

    kind: Literal["topic"] = "topic"
    topic: Topic = Field(description="The topic; records have the message's id as their key.")
    format: Literal["json", "ecs", "ocsf"] = Field("ecs", description="How messages are written.")


class FileTargetConfig(StatesConfig):
    """A file of JSON lines."""

    kind: Literal["file"] = "file"
    path: PathName = Field(description="The file; it is appended to, and opened anew if it moves.")
    format: Literal["json", "ecs", "ocsf"] = Field("ecs", description="How messages are written.")


AnyTarget: TypeAlias = Annotated[
    WebhookConfig | AlertmanagerConfig | SlackConfig | TopicTargetConfig | FileTargetConfig,
    Discriminator("kind"),
]


class ForwardConfig(Model):
    """Delivery of alerts and incidents, by `stream-detector forward`."""

    targets: Annotated[list[AnyTarget], Field(min_length=1, max_length=16)] = Field(
        description="Where they go. Each has a consumer group of its own: none waits for another."
    )
    group: Annotated[str, Field(min_length=1, max_length=130)] | None = Field(
        None,
        description="How the groups' names begin; a target's ends with `-` and its name. Default: "
        "the daemon's group and `-forward`.",
    )
    dead_letters: Topic | None = Field(
        None,
        description="Topic for what a target refuses. Default: `kafka.dead_letters`.",
    )
    port: int = Field(
        9109,
        ge=0,
        le=65535,
        description="Port of metrics and health; all else about them stands under `metrics`.",
    )
    max_waiting: int = Field(
        1000, ge=1, le=100_000, description="Messages of a target held in memory at most."
    )

    @model_validator(mode="after")
    def _differ(self) -> ForwardConfig:
        names = [target.name for target in self.targets]
        if len(set(names)) < len(names):
            raise ValueError("targets: two have the same name")
        return self
