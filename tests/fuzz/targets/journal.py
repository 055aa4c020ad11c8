"""Records on the journal's topic: whatever comes between, the chain of our own is held."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from test_journal_chain import ours

from fuzz.mutations import mutated, mutated_value
from fuzz.target import Target
from stream_detector.commits.journal_chain import Chain
from stream_detector.errors import StateError
from stream_detector.journal import decode, link_of
from stream_detector.journal import encode as encoded

GOOD = ours(5)


def mutate(random: Random, seeds: Any) -> bytes:
    """A record changed; now and then with the seal that it should have."""
    if random.random() < 0.5:
        return mutated(random, seeds)
    value = json.loads(random.choice(seeds))
    for _ in range(1 + int(random.expovariate(1.0))):
        value = mutated_value(random, value)
    if isinstance(value, dict) and value.get("group") and random.random() < 0.7:
        bare = json.dumps({**value, "seal": ""}, separators=(",", ":")).encode("utf-8", "replace")
        value["seal"] = link_of(bare.replace(b',"seal":""', b""))
    return json.dumps(value, separators=(",", ":")).encode("utf-8", "surrogatepass")


def read(data: bytes) -> bool:
    chain = Chain("ours", 0)
    for offset, one in enumerate((*GOOD[:3], data, *GOOD[3:])):
        chain.take(offset, one)
    links = [one.link for one in chain.held]
    kept = [link for link in links if link in {link_of(each) for each in GOOD}]
    assert kept[:3] == [link_of(each) for each in GOOD[:3]], "what came before is not held"
    try:
        record = decode(data)
    except StateError:
        return False
    encoded(record)
    for one in record.ranges():
        assert 0 <= one.start <= one.end
    return True


TARGET = Target(lambda: GOOD, read, mutate)
