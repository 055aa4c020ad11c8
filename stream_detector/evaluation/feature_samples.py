"""A stream's features kept in part, to see how they drift: the same few rows for any length.

The stream is cut into blocks of equally many events. Where there would be too many, neighbours are
merged and blocks are twice as long from then on. Of each block a uniform sample is kept: every
event draws a number, and the events with the lowest stay (bottom-k sampling, Cohen and Kaplan 2007,
"Summarizing data using bottom-k sketches", PODC). So a merged block's sample is exactly what
sampling the longer block would have given.
"""

from __future__ import annotations

import numpy as np

from stream_detector.events import Float64

_FIRST_BLOCK = 256
_MAX_BLOCKS = 32
_ROWS_KEPT = 1000


class _Block:
    """A stretch of the stream and the sample of it."""

    def __init__(self) -> None:
        self.events = 0
        self.pieces: list[tuple[Float64, Float64]] = []
        self._kept = 0
        self._limit = np.inf

    def add(self, numbers: Float64, rows: Float64) -> None:
        """Events with the numbers that they drew."""
        self.events += len(rows)
        low = numbers < self._limit
        if low.any():
            self.pieces.append((numbers[low], rows[low]))
            self._kept += int(low.sum())
            if self._kept > 2 * _ROWS_KEPT:
                self.settle()

    def settle(self) -> tuple[Float64, Float64]:
        """Keep the lowest; (numbers, rows) of them, in the order of the stream."""
        numbers = np.concatenate([piece for piece, _ in self.pieces])
        rows = np.concatenate([piece for _, piece in self.pieces])
        if len(numbers) > _ROWS_KEPT:
            self._limit = float(np.partition(numbers, _ROWS_KEPT)[_ROWS_KEPT])
            low = numbers < self._limit
            numbers, rows = numbers[low], rows[low]
        self.pieces = [(numbers, rows)]
        self._kept = len(numbers)
        return numbers, rows

    def merge(self, later: _Block) -> None:
        """Become this block and the one after it."""
        self.events += later.events
        self.pieces += later.pieces
        self._limit = min(self._limit, later._limit)
        self.settle()


class FeatureSamples:
    """Samples of the features of a stream, block by block.

    State: at most 32 blocks with at most 2,000 rows each, 1,000 once they are full.
    """

    def __init__(self, skip: int = 0, seed: int = 0) -> None:
        """``skip``: first events that are left out. ``seed``: of the draw."""
        self.skip = skip
        self._left_out = 0
        self._size = _FIRST_BLOCK
        self._blocks: list[_Block] = []
        self._random = np.random.default_rng(seed)

    def add(self, features: Float64) -> None:
        """Take events in, in their order; however they are cut, the sample is the same.

        Args:
            features: (events, features) float64, NaN where a value is missing.
        """
        begin = min(self.skip - self._left_out, len(features))
        self._left_out += begin
        while begin < len(features):
            block = self._open_block()
            end = min(begin + self._size - block.events, len(features))
            block.add(self._random.random(end - begin), features[begin:end])
            begin = end

    def _open_block(self) -> _Block:
        if self._blocks and self._blocks[-1].events < self._size:
            return self._blocks[-1]
        if len(self._blocks) == _MAX_BLOCKS:
            self._halve()
        self._blocks.append(_Block())
        return self._blocks[-1]

    def _halve(self) -> None:
        pairs = list(zip(self._blocks[::2], self._blocks[1::2], strict=False))
        for earlier, later in pairs:
            earlier.merge(later)
        odd = [self._blocks[-1]] if len(self._blocks) % 2 else []
        self._blocks = [earlier for earlier, _ in pairs] + odd
        self._size *= 2

    def blocks(self, least_events: int = 1) -> list[tuple[int, Float64, Float64]]:
        """Events, numbers drawn (rows,) and sample (rows, features) of each block, in order.

        Blocks are merged until each has ``least_events``; the last one may have fewer, and is
        left out where it has less than half of the others' events, unless it is the only one.
        """
        while len(self._blocks) > 1 and self._size < least_events:
            self._halve()
        whole = [block for block in self._blocks if 2 * block.events >= self._size]
        return [(block.events, *block.settle()) for block in whole or self._blocks]
