"""Card transactions with planted incidents."""

from __future__ import annotations

import csv
import functools
import gzip
from pathlib import Path
from typing import Any

import numpy as np

from .plants import HOUR_MS, Plant, Stream

DAYS = 34
QUIET_DAYS = 8
"""Days that have none: what is usual is learnt there."""

GROUPS = 20
KINDS = ("customer", "terminal", "customer group", "terminal group", "customer for days")
DAY_MS = 24 * HOUR_MS

CONFIGURATION: dict[str, Any] = {
    "name": "payments",
    "event": {"time": {"field": "TX_DATETIME", "format": "iso8601"}},
    "features": [
        {"numeric": "TX_AMOUNT", "transform": "log"},
        {"time": "weekend"},
        {"time": "night"},
        {"categorical": "CUSTOMER_GROUP", "encoding": "rarity"},
        {"categorical": "TERMINAL_GROUP", "encoding": "rarity"},
    ],
    "windows": [
        {
            "key": "CUSTOMER_ID",
            "value": "TX_AMOUNT",
            "half_lives": ["17h", "5d", "21d"],
            "compute": ["count", "mean", "deviation", "ratio", "burst", "time_since_last"],
            "max_keys": 100_000,
        },
        {
            "key": "TERMINAL_ID",
            "value": "TX_AMOUNT",
            "half_lives": ["17h", "5d", "21d"],
            "compute": ["count", "mean", "deviation"],
            "max_keys": 100_000,
        },
    ],
    "threshold": {"budget": "50 per day", "burn_in": 5000},
    "suppression": {"key": "CUSTOMER_ID", "period": "6h"},
    "incidents": {"fields": ["CUSTOMER_ID", "TERMINAL_ID", "CUSTOMER_GROUP", "TERMINAL_GROUP"]},
}


@functools.cache
def load(directory: Path) -> tuple[np.ndarray, ...]:
    """(events,) time in ms, customer, terminal and amount of each."""
    with gzip.open(directory / "card_transactions.csv.gz", "rt", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        rows = [(row[1], row[2], row[3], row[4]) for row in reader]
    times = np.array([row[0].replace(" ", "T") for row in rows], dtype="datetime64[ms]")
    kept = times < times[0] + np.timedelta64(DAYS, "D")
    return (
        times[kept].astype(np.int64),
        np.array([int(row[1]) for row in rows])[kept],
        np.array([int(row[2]) for row in rows])[kept],
        np.array([float(row[3]) for row in rows])[kept],
    )


def group(identity: np.ndarray | int) -> Any:
    """A group of ids, as a region or a chain would be: no neighbour in number is in the same."""
    return identity * 7919 % 104_729 % GROUPS


def draw(seed: int, directory: Path, plants: int = 50, quiet_days: int = QUIET_DAYS) -> Stream:
    """The payments with the incidents of a seed, and a day after the last."""
    random = np.random.default_rng([seed, 50])
    columns = load(directory)
    last = int(columns[0][0]) // DAY_MS + quiet_days + plants // 2 + 1
    count = int(np.searchsorted(columns[0], last * DAY_MS))
    times, customers, terminals, amounts = (column[:count].copy() for column in columns)
    origin = int(times[0]) // DAY_MS * DAY_MS
    counts = np.bincount(customers)
    planned, extra = [], []
    marked = np.full(len(times), -1)
    for number in range(plants):
        kind = KINDS[number % len(KINDS)]
        day = origin + (quiet_days + number // 2) * DAY_MS
        begin = day + (14 if number % 2 else 6) * HOUR_MS + int(random.integers(0, 3 * HOUR_MS))
        hours = {"customer": 2, "terminal": 3, "customer for days": 120}.get(kind, 4)
        end = begin + hours * HOUR_MS
        inside = (times >= begin) & (times < end)
        if kind in ("customer", "terminal"):
            size = int(random.integers(10, 20))
            own, other = (customers, terminals) if kind == "customer" else (terminals, customers)
            value = int(random.choice(own))
            mine = float(np.median(amounts[own == value]))
            for _ in range(size):
                at = begin + int(random.integers(0, end - begin))
                row = [value, int(random.choice(other))]
                amount = round(mine * float(random.uniform(4, 8)), 2)
                extra.append((at, *(row if kind == "customer" else row[::-1]), amount, number))
            field = "CUSTOMER_ID" if kind == "customer" else "TERMINAL_ID"
        elif kind == "customer for days":
            value = int(random.choice(np.flatnonzero(counts > 2 * DAYS)))
            chosen = inside & (customers == value)
            amounts[chosen] = np.round(amounts[chosen] * 10, 2)
            marked[chosen] = number
            field = "CUSTOMER_ID"
        else:
            own = customers if kind == "customer group" else terminals
            value = int(random.integers(0, GROUPS))
            chosen = inside & (group(own) == value)
            amounts[chosen] = np.round(amounts[chosen] * 10, 2)
            marked[chosen] = number
            field = "CUSTOMER_GROUP" if kind == "customer group" else "TERMINAL_GROUP"
        planned.append((kind, field, str(value), begin, end))
    columns = [times, customers, terminals, amounts, marked]
    more = [np.array(column) for column in zip(*extra, strict=True)]
    joined = [np.concatenate(pair) for pair in zip(columns, more, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    times, customers, terminals, amounts, marked = (column[order] for column in joined)
    found = [
        Plant(*what, frozenset(np.flatnonzero(marked == number).tolist()))
        for number, what in enumerate(planned)
    ]
    return Stream(lines(times, customers, terminals, amounts), found)


def lines(
    times: np.ndarray, customers: np.ndarray, terminals: np.ndarray, amounts: np.ndarray
) -> list[bytes]:
    """The payments as JSON."""
    written = times.astype("datetime64[ms]").astype("datetime64[s]").astype(str)
    rows = zip(
        written, customers, terminals, group(customers), group(terminals), amounts, strict=True
    )
    text = (
        b'{"TX_DATETIME":"%s","CUSTOMER_ID":"%d","TERMINAL_ID":"%d",'
        b'"CUSTOMER_GROUP":"%d","TERMINAL_GROUP":"%d","TX_AMOUNT":%.2f}'
    )
    return [text % (row[0].encode(), *row[1:]) for row in rows]
