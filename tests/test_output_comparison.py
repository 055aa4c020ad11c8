"""What `state verify` takes for the message that was written, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_detector.alerts import dead_letter
from stream_detector.daemon.output_comparison import Comparison, Findings
from stream_detector.events import PlainRecord, Rejection, TopicPartition
from stream_detector.messages import (
    DEAD_LETTER,
    ORIGINAL_TIMESTAMP,
    Outgoing,
    refitted,
)

SOURCE = TopicPartition("in", 0)
WORDS = f"{DEAD_LETTER}exception.message"


def letter(offset: int, words: str = "no JSON", value: bytes = b"{") -> Outgoing:
    record = PlainRecord(offset, 1_700_000_000_000, b"k", value, [("h", b"1")])
    return dead_letter(SOURCE, record, Rejection("decode", "malformed", words), "test")


def compared(made: list[Outgoing], written: list[Outgoing]) -> Findings:
    findings = Findings()
    comparison = Comparison("dead", findings)
    comparison.expect(made)
    found = [PlainRecord(n, 0, m.key, m.value, m.headers) for n, m in enumerate(written)]
    assert comparison.compare([found], lambda _: True) == len(written)
    comparison.finish()
    return findings


def without(message: Outgoing, name: str) -> Outgoing:
    return replace(message, headers=[one for one in message.headers if one[0] != name])


def test_the_same_letters_are_as_they_were() -> None:
    made = [letter(n) for n in range(3)]
    assert compared(made, made) == Findings()


def test_a_letter_of_a_version_that_does_not_tell_the_timestamp_is_the_same() -> None:
    assert compared([letter(0)], [without(letter(0), ORIGINAL_TIMESTAMP)]) == Findings()


def test_a_reason_in_the_words_of_another_version_is_counted_and_no_difference() -> None:
    findings = compared([letter(0), letter(1)], [letter(0, "JSON is malformed"), letter(1)])
    assert findings.sound
    assert findings.reworded == 1


def test_a_letter_that_was_shortened_for_its_topic_is_the_same() -> None:
    whole = letter(0, value=b"{" + b"x" * 50_000)
    cut = refitted(whole, 20_000)
    assert len(cut.value or b"") < 20_000
    assert compared([whole], [cut]) == Findings()


@pytest.mark.parametrize(
    "written",
    [
        letter(0, value=b"["),
        replace(letter(0), key=b"other"),
        without(letter(0), "h"),
        without(letter(0), f"{DEAD_LETTER}stage"),
        replace(letter(0, "other words"), value=b"["),
    ],
)
def test_any_other_change_is_a_difference(written: Outgoing) -> None:
    assert compared([letter(0)], [written]).differing == 1
    assert not compared([letter(0)], [written]).sound
