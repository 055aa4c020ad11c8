"""What a member adds to a score, shared out among the features."""

from __future__ import annotations

import numpy as np

from stream_detector.events import Float64


def distribute(added: Float64, parts: Float64, shares: Float64) -> None:
    """Add (events,) ``added`` to (events, features) ``shares``, in proportion to ``parts``.

    Where a member has no part for any feature (all as it expects), nobody gets any.
    """
    total = parts.sum(axis=1)
    some = total > np.finfo(float).tiny  # else the quotient is beyond all numbers
    shares += parts * np.divide(added, total, out=np.zeros(len(total)), where=some)[:, None]
