"""The trees of a fitted ``HistGradientBoostingClassifier``: the one place that looks inside of it.

scikit-learn has no public way to them (its ``TreePredictor`` objects and the constant that they are
added to are private names). Predicting by the model itself would cost ten times as much a row, and
keeping it would mean to pickle it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def fitted_trees(model: Any) -> tuple[float, list[NDArray[Any]]]:
    """The constant (log odds) of a model of two classes, and the nodes of each tree in order.

    Nodes are records of ``feature_idx``, ``num_threshold``, ``left``, ``right``, ``is_leaf`` and
    ``value``; a parent comes before its children.
    """
    constant = float(model._baseline_prediction[0, 0])  # noqa: SLF001 - see above
    return constant, [tree.nodes for (tree,) in model._predictors]  # noqa: SLF001 - see above
