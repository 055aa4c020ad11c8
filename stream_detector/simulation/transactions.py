"""Card transactions with planted fraud.

The genuine side is the generator of the Fraud Detection Handbook (Le Borgne, Siblini, Lebichot,
Bontempi 2022, chapter 3, "Transaction data simulator"): customers with their own mean amount and
rate pay at terminals near their home. Its three kinds of fraud are planted as attacks that a
stream of some days can hold: amounts far beyond the customer's own, a terminal that is used far
more than ever, a card whose amounts are five times the owner's for days.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from stream_detector.events import Float64
from stream_detector.simulation.traffic import (
    DAY_MS,
    DAY_SECONDS,
    NO_ATTACK,
    Attack,
    Generated,
    Traffic,
    clock,
)

START_MS = 1_522_540_800_000
"""2018-04-01, the first day of the Handbook's data."""

CUSTOMERS = 5000
"""Each pays twice a day on average."""

KINDS = ("amount_burst", "stolen_card", "compromised_terminal")
_EVENTS_OF_KIND = {
    "amount_burst": (5, 13),
    "stolen_card": (8, 25),
    "compromised_terminal": (30, 81),
}
_MEAN_EVENTS = sum(low + high - 1 for low, high in _EVENTS_OF_KIND.values()) / 2
_NEAR_TERMINALS = 50
_QUIET_SHARE_OF_FIRST_DAY = 0.5

_ROW = np.dtype(
    [("time", "i8"), ("customer", "i4"), ("terminal", "i4"), ("amount", "f8"), ("attack", "i8")]
)
_SLOTS = {
    "TRANSACTION_ID": "%d",
    "TX_DATETIME": '"%s"',
    "CUSTOMER_ID": "%d",
    "TERMINAL_ID": "%d",
    "TX_AMOUNT": "%.2f",
    "TX_FRAUD": "%d",
}
FIELDS = tuple(_SLOTS)


@dataclass(frozen=True, slots=True)
class _Population:
    """Customers: mean amount, transactions a day, terminals near home; number of terminals."""

    mean_amount: Float64
    per_day: Float64
    near: NDArray[np.int32]
    terminals: int

    @classmethod
    def draw(cls, random: Generator, customers: int, terminals: int) -> _Population:
        home = random.uniform(0, 100, (customers, 2)).astype(np.float32)
        place = random.uniform(0, 100, (terminals, 2)).astype(np.float32)
        count = min(_NEAR_TERMINALS, terminals)
        near = np.empty((customers, count), dtype=np.int32)
        for start in range(0, customers, 256):  # in pieces: the whole distance matrix is large
            block = home[start : start + 256, None, :] - place[None]
            squared = np.einsum("ctk,ctk->ct", block, block)
            near[start : start + 256] = np.argpartition(squared, count - 1, axis=1)[:, :count]
        return cls(
            mean_amount=random.uniform(5, 100, customers),
            per_day=random.uniform(0, 4, customers),
            near=near,
            terminals=terminals,
        )

    def amounts(self, random: Generator, customer: NDArray[np.int32]) -> Float64:
        """Amounts as these customers usually pay."""
        mean = self.mean_amount[customer]
        amount = random.normal(mean, mean / 2)
        return np.where(amount < 0, random.uniform(0, 2 * mean), amount)

    def near_terminal(self, random: Generator, customer: NDArray[np.int32]) -> NDArray[np.int32]:
        """A terminal near each customer's home."""
        return self.near[customer, random.integers(0, self.near.shape[1], len(customer))]


def generate(
    count: int | None,
    seed: int = 0,
    start_ms: int = START_MS,
    *,
    customers: int = CUSTOMERS,
    terminals: int = 10_000,
    attack_share: float = 0.01,
) -> Traffic:
    """Transactions in the order of their time, a batch for each day.

    Args:
        count: events in all; None goes on for ever.
        seed: the same seed and parameters give the same bytes.
        start_ms: a moment of the first day (UTC), which is generated from midnight on.
        customers: each pays twice a day on average, so this sets the events a day.
        terminals: where they pay.
        attack_share: share of the events that are planted. The first half day has none.
    """
    attacks: list[Attack] = []
    start_ms -= start_ms % DAY_MS
    population = _Population.draw(np.random.default_rng([seed, 0]), customers, terminals)
    batches = _days(population, seed, start_ms, attack_share, attacks)
    return Traffic(batches, attacks, count)


