"""Any River anomaly detector or binary classifier, one event at a time."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import AfterValidator, Field

from stream_detector.detectors.base import (
    LARGEST_LOSS,
    Detector,
    DetectorConfig,
    Rows,
    clipped,
)
from stream_detector.detectors.river_pickle import (
    RIVER_VERSION,
    copy_model,
    dump_model,
    load_model,
    parameters_of,
)
from stream_detector.detectors.stored import read_array, read_range
from stream_detector.errors import ConfigurationError, StateError, StateMismatchError
from stream_detector.events import Float64, State
from stream_detector.parameters import Name, Parameters

Scaling: TypeAlias = Literal["standard", "minmax", "none"]

CLIP = 20.0
"""Z-scores are clipped at ± this: one wild value would drive a linear model's weights to NaN."""

LARGEST_SCORE = 1e300
"""Stands for an infinite score."""

REHEARSAL_ROWS = 64
"""Made-up rows that a twin of the model learns at the start, to see that it can be stored."""


_COUNTS = ("n_trees", "n_models", "n_estimators")
_MOST_MODELS = 10_000
_MOST_NODES = 5_000_000


def _buildable(parameters: dict[str, Any]) -> dict[str, Any]:
    """Refuse, nested ones too, what can be seen to be too large before anything is built."""
    models = 1
    for name, value in parameters.items():
        if isinstance(value, dict):
            _buildable(value)
        elif name in _COUNTS and isinstance(value, int):
            models = max(models, value)
            if value > _MOST_MODELS:
                raise ValueError(f"{name} is at most {_MOST_MODELS:,}")
    height = parameters.get("height", 0)  # of half-space trees, whose nodes are all made at once
    if isinstance(height, int) and models * 2.0 ** min(height, 1000) > _MOST_NODES:
        raise ValueError(f"trees of height {height} have more than {_MOST_NODES:,} nodes together")
    return parameters


class RiverConfig(DetectorConfig):
    """Any River anomaly detector or binary classifier, one event at a time."""

    kind: Literal["river"] = "river"
    model: Name = Field(description="Class path, for example `river.anomaly.HalfSpaceTrees`.")
    parameters: Annotated[Parameters, AfterValidator(_buildable)] = Field(
        default_factory=dict, description="Its parameters."
    )
    scaling: Literal["standard", "minmax", "none"] = Field(
        "standard", description="What the model is given: z-scores, 0..1 by running range, or raw."
    )


