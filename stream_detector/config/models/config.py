"""The configuration as typed models. Every field has a description: the reference is made of them.

Nothing here reads a file or the environment; ``config.load`` does, and maps errors to lines.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stream_detector.calendars import CalendarConfig
from stream_detector.config.models.base import (
    LARGEST_NUMBER,
    MANY_ROWS,
    FieldName,
    Model,
)
from stream_detector.config.models.challenger import ChallengerConfig
from stream_detector.config.models.detector import AnyDetector
from stream_detector.config.models.drift import DriftConfig
from stream_detector.config.models.event import (
    FEATURE_KINDS,
    BooleanFeatureConfig,
    CategoricalFeatureConfig,
    DifferenceFeatureConfig,
    EventConfig,
    EventTimeConfig,
    Feature,
    NumericFeatureConfig,
    RatioFeatureConfig,
    Statistic,
    TimeFeatureConfig,
    WindowConfig,
)
from stream_detector.config.models.files import FilesConfig
from stream_detector.config.models.forward import ForwardConfig
from stream_detector.config.models.incidents import IncidentsConfig
from stream_detector.config.models.kafka import (
    KafkaConfig,
    KafkaSecurityConfig,
)
from stream_detector.config.models.labels import LabelsConfig, RiskConfig
from stream_detector.config.models.metrics import MetricsConfig
from stream_detector.config.models.registry import RegistryConfig
from stream_detector.config.models.running import (
    LoggingConfig,
    ProcessingConfig,
    StateStoreConfig,
)
from stream_detector.detectors.adaptive_ensemble import AdaptiveEnsembleConfig
from stream_detector.detectors.base import Detector, DetectorConfig
from stream_detector.detectors.registry import find_detector
from stream_detector.monitors import AnyMonitor
from stream_detector.rules.settings import RulesConfig
from stream_detector.units import Budget, Duration

__all__ = [
    "FEATURE_KINDS",
    "NOTHING_TO_SEE",
    "BooleanFeatureConfig",
    "CategoricalFeatureConfig",
    "ChallengerConfig",
    "Config",
    "DetectorConfig",
    "DifferenceFeatureConfig",
    "DriftConfig",
    "EventConfig",
    "EventTimeConfig",
    "Feature",
    "FilesConfig",
    "ForwardConfig",
    "IncidentsConfig",
    "KafkaConfig",
    "KafkaSecurityConfig",
    "LabelsConfig",
    "LoggingConfig",
    "MetricsConfig",
    "NumericFeatureConfig",
    "ProcessingConfig",
    "RatioFeatureConfig",
    "RegistryConfig",
    "RiskConfig",
    "StateStoreConfig",
    "Statistic",
    "SuppressionConfig",
    "ThresholdConfig",
    "TimeFeatureConfig",
    "WindowConfig",
    "needs_labels",
]


class ThresholdConfig(Model):
    """Threshold above which scores become alerts: a budget (default) or a fixed score."""

    budget: Budget | None = Field(None, description="`0.1 %` of the events or `100 per day`.")
    score: float | None = Field(
        None, ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, description="A fixed score instead."
    )
    burn_in: int = Field(
        1000, ge=0, le=10_000_000, description="First events of a stream, scored but never alerted."
    )

    @model_validator(mode="after")
    def _one(self) -> ThresholdConfig:
        if (self.budget is None) == (self.score is None):
            raise ValueError("give one of budget and score")
        return self


class SuppressionConfig(Model):
    """Suppression of repeated alerts: one a key and period; the next counts those held back."""

    key: FieldName = Field(description="Field whose value the alerts are grouped by.")
    period: Duration = Field(
        description="Event time during which further alerts are held back, but for those that are "
        "clearly rarer than the key's last one: twice, later in a period up to ten times."
    )
    max_keys: int = Field(
        10_000, ge=1, le=MANY_ROWS, description="Keys remembered; the oldest go first."
    )


NOTHING_TO_SEE = "give at least one feature or window"


def needs_labels(kind: str, section: str = "detector") -> str:
    """The message that a detector cannot do without the section `labels`."""
    return f"{section} {kind} needs `labels`"


def _class_of(detector: DetectorConfig) -> type[Detector]:
    return find_detector(detector.kind).detector


class Config(Model):
    """A configuration file."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = Field(
        description="Name of the detector; appears in alerts and metrics."
    )
    kafka: KafkaConfig | None = Field(None, description="Needed by `run`, not by `evaluate`.")
    registry: RegistryConfig | None = Field(
        None, description="The schema registry; needed for Avro and Protobuf without `schema_file`."
    )
    event: EventConfig = Field(default_factory=EventConfig, description="How to read an event.")
    files: FilesConfig = Field(
        default_factory=FilesConfig, description="How to read a file of text: what is not found."
    )
    features: Annotated[list[Feature], Field(max_length=1000)] = Field(
        default_factory=list, description="What the model is given of each event."
    )
    windows: Annotated[list[WindowConfig], Field(max_length=16)] = Field(
        default_factory=list, description="Running statistics by key."
    )
    detector: AnyDetector = Field(default_factory=AdaptiveEnsembleConfig, description="The model.")
    challenger: ChallengerConfig | None = Field(None, description="A second model in its shadow.")
    labels: LabelsConfig | None = Field(None, description="Labels inside the event, used late.")
    drift: Annotated[list[DriftConfig], Field(max_length=16)] = Field(
        default_factory=list, description="What is watched for a lasting change, and what answers."
    )
    threshold: ThresholdConfig = Field(
        default_factory=lambda: ThresholdConfig(
            budget=Budget.parse("0.5 %"), score=None, burn_in=1000
        ),
        description="Which scores become alerts; default: a budget of `0.5 %`.",
    )
    monitors: Annotated[list[AnyMonitor], Field(max_length=16)] = Field(
        default_factory=list, description="What is watched in buckets of time."
    )
    calendars: Annotated[list[CalendarConfig], Field(max_length=64)] = Field(
        default_factory=list, description="Days and hours that are others than usual."
    )
    suppression: SuppressionConfig | None = Field(None, description="Grouping of repeated alerts.")
    incidents: IncidentsConfig | None = Field(
        None,
        description="What alerts have in common, since when, and whether it is over. Default: with "
        "`kafka.incidents`, the defaults of its settings; else no incidents.",
    )
    rules: RulesConfig = Field(default_factory=RulesConfig, description="Rules of people.")
    processing: ProcessingConfig = Field(default_factory=ProcessingConfig, description="The loop.")
    state: StateStoreConfig = Field(default_factory=StateStoreConfig, description="Snapshots.")
    forward: ForwardConfig | None = Field(
        None, description="Where `stream-detector forward` sends alerts and incidents."
    )
    metrics: MetricsConfig = Field(default_factory=MetricsConfig, description="Metrics and health.")
    logging: LoggingConfig = Field(default_factory=LoggingConfig, description="Log output.")

    @property
    def incident_settings(self) -> IncidentsConfig | None:
        """Settings of incidents; None where there are to be none."""
        on_topic = self.kafka is not None and self.kafka.incidents is not None
        return IncidentsConfig() if self.incidents is None and on_topic else self.incidents

    @property
    def labels_have_topic(self) -> bool:
        """Tell whether labels are messages of their own, which name their event by its id."""
        return self.kafka is not None and self.kafka.labels is not None

    @property
    def alerts_are_avro(self) -> bool:
        """Tell whether alerts are written as Avro."""
        return self.kafka is not None and self.kafka.alerts_format == "avro"

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if not self.features and not self.windows:
            raise ValueError(NOTHING_TO_SEE)
        if _class_of(self.detector).labels == "needed" and self.labels is None:
            raise ValueError(needs_labels(self.detector.kind))
        on_topic = self.labels_have_topic
        if self.labels is None and on_topic:
            raise ValueError("kafka.labels needs `labels`, with a delay")
        if on_topic and self.event.id is None:
            raise ValueError("kafka.labels needs `event.id`: labels name their event by it")
        if self.labels is not None and self.labels.field is None and not on_topic:
            raise ValueError("labels need `field`, or a topic in `kafka.labels`")
        if self.metrics.labels_alerts and not on_topic:
            raise ValueError("metrics.label_token needs `kafka.labels`, where labels go")
        return self

    @model_validator(mode="after")
    def _schemas_can_be_had(self) -> Config:
        sections: list[tuple[str, EventConfig | LabelsConfig]] = [("event", self.event)]
        if self.labels is not None:
            sections.append(("labels", self.labels))
        for name, section in sections:
            described = section.format in ("avro", "protobuf")
            if described and self.registry is None and section.schema_file is None:
                raise ValueError(
                    f"{name}.format {section.format} needs `registry`, or {name}.schema_file"
                )
            if not described and section.schema_file is not None:
                raise ValueError(f"{name}.schema_file is for the formats avro and protobuf")
            if name == "labels" and section.format != "json" and self.metrics.labels_alerts:
                raise ValueError("metrics.label_token writes labels as JSON: labels.format is json")
            if section.message is not None and section.format != "protobuf":
                raise ValueError(f"{name}.message is for the format protobuf")
        if self.alerts_are_avro and self.registry is None:
            raise ValueError("kafka.alerts_format avro needs `registry`, which has the schema")
        if self.alerts_are_avro and self.registry and self.registry.framing != "confluent":
            raise ValueError(
                "kafka.alerts_format avro needs registry.framing confluent and an address of its "
                "API, which Apicurio has as well (/apis/ccompat/v7)"
            )
        return self

    @model_validator(mode="after")
    def _monitors_differ(self) -> Config:
        names = [monitor.name for monitor in self.monitors]
        if len(set(names)) < len(names):
            raise ValueError("monitors: two have the same name")
        calendars = {calendar.name: calendar for calendar in self.calendars}
        if len(calendars) < len(self.calendars):
            raise ValueError("calendars: two have the same name")
        for monitor in self.monitors:
            for name in monitor.calendars:
                if name not in calendars:
                    raise ValueError(f"monitors: there is no calendar {name}")
                monitor.check_calendar(calendars[name])
        return self

    @model_validator(mode="after")
    def _models_fit(self) -> Config:
        if self.challenger is not None:
            challenger = self.challenger.detector
            if challenger == self.detector:
                raise ValueError("challenger.detector is the same as detector")
            if _class_of(challenger).labels == "needed" and self.labels is None:
                raise ValueError(needs_labels(challenger.kind, "challenger.detector"))
        for drift in self.drift:
            if (mistake := drift_mistake(drift, self.detector)) is not None:
                raise ValueError(mistake)
            if drift.answer == "reset" and self.processing.freeze_after is not None:
                raise ValueError("drift: a model that is reset learns nothing after `freeze_after`")
        return self


def drift_mistake(drift: DriftConfig, detector: DetectorConfig) -> str | None:
    """Why a detector cannot be watched, or answer, as is asked; None where it can."""
    if drift.on == "error" and _class_of(detector).labels == "ignored":
        return "drift on error needs a detector that learns from labels"
    members = _class_of(detector).members
    if drift.member is not None and drift.member not in members:
        return f"drift: a detector {detector.kind} has {', '.join(members) or 'no members'}"
    if drift.member is not None and not detector.has_member(drift.member):
        return f"drift: this {detector.kind} has no {drift.member}"
    return None
