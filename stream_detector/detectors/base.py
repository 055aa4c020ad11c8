"""The contract of a detector, and the helpers that keep its bits independent of the cuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64, Int64, State

BLOCK_ROWS = 32
"""Rows of a scoring block. A matrix product over 17 rows differs in its last bits from the same
rows inside 256, so products run over blocks of exactly this many rows, aligned in the chunk."""


Real = TypeVar("Real", np.float32, np.float64)

LARGEST_LOSS = 10.0
"""Of a log loss: one event that was said to be impossible must not outweigh a thousand."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a detector sees of some events; both matrices finite, (events, features) float64.

    ``features`` are in the event's own units; ``standardised`` is (features - mean) / deviation by
    the running moments as the last full chunk left them, *not* clipped: each detector clips as it
    needs (density detectors at 10, classifiers at 20).
    """

    features: Float64
    standardised: Float64
    ids: Int64 | None = None
    """(events,) identities of labelled rows whose label may be corrected; None: it may not."""

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Rows:
        """The events at ``rows``."""
        ids = self.ids[rows] if self.ids is not None else None
        return Rows(self.features[rows], self.standardised[rows], ids)

    def in_blocks(self) -> Rows:
        """With rows of zeros up to whole blocks, as ``score`` needs them; without ids."""
        return Rows(whole_blocks(self.features), whole_blocks(self.standardised))


class Detector(Protocol):
    """A model that scores events and learns from them.

    Obligations, checked on every detector by ``tests/test_detectors.py``:

    - ``score`` is pure: it changes nothing, draws no random number, and the score of a row depends
      only on that row, its position modulo ``BLOCK_ROWS`` and the state. Callers pass a multiple of
      ``block_rows`` rows; unfilled rows are zero and their scores are thrown away.
    - ``learn`` is called with whole chunks, in order, after their rows were scored. It takes any
      number of rows (late labels come as they come), none included.
    - ``state`` returns all that learning changed, as arrays and JSON, copied: later learning does
      not reach into it. ``restore`` of it into a detector made with the same parameters continues
      with the same bits.
    - Memory does not grow with the number of rows seen.
    - Randomness comes from the ``seed`` of the constructor only.
    """

    @property
    def block_rows(self) -> int:
        """Rows that ``score`` must be given a multiple of.

        ``BLOCK_ROWS``, or 1 where the arithmetic of a row never shares an instruction with
        another's.
        """

    def score(self, rows: Rows) -> Float64:
        """Score events: (events,) float64, finite, higher is stranger."""

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:
        """Learn a chunk.

        Args:
            rows: new events where ``labels`` is None; else events that were learnt before without
                one and whose labels are known now (only where ``uses_labels``).
            labels: 1 anomalous, 0 normal, NaN unknown.
        """

    def state(self) -> State:
        """Everything learnt, as arrays and JSON values."""

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""


class ExplainsItself(Protocol):
    """A detector that can say what each feature contributed to a score."""

    def contributions(self, rows: Rows) -> Float64:
        """(events, features) float64, at least 0, larger for features that made the row stranger.

        Same purity and same ``block_rows`` rule as ``score``.
        """


class UsesLabels(Protocol):
    """A detector that wants the labels of earlier events when they come."""

    @property
    def uses_labels(self) -> bool:
        """Whether ``learn`` makes anything of labels; a detector without this does not."""


class CorrectsLabels(Protocol):
    """A detector that remembers labelled rows and takes another label for one that it learnt."""

    def correct(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """(labels,) which of them met a remembered row.

        Args:
            ids: (labels,) identities of events.
            labels: (labels,) 1 or 0.
        """


class TellsLosses(Protocol):
    """A detector that learns from labels and can say how wrong it was about some."""

    def losses(self, rows: Rows, labels: Float64) -> Float64:
        """Log loss in nats of events whose labels are known now, before they are learnt.

        Args:
            rows: any number of events.
            labels: (events,) 1 or 0.

        Returns:
            (events,) float64, at most ``LARGEST_LOSS``; (0,) while it gives no probabilities.
        """


class HasMembers(Protocol):
    """A detector made of others that can begin anew by themselves."""

    MEMBERS: ClassVar[Mapping[str, tuple[str, ...]]]
    """The branches of ``state`` that belong to each member."""


class ChangesRegime(Protocol):
    """A detector whose scores change their scale when another model takes the word."""

    @property
    def score_regime(self) -> int:
        """0 while an unsupervised model scores, 1 once a supervised one does.

        Scores of different regimes must not be compared; the value changes in ``learn`` or
        ``restore`` only.
        """


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
