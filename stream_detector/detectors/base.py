"""The contract of a detector, and the helpers that keep its bits independent of the cuts."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.search_space import SearchSpace
from stream_detector.events import Float64, Int64, State
from stream_detector.parameters import Model

BLOCK_ROWS = 32
"""Rows of a scoring block. A matrix product over 17 rows differs in its last bits from the same
rows inside 256, so products run over blocks of exactly this many rows, aligned in the chunk."""

Real = TypeVar("Real", np.float32, np.float64)

LARGEST_LOSS = 10.0
"""Of a log loss: one event that was said to be impossible must not outweigh a thousand."""

LabelUse: TypeAlias = Literal["ignored", "used", "needed"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Events as a detector sees them; both matrices finite, (events, features) float64.

    ``features`` are in the event's own units; ``standardised`` is (features - mean) / deviation by
    the running moments as the last full chunk left them, *not* clipped: each detector clips as it
    needs (density detectors at 10, classifiers at 20).
    """

    features: Float64
    standardised: Float64
    ids: Int64 | None = None
    """(events,) identities of labelled rows whose label may be corrected; None: it may not."""
    ages: Int64 | None = None
    """(events,) of labelled rows, how many events ago each was scored; None: nobody knows."""

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Rows:
        """The events at ``rows``."""
        ids = self.ids[rows] if self.ids is not None else None
        ages = self.ages[rows] if self.ages is not None else None
        return Rows(self.features[rows], self.standardised[rows], ids, ages)

    def in_blocks(self) -> Rows:
        """With rows of zeros up to whole blocks, as ``score`` needs them; without ids."""
        return Rows(whole_blocks(self.features), whole_blocks(self.standardised))


class DetectorConfig(Model):
    """Parameters of a detector: the section `detector`, and keywords of the constructor.

    A detector's own model derives from this one. Each field has a description; the class's
    docstring describes the detector in the schema and the reference.
    """

    kind: str = Field("", description="Which detector.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of every random draw.")

    def has_member(self, member: str) -> bool:  # noqa: ARG002 - where members can be left out
        """Tell whether a detector with these parameters has the member (one of its ``members``)."""
        return True


