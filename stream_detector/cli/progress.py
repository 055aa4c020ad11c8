"""Progress bars where the output is a terminal and rich is installed; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    title: str, fraction: Callable[[], float | None]
) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error while the block runs.

    Args:
        title: what is being done.
        fraction: how much of it is done, 0 to 1; None where that is not known.

    Yields:
        A function to call with the number of events so far.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )
    except ImportError:
        yield lambda _events: None
        return
    if not sys.stderr.isatty():
        yield lambda _events: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, events=0)

        def update(events: int) -> None:
            bar.update(task, completed=fraction() or 0.0, events=events)

        yield update
