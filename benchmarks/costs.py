"""What alerts' companions cost: incidents, rules and counterfactuals, each and all: ``make costs``.

    python benchmarks/costs.py [--sets cards,nsl_kdd,busy] [--kinds ensemble,classifier]
        [--segments 9] [--events 20000] [--budget "0.1 %"] [--json FILE]

One process, one thread. The same decoded lines go through pipelines that differ in what is switched
on alone: none of the three, each, and all. They take turns of 1,000 events, another one first in
each turn, so that what else the machine does meets all of them. CPU seconds of a segment of events
(``time.process_time``: decoding and pipeline; no broker, which would make all ratios smaller)
are divided by those of the pipeline with none. Printed: median, least and largest ratio of the
segments, the ratio of the sums, alerts, and µs an alert. Events before the first segment warm up.

``busy`` is generated payments with suppression off and a budget of .8 %: most alerts begin an
incident of their own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import yaml
from counterfactuals import CONFIGURATIONS, DETECTORS, SETS
from quality.data import data_directory
from threadpoolctl import threadpool_limits

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.connectors.ahead import open_file
from stream_detector.decoding import Decoder
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.pipeline import PipelineCore
from stream_detector.simulation import transactions

TURN = 1000
WARM_UP = {"cards": 60_000, "nsl_kdd": 10_000, "busy": 40_000}
VARIANTS = ("none", "incidents", "rules", "counterfactuals", "all")
RULES = 20
RULED = {
    "cards": (2018, "CUSTOMER_ID", "TX_AMOUNT"),
    "nsl_kdd": (1970, "service", "src_bytes"),
    "busy": (2018, "CUSTOMER_ID", "TX_AMOUNT"),
}
"""Year of the events, a field and a feature that rules are about."""


def configuration(name: str, kind: str, variant: str, budget: str) -> Config:
    file = "transactions.yaml" if name == "busy" else SETS[name][0]
    raw = yaml.safe_load(os.path.expandvars((CONFIGURATIONS / file).read_text()))
    for section in ("kafka", "state", "metrics"):
        raw.pop(section, None)
    raw["detector"] = {"kind": kind, **DETECTORS.get(kind, {})}
    if kind != "classifier":
        raw["labels"].pop("keep_first", None)
    raw["threshold"]["budget"] = "0.8 %" if name == "busy" else budget
    if name == "busy":
        raw.pop("suppression")
    if variant in ("incidents", "all"):
        raw["incidents"] = {}
    raw["processing"] = {"counterfactuals": variant in ("counterfactuals", "all")}
    return Config.model_validate(raw)


def rules(name: str) -> Iterator[str]:
    """Acts that add rules which hold all the time, and whose last condition nothing fulfils."""
    year, field, feature = RULED[name]
    for number in range(RULES):
        box = {
            "fields": [{"field": field, "in": [str(number + each) for each in range(50)]}],
            "features": [{"feature": feature, "at_least": 1e15}],
        }
        about = {"owner": "costs", "why": "measured", "from": ["events-0-1"], "rarest": 1000.0}
        times = {"made": f"{year}-01-01T00:00:00Z", "expires": f"{year}-12-31T00:00:00Z"}
        rule = {"id": f"r{number}", **about, **times, "box": box}
        yield json.dumps({"version": 1, "act": "rule-add", "rule": rule})


class Runner:
    """A pipeline, and the CPU seconds that it has taken."""

    def __init__(self, config: Config, variant: str) -> None:
        self._decoder = Decoder(config, FieldPlan.of(config))
        self.pipeline = PipelineCore(config, state_fingerprint(config))
        self.variant = variant
        self.seconds = 0.0
        self.raised = self.alerts = self.messages = 0

    def take(self, source: TopicPartition, records: Sequence[Any]) -> None:
        started = time.process_time()
        outcome = self.pipeline.process(self._decoder.decode(source, records))
        self.seconds += time.process_time() - started
        self.raised += int(outcome.raised.sum())
        self.alerts += len(outcome.alerts)
        self.messages += len(outcome.incidents)


def stretches(name: str, config: Config, directory: Path) -> Iterator[tuple[TopicPartition, Any]]:
    """Records of a set in stretches of ``TURN``."""
    if name == "busy":
        events = WARM_UP[name] + 400_000
        source = TopicPartition("events", 0)
        number, waiting = 0, []
        for day in transactions.generate(events, seed=1):
            for line in day.json_lines():
                waiting.append(PlainRecord(number, -1, None, line))
                number += 1
                if len(waiting) == TURN:
                    yield source, waiting
                    waiting = []
        return
    file = open_file(config, str(directory / SETS[name][1]), ahead=False)
    waiting: list[Any] = []
    while not file.exhausted():
        for fetched in file.poll(1.0):
            waiting += fetched.records
            while len(waiting) >= TURN:
                yield fetched.source, waiting[:TURN]
                waiting = waiting[TURN:]


def measure(
    name: str, kind: str, directory: Path, segments: int, events: int, budget: str
) -> dict[str, Any]:
    configs = {variant: configuration(name, kind, variant, budget) for variant in VARIANTS}
    runners = [Runner(config, variant) for variant, config in configs.items()]
    for runner in runners:
        if runner.variant in ("rules", "all"):
            for offset, act in enumerate(rules(name)):
                runner.pipeline.act(act, offset)
    ratios: dict[str, list[float]] = {variant: [] for variant in VARIANTS[1:]}
    totals = dict.fromkeys(VARIANTS, 0.0)
    taken, measured = 0, False
    for turn, (source, records) in enumerate(stretches(name, configs["none"], directory)):
        for at in range(len(runners)):
            runners[(at + turn) % len(runners)].take(source, records)
        taken += len(records)
        if not measured and taken >= WARM_UP[name]:
            measured, taken = True, 0
            for runner in runners:
                runner.seconds, runner.raised, runner.alerts, runner.messages = 0.0, 0, 0, 0
            gc.collect()
        elif measured and taken >= events:
            taken = 0
            base = runners[0].seconds
            for runner in runners:
                totals[runner.variant] += runner.seconds
                if runner.variant != "none":
                    ratios[runner.variant].append(runner.seconds / base)
                runner.seconds = 0.0
            if len(ratios["all"]) == segments:
                break
    count = len(ratios["all"]) * events
    last = runners[-1]
    return {
        "set": name,
        "kind": kind,
        "segments": len(ratios["all"]),
        "raised": last.raised / count,
        "alerts": last.alerts / count,
        "incident messages": last.messages,
        "us_an_event": totals["none"] / count * 1e6,
        "ratios": {
            variant: {
                "median": statistics.median(each),
                "least": min(each),
                "most": max(each),
                "of sums": totals[variant] / totals["none"],
                "us a raised event": (totals[variant] - totals["none"]) / max(last.raised, 1) * 1e6,
            }
            for variant, each in ratios.items()
        },
    }


def show(line: dict[str, Any]) -> None:
    print(
        f"{line['set']}, {line['kind']}: {line['segments']} segments, "
        f"{line['raised']:.3%} raised, {line['alerts']:.3%} alerted, "
        f"{line['us_an_event']:.1f} µs an event with none"
    )
    for variant, each in line["ratios"].items():
        print(
            f"  {variant:<16} {each['median']:.3f} ({each['least']:.3f} to {each['most']:.3f}), "
            f"of sums {each['of sums']:.3f}, {each['us a raised event']:.0f} µs a raised event",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="cards,nsl_kdd,busy")
    parser.add_argument("--kinds", default="ensemble,classifier")
    parser.add_argument("--segments", type=int, default=9)
    parser.add_argument("--events", type=int, default=20_000, help="of a segment")
    parser.add_argument("--warm-up", type=int, help="events before the first segment")
    parser.add_argument("--budget", default="0.1 %", help="of all sets but busy")
    parser.add_argument("--data", help="directory of the data sets")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    directory = data_directory(arguments.data)
    if arguments.warm_up is not None:
        WARM_UP.update(dict.fromkeys(WARM_UP, arguments.warm_up))
    lines = []
    with threadpool_limits(1):
        for name in arguments.sets.split(","):
            for kind in arguments.kinds.split(","):
                # The training file of NSL-KDD holds 125,973 rows.
                events = min(arguments.events, 12_500) if name == "nsl_kdd" else arguments.events
                lines.append(
                    measure(name, kind, directory, arguments.segments, events, arguments.budget)
                )
                show(lines[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
