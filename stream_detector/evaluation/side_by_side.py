"""Replays of one recording under many detectors, side by side in processes of their own.

A replay depends on nothing but the recording and the detector, so neither how many run at once nor
which process takes which changes a bit of any; they are handed out, and given back, in their order.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from stream_detector import child_process
from stream_detector.config.models.config import Config, DetectorConfig
from stream_detector.detectors.adaptive_ensemble import AdaptiveEnsembleConfig
from stream_detector.detectors.registry import find_detector
from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.feature_replay import Recording, replay
from stream_detector.events import Float64
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

_PROGRESS, _SCORES = b"progress", b"scores"
_COLUMNS = ("times_ms", "marks_ms", "labels")
"""What a replay looks at of the recorded scores, beside the features."""

_LOOK_SECONDS = 0.2
"""So often it is asked whether to give up, while no process has anything to say."""


class Replays(Protocol):
    """What goes through a recording once for each of some detectors."""

    def __call__(self, detectors: Sequence[DetectorConfig], stop: int) -> Iterator[Float64 | None]:
        """The scores of each, in their order; None, and nothing after it, where it was given up."""


def one_by_one(
    recording: Recording, give_up: Callable[[], bool], progress: Callable[[int], None]
) -> Replays:
    """In this process, one after the other. Arguments as of ``replay``."""

    def replays(detectors: Sequence[DetectorConfig], stop: int) -> Iterator[Float64 | None]:
        for detector in detectors:
            yield replay(recording, detector, stop, give_up=give_up, progress=progress)

    return replays


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(slots=True)
class _Run:
    """Of detectors that are replayed together.

    Attributes:
        stop: how many events.
        waiting: detectors that nobody has begun with, by number, the next one last.
        at_work: who has which.
        done: scores by number; None where it was given up.
    """

    stop: int
    waiting: list[tuple[int, DetectorConfig]]
    at_work: dict[Connection, tuple[int, DetectorConfig]] = field(default_factory=dict)
    done: dict[int, Float64 | None] = field(default_factory=dict)


class SideBySide:
    """Processes that replay; a ``Replays``, and a context manager that ends them.

    State: the processes, which are started with the first detectors. Where one
    dies, of an error too, its detector is replayed here, where what is wrong is raised as ever.
    """

    def __init__(
        self,
        recording: Recording,
        directory: Path,
        jobs: int,
        give_up: Callable[[], bool],
        progress: Callable[[int], None],
    ) -> None:
        """Take a recording in.

        Args:
            recording: whose features lie in a file that has a name.
            directory: for what else of it the processes read; emptied by the caller.
            jobs: processes, at most.
            give_up: as of ``replay``, asked here.
            progress: likewise.
        """
        self._recording, self._directory, self._jobs = recording, directory, jobs
        self._give_up, self._progress = give_up, progress
        self._helpers: dict[Connection, BaseProcess] = {}
        self._started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for connection in list(self._helpers):
            self._end(connection)

    def __call__(self, detectors: Sequence[DetectorConfig], stop: int) -> Iterator[Float64 | None]:
        """As ``Replays``."""
        if not self._started:
            self.start(len(detectors))
        run = _Run(stop, list(enumerate(detectors))[::-1])
        for number in range(len(detectors)):
            while number not in run.done:
                if self._give_up():
                    self.close()
                    yield None
                    return
                self._go_on(run)
            yield run.done.pop(number)

    def _go_on(self, run: _Run) -> None:
        """Hand detectors out to those who have none, and take in what is said."""
        for connection in self._helpers.keys() - run.at_work.keys():
            if run.waiting:
                run.at_work[connection] = run.waiting.pop()
                self._ask(connection, run.at_work[connection][1], run.stop)
        if not run.at_work:  # nobody is left
            index, detector = run.waiting.pop()
            run.done[index] = self._here(detector, run.stop)
        ready = wait(list(run.at_work), _LOOK_SECONDS)
        for connection in [each for each in run.at_work if each in ready]:
            index, detector = run.at_work[connection]
            answer = self._answer(connection)
            if answer is not None:
                del run.at_work[connection]
                run.done[index] = answer if len(answer) else self._here(detector, run.stop)

    def _here(self, detector: DetectorConfig, stop: int) -> Float64 | None:
        return replay(
            self._recording, detector, stop, give_up=self._give_up, progress=self._progress
        )

    def _ask(self, connection: Connection, detector: DetectorConfig, stop: int) -> None:
        with suppress(OSError):  # a dead one says so when it is listened to
            connection.send_bytes(json.dumps([detector.model_dump(mode="json"), stop]).encode())

    def _answer(self, connection: Connection) -> Float64 | None:
        """What a process says: scores; none of them where it has died; None for progress."""
        try:
            kind, said = connection.recv_bytes(), connection.recv_bytes()
        except (EOFError, OSError):
            log.warning(
                "a process that tried candidates has died, maybe for want of memory; its candidate "
                "is tried again here",
                extra=fields(
                    "tune-process-failed", stage="search", processes=len(self._helpers) - 1
                ),
            )
            self._end(connection)
            return np.empty(0)
        if kind == _PROGRESS:
            self._progress(int(said))
            return None
        assert kind == _SCORES
        return np.frombuffer(said, np.float64)

    @property
    def processes(self) -> list[BaseProcess]:
        """Those that are there."""
        return list(self._helpers.values())

    def start(self, wanted: int) -> None:
        """Start so many processes, but no more than there may be. Once only."""
        self._started = True
        for name in _COLUMNS:
            np.save(self._directory / f"{name}.npy", getattr(self._recording.scored, name))
        features = self._recording.features
        assert isinstance(features, np.memmap)
        # Classes of other packages are not pickled: a detector is told by its kind and parameters.
        config = self._recording.config.model_copy(update={"detector": AdaptiveEnsembleConfig()})
        what = config, str(self._directory), str(features.filename), features.shape
        for _ in range(min(self._jobs, wanted)):
            connection, process = child_process.start(_serve, what, duplex=True)
            self._helpers[connection] = process

    def _end(self, connection: Connection) -> None:
        """End a process, whatever it is doing."""
        process = self._helpers.pop(connection)
        connection.close()
        child_process.end(process)


def _serve(
    connection: Connection,
    config: Config,
    directory: str,
    features: str,
    shape: tuple[int, int],
) -> None:
    """Replay what is asked for, in a process of its own, until nobody asks any more."""

    def tell(kind: bytes, said: bytes) -> None:
        connection.send_bytes(kind)
        connection.send_bytes(said)

    times, marks, labels = (
        np.load(Path(directory) / f"{name}.npy", mmap_mode="r") for name in _COLUMNS
    )
    none = np.empty(0, np.int64)  # the scores of the original: a replay does not look at them
    scored = Scored(np.empty(0), labels, np.empty(0, bool), times, none, False, marks_ms=marks)
    recording = Recording(config, np.memmap(features, np.float64, "r", shape=shape), scored)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody wants the rest
        while True:
            wanted, stop = json.loads(connection.recv_bytes())
            detector = find_detector(wanted["kind"]).config.model_validate(wanted)
            scores = replay(
                recording,
                detector,
                stop,
                progress=lambda count: tell(_PROGRESS, str(count).encode()),
            )
            assert scores is not None
            tell(_SCORES, scores.tobytes())
