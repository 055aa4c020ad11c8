"""Parts shared by the two scikit-learn networks: fast forward pass, steps, state out and in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_detector.detectors.base import blocked_matmul
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, State

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

FLUSH_EVERY = 64
"""Steps between two flushes. Adam's first moment shrinks to .9^64 = .001 of itself meanwhile."""

NEGLIGIBLE = 1e-100
"""Weights and moments below it are set to 0 at a flush: those of a feature that stands still decay
into denormal numbers (below 1e-308), which are ten to a hundred times slower."""


class OnlineNetwork:
    """A scikit-learn network that learns by single steps of Adam.

    A step has the bits of scikit-learn's ``partial_fit`` on one batch without shuffling, which
    tests/test_detectors_networks.py holds it to. That spends most of its time on what does not
    depend on the rows: it validates its input, computes a loss that nobody reads, and does Adam
    array by array, where here all weights lie in one.

    State, of fixed size: weights, Adam's two moments and its step count, rows seen.
    """

    def __init__(
        self, model: MLPRegressor | MLPClassifier, layers: Sequence[int], seed: int
    ) -> None:
        """Draw the weights.

        Args:
            model: Unfitted; activation "tanh" or "relu", Adam, ``shuffle=False``. It is fitted
                afterwards and shares its weights with this network: its ``predict`` is of now.
            layers: Units of every layer, input and output included.
            seed: Of the initial weights.
        """
        from scipy.special import expit
        from sklearn.neural_network import MLPClassifier

        self._expit = expit
        self._model: Any = model  # scikit-learn has no types
        self._layers = tuple(layers)
        self._logistic = isinstance(model, MLPClassifier)
        self._tanh = self._model.activation == "tanh"
        self._steps = 0
        self.rows_learnt = 0
        shapes = [*pairwise(layers)]
        size = sum((above + 1) * below for above, below in shapes)
        # In this order also in snapshots: the weights of all layers, then the intercepts of all.
        self._all = np.empty(size)
        self._gradient = np.empty(size)
        self._first_moment = np.zeros(size)
        self._second_moment = np.zeros(size)
        self._products = sum(above * below for above, below in shapes)
        self._weights, self._intercepts = _views(self._all, shapes)
        self._weight_gradients, self._intercept_gradients = _views(self._gradient, shapes)
        # One call of partial_fit makes scikit-learn build everything; what it learnt is undone.
        nothing = np.zeros((1, layers[0]))
        model.batch_size = 1
        if isinstance(model, MLPClassifier):
            model.partial_fit(nothing, np.zeros(1), classes=[0.0, 1.0])
        else:
            target = np.zeros((1, layers[-1]))
            model.partial_fit(nothing, target.ravel() if layers[-1] == 1 else target)
        self._model.coefs_, self._model.intercepts_ = self._weights, self._intercepts
        random = frozen_stream(seed, "network")
        for weights, intercepts in zip(self._weights, self._intercepts, strict=True):
            # Glorot and Bengio (2010), eq. 16, as scikit-learn draws them.
            bound = np.sqrt(6.0 / sum(weights.shape))
            weights[...] = random.uniform(-bound, bound, weights.shape)
            intercepts[...] = random.uniform(-bound, bound, intercepts.shape)

    def forward(self, inputs: Float64) -> Float64:
        """Output before the output activation, (rows, outputs); ``inputs`` in whole blocks.

        scikit-learn's own ``predict`` checks its input anew at every call and multiplies all rows
        at once, so that the bits would depend on their number.
        """
        return self.forward_from(self.first_layer(inputs))

    def first_layer(self, inputs: Float64) -> Float64:
        """``inputs`` times the first weights, without the intercepts."""
        return blocked_matmul(inputs, self._weights[0])

    @property
    def first_weights(self) -> Float64:
        """(features, units) weights of the first layer; not to be written to."""
        return self._weights[0]

    def forward_from(self, products: Float64) -> Float64:
        """Output, given the products of the first layer, which are overwritten."""
        values = products
        values += self._intercepts[0]
        for weights, intercepts in zip(self._weights[1:], self._intercepts[1:], strict=True):
            self._activate(values)
            values = blocked_matmul(values, weights)
            values += intercepts
        return values

    def _activate(self, values: Float64) -> None:
        if self._tanh:
            np.tanh(values, out=values)
        else:
            np.maximum(values, 0.0, out=values)

    def step(self, inputs: Float64, targets: Float64) -> None:
        """Take one step of Adam on all rows together (at least one).

        Args:
            inputs: (rows, features) float64.
            targets: (rows, outputs), or (rows,) where there is one output.

        Raises:
            ValueError: a weight is no longer finite.
        """
        self._backpropagate(inputs, targets.reshape(len(inputs), -1))
        self._descend()
        self.rows_learnt += len(inputs)
        if self._steps % FLUSH_EVERY == 0:
            for values in (self._all, self._first_moment, self._second_moment):
                values[np.abs(values) < NEGLIGIBLE] = 0.0

    def _backpropagate(self, inputs: Float64, targets: Float64) -> None:
        """Gradient of squared error or logistic loss, with the penalty on the weights."""
        values = [inputs]
        for weights, intercepts in zip(self._weights, self._intercepts, strict=True):
            if len(values) > 1:
                self._activate(values[-1])
            product = values[-1] @ weights
            product += intercepts
            values.append(product)
        output = values.pop()
        if self._logistic:
            self._expit(output, out=output)
        delta = np.subtract(output, targets, out=output)
        for layer in range(len(values) - 1, -1, -1):
            value = values[layer]
            np.matmul(value.T, delta, out=self._weight_gradients[layer])
            delta.sum(axis=0, out=self._intercept_gradients[layer])
            if layer:
                delta = delta @ self._weights[layer].T
                if self._tanh:
                    delta *= 1 - value * value
                else:
                    delta[value == 0] = 0.0
        products = slice(self._products)
        self._gradient[products] += self._model.alpha * self._all[products]
        self._gradient /= len(inputs)

    def _descend(self) -> None:
        """Kingma and Ba (2015), "Adam", algorithm 1 in the order of section 2's last remark."""
        model, gradient = self._model, self._gradient
        self._steps += 1
        self._first_moment *= model.beta_1
        self._first_moment += (1 - model.beta_1) * gradient
        self._second_moment *= model.beta_2
        gradient *= gradient
        self._second_moment += (1 - model.beta_2) * gradient
        rate = (
            model.learning_rate_init
            * math.sqrt(1 - model.beta_2**self._steps)
            / (1 - model.beta_1**self._steps)
        )
        update = -rate * self._first_moment
        update /= np.sqrt(self._second_moment) + model.epsilon
        self._all += update
        if not np.isfinite(self._all).all():
            raise ValueError("the network has diverged: a weight is no longer finite")

    def state(self) -> State:
        """Weights, Adam's moments (all flattened to one array each) and counters."""
        return {
            "weights": self._all.copy(),
            "moments": np.concatenate([self._first_moment, self._second_moment]),
            "steps": self._steps,
            "rows": self.rows_learnt,
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        size = len(self._all)
        weights = read_array(state, "weights", (size,))
        moments = read_array(state, "moments", (2 * size,))
        if moments[size:].min(initial=0.0) < 0:
            raise StateMismatchError("state 'moments': a mean of squares is negative")
        steps, rows = read_count(state, "steps"), read_count(state, "rows")
        self._all[...] = weights
        self._first_moment[...], self._second_moment[...] = moments[:size], moments[size:]
        self._steps, self.rows_learnt = steps, rows


def _views(flat: Float64, shapes: Sequence[tuple[int, int]]) -> tuple[list[Float64], list[Float64]]:
    """Matrices and vectors of all layers, one behind the other in ``flat``."""
    matrices: list[Float64] = []
    vectors: list[Float64] = []
    start = 0
    for above, below in shapes:
        matrices.append(flat[start : start + above * below].reshape(above, below))
        start += above * below
    for _, below in shapes:
        vectors.append(flat[start : start + below])
        start += below
    return matrices, vectors


def adam(**parameters: Any) -> dict[str, Any]:
    """Arguments of a scikit-learn network whose ``partial_fit`` would be one step of Adam."""
    return {"solver": "adam", "shuffle": False, "random_state": 0, **parameters}
