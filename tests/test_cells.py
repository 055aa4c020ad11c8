"""Numbers, missing values and booleans as people write them: what is read, and what is said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.cells import (
    NumberFormat,
    guess_number_format,
    is_missing,
    parse_boolean,
    parse_number,
    read_number_column,
)
from stream_detector.cells.number_columns import looks_like_base64_decimals, plain_like

COLUMNS = {
    "German": (["1.234,50", "17,20"], [1234.5, 17.2], {"decimal": ",", "thousands": "."}, "1234.5"),
    "comma": (["21,7", "0,888"], [21.7, 0.888], {"decimal": ","}, "'21,7' is read as 21.7"),
    "grouped": (["950", "1,234"], [950, 1234], {"thousands": ","}, "below 1000 have none"),
    "three decimals": (["5,513", "4,423"], [5.513, 4.423], {"decimal": ","}, "three digits behind"),
    "not grouped": (["1234", "1,234"], [1234, 1.234], {"decimal": ","}, "four digits have none"),
    "points": (["1.234.567", "999"], [1234567, 999], {"decimal": ",", "thousands": "."}, "1234567"),
    "round": (["950", "2.000"], [950, 2000], {"decimal": ",", "thousands": "."}, "end in 0"),
    "either": (["999", "1.234"], [999, 1.234], {}, "where the point separates thousands, set"),
    "money": (["$77.00", "-$1,234.56", "($7.00)"], [77, -1234.56, -7], {"thousands": ","}, "1234"),
    "euros": (["77,00 €", "EUR 5,50"], [77, 5.5], {"decimal": ","}, "several currencies (EUR, €)"),
    "percent": (["12 %", "0.5%"], [12, 0.5], {"units": {"%": 1}}, "the unit '%' is dropped"),
    "multiples": (["1.5K", "2.1 M", "300"], [1500, 2.1e6, 300], "units", "'1 K' as 1000"),
    "durations": (["12ms", "1.2s"], [0.012, 1.2], "units", "units are read"),
    "one unit": (["23 °C", "-4°C"], [23, -4], {"units": {"°C": 1}}, "the unit '°C' is dropped"),
    "bytes": (["2 KiB", "3MiB", "17 B"], [2048, 3 * 2**20, 17], "units", "units are read"),
    "Swiss": (["1'234.50", "77.10"], [1234.5, 77.1], {"thousands": "'"}, "1234.5"),
    "French": (["1\u202f234,5", "12,1"], [1234.5, 12.1], "thousands", "1234.5"),
    "Indian": (["1,23,456", "99"], [123456, 99], {"thousands": ","}, "123456"),
    "sign behind": (["5-", "6"], [-5, 6], {}, ""),
    "minus": (["\u22125.5", "6"], [-5.5, 6], {}, ""),
    "Excel": (['="12"', "'13.5"], [12, 13.5], {}, ""),
    "Fortran": (["1.0D+03", "2e-1"], [1000, 0.2], {}, ""),
    "accounting": (["(1,234.00)", "5.00"], [-1234, 5], {"thousands": ","}, "1234"),
    "exponent": (["1,5E+05", "2,0E-1"], [150000, 0.2], {"decimal": ","}, "150000"),
    "bounds": (["<0.5", "> 100", "7"], [0.5, 100, 7], "units", "bounds (<, > in 2 cells)"),
    "own unit": (["12 beds", "13 beds", "9 beds"], [12, 13, 9], {"units": {"beds": 1}}, "'beds'"),
    "no cents": (["12,-", "13,50"], [12, 13.5], {"decimal": ","}, "13.5"),
    "all round": (
        ["52,000", "48,500", "61,250", "5,000", "9,100"],
        [52000, 48500, 61250, 5000, 9100],
        {"thousands": ","},
        "most of them are round",
    ),
    "round points": (
        ["52.000", "48.500", "61.250", "5.000", "9.100"],
        [52, 48.5, 61.25, 5, 9.1],
        {},
        "where the point separates thousands, set",
    ),
    "blanks": ([" 12.5 ", "\t13"], [12.5, 13], {}, ""),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_read_by_its_spelling_and_the_spelling_is_said(name: str) -> None:
    cells, numbers, config, said = COLUMNS[name]
    column = read_number_column(cells)
    assert column.values.tolist() == pytest.approx(numbers)
    assert column.unreadable_count == 0
    found = column.format.as_config()
    assert config in found if isinstance(config, str) else found == config
    assert said in "; ".join(column.notes)
    again = [parse_number(cell, column.format) for cell in cells]
    assert again == column.values.tolist()


def test_a_word_of_its_own_leaves_the_units_of_the_others() -> None:
    column = read_number_column(["12 %", "13 %", "9%"] * 20 + ["k.A.", "nicht da"])
    assert column.format.as_config() == {"units": {"%": 1}}
    assert column.unreadable == ("k.A.", "nicht da")
    assert column.number_count == 60


@pytest.mark.parametrize(
    "cells",
    [
        ["000000x", "000001x"],
        ["T0001", "T0002"],
        ["12C", "14A"],
        ["10:20", "11:30"],
        ["1.2.3.4", "10.0.0.1"],
        ["1,2,3", "4,5,6"],
        ["2024-03-04", "2024-03-05"],
        ["0x1f", "0x2a"],
        ["a1b2", "ffff"],
        ["12e", "13e"],
    ],
)
def test_names_and_codes_are_no_numbers(cells: list[str]) -> None:
    assert read_number_column(cells).number_count == 0


def test_the_columns_beside_it_decide_what_a_column_cannot() -> None:
    cells = ["1,234", "5,678", "9,012"]
    german = plain_like([NumberFormat(","), NumberFormat(), NumberFormat(",")])
    english = plain_like([NumberFormat(".", ",", (("%", 1.0),))])
    assert read_number_column(cells, like=german).values[0] == 1.234
    assert read_number_column(cells, like=english).values[0] == 1234
    assert plain_like([NumberFormat()]) is None


def test_what_cannot_be_read_is_counted_and_shown() -> None:
    column = read_number_column(["5", "?", None, "abc", " NA", "Infinity", 7, True, math.nan, "-1"])
    assert column.number_count == 3
    assert column.unreadable == ("abc", "True")
    assert column.missing.total() == 5
    assert column.missing["?"] == column.missing[None] == column.missing["Infinity"] == 1


@pytest.mark.parametrize("text", ["1,234", "-9,999", "$1,234"])
def test_a_text_that_may_be_two_numbers_is_refused_with_what_to_set(text: str) -> None:
    with pytest.raises(ValueError, match="say which by `numbers:"):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,234.56", 1234.56), ("1,234,567", 1234567), ("1 234 567.5", 1234567.5), ("$5", 5)],
)
def test_a_text_that_can_mean_one_number_needs_no_format(text: str, number: float) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "abc", "1e999", "NaN", "inf", "1_000", "--5", "5 6", "1,2", "12 %", "1e5e5", "()"]
)
def test_what_is_no_number_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_number(text)


WORDS = ["", " ", "-", "NA", "n/a", "NULL", "None", "?", "(empty)", "\\N", "NaN", "-Infinity"]


@pytest.mark.parametrize("word", [*WORDS, "#DIV/0!", "1.#QNAN", "<NA>", "nil", "(null)", "∞", ".."])
def test_words_for_nothing_are_missing(word: str) -> None:
    assert is_missing(word)


@pytest.mark.parametrize("word", ["0", "-1", "no", "a", "nano", "infinite loop", "n"])
def test_other_words_are_not(word: str) -> None:
    assert not is_missing(word)
    assert is_missing(word, more=[word])


def test_booleans_in_words() -> None:
    assert [parse_boolean(v) for v in ("yes", "Y", "T", "on", "TRUE", 1, True)] == [1.0] * 7
    assert [parse_boolean(v) for v in ("no", "n", "F", "off", "0.0", 0, False)] == [0.0] * 7
    assert [parse_boolean(v) for v in ("maybe", "2", 2, None, 0.5)] == [None] * 5


def test_decimals_in_base64_are_read_with_their_scale() -> None:
    assert parse_number("AfQ=", NumberFormat(base64_scale=2)) == 5.0
    assert parse_number("/5w=", NumberFormat(base64_scale=2)) == -1.0
    assert looks_like_base64_decimals(["AfQ=", "BNI=", "AN4=", "ew=="])
    assert not looks_like_base64_decimals(["visa", "card", "bank", "cash"])
    with pytest.raises(ValueError, match="base64"):
        parse_number("5.00", NumberFormat(base64_scale=2))


# --- what a format writes, it reads -------------------------------------------------------------

FORMATS = st.builds(
    NumberFormat,
    decimal=st.sampled_from(".,"),
    thousands=st.sampled_from(["", ".", ",", " ", "'", "_"]),
    units=st.sampled_from([(), (("%", 1.0),), (("K", 1e3), ("M", 1e6)), (("kWh", 1.0),)]),
).filter(lambda each: each.decimal != each.thousands)


def written(number: float, layout: NumberFormat, digits: int) -> str:
    text = f"{abs(number):,.{digits}f}"
    text = text.replace(",", "\0").replace(".", layout.decimal).replace("\0", layout.thousands)
    return ("-" if number < 0 else "") + text + (layout.units[0][0] if layout.units else "")


@given(FORMATS, st.integers(-(10**11), 10**11), st.integers(0, 4))
def test_what_a_format_writes_is_read_back(layout: NumberFormat, whole: int, digits: int) -> None:
    number = whole / 10**digits
    factor = layout.units[0][1] if layout.units else 1.0
    assert parse_number(written(number, layout, digits), layout) == pytest.approx(number * factor)


@given(FORMATS, st.lists(st.integers(-(10**8), 10**8), min_size=1), st.integers(0, 4))
def test_a_guessed_format_reads_a_whole_column_back_or_says_that_it_is_in_doubt(
    layout: NumberFormat, whole: list[int], digits: int
) -> None:
    numbers = [number / 10**digits for number in whole]
    cells = [written(number, layout, digits) for number in numbers]
    factor = layout.units[0][1] if layout.units else 1.0
    column = read_number_column(cells)
    guessed, notes = guess_number_format(cells)
    assert guessed == column.format
    right = column.values.tolist() == pytest.approx([number * factor for number in numbers])
    alike = {cell.count(".") + cell.count(",") for cell in cells} <= {0, 1}
    assert right or (alike and notes) or (alike and {".", ","} & {layout.decimal} and digits == 3)
