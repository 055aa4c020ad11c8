"""A campaign of runs under faults, each judged when its input is worked off."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kafka import TopicPartition
from kafka_broker.clients import Message, admin_client, consume_all, produce
from kafka_broker.cluster import Cluster

from chaos.acts import HANGING, act
from chaos.faults import POINTS, Fault, plan
from chaos.judge import (
    JournalFindings,
    Source,
    Verdict,
    Written,
    check_journal,
    check_refused,
    compare,
    doubled_sources,
    written,
)
from chaos.live import ABORTER, Aborter, LiveProducer
from chaos.run import Run, insist, say, until_worked_off
from chaos.stream import Planted, create_input, events, produce_backlog, settings
from chaos.workers import FaultLog, Tally

VERIFY_SECONDS = 600
SETTLE_SECONDS = 90.0
_OPEN = ("Ongoing", "PrepareAbort", "PrepareCommit")


class Campaign:
    """Runs phases and sums up what was wrong.

    State: counts of everything done and found.
    """

    def __init__(self, directory: Path, seed: int, without: Collection[str] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.seed, self._without = directory, seed, without
        self.log = FaultLog(directory / "faults.jsonl")
        self.tally, self.verdict = Tally(), Verdict()
        self.problems: list[str] = []
        self.events = self.rounds = 0
        self.gaps = self.states_differing = self.journal_records = 0
        self.bad_records = self.aborted_transactions = 0

    def close(self) -> None:
        """Close the log of faults."""
        self.log.close()

    # --- phases ---

    def backlog(
        self,
        cluster: Cluster,
        phase: str,
        shards: int,
        count: int,
        enough: Callable[[], bool],
        faults: Iterator[Fault] | None = None,
        slots: int | None = None,
    ) -> None:
        """Work the same input off without faults and then with them, again and again.

        Args:
            cluster: a running one.
            phase: name of the phase; decides the faults, together with the seed. In one named
                ``replay`` snapshots are rare, so that every restart replays all there was.
            shards: number of shards.
            count: events of the input.
            enough: whether enough faults fell; asked before each.
            faults: instead of the plan of the phase; ends the phase when it is exhausted.
            slots: workers at once; default one for one shard, else three.
        """
        topic, expected, clean = self.reference(cluster, phase, shards, count)
        faults = self.faults(phase, several=shards > 1) if faults is None else faults
        slots = slots or (1 if shards == 1 else 3)
        for number in itertools.count(1):
            run = self.disturbed(cluster, topic, f"{phase}-{number}", shards, slots, faults, enough)
            self.events += count
            self.judge_backlog(run, expected, clean)
            if enough():
                return

    def reference(
        self, cluster: Cluster, phase: str, shards: int, count: int
    ) -> tuple[str, Sequence[Sequence[Written]], JournalFindings]:
        """An input of so many events, and what an undisturbed run makes of it.

        Returns:
            The topic; the alerts and the dead letters; what the journal says.
        """
        topic = create_input(cluster.bootstrap)
        planted = produce_backlog(cluster.bootstrap, topic, count, self.seed, self._without)
        self.bad_records += len(planted.kinds)
        say(f"{phase}: {count} events, reference run")
        run = self.run(cluster, [topic], f"{phase}-reference", shards, 1)
        with run:
            run.finish()
        expected = self.outputs(run)
        self.check_planted(run, expected[1], planted.kinds)
        say(f"{phase}: {len(expected[0])} alerts, {len(expected[1])} dead letters expected")
        return topic, expected, self.journal(run)

    def disturbed(
        self,
        cluster: Cluster,
        topic: str,
        name: str,
        shards: int,
        slots: int,
        faults: Iterator[Fault],
        enough: Callable[[], bool],
    ) -> Run:
        """Work a topic off while the faults fall; the run, whose workers have ended."""
        run = self.run(cluster, [topic], name, shards, slots)
        with run:
            until_worked_off(run, faults, act, enough)
            run.finish()
        return run

    def judge_backlog(
        self, run: Run, expected: Sequence[Sequence[Written]], clean: JournalFindings
    ) -> Verdict:
        """Whether the outputs are those of the undisturbed run, and the state as well."""
        found = Verdict()
        for one, other in zip(expected, self.outputs(run), strict=True):
            found.add(compare(one, other, run.shards))
        findings = self.journal(run)
        if findings.fingerprints != clean.fingerprints:
            self.states_differing += 1
            self.problem(run, f"state {findings.fingerprints}, not {clean.fingerprints}")
        self.judged(run, found)
        return found

    def live(
        self,
        cluster: Cluster,
        phase: str,
        shards: int,
        rate: float,
        enough: Callable[[], bool],
        faults: Iterator[Fault] | None = None,
        most: int = sys.maxsize,
    ) -> Run:
        """Produce input while the faults fall; the journal and ``state verify`` judge."""
        topic = create_input(cluster.bootstrap)
        faults = self.faults(phase, several=True) if faults is None else faults
        say(f"{phase}: live input, {rate:g} events a second")
        run = self.run(cluster, [topic], phase, shards, 3)
        producer = LiveProducer(
            cluster.bootstrap, [topic], rate, self.seed, self._without, most, run.silent
        )
        with run:
            with producer, Aborter(cluster.bootstrap, [topic], self.seed) as aborter:
                while not enough():
                    fault = next(faults, None)
                    if fault is None:
                        break
                    run.disturb(fault, act)
            self.settle(run)
            run.finish()
        ends = run.ends()
        produced = sum(end - start for start, end in ends.values())
        self.events += produced
        self.bad_records += len(producer.planted.kinds)
        self.aborted_transactions += aborter.aborted
        say(f"{phase}: {produced} events in the log, {producer.refused} never got there")
        self.judge_live(run, producer.planted)
        return run

    def judge_live(self, run: Run, planted: Planted) -> Verdict:
        """Whether everything was read once and the outputs can be computed again."""
        found = Verdict()
        outputs = self.outputs(run)
        for output in outputs:
            found.doubled += doubled_sources(output)
        self.check_planted(run, outputs[1], planted.kinds)
        findings = self.journal(run)
        if not findings.records:
            self.problem(run, "there is no journal to judge by")
        for shard in range(run.shards):
            self.verify(run, shard, findings, found)
        self.judged(run, found)
        return found

    def settle(self, run: Run) -> None:
        """Wait until every transaction on the input has ended, then end each log with a record.

        What a log ends with is read, but only what stands before an event is committed.
        """
        run.cluster.start()

        def settled() -> bool:
            with admin_client(run.cluster.bootstrap) as admin:
                listed = admin.list_transactions(state_filters=_OPEN)
            names = [each.transactional_id for found in listed.values() for each in found]
            return not any(name.startswith((HANGING, ABORTER)) for name in names)

        if not run.until(lambda: insist(settled), SETTLE_SECONDS):
            self.problem(run, "a transaction on the input does not end")
        stream = events(self.seed, clock_ms=lambda: int(time.time() * 1000))
        for source in insist(run.partitions):
            last: Message = replace(next(stream), partition=source.partition)
            produce(run.cluster.bootstrap, source.topic, [last])

    def faults(self, phase: str, *, several: bool) -> Iterator[Fault]:
        """Those of a phase, without end."""
        return plan(self.seed, phase, several=several, without=self._without)

    def run(
        self, cluster: Cluster, topics: Sequence[str], name: str, shards: int, slots: int
    ) -> Run:
        """A group that has not begun yet."""
        directory = self.directory / name
        snapshots = "1h" if name.startswith("replay") else "1s"
        bucket = "10s" if name.startswith("live") else "1m"  # a silence outlasts it
        configuration = settings(
            cluster.bootstrap, topics, directory, shards, snapshots=snapshots, bucket=bucket
        )
        self.log.write(run=name, group=configuration["kafka"]["group"])
        return Run(cluster, configuration, directory, self.tally, self.log, slots)

    # --- judgement ---

    def outputs(self, run: Run) -> list[list[Written]]:
        """Its alerts, its dead letters, and the messages of its incidents."""
        kafka = run.settings["kafka"]
        topics = (kafka["alerts"], kafka["dead_letters"], kafka["incidents"])
        return [written(consume_all(run.cluster.bootstrap, topic, timeout=120)) for topic in topics]

    def journal(
        self, run: Run, ends: Mapping[TopicPartition, tuple[int, int]] | None = None
    ) -> JournalFindings:
        """The journal against the logs, and the committed offsets against their ends.

        ``ends`` are those of the input, where they are not what the brokers say of it now.
        """
        ends = insist(run.ends) if ends is None else ends
        for source, offset in insist(run.committed).items():
            if source not in ends or offset != ends[source][1]:
                self.problem(run, f"{source}: committed {offset}, end {ends.get(source)}")
        try:
            records = consume_all(run.cluster.bootstrap, f"{run.group}-journal", timeout=120)
        except ValueError:
            self.log.write(run=run.group, journal="absent")
            return JournalFindings()
        logs = {(source.topic, source.partition): both for source, both in ends.items()}
        findings = check_journal(
            ((each.partition, each.value) for each in records), logs, run.shards
        )
        self.journal_records += findings.records
        self.gaps += len(findings.problems)
        for problem in findings.problems[:10]:
            self.problem(run, problem)
        return findings

    def check_planted(
        self, run: Run, letters: Sequence[Written], planted: Mapping[Source, str]
    ) -> None:
        """What was refused against what should be."""
        for problem in check_refused(letters, planted)[:10]:
            self.problem(run, problem)

    def verify(self, run: Run, shard: int, findings: JournalFindings, found: Verdict) -> None:
        """What ``state verify`` says, which computes everything again."""
        config = next(run.directory.glob("worker*.yaml"))
        command = [sys.executable, "-m", "stream_detector", "state", "verify", str(config)]
        ran = subprocess.run(
            [*command, "--shard", str(shard), "--json"],
            capture_output=True,
            text=True,
            timeout=VERIFY_SECONDS,
            check=False,
        )
        try:
            answer: Mapping[str, Any] = json.loads(ran.stdout)
        except ValueError:
            self.problem(run, f"state verify gives {ran.returncode}: {ran.stderr[-1000:]}")
            return
        self.log.write(run=run.group, shard=shard, verify=dict(answer))
        found.expected += answer["alerts_expected"] + answer["dead_letters_expected"]
        found.found += answer["alerts_found"]
        found.lost += answer["lost"]
        found.doubled += answer["doubled"]
        found.differing += answer["differing"]
        self.gaps += answer["gaps"]
        self.states_differing += answer["fingerprint_mismatches"]
        if ran.returncode:
            self.problem(run, f"state verify, shard {shard}: {ran.stdout}")
        if answer["fingerprint"] != findings.fingerprints.get(shard):
            self.states_differing += 1
            self.problem(run, f"state verify ends at another state than the journal of {shard}")

    def judged(self, run: Run, found: Verdict) -> None:
        """Add a verdict to what was found."""
        self.rounds += 1
        self.verdict.add(found)
        self.log.write(
            run=run.directory.name,
            lost=found.lost,
            doubled=found.doubled,
            differing=found.differing,
            details=found.details,
        )
        say(
            f"{run.directory.name}: {self.tally.kills} kills and {self.tally.broker_kills} of a "
            f"broker so far; {found.found} of {found.expected} messages, {found.lost} "
            f"lost, {found.doubled} doubled, {found.differing} differing"
        )

    def problem(self, run: Run, text: str) -> None:
        """Note what is wrong beside messages."""
        self.problems.append(f"{run.directory.name}: {text}")
        self.log.write(run=run.directory.name, problem=text)

    def result(self) -> dict[str, Any]:
        """Everything counted, for JSON."""
        tally, verdict = self.tally, self.verdict
        return {
            "kills": tally.kills,
            "broker_restarts": tally.broker_restarts,
            "broker_kills": tally.broker_kills,
            "outages": tally.outages,
            "leaders_moved": tally.leaders_moved,
            "partitions_added": tally.partitions_added,
            "partitions_added_in_replay": tally.partitions_added_in_replay,
            "offsets_reset": tally.offsets_reset,
            "hanging_transactions": tally.hanging_transactions,
            "aborted_transactions": self.aborted_transactions,
            "topics_made_anew": tally.topics_made_anew,
            "bad_records": self.bad_records,
            "rebalances": tally.rebalances,
            "events": self.events,
            "runs": self.rounds,
            "journal_records": self.journal_records,
            "alerts_expected": verdict.expected,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "differing": verdict.differing,
            "journal_gaps": self.gaps,
            "states_differing": self.states_differing,
            "problems": len(self.problems),
            "faults": dict(sorted(tally.faults.items())),
            "failpoints": {
                point: f"{tally.fired[point]} of {tally.armed[point]} fired" for point in POINTS
            },
            "own_exits": tally.own_exits,
            "unexpected_exits": tally.unexpected_exits,
        }

    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict.sound and not (self.problems or self.tally.unexpected_exits)
