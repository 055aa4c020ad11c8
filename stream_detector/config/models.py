"""The configuration as typed models. Every field has a description: the reference is made of them.

Nothing here reads a file or the environment; ``config.load`` does, and maps errors to lines.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    model_validator,
)

from stream_detector.config.units import Budget, Duration, Size


def human(text: str) -> Any:
    """A default in the form that people write; ``validate_default`` turns it into a number."""
    return text


def positive(seconds: float) -> float:
    """``seconds``, if there are any. Raises ValueError."""
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after loading.

    Messages of validators quote no values: they may be secrets.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True
    )


Name = Annotated[str, Field(min_length=1, max_length=200)]
Topic = Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")]


# --- where events come from and where results go ------------------------------------------------


class KafkaSecurity(Model):
    """How to authenticate to the broker and what to trust."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As in Kafka's own `security.protocol`."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism; needed with SASL_PLAINTEXT and SASL_SSL."
    )
    username: str | None = Field(None, description="SASL user name.")
    password: SecretStr | None = Field(None, description="SASL password; use `${NAME}`.")
    password_file: str | None = Field(None, description="A file that holds the SASL password.")
    ca_file: str | None = Field(None, description="PEM file of the authorities to trust.")
    certificate_file: str | None = Field(None, description="PEM client certificate (mutual TLS).")
    key_file: str | None = Field(None, description="PEM private key of the client certificate.")
    key_password: SecretStr | None = Field(None, description="Password of the private key.")
    check_hostname: bool = Field(True, description="Whether the certificate must name the host.")

    @model_validator(mode="after")
    def _consistent(self) -> KafkaSecurity:
        if self.protocol.startswith("SASL"):
            if self.mechanism is None or self.username is None:
                raise ValueError(f"{self.protocol} needs mechanism and username")
            if (self.password is None) == (self.password_file is None):
                raise ValueError(f"{self.protocol} needs one of password and password_file")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("mutual TLS needs both certificate_file and key_file")
        return self


class Kafka(Model):
    """The broker and the topics."""

    bootstrap_servers: str = Field(description="Brokers to ask first, `host:port,host:port`.")
    topics: Annotated[list[Topic], Field(min_length=1)] = Field(description="Topics to read.")
    group: Name = Field(description="Consumer group; also names the stored state.")
    alerts: Topic = Field(description="Topic that alerts are written to.")
    dead_letters: Topic = Field(description="Topic that records which cannot be used go to, whole.")
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a group without a committed offset begins."
    )
    security: KafkaSecurity = Field(default_factory=KafkaSecurity, description="TLS and SASL.")
    wait_for_input: Duration = Field(
        human("60s"), description="How long to wait for broker and topics before exit code 3."
    )
    request_timeout: Duration = Field(
        human("10s"), description="Deadline of every single call to the broker."
    )
    consumer: dict[str, Any] = Field(
        default_factory=dict,
        description="Any setting of kafka-python's KafkaConsumer; wins over ours, but for "
        "those that the delivery promises depend on.",
    )
    producer: dict[str, Any] = Field(
        default_factory=dict, description="Any setting of kafka-python's KafkaProducer, likewise."
    )


# --- what an event is ----------------------------------------------------------------------------


class EventTime(Model):
    """Which field holds the event's own time, and how it is written."""

    field: Name = Field(description="Field that holds the time.")
    format: str = Field(
        "auto",
        description="`auto` (ISO 8601 text; numbers by size: seconds, ms, µs or ns since 1970), "
        "`iso8601`, `unix_s`, `unix_ms`, or a strptime pattern (UTC where it has no zone).",
    )


class Event(Model):
    """How to read an event."""

    id: Name | None = Field(None, description="Field that identifies an event, for alert readers.")
    time: EventTime | None = Field(
        None, description="The event's own time; without it the record's timestamp counts."
    )
    columns: list[Name] | None = Field(
        None, description="Names of a CSV file's columns where it has no header (files only)."
    )
    max_bytes: Size = Field(
        human("256 KiB"), description="A longer record goes to the dead letters undecoded."
    )
    max_text_length: int = Field(
        1024, ge=1, le=65536, description="Characters of a key, id or category; longer is bad."
    )
    max_ahead: Duration = Field(
        human("1d"),
        description="An event whose time lies this far after its record's timestamp is bad.",
    )
    max_behind: Duration = Field(
        human("30d"), description="An event this far behind the newest one is bad (too late)."
    )


