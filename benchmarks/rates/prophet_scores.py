"""Scores series of counts by Prophet, in an environment of its own: nothing of ours is imported.

    python prophet_scores.py COUNTS.npy SCORES.npy BUCKET_MINUTES

Fitted to eight weeks with the library's defaults, used for the four that follow, fitted again. The
score is the distance from the forecast over half of the interval's width on that side, as
vmanomaly's documentation describes its Prophet model's: 1 on the edge of the interval.
"""

from __future__ import annotations

import logging
import sys
import warnings

import numpy as np
import pandas as pd

START = "2013-01-01"
WEEK = 7 * 24 * 60
FITTED, USED = 8 * WEEK, 4 * WEEK


def scores(series: np.ndarray, bucket: int) -> np.ndarray:
    """(buckets,) scores of (buckets,) counts; 0 before the first fit."""
    from prophet import Prophet

    times = pd.date_range(START, periods=len(series), freq=f"{bucket}min")
    frame = pd.DataFrame({"ds": times, "y": series})
    result = np.zeros(len(series))
    for begin in range(FITTED // bucket, len(series), USED // bucket):
        end = min(begin + USED // bucket, len(series))
        np.random.seed(0)  # noqa: NPY002 - the interval is sampled from NumPy's global generator
        model = Prophet(yearly_seasonality=False).fit(frame[begin - FITTED // bucket : begin])
        said = model.predict(frame[begin:end][["ds"]])
        actual, middle = series[begin:end], said["yhat"].to_numpy()
        above = said["yhat_upper"].to_numpy() - middle
        below = middle - said["yhat_lower"].to_numpy()
        width = np.where(actual > middle, above, below)
        result[begin:end] = np.abs(actual - middle) / np.maximum(width, 1e-9)
    return result


def main() -> None:
    source, target, bucket = sys.argv[1:]
    warnings.simplefilter("ignore")
    for name in ("prophet", "cmdstanpy"):
        logging.getLogger(name).setLevel(logging.ERROR)
    counts = np.load(source)
    np.save(target, np.stack([scores(series, int(bucket)) for series in counts]))


if __name__ == "__main__":
    main()