class RiverModel(Detector):
    """A River model, scored with ``score_one`` or ``predict_proba_one`` row by row.

    Anomaly detectors learn every row. Classifiers learn the rows with a label, and their score is
    the probability of ``True``. A parameter of the form ``{"model": path, "parameters": {...}}``
    is itself made into a River object, for models that hold another.

    State: the model as bytes, River's release, and the running range of the features. How large it
    becomes is River's to say: half-space trees stay as they are, some trees grow without limit.
    After a restore the scores are the same bits; the bytes of the pickle need not be.
    """

    Config = RiverConfig
    labels = "used"
    block_rows = 1

    def __init__(
        self,
        features: int,
        *,
        model: str,
        parameters: Mapping[str, Any] | None = None,
        scaling: Scaling = "standard",
        seed: int = 0,
    ) -> None:
        """Build the model.

        Raises:
            ConfigurationError: No such class, wrong parameters, neither anomaly detector nor
                classifier, or a model whose state cannot be stored safely.
        """
        import river.base  # with SciPy and more, for those who build one

        super().__init__(features)
        kind = _find_class(model)
        if not issubclass(kind, river.base.AnomalyDetector | river.base.Classifier):
            raise ConfigurationError(
                f"{model} is neither an anomaly detector nor a classifier of River"
            )
        self._classifies = issubclass(kind, river.base.Classifier)
        self._model = _build(model, parameters or {}, seed)
        self._scaling = scaling
        self._low: Float64 = np.full(features, np.inf)
        self._high: Float64 = np.full(features, -np.inf)
        twin = _build(model, parameters or {}, seed)
        self._rehearse(twin, model, features)
        # What learning leaves alone must be in a restored model as it is here.
        learnt = parameters_of(twin)
        given = parameters_of(self._model).items()
        self._constants = {place: value for place, value in given if learnt.get(place) == value}

    def score(self, rows: Rows) -> Float64:
        """The model's own score, (events,) float64; NaN becomes 0, infinity ±1e300."""
        events = self._events(rows)
        if self._classifies:
            scores = [self._model.predict_proba_one(event).get(True, 0.0) for event in events]
        else:
            scores = [self._model.score_one(event) for event in events]
        return np.nan_to_num(
            np.array(scores, dtype=np.float64), posinf=LARGEST_SCORE, neginf=-LARGEST_SCORE
        )

    @property
    def uses_labels(self) -> bool:
        """Tell whether the model is a classifier."""
        return self._classifies

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:
        """Learn row by row, after the range was widened by the whole chunk."""
        if len(rows) == 0:
            return
        np.minimum(self._low, rows.features.min(axis=0), out=self._low)
        np.maximum(self._high, rows.features.max(axis=0), out=self._high)
        events = self._events(rows)
        if not self._classifies:
            for event in events:
                self._model.learn_one(event)
        elif labels is not None:
            for event, label in zip(events, labels.tolist(), strict=True):
                if label == label:  # not NaN  # noqa: PLR0124 - the cheapest test for NaN
                    self._model.learn_one(event, label > 0)

    def losses(self, rows: Rows, labels: Float64) -> Float64:
        """(events,) log losses in nats of a classifier's probabilities; (0,) of anything else."""
        if not self._classifies:
            return np.empty(0)
        least = math.exp(-LARGEST_LOSS)
        probabilities = np.clip(self.score(rows), least, 1.0 - least)
        return -np.log(np.where(labels > 0, probabilities, 1.0 - probabilities))

    def state(self) -> State:
        """The model as bytes and what belongs to it."""
        return {
            "model": dump_model(self._model),
            "river_version": RIVER_VERSION,
            "low": self._low.copy(),
            "high": self._high.copy(),
        }

    def restore(self, state: State) -> None:
        """Take the state in.

        Raises:
            StateMismatchError: Another model, release of River or number of features.
            StateError: The stored bytes are damaged or name what no River model needs.
        """
        low, high = read_range(state, len(self._low))
        content = read_array(state, "model", (-1,), np.uint8)
        version = state.get("river_version")
        if not isinstance(version, str):
            raise StateMismatchError(f"state 'river_version': expected a text, found {version!r}")
        model = load_model(content, version, type(self._model))
        self._try_out(model, len(low))
        self._model, self._low, self._high = model, low, high

    def _events(self, rows: Rows) -> list[dict[int, float]]:
        """Yield one dict an event, from column number to scaled value."""
        if self._scaling == "standard":
            values = clipped(rows.standardised, CLIP)
        elif self._scaling == "none":
            values = rows.features
        elif np.isinf(self._low).any():
            values = np.zeros(rows.features.shape)  # nothing learnt yet, so no range
        else:
            # Halved, so that the range of ±1e308 is finite.
            span = self._high / 2 - self._low / 2
            place = rows.features / 2 - self._low / 2
            with np.errstate(over="ignore"):
                values = np.clip(place / np.where(span > 0, span, 1.0), 0.0, 1.0)
        columns = range(values.shape[1])
        return [dict(zip(columns, row, strict=True)) for row in values.tolist()]

    def _try_out(self, model: Any, features: int) -> None:
        """Let a copy of a restored model score and learn: what it holds is River's own affair.

        Raises ``StateError`` where it cannot.
        """
        found = parameters_of(model)
        for place, value in self._constants.items():
            if found.get(place) != value:
                stored = found.get(place)
                raise StateMismatchError(
                    f"the stored River model has {place} {stored!r:.40}, expected {value!r:.40}"
                )
        try:
            twin = copy_model(model)
            for number, event in enumerate(_made_up(features)):
                if self._classifies:
                    twin.predict_proba_one(event)
                    twin.learn_one(event, number % 2 == 0)
                else:
                    twin.score_one(event)
                    twin.learn_one(event)
            dump_model(twin)
        except (*_UNFIT, ArithmeticError, RecursionError, MemoryError) as error:
            raise StateError(f"the stored River model does not work: {error!r:.200}") from error

    def _rehearse(self, twin: Any, path: str, features: int) -> None:
        """Let a twin learn made-up rows and store it: better refused now than at a restart."""
        try:
            for number, event in enumerate(_made_up(features)):
                if self._classifies:
                    twin.learn_one(event, number % 2 == 0)
                else:
                    twin.learn_one(event)
            dump_model(twin)
        except (StateError, *_UNFIT) as error:
            raise ConfigurationError(f"{path} cannot be used: {error!r}") from error


def _made_up(features: int) -> Iterator[dict[int, float]]:
    """Events for a rehearsal."""
    values = np.random.RandomState(0).uniform(size=(REHEARSAL_ROWS, features))
    return (dict(enumerate(row)) for row in values.tolist())


_UNFIT = (TypeError, ValueError, AttributeError, LookupError, NotImplementedError)
"""What River's models raise where parameters do not fit each other or the data's kind."""


def _build(path: str, parameters: Mapping[str, Any], seed: int) -> Any:
    kind = _find_class(path)
    accepted = inspect.signature(kind).parameters
    arguments = {
        name: _build(value["model"], value.get("parameters", {}), seed)
        if isinstance(value, Mapping) and "model" in value and {*value} <= {"model", "parameters"}
        else value
        for name, value in parameters.items()
    }
    if "seed" in accepted:
        arguments.setdefault("seed", seed)
    unknown = sorted(set(arguments) - set(accepted))
    if unknown:
        raise ConfigurationError(
            f"{path} has no parameter {', '.join(unknown)}; it takes {', '.join(accepted)}"
        )
    try:
        return kind(**arguments)
    except _UNFIT as error:
        raise ConfigurationError(f"{path} with {dict(parameters)}: {error}") from error


def _find_class(path: str) -> type:
    module, _, name = path.rpartition(".")
    if module != "river" and not module.startswith("river."):
        raise ConfigurationError(f"expected a class path under river., found {path!r}")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ConfigurationError(f"River has no {path}: {error}") from error
    if not isinstance(found, type) or not found.__module__.startswith("river."):
        raise ConfigurationError(f"River has no class {path}")
    return found
