"""What the two scikit-learn networks share: fast forward pass, steps, state out and in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from sklearn import config_context  # type: ignore[attr-defined]
from sklearn.neural_network import MLPClassifier, MLPRegressor

from stream_detector.detectors.base import blocked_matmul
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.events import Float64, State

FLUSH_EVERY = 64
"""Steps between two flushes. Adam's first moment shrinks to .9^64 = .001 of itself meanwhile."""

NEGLIGIBLE = 1e-100
"""Weights and moments below it are set to 0 at a flush: those of a feature that stands still decay
into denormal numbers (below 1e-308), which are ten to a hundred times slower."""


class _Adam(Protocol):
    """scikit-learn's optimizer: first and second moments, and the number of steps."""

    ms: list[Float64]
    vs: list[Float64]
    t: int


class OnlineNetwork:
    """A scikit-learn network that learns by ``partial_fit``, one step of Adam a call.

    State, of fixed size: weights, Adam's two moments and its step count, rows seen. Nothing else
    that scikit-learn holds has a say in the next step: with ``shuffle=False`` its random stream is
    not drawn from, and the loss bookkeeping only ends epochs, of which there is one a call.
    """

    def __init__(
        self, model: MLPRegressor | MLPClassifier, layers: Sequence[int], seed: int
    ) -> None:
        """Build the network's attributes without learning anything.

        Args:
            model: Unfitted; activation "tanh" or "relu", Adam, ``shuffle=False``.
            layers: Units of every layer, input and output included.
            seed: Of the initial weights.
        """
        self._model: Any = model  # scikit-learn has no types
        self._layers = tuple(layers)
        # One call of partial_fit makes scikit-learn build everything; what it learnt is undone.
        nothing = np.zeros((1, layers[0]))
        model.batch_size = 1
        if isinstance(model, MLPClassifier):
            model.partial_fit(nothing, np.zeros(1), classes=[0.0, 1.0])
        else:
            model.partial_fit(nothing, _target(np.zeros((1, layers[-1]))))
        self._model.t_ = 0
        self._adam.t = 0
        for moment in self._moments():
            moment[...] = 0.0
        random = frozen_stream(seed, "network")
        for weights, intercepts in zip(self._model.coefs_, self._model.intercepts_, strict=True):
            # Glorot and Bengio (2010), eq. 16, as scikit-learn draws them.
            bound = np.sqrt(6.0 / sum(weights.shape))
            weights[...] = random.uniform(-bound, bound, weights.shape)
            intercepts[...] = random.uniform(-bound, bound, intercepts.shape)

    @property
    def rows_learnt(self) -> int:
        """Rows taken in by all steps, each pass counted."""
        return int(self._model.t_)

    def forward(self, inputs: Float64) -> Float64:
        """Output before the output activation, (rows, outputs); ``inputs`` in whole blocks.

        scikit-learn's own ``predict`` checks its input anew at every call and multiplies all rows
        at once, so that the bits would depend on their number.
        """
        return self.forward_from(self.first_layer(inputs))

    def first_layer(self, inputs: Float64) -> Float64:
        """``inputs`` times the first weights, without the intercepts."""
        return blocked_matmul(inputs, self._model.coefs_[0])

    @property
    def first_weights(self) -> Float64:
        """(features, units) weights of the first layer; not to be written to."""
        weights: Float64 = self._model.coefs_[0]
        return weights

    def forward_from(self, products: Float64) -> Float64:
        """Output, given the products of the first layer, which are overwritten."""
        values = products
        values += self._model.intercepts_[0]
        for weights, intercepts in zip(
            self._model.coefs_[1:], self._model.intercepts_[1:], strict=True
        ):
            if self._model.activation == "tanh":
                np.tanh(values, out=values)
            else:
                np.maximum(values, 0.0, out=values)
            values = blocked_matmul(values, weights)
            values += intercepts
        return values

    def step(self, inputs: Float64, targets: Float64) -> None:
        """One step of Adam on all rows together (at least one)."""
        model = self._model
        model.batch_size = len(inputs)
        with config_context(assume_finite=True, skip_parameter_validation=True):
            model.partial_fit(inputs, _target(targets))
        model.loss_curve_.clear()  # grows by one a call otherwise: a gigabyte a day
        if self._adam.t % FLUSH_EVERY == 0:
            for values in (*self._weights(), *self._moments()):
                values[np.abs(values) < NEGLIGIBLE] = 0.0

    def state(self) -> State:
        """Weights, Adam's moments (all flattened to one array each) and counters."""
        return {
            "weights": _flat(self._weights()),
            "moments": _flat(self._moments()),
            "steps": int(self._adam.t),
            "rows": int(self._model.t_),
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        size = sum((above + 1) * below for above, below in pairwise(self._layers))
        weights = read_array(state, "weights", (size,))
        moments = read_array(state, "moments", (2 * size,))
        steps, rows = read_count(state, "steps"), read_count(state, "rows")
        _fill(self._weights(), weights)
        _fill(self._moments(), moments)
        self._adam.t = steps
        self._model.t_ = rows

    def _weights(self) -> list[Float64]:
        return [*self._model.coefs_, *self._model.intercepts_]

    def _moments(self) -> list[Float64]:
        return [*self._adam.ms, *self._adam.vs]

    @property
    def _adam(self) -> _Adam:
        optimizer: _Adam = self._model._optimizer  # noqa: SLF001 - scikit-learn hides Adam's state
        return optimizer


def _target(targets: Float64) -> Float64:
    """Flat where there is one output, as scikit-learn wants it."""
    return targets.ravel() if targets.ndim > 1 and targets.shape[1] == 1 else targets


def _flat(arrays: list[Float64]) -> Float64:
    return np.concatenate([array.ravel() for array in arrays])


def _fill(arrays: list[Float64], values: Float64) -> None:
    start = 0
    for array in arrays:
        array[...] = values[start : start + array.size].reshape(array.shape)
        start += array.size


def adam(**parameters: Any) -> dict[str, Any]:
    """Arguments of a scikit-learn network whose every ``partial_fit`` is one step of Adam."""
    # An instance, never drawn from after the start: of a number, partial_fit would seed a new
    # generator at every call, which takes a fifth of its time.
    unused = np.random.RandomState(0)
    return {"solver": "adam", "shuffle": False, "random_state": unused, **parameters}
