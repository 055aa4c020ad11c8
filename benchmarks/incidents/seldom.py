"""Cards whose payments shift their level for three days, one after the other: told once each?

A card of the data pays at most some four times a day, so hours pass between two of its alerts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import payments
from .plants import HOUR_MS, Plant, Stream

CARDS = 10
QUIET_DAYS = 9
LASTS_DAYS = 3
LEAST_A_DAY = 1.0
LEAST_SHIFTED = 4
"""Fewer payments in three days are no level."""

FACTOR = 20
DAY_MS = 24 * HOUR_MS


def draw(seed: int, directory: Path, cards: int = CARDS) -> Stream:
    """The payments with the shifts of a seed: one begins each day."""
    random = np.random.default_rng([seed, 52])
    days = QUIET_DAYS + cards + LASTS_DAYS + 8
    columns = payments.load(directory)
    origin = int(columns[0][0]) // DAY_MS * DAY_MS
    count = int(np.searchsorted(columns[0], origin + days * DAY_MS))
    times, customers, terminals, amounts = (column[:count].copy() for column in columns)
    often = np.flatnonzero(np.bincount(customers) >= LEAST_A_DAY * days)
    plants: list[Plant] = []
    for card in random.permutation(often).tolist():
        if len(plants) == cards:
            break
        begin = origin + (QUIET_DAYS + len(plants)) * DAY_MS + int(random.integers(0, DAY_MS))
        end = begin + LASTS_DAYS * DAY_MS
        mine = (times >= begin) & (times < end) & (customers == card)
        if mine.sum() < LEAST_SHIFTED:
            continue
        amounts[mine] = np.round(amounts[mine] * FACTOR, 2)
        offsets = frozenset(np.flatnonzero(mine).tolist())
        plants.append(Plant("level shift", "CUSTOMER_ID", str(card), begin, end, offsets))
    return Stream(payments.lines(times, customers, terminals, amounts), plants)
