"""What others would have found: scores of each bucket of each carrier, by their own code.

Each has the bucket that did best on the draws for choosing, of 15 minutes to four hours: one hour
for the z-score without a season, two for all others (Prophet: of one to three hours, on one draw).
Scores that take long are kept in ``.cache``, by the counts that they are of.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .departures import KEYS, Draw, counts
from .plain import seasonal_z_scores, z_scores
from .score import Line

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache"

FOREST_VERSION = "4.4.0"
FOREST = tuple(
    f"software.amazon.randomcutforest:randomcutforest-{part}:{FOREST_VERSION}"
    for part in ("core", "parkservices")
)
PROPHET_VERSION = "1.5.0"
PROPHET_PYTHON = CACHE / "prophet" / "bin" / "python"

FETCH_SECONDS, SCORE_SECONDS = 900, 3600

Scores = Callable[[np.ndarray, int], np.ndarray]
"""From (keys, buckets) counts, and minutes of a bucket, to scores; 0 is nothing found."""


class PeerMissingError(Exception):
    """A peer cannot be had here; the message says what to do."""


@dataclass(frozen=True)
class Peer:
    """A method of others: what tables call it, its scores, minutes of a bucket."""

    title: str
    scores: Scores
    bucket: int = 120

    def lines(self, drawn: Draw) -> list[Line]:
        """A line for each bucket with a score, at its end."""
        found = self.scores(counts(drawn, self.bucket), self.bucket)
        return [
            (key, (bucket + 1) * self.bucket, float(found[row, bucket]))
            for row, key in enumerate(KEYS)
            for bucket in np.flatnonzero(found[row] > 0).tolist()
        ]


def kept(name: str, compute: Scores) -> Scores:
    """The same, computed once for the same counts by the same code (``name`` has its version)."""

    def scores(table: np.ndarray, bucket: int) -> np.ndarray:
        given = f"{name} {bucket} ".encode() + table.astype(np.int64).tobytes()
        digest = hashlib.sha256(given).hexdigest()
        path = CACHE / "rates" / f"{name}-{digest[:16]}.npy"
        if path.exists():
            read: np.ndarray = np.load(path, allow_pickle=False)
            return read
        computed = compute(table, bucket)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.npy")
        np.save(beside, computed)
        beside.replace(path)
        return computed

    return scores


# --- Amazon's random cut forest ------------------------------------------------------------------


def forest_jars() -> Path:
    """The directory with the jars, fetched by Maven the first time."""
    directory = CACHE / f"randomcutforest-{FOREST_VERSION}"
    names = [artifact.split(":")[1] for artifact in FOREST]
    for artifact, name in zip(FOREST, names, strict=True):
        if (directory / f"{name}-{FOREST_VERSION}.jar").exists():
            continue
        goal = ["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={directory}"]
        try:
            ran = subprocess.run(
                ["mvn", "-q", "-B", *goal],
                capture_output=True,
                text=True,
                timeout=FETCH_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise PeerMissingError("the random cut forest wants Maven and Java 17") from error
        if ran.returncode:
            raise PeerMissingError(f"Maven could not fetch {artifact}:\n{ran.stdout[-1000:]}")
    return directory


def forest(kind: str) -> Scores:
    """``score`` of the forest, or ``grade`` as OpenSearch has it."""

    def compute(table: np.ndarray, _bucket: int) -> np.ndarray:
        series = "\n".join(" ".join(map(str, row)) for row in table.astype(int).tolist())
        command = ["java", "-Xmx1g", "-cp", f"{forest_jars()}/*", str(HERE / "Forest.java")]
        try:
            ran = subprocess.run(
                [*command, kind, "1"],
                input=series,
                capture_output=True,
                text=True,
                timeout=SCORE_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise PeerMissingError("the random cut forest wants Java 17") from error
        if ran.returncode:
            raise PeerMissingError(f"Forest.java failed:\n{ran.stderr[-1000:]}")
        return np.array([line.split(" ") for line in ran.stdout.splitlines()], dtype=float)

    return kept(f"forest-{FOREST_VERSION}-{kind}", compute)


# --- Prophet --------------------------------------------------------------------------------------


def prophet(table: np.ndarray, bucket: int) -> np.ndarray:
    """Its scores, computed in an environment of its own."""
    if not PROPHET_PYTHON.exists():
        raise PeerMissingError("Prophet is not installed: `make rates` installs it")
    directory = CACHE / "rates"
    directory.mkdir(parents=True, exist_ok=True)
    source, target = (directory / f"{name}-{os.getpid()}.npy" for name in ("counts", "scores"))
    np.save(source, table)
    script = HERE / "prophet_scores.py"
    ran = subprocess.run(
        [str(PROPHET_PYTHON), str(script), str(source), str(target), str(bucket)],
        capture_output=True,
        text=True,
        timeout=SCORE_SECONDS,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    source.unlink()
    if ran.returncode:
        raise PeerMissingError(f"prophet_scores.py failed:\n{ran.stderr[-1000:]}")
    computed: np.ndarray = np.load(target, allow_pickle=False)
    target.unlink()
    return computed


PEERS = {
    "z": Peer("z-score, no season", z_scores, bucket=60),
    "seasonal-z": Peer("z-score, hour of the week", seasonal_z_scores),
    "forest": Peer(f"RandomCutForest {FOREST_VERSION}, score", forest("score")),
    "forest-grade": Peer(f"RandomCutForest {FOREST_VERSION}, OpenSearch's grade", forest("grade")),
    "prophet": Peer(f"Prophet {PROPHET_VERSION}", kept(f"prophet-{PROPHET_VERSION}", prophet)),
}
"""By the name that results bear."""
