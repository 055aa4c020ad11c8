"""The chain of journal records: what continues it is held, all else is passed with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_detector.commits.journal_chain import Chain, Kind, began_at
from stream_detector.events import TopicPartition
from stream_detector.journal import JournalRecord, Range, encode, link_of

SOURCE = TopicPartition("events", 0)


def ours(count: int, group: str = "ours", began: int = 0, number: int = 1) -> list[bytes]:
    """Records as one worker after the other writes them."""
    written: list[bytes] = []
    for place in range(count):
        at = 10 * place
        step = (Range(SOURCE, at, at + 10),)
        previous = link_of(written[-1]) if written else began_at(began)
        record = JournalRecord(0, number + place, (step,), (), at + 10, f"f{place}", "c")
        written.append(encode(replace(record, group=group, previous=previous if group else "")))
    return written


def read(records: list[bytes], number: int | None = None, link: str = "") -> Chain:
    chain = Chain("ours", 0, number, link)
    for offset, data in enumerate(records):
        chain.take(offset, data)
    return chain


def kinds(chain: Chain) -> list[Kind]:
    return [one.kind for one in chain.passed]


GOOD = ours(4)


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize(
    "foreign",
    [
        b"garbage\x1b[2J",
        b"",
        b"[" * 10_000,
        b"x" * 900_000,
        ours(1, "theirs")[0],
        GOOD[1].replace(b'"number":2', b'"number":3'),
        GOOD[3].replace(b'"number":4', b'"number":5'),
        GOOD[0].replace(b'"shard":0', b'"shard":1'),
        encode(JournalRecord(1, 3, (), (), 5, "f", "c", "ours", "")),
    ],
    ids=["garbage", "empty", "deep", "oversize", "group", "forged", "next", "shard", "other shard"],
)
def test_what_somebody_else_wrote_is_passed_wherever_it_stands(foreign: bytes, at: int) -> None:
    chain = read([*GOOD[:at], foreign, *GOOD[at:]])
    assert [one.link for one in chain.held] == [link_of(data) for data in GOOD]
    assert (chain.count, chain.passed[0].offset) == (1, at)
    assert "\x1b" not in chain.passed[0].reason


def test_records_that_are_written_again_are_passed() -> None:
    chain = read([*GOOD, *GOOD[:3], GOOD[3]])
    assert len(chain.held) == 4
    assert kinds(chain) == [Kind.REPEATED] * 4
    # From the place of a snapshot on, those of before it are not known any more.
    chain = read([*GOOD, *GOOD], 2, link_of(GOOD[1]))
    assert [one.record.number for one in chain.held] == [3, 4]
    assert Kind.FORK not in kinds(chain)
    assert Kind.LOST_BEFORE not in kinds(chain)


def test_a_copied_record_under_the_next_number_is_passed_even_where_its_seal_is_right() -> None:
    copied = ours(4)[-1]
    record = read([*GOOD]).held[-1].record
    for number in (4, 5, 6, 1):
        forged = encode(replace(record, number=number + 0, fingerprint="other"))
        chain = read([*GOOD, forged])
        assert len(chain.held) == 4
        assert kinds(chain) == ([Kind.FORK] if number == 4 else [Kind.UNCONNECTED])
    assert copied == GOOD[-1]


def test_two_workers_of_ours_are_a_fork() -> None:
    other = encode(replace(read(GOOD).held[-1].record, fingerprint="another worker's"))
    assert kinds(read([*GOOD, other])) == [Kind.FORK]
    assert kinds(read([GOOD[3], other], 3, link_of(GOOD[2]))) == [Kind.FORK]


def test_a_hole_is_told_from_a_foreign_record() -> None:
    assert kinds(read([*GOOD[:1], *GOOD[2:]])) == [Kind.LOST_BEFORE] * 2
    assert kinds(read(GOOD[2:], 1, link_of(GOOD[0])))[0] is Kind.LOST_BEFORE


def test_a_state_that_begins_anew_is_followed_and_a_copy_of_its_beginning_is_not() -> None:
    anew = ours(2, began=4)
    chain = read([*GOOD, *anew, GOOD[0], anew[0]])
    assert [one.record.number for one in chain.held] == [1, 2, 3, 4, 1, 2]
    assert kinds(chain) == [Kind.REPEATED] * 2
    # Another cluster's journal of the same group, mirrored here.
    theirs = [replace(one.record, configuration="theirs") for one in read(ours(2)).held]
    assert len(read([*GOOD, encode(theirs[0])]).held) == 4


def test_records_of_earlier_versions_are_followed_and_the_chain_begins_after_them() -> None:
    old = ours(3, group="")
    assert len(read(old).held) == 3
    assert len(read(old[1:], 1).held) == 2
    later = read(old).held[-1].record
    step = (Range(SOURCE, 30, 40),)
    new = encode(replace(later, number=4, steps=(step,), group="ours", previous=link_of(old[2])))
    assert [one.record.number for one in read([*old, new]).held] == [1, 2, 3, 4]
    unknown = encode(replace(later, number=4, steps=(step,), group="ours", previous=""))
    assert len(read([*old, unknown]).held) == 4
    # A copy under the next number does not join; one that does yields to what is sealed.
    forged = encode(replace(later, number=4))
    assert len(read([*old, forged, new]).held) == 4
    joins = encode(replace(later, number=4, steps=(step,), fingerprint="forged"))
    chain = read([*old, joins, new])
    assert chain.held[-1].link == link_of(new)
    assert len(chain.held) == 4
    assert kinds(chain) == [Kind.FOREIGN]


def test_much_garbage_takes_little_room() -> None:
    chain = read([b"x"] * 5000)
    assert (chain.count, len(chain.passed)) == (5000, 1000)
