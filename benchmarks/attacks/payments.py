"""Generated card payments: frauds that are to be found, and attacks on what is learnt.

Genuine payments and a background of fraud come from ``stream_detector.simulation``; fourteen days
of 1,500 cards. The attacker has from the fourth to the tenth day to teach; what is to be found is
planted in the last four days, on cards that have paid before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stream_detector.simulation import transactions
from stream_detector.simulation.traffic import DAY_MS

from .streams import NOBODY, Stream, copies_for

CUSTOMERS, TERMINALS, DAYS = 1500, 1200, 14
BACKGROUND = 0.004
TEACHING = (3.0, 10.0)
PLANTING = (10.0, 13.6)
UNITS = 60
DRIFTED = 6
"""Times the usual that a drifting card pays last; its final payment is of ten times."""

HOUR = 3600
DAY = 24 * HOUR

ROW = np.dtype(
    [
        *(("time", "i8"), ("customer", "i8"), ("terminal", "i8")),
        *(("amount", "f8"), ("label", "i8"), ("unit", "i8"), ("added", "?")),
    ]
)
Random = np.random.Generator


class World:
    """Payments before anything is planted, and what cards usually pay."""

    def __init__(self, seed: int) -> None:
        parts = []
        for day in transactions.generate(
            None,
            seed=seed,
            customers=CUSTOMERS,
            terminals=TERMINALS,
            attack_share=BACKGROUND,
        ):
            if day.time_ms[0] >= transactions.START_MS + DAYS * DAY_MS:
                break
            part = empty(len(day))
            part["time"] = (day.time_ms - transactions.START_MS) // 1000
            part["customer"], part["terminal"] = (
                day.columns["CUSTOMER_ID"],
                day.columns["TERMINAL_ID"],
            )
            part["amount"], part["label"] = day.columns["TX_AMOUNT"], day.label
            parts.append(part)
        self.rows = np.concatenate(parts)
        self.random = np.random.default_rng([seed, 77])
        genuine = self.rows[self.rows["label"] == 0]
        counts = np.bincount(genuine["customer"], minlength=CUSTOMERS)
        sums = np.bincount(genuine["customer"], genuine["amount"], minlength=CUSTOMERS)
        self.usual = sums / np.maximum(counts, 1)
        known = np.bincount(
            genuine["customer"][genuine["time"] < PLANTING[0] * DAY], minlength=CUSTOMERS
        )
        able = np.flatnonzero(known >= 8)
        self.victims = self.random.permutation(able)[:UNITS]
        self.others = np.setdiff1d(np.flatnonzero(counts > 0), self.victims)
        self.starts = self.random.uniform(*PLANTING, UNITS) * DAY

    def between(self, first_day: float, last_day: float) -> int:
        """How many payments lie between two moments."""
        times = self.rows["time"]
        return int(np.count_nonzero((times >= first_day * DAY) & (times < last_day * DAY)))


def empty(count: int) -> np.ndarray:
    rows = np.zeros(count, dtype=ROW)
    rows["unit"] = NOBODY
    return rows


def made(count: int, **columns: Any) -> np.ndarray:
    rows = empty(count)
    for name, values in columns.items():
        rows[name] = values
    return rows


# --- what is to be found --------------------------------------------------------------------------


def frauds(world: World, each: int, factor: tuple[float, float], hours: float) -> np.ndarray:
    """``each`` payments a victim, that many times the usual amount, at any terminal."""
    random, count = world.random, UNITS * each
    after = np.sort(random.uniform(0, hours * HOUR, (UNITS, each)), axis=1)
    after[:, 0] = 0
    return made(
        count,
        time=(world.starts[:, None] + after).ravel(),
        customer=np.repeat(world.victims, each),
        terminal=random.integers(0, TERMINALS, count),
        amount=np.repeat(world.usual[world.victims], each) * random.uniform(*factor, count),
        label=1,
        unit=np.repeat(np.arange(UNITS), each),
    )


PLANTED: Mapping[str, Callable[[World], np.ndarray]] = {
    "stolen card": lambda world: frauds(world, 2, (5, 5), 3),
    "final payment": lambda world: frauds(world, 1, (10, 10), 1),
    "takeover": lambda world: frauds(world, 3, (25, 25), 3),
    "mimicry": lambda world: frauds(world, 2, (1.1, 1.5), 3),
}


# --- what the attacker does -----------------------------------------------------------------------


def copies(world: World, share: float) -> np.ndarray:
    """The fraud on other cards first, on ``share`` of the payments of a week; nobody complains."""
    count = copies_for(share, world.between(*TEACHING))
    customer = world.random.choice(world.others, count)
    return made(
        count,
        time=world.random.uniform(*TEACHING, count) * DAY,
        customer=customer,
        terminal=world.random.integers(0, TERMINALS, count),
        amount=world.usual[customer] * 5,
    )


def drift(world: World, step: float) -> np.ndarray:
    """Each victim's payments grow by ``step`` each, up to six times the usual; then the final."""
    steps = int(np.ceil(np.log(DRIFTED) / np.log1p(step)))
    parts = []
    for victim, start in zip(world.victims, world.starts, strict=True):
        gap = min(2 * HOUR, (start - 1.5 * DAY) / steps)
        parts.append(
            made(
                steps,
                time=start - gap * np.arange(steps, 0, -1),
                customer=victim,
                terminal=world.random.integers(0, TERMINALS, steps),
                amount=world.usual[victim] * (1 + step) ** np.arange(1, steps + 1),
            )
        )
    return np.concatenate(parts)