def _days(
    population: _Population, seed: int, start_ms: int, attack_share: float, attacks: list[Attack]
) -> Iterator[Generated]:
    planted = np.empty(0, dtype=_ROW)  # of attacks that go on, at most some days' worth
    next_id = 0
    per_kind_a_day = attack_share * population.per_day.sum() / _MEAN_EVENTS
    for day in range(10**9):
        random = np.random.default_rng([seed, 1, day])
        day_ms = start_ms + day * DAY_MS
        begun = [planted]
        for kind in KINDS:
            for _ in range(random.poisson(per_kind_a_day)):
                earliest = _QUIET_SHARE_OF_FIRST_DAY if day == 0 else 0.0
                begin_ms = day_ms + int(random.uniform(earliest, 1) * DAY_MS)
                rows, entity = _plant(kind, population, random, begin_ms)
                rows["attack"] = len(attacks)
                span = int(rows["time"].min()), int(rows["time"].max())
                attacks.append(Attack(len(attacks), kind, entity, *span, len(rows)))
                begun.append(rows)
        planted = np.concatenate(begun)
        due = planted["time"] < day_ms + DAY_MS
        rows = np.concatenate([_genuine(population, random, day_ms), planted[due]])
        planted = planted[~due]
        rows = rows[np.argsort(rows["time"], kind="stable")]
        if len(rows):
            yield _batch(rows, next_id, day_ms)
        next_id += len(rows)


def _genuine(population: _Population, random: Generator, day_ms: int) -> NDArray[np.void]:
    times_a_day = random.poisson(population.per_day)
    customer = np.repeat(np.arange(len(times_a_day), dtype=np.int32), times_a_day)
    seconds = random.normal(43_200, 20_000, len(customer))  # around noon, as in the Handbook
    outside = (seconds < 0) | (seconds >= DAY_SECONDS)
    seconds[outside] = random.uniform(0, DAY_SECONDS, int(outside.sum()))
    rows = np.empty(len(customer), dtype=_ROW)
    rows["time"] = day_ms + seconds.astype(np.int64) * 1000
    rows["customer"] = customer
    rows["terminal"] = population.near_terminal(random, customer)
    rows["amount"] = population.amounts(random, customer)
    rows["attack"] = NO_ATTACK
    return rows


def _plant(
    kind: str, population: _Population, random: Generator, begin_ms: int
) -> tuple[NDArray[np.void], str]:
    """Events of one attack that begins at ``begin_ms``, and whom it concerns."""
    count = int(random.integers(*_EVENTS_OF_KIND[kind]))
    rows = np.empty(count, dtype=_ROW)
    anywhere = random.integers(0, population.terminals, count)
    if kind == "compromised_terminal":
        # Cards copied there are used there again: more visits in a day than in the month before,
        # by customers from everywhere, with amounts that are only a little too high.
        terminal = int(random.integers(0, population.terminals))
        rows["terminal"] = terminal
        rows["customer"] = random.integers(0, len(population.mean_amount), count)
        span_ms = random.uniform(1, 3) * DAY_MS
        after_ms = random.uniform(0, span_ms, count)
        factor = random.uniform(1, 1.8, count)
        entity = f"TERMINAL_ID {terminal}"
    else:
        customer = int(random.integers(0, len(population.mean_amount)))
        rows["customer"] = customer
        entity = f"CUSTOMER_ID {customer}"
        if kind == "stolen_card":
            # The Handbook's third scenario: the thief pays beside the owner, five times as much.
            after_ms = random.uniform(0, random.uniform(1, 5) * DAY_MS, count)
            factor = np.full(count, 5.0)
            near = population.near_terminal(random, rows["customer"])
            rows["terminal"] = np.where(random.random(count) < 0.3, near, anywhere)  # noqa: PLR2004
        else:
            after_ms = np.cumsum(random.exponential(240_000, count))
            factor = random.uniform(2, 6, count)
            rows["terminal"] = anywhere
    rows["time"] = (begin_ms + after_ms.astype(np.int64)) // 1000 * 1000
    rows["amount"] = population.amounts(random, rows["customer"]) * factor
    return rows, entity


def _batch(rows: NDArray[np.void], first_id: int, day_ms: int) -> Generated:
    label = (rows["attack"] != NO_ATTACK).astype(np.int8)
    customer = rows["customer"].tolist()
    date = datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()
    seconds = ((rows["time"] - day_ms) // 1000).tolist()
    times = clock()
    return Generated(
        slots=_SLOTS,
        columns={
            "TRANSACTION_ID": range(first_id, first_id + len(rows)),
            "TX_DATETIME": [f"{date} {times[second]}" for second in seconds],
            "CUSTOMER_ID": customer,
            "TERMINAL_ID": rows["terminal"].tolist(),
            "TX_AMOUNT": np.maximum(rows["amount"].round(2), 0.01).tolist(),
            "TX_FRAUD": label.tolist(),
        },
        time_ms=rows["time"].copy(),
        label=label,
        attack=rows["attack"].copy(),
        key=[b"%d" % number for number in customer],
    )
