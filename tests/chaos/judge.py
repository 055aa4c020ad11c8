"""Judges a run from outside: its outputs against another's, its journal against the logs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chaos.hostile import ABORTED, FUTURE, PLANTED

Source: TypeAlias = tuple[str, int, int]
"""Topic, partition and offset of the record that a message was made of.

One record may raise several alerts of monitors and change several incidents, and a tick is no
record: the name of such a message stands with the topic, and a tick has its shard in place of a
partition.
"""

Content: TypeAlias = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]
Written: TypeAlias = tuple[Source, Content]

_DETAILS = 20
_DEAD_LETTER = "__connect.errors."


@dataclass(slots=True)
class Verdict:
    """What is wrong, counted, with the first findings in words."""

    expected: int = 0
    found: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    details: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Keep a finding; the first ones suffice."""
        if len(self.details) < _DETAILS:
            self.details.append(text)

    def add(self, other: Verdict) -> None:
        """Sum up."""
        for name in ("expected", "found", "lost", "doubled", "differing"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for text in other.details:
            self.say(text)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.differing)


def source_of(record: Any) -> Source:
    """Where the record came from that an alert or a dead letter (a ConsumerRecord) is about."""
    headers = dict(record.headers)
    if f"{_DEAD_LETTER}topic" in headers:
        topic, partition, offset = (
            headers[f"{_DEAD_LETTER}{name}"].decode() for name in ("topic", "partition", "offset")
        )
        return topic, int(partition), int(offset)
    alert = json.loads(record.value)
    receipt = alert["receipt"]
    revision = f"/{alert['revision']}" if "revision" in alert else ""
    if "tick" in receipt:
        return f"tick {alert['id']}{revision}", int(receipt["shard"]), 0
    name = f" {alert['id']}{revision}" if "monitor" in alert or revision else ""
    return receipt["topic"] + name, int(receipt["partition"]), int(receipt["offset"])


def written(records: Iterable[Any]) -> list[Written]:
    """Source and content of each record of an output topic, in order."""
    return [
        (source_of(each), (each.key, each.value, tuple((n, bytes(c)) for n, c in each.headers)))
        for each in records
    ]


def compare(expected: Sequence[Written], found: Sequence[Written], shards: int = 1) -> Verdict:
    """Whether ``found`` is ``expected`` byte for byte and, within a shard, in its order.

    A shard is a partition modulo ``shards``; two shards write to one topic as they please.
    """
    verdict = Verdict(len(expected), len(found))
    for shard in range(shards):
        _compare_shard(
            [each for each in expected if each[0][1] % shards == shard],
            [each for each in found if each[0][1] % shards == shard],
            verdict,
        )
    return verdict


def _compare_shard(expected: Sequence[Written], found: Sequence[Written], verdict: Verdict) -> None:
    contents = dict(expected)
    times = Counter(source for source, _ in found)
    for source in contents.keys() - times.keys():
        verdict.lost += 1
        verdict.say(f"lost: the message about {source}")
    for source, count in times.items():
        if count > 1:
            verdict.doubled += count - 1
            verdict.say(f"doubled: {count} messages about {source}")
    for source, content in found:
        if source not in contents:
            verdict.differing += 1
            verdict.say(f"unexpected: the message about {source}")
        elif content != contents[source]:
            verdict.differing += 1
            verdict.say(f"differing: {source}: {content} instead of {contents[source]}"[:2000])
    # The order of what is right: first occurrences, without what is lost.
    order = list(dict.fromkeys(source for source, _ in found if source in contents))
    right = [source for source, _ in expected if source in times]
    moved = sum(one != other for one, other in zip(order, right, strict=True))
    if moved:
        verdict.differing += moved
        verdict.say(f"order: {moved} messages stand elsewhere")


def doubled_sources(found: Sequence[Written]) -> int:
    """Messages beyond the first about one record: needs no other run to compare with."""
    return sum(count - 1 for count in Counter(source for source, _ in found).values())


def check_refused(letters: Sequence[Written], planted: Mapping[Source, str]) -> list[str]:
    """Whether what was refused is what should be: each planted bad record, and no good one.

    Args:
        letters: dead letters; a bad record's still have the header that marks it.
        planted: sources of bad records with their kinds.

    Returns:
        What is wrong, in words. One record from the future may be refused.
    """
    problems, refused, future = [], set(), 0
    for source, (_, value, headers) in letters:
        kind = dict(headers).get(PLANTED)
        refused.add(source)
        if kind == ABORTED.encode():
            problems.append(f"an aborted record was read: {source}")
        elif kind is None and FUTURE.encode() in (value or b"") and not future:
            future += 1
        elif kind is None:
            reason = dict(headers).get(f"{_DEAD_LETTER}exception.message", b"").decode()
            problems.append(f"a good record was refused: {source}, {reason}")
    problems.extend(
        f"a bad record was taken for a good one: {source}, {kind}"
        for source, kind in planted.items()
        if source not in refused
    )
    return problems


@dataclass(slots=True)
class JournalFindings:
    """What a journal says: its findings, and its last record's fingerprint for each shard."""

    problems: list[str] = field(default_factory=list)
    records: int = 0
    events: int = 0
    fingerprints: dict[int, str] = field(default_factory=dict)


def check_journal(
    records: Iterable[tuple[int, bytes]],
    logs: Mapping[tuple[str, int], tuple[int, int]],
    shards: int = 1,
) -> JournalFindings:
    """Whether the journal covers every offset of the logs once, in order and without a gap.

    Args:
        records: partition and value of each record of the journal topic, in order.
        logs: for each topic and partition of the input its first offset and its end.
        shards: number of shards; partition modulo shards must be the journal's partition.
    """
    findings = JournalFindings()
    reached: dict[tuple[str, int], int] = {}
    numbers: dict[int, int] = defaultdict(int)
    for shard, value in records:
        record = json.loads(value)
        findings.records += 1
        numbers[shard] += 1
        if record["number"] != numbers[shard] or record["shard"] != shard:
            findings.problems.append(
                f"shard {shard}: record {record['number']} of shard {record['shard']} is the "
                f"{numbers[shard]}th"
            )
            numbers[shard] = record["number"]
        # Lost ranges lie between taken ones: by offset they tell their place.
        ranges = [tuple(one) for one in record.get("lost", ())]
        ranges += [tuple(one) for step in record["steps"] for one in step]
        by_partition: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for topic, partition, start, end in ranges:
            by_partition[topic, partition].append((start, end))
        for source, pieces in by_partition.items():
            if source[1] % shards != shard:
                findings.problems.append(f"{source} stands in the journal of shard {shard}")
            if record.get("lost"):
                pieces.sort()
            for start, end in pieces:
                expected = reached.get(source, logs[source][0])
                if start != expected or end < start:
                    kind = "gap" if start > expected else "overlap"
                    findings.problems.append(
                        f"{kind} in {source}: [{start}, {end}) after {expected}, shard {shard} "
                        f"record {record['number']}"
                    )
                findings.events += end - start
                reached[source] = end
        findings.fingerprints[shard] = record["fingerprint"]
    for source, (start, end) in logs.items():
        if reached.get(source, start) != end:
            findings.problems.append(
                f"{source}: the journal ends at {reached.get(source, start)}, the log at {end}"
            )
    return findings