class _Fields(Model):
    missing: Literal["reject", "mean", "indicator"] = Field(
        "reject",
        description="What a missing or null value means: a bad record, the running mean, or the "
        "running mean and one more feature that says so.",
    )


class NumericFeature(_Fields):
    """A number of the event."""

    numeric: Name = Field(description="The field.")
    transform: Literal["none", "log", "sqrt"] = Field(
        "none", description="`log` is sign(x) log(1 + |x|), `sqrt` is sign(x) sqrt(|x|)."
    )
    range: tuple[float, float] | None = Field(
        None, description="Values outside [low, high] make the record bad."
    )


class BooleanFeature(_Fields):
    """A true or false of the event (0 and 1 are taken too)."""

    boolean: Name = Field(description="The field.")


class CategoricalFeature(Model):
    """A text (or integer code) with few values."""

    categorical: Name = Field(description="The field.")
    encoding: Literal["one_hot", "hash", "rarity"] = Field(
        "one_hot",
        description="`one_hot`: a column for each of the first `size` values seen, and one for "
        "all others; `hash`: `size` columns; `rarity`: one column, how rare the value is.",
    )
    size: int = Field(16, ge=2, le=1024, description="Columns, or values remembered for `rarity`.")
    missing: Literal["reject", "category"] = Field(
        "category", description="Whether a missing value is a bad record or a category of its own."
    )


class TimeFeature(Model):
    """A part of the event time, as sine and cosine, or a flag."""

    time: Literal["hour_of_day", "day_of_week", "weekend", "night"] = Field(
        description="`night` is before 6:00 UTC; hour and day become a sine and a cosine."
    )
    utc_offset: float = Field(0.0, ge=-14, le=14, description="Hours to add to UTC first.")


class DifferenceFeature(_Fields):
    """First field minus second."""

    difference: tuple[Name, Name] = Field(description="Two numeric fields.")


class RatioFeature(_Fields):
    """First field over second; 0 where the second is 0."""

    ratio: tuple[Name, Name] = Field(description="Two numeric fields.")


