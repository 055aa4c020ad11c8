"""``evaluate --report``: a back-test that is watched, and what becomes of it as one HTML file."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from stream_detector import __version__
from stream_detector.cli.common import file_fingerprint
from stream_detector.config import Config
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.connectors.base import Source
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.backtest import Scored, backtest
from stream_detector.evaluation.monitor_samples import MonitorSamples
from stream_detector.evaluation.report_samples import ReportSamples
from stream_detector.pipeline import PipelineCore
from stream_detector.report.analysis import Provenance, analyse
from stream_detector.report.page import page

_LIBRARIES = {"NumPy": "numpy", "scikit-learn": "scikit-learn", "River": "river"}


class Report:
    """Runs the back-test of a configuration and writes the report of it."""

    def __init__(self, path: str, config: Config, *, skip: int, resamples: int) -> None:
        """Raises ``ConfigurationError`` where ``path`` can hold no file: before a long run."""
        self._path = Path(path)
        if self._path.is_dir() or not self._path.absolute().parent.is_dir():
            raise ConfigurationError(f"--report {path}: no file can be written there")
        self._config = config
        self._skip = skip
        self._resamples = resamples
        self._samples = ReportSamples(skip=skip)
        fingerprint = state_fingerprint(config)
        self._pipeline = PipelineCore(config, fingerprint, observer=self._samples)
        self._monitors = MonitorSamples(self._pipeline.monitors.each)

    def backtest(self, source: Source, progress: Callable[[int], None]) -> Scored:
        """The back-test, watched; it gives what it would give unwatched."""
        return backtest(
            self._config,
            source,
            pipeline=self._pipeline,
            keep_alerts=0,
            progress=progress,
            see=self._samples.see,
        )

    def write(self, scored: Scored, data: str, limit: int | None) -> None:
        """Write the report.

        Args:
            scored: what ``backtest`` returned.
            data: the file that was read, ``-`` for standard input.
            limit: records after which the reading ended.

        Raises:
            ConfigurationError: the file cannot be written, or no event was accepted.
        """
        if not len(scored.scores):
            raise ConfigurationError("--report: no event was accepted, there is nothing to report")
        path = Path(data)
        # A pipe has been read by now, and cannot be read again.
        regular = path.is_file()
        provenance = Provenance(
            data=path.name if data != "-" else "standard input",
            size_bytes=path.stat().st_size if regular else None,
            data_fingerprint=file_fingerprint(path) if regular else None,
            limit=limit,
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            versions={
                "stream-detector": __version__,
                "Python": platform.python_version(),
                **{name: version(package) for name, package in _LIBRARIES.items()},
            },
            state_fingerprint=state_fingerprint(self._config),
            score_fingerprint=self._pipeline.fingerprint,
        )
        analysis = analyse(
            self._config,
            scored,
            self._samples,
            provenance,
            skip=self._skip,
            resamples=self._resamples,
            monitors=self._monitors,
        )
        try:
            self._path.write_text(page(analysis), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"cannot write {self._path}: {error.strerror}") from error
