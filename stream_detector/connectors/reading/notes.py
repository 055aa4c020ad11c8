"""Findings about a file, for the person whose file it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Topic: TypeAlias = Literal["format", "compression", "encoding", "dialect", "header", "lines"]


@dataclass(frozen=True, slots=True)
class FileNote:
    """Finding about a file.

    Attributes:
        topic: what it is about.
        text: a sentence for people, without the file's name and without a full stop.
        guess: whether the file could be meant otherwise.
    """

    topic: Topic
    text: str
    guess: bool = False


@dataclass(frozen=True, slots=True)
class FileOptions:
    """A person's statements about a file; what is None is found from its first bytes.

    Attributes:
        encoding: a codec's name.
        delimiter: what stands between two cells; ``blanks`` for any number of blanks and tabs.
        quote: the character around cells that hold a delimiter; empty for none.
        header: whether the first row names the columns.
        comment: what lines that are no records begin with.
    """

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None
    comment: str | None = None


@dataclass(slots=True)
class Chunk:
    """Records as they were read: their bytes, and what is wrong with those that are no records.

    Attributes:
        values: the bytes of each record.
        problems: for the index of a record that cannot be read, what is wrong and where.
    """

    values: list[bytes] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    def extend(self, other: Chunk) -> None:
        """Append the records of another chunk."""
        start = len(self.values)
        self.values += other.values
        for index, problem in other.problems.items():
            self.problems[start + index] = problem


def shown(text: str, most: int) -> str:
    """The beginning of a text as it may stand in a message: bytes that are no text become ?."""
    return text[:most].encode("utf-8", "replace").decode()