def _feature_kind(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
    found = [kind for kind in FEATURE_KINDS if kind in keys]
    return found[0] if len(found) == 1 else None


FEATURE_KINDS = ("numeric", "boolean", "categorical", "time", "difference", "ratio")

Feature = Annotated[
    Annotated[NumericFeature, Tag("numeric")]
    | Annotated[BooleanFeature, Tag("boolean")]
    | Annotated[CategoricalFeature, Tag("categorical")]
    | Annotated[TimeFeature, Tag("time")]
    | Annotated[DifferenceFeature, Tag("difference")]
    | Annotated[RatioFeature, Tag("ratio")],
    Discriminator(
        _feature_kind,
        custom_error_type="feature_kind",
        custom_error_message="a feature has exactly one of the keys " + ", ".join(FEATURE_KINDS),
    ),
]

Statistic: TypeAlias = Literal["count", "sum", "mean", "deviation", "time_since_last", "distinct"]


class Window(Model):
    """Running statistics of the events that share a key, forgotten exponentially.

    All are as of just before the event: an event is never part of its own history.
    """

    key: Name = Field(description="Field whose value tells whose history it is.")
    half_lives: Annotated[
        list[Annotated[Duration, AfterValidator(positive)]], Field(min_length=1, max_length=8)
    ] = Field(
        description="Event time after which an event counts half; a set of features for each."
    )
    value: Name | None = Field(None, description="Numeric field for sum, mean and deviation.")
    distinct_of: Name | None = Field(
        None, description="Field whose different values `distinct` counts (decayed estimate)."
    )
    compute: Annotated[list[Statistic], Field(min_length=1)] = Field(
        description="`count`, `sum`, `mean`; `deviation`: the value minus the key's own mean, in "
        "the key's own standard deviations; `time_since_last`; `distinct`."
    )
    max_keys: int = Field(
        100_000, ge=16, le=100_000_000, description="Keys remembered; least recently seen go first."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Window:
        needs = {"sum", "mean", "deviation"} & set(self.compute)
        if needs and self.value is None:
            raise ValueError(f"{', '.join(sorted(needs))} need `value`, a numeric field")
        if ("distinct" in self.compute) != (self.distinct_of is not None):
            raise ValueError("`distinct` and `distinct_of` go together")
        return self


# --- detection -----------------------------------------------------------------------------------


class _DetectorModel(Model):
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of every random draw.")


class Autoencoder(_DetectorModel):
    """MLPRegressor learnt from X to X; the score is the log of the reconstruction error."""

    kind: Literal["autoencoder"] = "autoencoder"
    hidden: list[Annotated[int, Field(ge=1, le=4096)]] | None = Field(
        None, description="Hidden layer sizes; default d/2, d/3, d/2 of d features."
    )
    learning_rate: float = Field(0.001, gt=0, le=1, description="Adam's step size.")
    alpha: float = Field(0.0001, ge=0, description="L2 penalty on the weights.")
    passes: int = Field(1, ge=1, le=100, description="Steps of learning over each chunk.")
    refuse_share: float = Field(
        0.05, ge=0, lt=0.5, description="Share of highest-scoring rows that are not learnt."
    )
    clip: float = Field(10.0, gt=0, description="Standardised inputs are clipped at ± this.")


class Classifier(_DetectorModel):
    """MLPClassifier learnt from labels that arrive late; before them, an unsupervised detector."""

    kind: Literal["classifier"] = "classifier"
    hidden: list[Annotated[int, Field(ge=1, le=4096)]] = Field(
        default=[32, 16], description="Hidden layer sizes."
    )
    learning_rate: float = Field(0.002, gt=0, le=1, description="Adam's step size.")
    alpha: float = Field(0.001, ge=0, description="L2 penalty on the weights.")
    passes: int = Field(3, ge=1, le=100, description="Steps of learning over each labelled batch.")
    positive_share: float = Field(
        0.1, gt=0, le=0.5, description="Share of positives in a batch, reached by resampling."
    )
    resampling: Literal["none", "over", "under"] = Field(
        "over", description="How the positive share is reached."
    )
    min_positives: int = Field(
        20, ge=1, description="Positives to have seen before the classifier takes over."
    )
    clip: float = Field(20.0, gt=0, description="Standardised inputs are clipped at ± this.")


class River(_DetectorModel):
    """Any River anomaly detector or binary classifier, one event at a time."""

    kind: Literal["river"] = "river"
    model: Name = Field(description="Class path, for example `river.anomaly.HalfSpaceTrees`.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")
    scaling: Literal["standard", "minmax", "none"] = Field(
        "standard", description="What the model is given: z-scores, 0..1 by running range, or raw."
    )


class HalfSpaceForest(_DetectorModel):
    """Oblivious half-space forest: grids of random cuts whose counts are hardly forgotten."""

    kind: Literal["half_space_forest"] = "half_space_forest"
    trees: int = Field(100, ge=1, le=10_000, description="Number of grids.")
    depth: int = Field(8, ge=1, le=16, description="Cuts of a grid.")
    half_life: float = Field(100_000, gt=0, description="Events after which a count counts half.")


class Loda(_DetectorModel):
    """LODA: histograms of random projections (Pevný 2016)."""

    kind: Literal["loda"] = "loda"
    projections: int = Field(100, ge=1, le=10_000, description="Number of projections.")
    bins: int = Field(32, ge=4, le=1024, description="Bins of a histogram, over ±8.")
    half_life: float = Field(100_000, gt=0, description="Events after which a count counts half.")
    clip: float = Field(10.0, gt=0, description="Standardised inputs are clipped at ± this.")


class RandomFourier(_DetectorModel):
    """Mahalanobis distance of random Fourier features, with a ridge."""

    kind: Literal["random_fourier"] = "random_fourier"
    components: int = Field(100, ge=1, le=2000, description="Number of random features.")
    half_life: float = Field(100_000, gt=0, description="Events after which a moment counts half.")
    ridge: float = Field(0.1, gt=0, description="Ridge, as a share of the mean variance.")
    clip: float = Field(10.0, gt=0, description="Standardised inputs are clipped at ± this.")


class Ensemble(_DetectorModel):
    """The default: half-space forest, LODA, random Fourier features and the autoencoder."""

    kind: Literal["ensemble"] = "ensemble"
    half_life: float = Field(
        100_000, gt=0, description="Events after which a count counts half, in the members."
    )
    autoencoder: bool = Field(True, description="Whether the autoencoder is a member.")
    refuse_share: float = Field(
        0.05, ge=0, lt=0.5, description="Share of highest-scoring rows the autoencoder refuses."
    )


DetectorConfig = Annotated[
    Autoencoder | Classifier | River | HalfSpaceForest | Loda | RandomFourier | Ensemble,
    Discriminator("kind"),
]


class Labels(Model):
    """Labels that come inside the event but may be used only later, as chargebacks are."""

    field: Name = Field(description="Field: 1/true is anomalous, 0/false normal, absent unknown.")
    positive: list[str] | None = Field(
        None, description="Values that mean anomalous, for labels that are names."
    )
    negative: list[str] | None = Field(
        None, description="Values that mean normal, all others being anomalous."
    )
    delay: Duration = Field(description="Event time after which a label is known.")
    max_waiting: int = Field(
        200_000, ge=1, description="Feature rows that wait for labels; the oldest go first."
    )


class Threshold(Model):
    """Which scores become alerts: a budget (default) or a fixed score."""

    budget: Budget | None = Field(None, description="`0.1 %` of the events or `100 per day`.")
    score: float | None = Field(None, description="A fixed score instead.")
    burn_in: int = Field(
        1000, ge=0, le=10_000_000, description="First events of a stream, scored but never alerted."
    )

    @model_validator(mode="after")
    def _one(self) -> Threshold:
        if (self.budget is None) == (self.score is None):
            raise ValueError("give one of budget and score")
        return self


class Suppression(Model):
    """One alert a key and period; the next one says how many were held back."""

    key: Name = Field(description="Field whose value the alerts are grouped by.")
    period: Duration = Field(description="Event time during which further alerts are held back.")
    max_keys: int = Field(10_000, ge=1, description="Keys remembered; the oldest go first.")


# --- running -------------------------------------------------------------------------------------


class StateStore(Model):
    """Where snapshots are kept."""

    directory: Name = Field("state", description="Directory, shared by the workers of a group.")
    interval: Duration = Field(human("60s"), description="Time between two snapshots.")
    keep: int = Field(3, ge=1, le=1000, description="Snapshots kept a shard.")


class Metrics(Model):
    """The HTTP server with /metrics, /healthz and /readyz."""

    host: str = Field("127.0.0.1", description="Address to bind; 0.0.0.0 for all.")
    port: int = Field(9108, ge=0, le=65535, description="Port; 0 takes a free one.")
    enabled: bool = Field(True, description="Whether to serve at all.")


class Processing(Model):
    """Sizes and intervals of the loop."""

    shards: int = Field(
        1, ge=1, le=1024, description="Independent pipelines; see docs for what it costs."
    )
    chunk_size: Literal[64, 128, 256, 512, 1024, 2048] = Field(
        256, description="Events learnt at a time, once 2,048 have been seen (32 before)."
    )
    max_poll_records: int = Field(5000, ge=1, description="Records taken from the client at once.")
    max_buffered_records: int = Field(
        20_000, ge=1, description="Records of a partition held back by the merge before it pauses."
    )
    stuck_partition_wait: Duration = Field(
        human("1s"), description="How long the merge waits for a partition stuck below its end."
    )
    commit_interval: Duration = Field(human("1s"), description="Longest time between commits.")
    shutdown_timeout: Duration = Field(
        human("30s"), description="Limit for a graceful stop after SIGTERM."
    )


class Logging(Model):
    """What the process writes to standard error."""

    format: Literal["text", "json"] = Field("text", description="Readable lines or ECS JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")


NOTHING_TO_SEE = "give at least one feature or window"
NEEDS_LABELS = "detector classifier needs `labels`"


class Config(Model):
    """A configuration file."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = Field(
        description="Name of the detector; appears in alerts and metrics."
    )
    kafka: Kafka | None = Field(None, description="Needed by `run`, not by `evaluate`.")
    event: Event = Field(default_factory=Event, description="How to read an event.")
    features: Annotated[list[Feature], Field(max_length=1000)] = Field(
        default_factory=list, description="What the model is given of each event."
    )
    windows: Annotated[list[Window], Field(max_length=16)] = Field(
        default_factory=list, description="Running statistics by key."
    )
    detector: DetectorConfig = Field(default_factory=Ensemble, description="The model.")
    labels: Labels | None = Field(None, description="Labels inside the event, used late.")
    threshold: Threshold = Field(
        default_factory=lambda: Threshold(budget=Budget.parse("0.5 %"), score=None, burn_in=1000),
        description="Which scores become alerts; default: a budget of `0.5 %`.",
    )
    suppression: Suppression | None = Field(None, description="Grouping of repeated alerts.")
    processing: Processing = Field(default_factory=Processing, description="The loop.")
    state: StateStore = Field(default_factory=StateStore, description="Snapshots.")
    metrics: Metrics = Field(default_factory=Metrics, description="Metrics and health.")
    logging: Logging = Field(default_factory=Logging, description="Log output.")

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if not self.features and not self.windows:
            raise ValueError(NOTHING_TO_SEE)
        if isinstance(self.detector, Classifier) and self.labels is None:
            raise ValueError(NEEDS_LABELS)
        return self
