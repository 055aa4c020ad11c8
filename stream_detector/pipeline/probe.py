"""Rows that a model scores when its state is written, and again before the state is taken in.

A checksum says that bytes are as somebody wrote them; anybody can write one. A state whose numbers
were changed gives other scores for the same rows, or none that are finite. Whoever changes numbers
and writes the scores that they give is found by a signature only (``state.signing_key_file``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from stream_detector import __version__
from stream_detector.detectors.base import BLOCK_ROWS, Detector, Rows
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.stored import read_array, read_branch
from stream_detector.errors import StateError
from stream_detector.events import Float64, State
from stream_detector.log_fields import fields
from stream_detector.scaling import LARGEST, RunningScaler

log = logging.getLogger(__name__)

_SPREADS = np.repeat([0.0, 0.5, 1.0, 3.0, 10.0, 30.0], [1, 7, 8, 8, 4, 4])[:, None]
"""Deviations of the rows: the mean itself, rows of the crowd, rows far outside."""

_ROUNDING = 1e-4
"""Processors round a product otherwise, members in single precision by a few millionths; whatever
differs by more, as a share of the largest score, was not written so."""


def probe_rows(scaler: RunningScaler, features: Float64 | None = None) -> Rows:
    """One block of rows as the scaler standardises them.

    ``features``: (rows, features) as a state has them; None: rows around the scaler's mean.
    """
    if features is None:
        drawn = frozen_stream(0, "probe").standard_normal((BLOCK_ROWS, len(scaler.mean)))
        spread = np.minimum(scaler.deviation, LARGEST) * _SPREADS
        features = np.clip(scaler.mean + spread * drawn, -LARGEST, LARGEST)
    return Rows(features, scaler.standardise(features))


def stored_rows(scaler: RunningScaler, state: State) -> Rows:
    """The rows that a pipeline's ``state`` names. Raises ``StateMismatchError``."""
    features = None  # older versions have written none
    if "probe_rows" in state:
        shape = (BLOCK_ROWS, len(scaler.mean))
        features = read_array(state, "probe_rows", shape, low=-LARGEST, high=LARGEST)
    return probe_rows(scaler, features)


def probe_state(detector: Detector, rows: Rows, numbers: Sequence[float]) -> State:
    """The scores of the rows, the numbers that decide beside them, the version that gave them."""
    scores = detector.score(rows)
    return {"scores": scores, "numbers": np.array(numbers), "version": __version__}


def check_probe(detector: Detector, rows: Rows, numbers: Sequence[float], state: State) -> bool:
    """Score the rows; a model's ``state`` has the scores as they were when it was written.

    States of other versions, which may score otherwise, are not compared with: False, and logged.
    Raises ``StateError`` where a score is not finite, or it or a number is another one.
    """
    with np.errstate(all="ignore"):
        scores = detector.score(rows)
    if not np.isfinite(scores).all():
        raise StateError("the state gives scores that are not finite")
    if "probe" not in state:
        _say_not_compared("without the scores of its rows")
        return False
    probe = read_branch(state, "probe")
    wanted = read_array(probe, "scores", (BLOCK_ROWS,))
    counted = read_array(probe, "numbers", (len(numbers),))
    if probe.get("version") != __version__:
        _say_not_compared(f"by version {probe.get('version')!s:.40}")
        return False
    compare_scores(scores, wanted)
    _compare(np.array(numbers), counted, 0.0)
    return True


def compare_scores(found: Float64, written: Float64) -> None:
    """Raise ``StateError`` where scores are not those that were written."""
    _compare(found, written, _ROUNDING * float(np.abs(written).max(initial=0.0)))


def _compare(found: Float64, written: Float64, rounding: float) -> None:
    close = np.isclose(found, written, rtol=_ROUNDING, atol=rounding)
    if not close.all():
        place = int(close.argmin())
        raise StateError(
            "the state does not score as it did when it was written (where it had "
            f"{written[place]:.6g}, it has {found[place]:.6g}): it was changed since"
        )


def _say_not_compared(why: str) -> None:
    extra: dict[str, Any] = fields("probe-not-compared")
    log.info("the state was written %s: its scores are finite, and not compared", why, extra=extra)
