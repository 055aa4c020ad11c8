"""The daemon that forks Spark's Python workers, with everything imported before it forks.

Spark starts it by the setting ``spark.python.daemon.module``. Otherwise each new worker would
import for seconds, and a batch of one second would wait for it.
"""

from __future__ import annotations

import os

# One thread for each product: the bits of a score depend on how it is cut.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sklearn.neural_network  # noqa: F401 - for the workers, as the stages
from pyspark.daemon import manager

import stream_detector.spark.stages  # noqa: F401

if __name__ == "__main__":
    manager()