class Detector(ABC):
    """Base class of models that score events and learn from them.

    A subclass is one declaration: ``Config`` (its parameters), the class variables below (what it
    can do), ``search_space`` (what `tune` may try). Its constructor takes the number of features,
    which it hands to this class's, and by name the fields of ``Config`` but ``kind``.

    Obligations, checked by ``stream_detector.testing.check_detector``:

    - ``score`` is pure: it changes nothing, draws no random number, and the score of a row depends
      only on that row, its position modulo ``BLOCK_ROWS`` and the state. Callers pass a multiple of
      ``block_rows`` rows; unfilled rows are zero and their scores are thrown away.
    - ``learn`` is called with whole chunks, in order, after their rows were scored. It takes any
      number of rows (late labels come as they come), none included.
    - ``state`` returns all that learning changed, as arrays and JSON, copied: later learning does
      not reach into it. ``restore`` of it into a detector made with the same parameters continues
      with the same bits.
    - Memory does not grow with the rows seen; randomness comes from the constructor's ``seed``.

    Rows and labels of a wrong shape or type are a ``ValueError`` before a method sees them.
    """

    Config: ClassVar[type[DetectorConfig]]
    """Model of the parameters."""

    search_space: ClassVar[SearchSpace] = {}
    """What `tune` may try: how a value is drawn, by parameter. Empty: `tune` refuses."""

    labels: ClassVar[LabelUse] = "ignored"
    """``used``: ``learn`` makes something of labels (for some parameters at least); ``needed``: a
    configuration without the section `labels` is a mistake."""

    members: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Parts that can begin again by themselves, each with its branches of ``state``."""

    state_version: ClassVar[str | None] = None
    """Version of the state of a detector from another distribution; None: the distribution's
    version. States of another version are refused."""

    block_rows: int = BLOCK_ROWS
    """Rows that ``score`` must be given a multiple of: ``BLOCK_ROWS``, or 1 where the arithmetic of
    a row never shares an instruction with another's."""

    features: int = 0
    """Columns of the rows."""

    def __init__(self, features: int) -> None:
        """``features``: columns of the rows, at least 1."""
        if isinstance(features, bool) or not isinstance(features, int | np.integer) or features < 1:
            raise ValueError(
                f"{type(self).__name__}: expected a number of features from 1, got {features!r:.80}"
            )
        self.features = int(features)

    def __init_subclass__(cls, **options: Any) -> None:
        """Put the check of shapes before the methods that the class defines."""
        super().__init_subclass__(**options)
        for name, check in _CHECKS.items():
            method = vars(cls).get(name)
            if method is not None and not getattr(method, "__isabstractmethod__", False):
                setattr(cls, name, _checked(method, check))

    @classmethod
    def check_parameters(cls, features: int, **parameters: Any) -> None:
        """Find mistakes that ``Config`` cannot see; builds one, unless a subclass knows better.

        Raises ``ConfigurationError`` or ``ValueError``.
        """
        cls(features, **parameters)

    @abstractmethod
    def score(self, rows: Rows) -> Float64:
        """Score events: (events,) float64, finite, higher is stranger."""

    @abstractmethod
    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:
        """Learn a chunk.

        Args:
            rows: new events where ``labels`` is None; else events that were learnt before without
                one and whose labels are known now (only where ``uses_labels``).
            labels: 1 anomalous, 0 normal, NaN unknown.
        """

    @abstractmethod
    def state(self) -> State:
        """Everything learnt, as arrays and JSON values."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""

    def __getstate__(self) -> NoReturn:
        """Refuse to be pickled or copied: arrays that are views of one another would not be."""
        raise TypeError("a detector is not pickled or copied: restore() another from its state()")

    def scoring_state(self) -> State:
        """The state without what only learning needs: as little as ``score`` can do with.

        ``restore`` of it gives a detector with the same scores, which is not to learn.
        """
        return self.state()

    @property
    def uses_labels(self) -> bool:
        """Tell whether ``learn`` of this detector, with its parameters, uses labels."""
        return self.labels != "ignored"

    @property
    def score_scale(self) -> int:
        """Number of the scale that scores are on: scores of different scales are not comparable.

        It changes in ``learn`` or ``restore`` only, for example where a supervised model takes over
        from an unsupervised one.
        """
        return 0

    def weights(self) -> Mapping[str, float]:
        """Weights of members by name, where they follow from the stream; none where they do not."""
        return {}

    def contributions(self, rows: Rows) -> Float64 | None:  # noqa: ARG002 - not known here
        """Return each feature's contribution to the scores; None leaves them to occlusion.

        Returns:
            (events, features) float64, at least 0, larger for features that made the row stranger.
            Same purity and same ``block_rows`` rule as ``score``.
        """
        return None

    def correct(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:  # noqa: ARG002 - none kept
        """Take other labels for labelled rows that it remembers.

        Args:
            ids: (labels,) identities of events.
            labels: (labels,) 1 or 0.

        Returns:
            (labels,) which of them met a remembered row.
        """
        return np.zeros(len(ids), dtype=bool)

    def losses(self, rows: Rows, labels: Float64) -> Float64:  # noqa: ARG002 - no probabilities
        """Log loss in nats of events whose labels are known now, before they are learnt.

        Args:
            rows: any number of events.
            labels: (events,) 1 or 0.

        Returns:
            (events,) float64, at most ``LARGEST_LOSS``; (0,) while it gives no probabilities.
        """
        return np.empty(0)


# --- what callers may get wrong -------------------------------------------------------------------


_FLOAT64 = np.dtype(np.float64)


# Each runs before every call: what a message says is put together only where there is one.
def _check_rows(detector: Detector, method: str, rows: Rows) -> None:
    if not isinstance(rows, Rows):
        raise ValueError(  # noqa: TRY004 - a mistake like the others
            f"{type(detector).__name__}.{method}: expected Rows, got {type(rows).__name__}"
        )
    shape = (len(rows), detector.features)
    _check_array(detector, method, "rows.features", rows.features, shape)
    _check_array(detector, method, "rows.standardised", rows.standardised, shape)


def _check_array(
    detector: Detector, method: str, what: str, array: Any, shape: tuple[int, ...]
) -> None:
    if isinstance(array, np.ndarray) and array.dtype == _FLOAT64 and array.shape == shape:
        return
    got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
    raise ValueError(
        f"{type(detector).__name__}.{method}: {what}: expected float64 {shape}, got {got}"
    )


def _check_score(detector: Detector, method: str, rows: Rows) -> None:
    _check_rows(detector, method, rows)
    if len(rows) % detector.block_rows:
        raise ValueError(
            f"{type(detector).__name__}.{method}: expected a multiple of {detector.block_rows} "
            f"rows, got {len(rows)}; Rows.in_blocks() fills up with zeros, whose scores are thrown "
            "away"
        )


def _check_learn(detector: Detector, method: str, rows: Rows, labels: Any = None) -> None:
    _check_rows(detector, method, rows)
    if labels is not None:
        _check_array(detector, method, "labels", labels, (len(rows),))


def _check_ids(detector: Detector, method: str, ids: Int64, labels: Any) -> None:
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype != np.int64:
        got = f"{ids.dtype} {ids.shape}" if isinstance(ids, np.ndarray) else type(ids).__name__
        raise ValueError(
            f"{type(detector).__name__}.{method}: ids: expected int64 of one dimension, got {got}"
        )
    _check_array(detector, method, "labels", labels, (len(ids),))


_CHECKS: Mapping[str, Callable[..., None]] = {
    "score": _check_score,
    "contributions": _check_score,
    "learn": _check_learn,
    "losses": _check_learn,
    "correct": _check_ids,
}


def _checked(method: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    name = method.__name__

    @functools.wraps(method)
    def checked(self: Detector, *arguments: Any, **named: Any) -> Any:
        if not self.features:
            raise TypeError(f"{type(self).__name__}.__init__ must call super().__init__(features)")
        check(self, name, *arguments, **named)
        return method(self, *arguments, **named)

    return checked


# --- arithmetic that several detectors share ------------------------------------------------------


def blocked_matmul(left: NDArray[Real], right: NDArray[Real]) -> NDArray[Real]:
    """``left @ right`` with bits that do not depend on how many rows ``left`` has.

    Args:
        left: (blocks * BLOCK_ROWS, k) C-contiguous; both float64, or both float32, which takes half
            the time.
        right: (k, m).

    Returns:
        (blocks * BLOCK_ROWS, m) likewise: each block is a product of its own, of one fixed shape.
    """
    rows, inner = left.shape
    blocks = np.ascontiguousarray(left).reshape(rows // BLOCK_ROWS, BLOCK_ROWS, inner)
    product: NDArray[Real] = np.matmul(blocks, right)
    return product.reshape(rows, right.shape[1])


def whole_blocks(matrix: Float64) -> Float64:
    """``matrix`` (rows, k) with zero rows appended up to the next multiple of ``BLOCK_ROWS``."""
    missing = -len(matrix) % BLOCK_ROWS
    if missing == 0:
        return matrix
    return np.concatenate([matrix, np.zeros((missing, matrix.shape[1]))])


def clipped(standardised: Float64, limit: float) -> Float64:
    """(rows, k) float64, C-contiguous, every value within ±``limit``."""
    values: Float64 = np.clip(np.ascontiguousarray(standardised), -limit, limit)
    return values


def log_losses(logits: Float64, positive: NDArray[np.bool_]) -> Float64:
    """(events,) log loss in nats of logits, at most ``LARGEST_LOSS``."""
    losses: Float64 = np.minimum(
        np.logaddexp(0.0, np.where(positive, -logits, logits)), LARGEST_LOSS
    )
    return losses


def parts(rows: int, size: int) -> list[slice]:
    """Slices of at most ``size`` rows that together are all of ``rows``."""
    return [slice(start, start + size) for start in range(0, rows, size)]
