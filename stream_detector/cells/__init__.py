"""Reader of cells for everybody: numbers, times, booleans and missing values as people write them.

``init`` finds the spelling of a column from all of its cells, the configuration holds it, and the
decoder reads by it: back-tests, training and the daemon see the same values.
"""

from stream_detector.cells.booleans import FALSE_WORDS, TRUE_WORDS, parse_boolean
from stream_detector.cells.missing import MISSING_WORDS, is_missing
from stream_detector.cells.number_columns import (
    NumberColumn,
    guess_number_format,
    read_number_column,
)
from stream_detector.cells.numbers import PLAIN, NumberFormat, parse_number
from stream_detector.cells.time_columns import (
    TimeColumn,
    TimeParts,
    find_time_parts,
    guess_time_format,
    join_parts,
    read_time_column,
)
from stream_detector.cells.times import TimeFormat, read_time, read_times

__all__ = [
    "FALSE_WORDS",
    "MISSING_WORDS",
    "PLAIN",
    "TRUE_WORDS",
    "NumberColumn",
    "NumberFormat",
    "TimeColumn",
    "TimeFormat",
    "TimeParts",
    "find_time_parts",
    "guess_number_format",
    "guess_time_format",
    "is_missing",
    "join_parts",
    "parse_boolean",
    "parse_number",
    "read_number_column",
    "read_time",
    "read_time_column",
    "read_times",
]