def decoys(world: World, factor: float) -> np.ndarray:
    """One payment of ``factor`` times the usual, an hour before: it alerts, and opens a period."""
    return made(
        UNITS,
        time=world.starts - HOUR,
        customer=world.victims,
        terminal=world.random.integers(0, TERMINALS, UNITS),
        amount=world.usual[world.victims] * factor,
        label=1,
    )


def key_flood(world: World, share: float) -> np.ndarray:
    """Ordinary payments of cards and terminals seen once, to drive others out of memory."""
    first, last = PLANTING[0] - 1, float(DAYS)
    count = copies_for(share, world.between(first, last))
    return made(
        count,
        time=world.random.uniform(first, last, count) * DAY,
        customer=10**6 + np.arange(count),
        terminal=10**6 + np.arange(count),
        amount=world.random.uniform(5, 100, count),
    )


def budget_flood(world: World, share: float) -> np.ndarray:
    """Payments far louder than any fraud, to use the budget up and push the threshold."""
    first, last = PLANTING[0] - 1, float(DAYS)
    count = copies_for(share, world.between(first, last))
    return made(
        count,
        time=world.random.uniform(first, last, count) * DAY,
        customer=world.random.choice(world.others, count),
        terminal=world.random.integers(0, TERMINALS, count),
        amount=world.random.uniform(20_000, 90_000, count),
    )


ATTACKS: Mapping[str, Callable[[World, float], np.ndarray]] = {
    "copies": copies,
    "drift": drift,
    "decoys": decoys,
    "key flood": key_flood,
    "budget flood": budget_flood,
}


def stream(attack: str, strength: float, planted: str, seed: int) -> Stream:
    """The payments with what is to be found, and with the attack if there is one."""
    world = World(seed)
    found = PLANTED["mimicry" if attack == "mimicry" else planted](world)
    parts = [world.rows, found]
    if attack in ATTACKS:
        added = ATTACKS[attack](world, strength)
        added["added"] = True
        parts.append(added)
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows["time"], kind="stable")]
    labels = rows["label"]
    if attack == "label flips":
        flipped = world.random.random(len(rows)) < strength
        labels = np.where(flipped, 1 - labels, labels)
    return Stream(events(rows, labels), rows["unit"], int(rows["added"].sum()))


def events(rows: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    start = transactions.START_MS // 1000
    times = [
        datetime.fromtimestamp(start + second, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for second in rows["time"].tolist()
    ]
    return [
        {
            "TRANSACTION_ID": number,
            "TX_DATETIME": time,
            "CUSTOMER_ID": customer,
            "TERMINAL_ID": terminal,
            "TX_AMOUNT": round(max(amount, 0.01), 2),
            "TX_FRAUD": label,
        }
        for number, (time, customer, terminal, amount, label) in enumerate(
            zip(
                times,
                rows["customer"].tolist(),
                rows["terminal"].tolist(),
                rows["amount"].tolist(),
                labels.tolist(),
                strict=True,
            )
        )
    ]
