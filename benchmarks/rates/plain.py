"""The z-score, without a season and with one."""

from __future__ import annotations

import numpy as np

WEEK = 7 * 24 * 60
WEEKS = 8
"""As much history as Prophet is given."""

LEAST_SPREAD = 0.5
"""Departures by which an hour that was the same eight times is said to vary."""


def z_scores(counts: np.ndarray, bucket: int) -> np.ndarray:
    """(keys, buckets) distance from the mean of the last eight weeks in their deviations."""
    length = WEEKS * WEEK // bucket
    return _over(counts, *_moments(counts, length))


def seasonal_z_scores(counts: np.ndarray, bucket: int) -> np.ndarray:
    """The same, of the same hour of the week in the last eight weeks."""
    keys, buckets = counts.shape
    slots = WEEK // bucket
    weeks = -(-buckets // slots)
    whole = np.zeros((keys, weeks * slots))
    whole[:, :buckets] = counts
    by_slot = whole.reshape(keys, weeks, slots).transpose(0, 2, 1).reshape(keys * slots, weeks)
    scores = _over(by_slot, *_moments(by_slot, WEEKS))
    return scores.reshape(keys, slots, weeks).transpose(0, 2, 1).reshape(keys, -1)[:, :buckets]


def _moments(series: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, times) mean and deviation of the ``length`` values before each; NaN until then."""
    rows, times = series.shape
    mean, deviation = np.full((2, rows, times), np.nan)
    if times > length:
        windows = np.lib.stride_tricks.sliding_window_view(series, length, axis=1)[:, :-1]
        mean[:, length:], deviation[:, length:] = windows.mean(axis=2), windows.std(axis=2)
    return mean, deviation


def _over(series: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    scores = np.abs(series - mean) / np.maximum(deviation, LEAST_SPREAD)
    return np.nan_to_num(scores, nan=0.0)
