"""Rules on the card transactions: patterns that recur, hits inside of rules, ends.

    python -m benchmarks.rules                     # seeds 1 to 5, ten customers each
    python -m benchmarks.rules --seeds 7

Ten customers of each seed begin to pay a large sum at one terminal, once a day, all of it ordinary
by its label. From the first alert of each a rule is proposed as ``rule add`` does, and written at
that place. Counted is what of the pattern alerts with and without rules; then, in a second run, one
payment of each pattern is a fraud by its label, which is known a week later; in a third the rules
end after four days.

Data: ``STREAM_DETECTOR_DATA``.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from benchmarks.quality.data import data_directory
from stream_detector.cli.rule_making import proposed
from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.config.loading.load import load
from stream_detector.decoding import Decoder
from stream_detector.evaluation.rule_history import AlertReader
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.rules import RuleAdd, written_act

CUSTOMERS = 10
BEGIN = 8
"""Day on which the patterns begin: windows and threshold know what is usual by then."""
COLUMNS = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        planted: events of patterns.
        alerts: of each customer, alerts of planted events before its rule, after it, and those that
            say that the rule has expired.
        rules: customers that a rule was made for.
        disabled: rules that disabled themselves.
        late: alerts of what had been hidden.
        hidden: of the pattern's events.
        others_hidden: hidden, and of no pattern.
        frauds_hidden: of these, those that are labelled.
    """

    planted: int = 0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    expired: dict[str, int] = field(default_factory=dict)
    rules: int = 0
    disabled: int = 0
    late: int = 0
    hidden: int = 0
    others_hidden: int = 0
    frauds_hidden: int = 0
    ended: list[float] = field(default_factory=list)


def settings() -> Config:
    """The configuration of the card transactions, without labels in the model."""
    return load(
        "config/transactions.yaml",
        {},
        {"detector": '{"kind": "ensemble"}', "suppression.period": "1h"},
    ).config


def stream(data: pd.DataFrame, seed: int, days: int, *, fraud: bool) -> list[dict[str, Any]]:
    """The first days of the transactions, with the patterns."""
    random = np.random.default_rng(seed)
    first = data.TX_DATETIME.min().normalize()
    part = data[first + pd.Timedelta(days=days) > data.TX_DATETIME]
    chosen = random.choice(part.CUSTOMER_ID.unique(), CUSTOMERS, replace=False)
    rows = []
    for customer in chosen.tolist():
        amount, hour = random.uniform(400, 1500), random.uniform(1, 22)
        terminal = int(random.choice(part.TERMINAL_ID.unique()))
        hit = BEGIN + 3 if fraud else -1
        for day in range(BEGIN, days):
            moment = first + pd.Timedelta(days=day, hours=hour + random.uniform(-0.5, 0.5))
            paid = round(amount * random.uniform(0.97, 1.03), 2)
            name = f"planted-{customer}-{day}"
            rows.append((name, moment, customer, terminal, paid, int(day == hit)))
    planted = pd.DataFrame(rows, columns=COLUMNS)
    whole = pd.concat([part[COLUMNS], planted]).sort_values("TX_DATETIME", kind="stable")
    whole["TX_DATETIME"] = whole.TX_DATETIME.dt.strftime("%Y-%m-%d %H:%M:%S")
    return whole.astype({"TRANSACTION_ID": str, "CUSTOMER_ID": str, "TERMINAL_ID": str}).to_dict(
        "records"
    )


def run(events: list[dict[str, Any]], *, ruled: bool, expires: str = "30d") -> Outcome:
    """Run the events through the pipeline; with rules as soon as a pattern has alerted."""
    config = settings()
    core = PipelineCore(config, state_fingerprint(config))
    decoder, reader = Decoder(config, FieldPlan.of(config)), AlertReader(config)
    found, bodies = Outcome(), []
    ends: dict[str, str] = {}
    found.planted = sum(e["TRANSACTION_ID"].startswith("planted") for e in events)

    def take(outcome: BatchResult) -> None:
        found.disabled += len(outcome.disabled)
        for one in outcome.hidden:
            event = events[one.offset]
            if event["TRANSACTION_ID"].startswith("planted"):
                found.hidden += 1
            else:
                found.others_hidden += 1
                found.frauds_hidden += event["TX_FRAUD"]
        for message in outcome.alerts:
            body = msgspec.json.decode(message.value or b"")
            if body.get("kind") == "rule":
                continue
            bodies.append(body)
            if "shown_by" in body["receipt"]:
                found.late += 1
                continue
            if not str(body["event_id"]).startswith("planted"):
                continue
            customer = str(body["event"]["CUSTOMER_ID"])
            if "expired" in body.get("rule", {}):
                found.expired[customer] = found.expired.get(customer, 0) + 1
                continue
            counts = found.after if customer in ends else found.before
            counts[customer] = counts.get(customer, 0) + 1
            if ruled and customer not in ends:
                make(body, customer)

    def make(body: dict[str, Any], customer: str) -> None:
        given = argparse.Namespace(
            feature=[], field=[], any=[], id=f"r{customer}", owner="a", why="b", expires=expires
        )
        history = [reader.seen(one) for one in bodies[-2000:]]
        rule = proposed(given, config, reader, [body], history, core.watermark_ms)
        ends[customer] = rule.expires
        found.rules += 1
        take(core.act(written_act(RuleAdd(1, rule))[1].decode()))

    for start in range(0, len(events), 500):
        records = [
            PlainRecord(start + n, -1, None, json.dumps(each).encode())
            for n, each in enumerate(events[start : start + 500])
        ]
        take(core.process(decoder.decode(TopicPartition("cards", 0), records)))
    return found


def main() -> int:
    """Print a line for each seed, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1,2,3,4,5")
    given = parser.parse_args()
    path = data_directory() / "card_transactions.csv.gz"
    data = pd.read_csv(path, usecols=COLUMNS, parse_dates=["TX_DATETIME"], nrows=250_000)
    for seed in map(int, given.seeds.split(",")):
        for days, fraud, expires in ((18, False, "30d"), (20, True, "30d"), (20, False, "4d")):
            events = stream(data, seed, days, fraud=fraud)
            ruled = run(events, ruled=True, expires=expires)
            line: dict[str, Any] = {"seed": seed, "fraud": fraud, "expires": expires}
            if not fraud and expires == "30d":
                bare = run(events, ruled=False)
                line["alerts_without_rules"] = sum(bare.before.values())
            line |= {
                "planted": ruled.planted,
                "rules": ruled.rules,
                "alerts_after_rule": sum(ruled.after.values()),
                "most_after_rule": max(ruled.after.values(), default=0),
                "hidden": ruled.hidden,
                "others_hidden": ruled.others_hidden,
                "frauds_hidden": ruled.frauds_hidden,
                "disabled": ruled.disabled,
                "shown_late": ruled.late,
                "alerts_after_end": sum(ruled.expired.values()),
            }
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
