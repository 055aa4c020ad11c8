"""Weights of the trees and of the network, from their recent losses on new labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.base import log_losses
from stream_detector.detectors.stored import LARGEST_COUNT, read_array
from stream_detector.events import Float64, State

SHARES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
"""Weights of the second logit that compete."""

HALF_LIFE_ROWS = 2000.0


class Mixture:
    """A weight of two logits, the one whose mixture has lost least on the labels of late.

    Each labelled row is first scored by both as they are before they learn it, so the losses are
    those of new rows (follow the leader over five experts, Cesa-Bianchi and Lugosi 2006, section
    3.2, with forgetting). Loss: logarithmic, at most 10 a row.

    State: five losses.
    """

    def __init__(self, first_share: float) -> None:
        """``first_share``: the weight before anything is known; it goes ahead by a loss of 1."""
        self._losses: Float64 = np.abs(SHARES - first_share)

    @property
    def share(self) -> float:
        """Weight of the second logit."""
        return float(SHARES[int(self._losses.argmin())])

    def learn(self, first: Float64, second: Float64, positive: NDArray[np.bool_]) -> None:
        """(rows,) logits of both, given before the labels were learnt, which rows were positive."""
        age = np.arange(len(positive))[::-1]
        weights = np.exp2(-age / HALF_LIFE_ROWS)
        mixed = first[:, None] * (1.0 - SHARES) + second[:, None] * SHARES
        losses = log_losses(mixed, positive[:, None])
        fade = np.exp2(-len(positive) / HALF_LIFE_ROWS)
        self._losses = self._losses * fade + (losses * weights[:, None]).sum(axis=0)

    def state(self) -> State:
        """The losses."""
        return {"losses": self._losses.copy()}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it does not fit."""
        self._losses = read_array(state, "losses", (len(SHARES),), low=0.0, high=LARGEST_COUNT)
