"""One warehouse value → one JSON value, or a reason."""

from __future__ import annotations

import datetime
import math
import re
import time
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from strategies import any_text, anything, datetimes, scalars

from dbt_pendo.mapping.spec import FieldType
from dbt_pendo.records.convert import (
    CONVERTERS,
    INT64,
    InvalidValue,
    to_epoch_ms,
    to_identifier,
    to_time,
    to_visitor_id,
)

TYPES: tuple[FieldType | None, ...] = tuple(CONVERTERS)
CONVERTS = [*CONVERTERS.values(), to_epoch_ms, to_identifier, to_visitor_id]
UTC = datetime.timezone.utc
UUID_TEXT = "8c9d2f6e-3c1b-4a58-9a55-1d2f3e4b5c6d"


def hours(count: float) -> datetime.timezone:
    return datetime.timezone(datetime.timedelta(hours=count))


class UnknownOffset(datetime.tzinfo):
    """A zone that cannot tell its offset: by Python's rules the time is naive."""

    def utcoffset(self, moment: datetime.datetime | None) -> None:
        return None

    dst = utcoffset

    def tzname(self, moment: datetime.datetime | None) -> str:
        return "?"


class DriverFloat(float):
    """As numpy.float64 is one; orjson does not take subclasses of float."""


class DriverText(str):
    pass


def takes(value: Any, case: str, **expected: Any) -> Any:
    """A value, and what each type makes of it; a type that is not named refuses it."""
    return pytest.param(value, expected, id=case)


# What the field types make of what drivers yield; `natural` is a field of no declared type.
MATRIX = [
    takes("Ada", "text", string="Ada", list=["Ada"], natural="Ada"),
    takes("", "empty text", string="", list=[""], natural=""),
    takes(" \t", "blank text", string=" \t", list=[" \t"], natural=" \t"),
    takes("Zoë 🚀\n\0", "text of any sort", string="Zoë 🚀\n\0", list=["Zoë 🚀\n\0"], natural="Zoë 🚀\n\0"),
    takes(DriverText("x"), "a driver's own text", string="x", list=["x"], natural="x"),
    takes("true", "text: a boolean", string="true", boolean=True, list=["true"], natural="true"),
    takes(" No ", "text: a boolean, loosely", string=" No ", boolean=False, list=[" No "], natural=" No "),
    takes("1", "text: a digit", string="1", boolean=True, integer=1, float=1.0, list=["1"], natural="1"),
    takes(" 12 ", "text: a number", string=" 12 ", integer=12, float=12.0, list=[" 12 "], natural=" 12 "),
    takes("12.0", "text: a whole decimal", string="12.0", integer=12, float=12.0, list=["12.0"], natural="12.0"),
    takes("12.5", "text: a decimal", string="12.5", float=12.5, list=["12.5"], natural="12.5"),
    takes("1e3", "text: an exponent", string="1e3", integer=1000, float=1000.0, list=["1e3"], natural="1e3"),
    takes("1e400", "text: beyond a float", string="1e400", list=["1e400"], natural="1e400"),
    takes(
        "1e999999999999",
        "text: beyond memory",
        string="1e999999999999",
        list=["1e999999999999"],
        natural="1e999999999999",
    ),
    takes("1_000", "text: Python's way to write a number", string="1_000", list=["1_000"], natural="1_000"),
    takes("nan", "text: not a number", string="nan", list=["nan"], natural="nan"),
    takes(
        "9223372036854775807",
        "text: the largest integer",
        string="9223372036854775807",
        integer=2**63 - 1,
        float=2**63 - 1,
        list=["9223372036854775807"],
        natural="9223372036854775807",
    ),
    takes(
        "9223372036854775808",
        "text: one more",
        string="9223372036854775808",
        float=2**63,
        list=["9223372036854775808"],
        natural="9223372036854775808",
    ),
    takes(
        "2026-01-02",
        "text: a date",
        string="2026-01-02",
        time="2026-01-02T00:00:00.000+00:00",
        list=["2026-01-02"],
        natural="2026-01-02",
    ),
    takes(True, "true", string="true", boolean=True, list=[True], natural=True),
    takes(False, "false", string="false", boolean=False, list=[False], natural=False),
    takes(
        0,
        "zero",
        string="0",
        boolean=False,
        integer=0,
        float=0.0,
        time="1970-01-01T00:00:00.000+00:00",
        list=[0],
        natural=0,
    ),
    takes(1, "one: no epoch anyone means", string="1", boolean=True, integer=1, float=1.0, list=[1], natural=1),
    takes(7, "a small integer", string="7", integer=7, float=7.0, list=[7], natural=7),
    takes(
        1680373680999,
        "epoch milliseconds",
        string="1680373680999",
        integer=1680373680999,
        float=1680373680999.0,
        time="2023-04-01T18:28:00.999+00:00",
        list=[1680373680999],
        natural=1680373680999,
    ),
    takes(
        1680373680,
        "epoch seconds",
        string="1680373680",
        integer=1680373680,
        float=1680373680.0,
        list=[1680373680],
        natural=1680373680,
    ),
    takes(
        -1,
        "before 1970",
        string="-1",
        integer=-1,
        float=-1.0,
        time="1969-12-31T23:59:59.999+00:00",
        list=[-1],
        natural=-1,
    ),
    takes(
        2**63 - 1,
        "the largest integer",
        string="9223372036854775807",
        integer=2**63 - 1,
        float=2**63 - 1,
        list=[2**63 - 1],
        natural=2**63 - 1,
    ),
    takes(
        -(2**63),
        "the smallest integer",
        string="-9223372036854775808",
        integer=-(2**63),
        float=-(2**63),
        list=[-(2**63)],
        natural=-(2**63),
    ),
    takes(2**63, "one more than 64 bits", string="9223372036854775808", float=2**63),
    takes(-(2**63) - 1, "one less than 64 bits", string="-9223372036854775809"),
    takes(2**64 - 1, "the largest integer that JSON can carry", string="18446744073709551615", float=2**64 - 1),
    takes(2**64, "one more than JSON can carry", string="18446744073709551616"),
    takes(10**30, "a huge integer that a float writes out", string="1" + "0" * 30, float=1e30),
    takes(
        2**53,
        "the last integer before the gaps",
        string=str(2**53),
        integer=2**53,
        float=9007199254740992.0,
        list=[2**53],
        natural=2**53,
    ),
    takes(
        2**53 + 1,
        "the first integer that no float is",
        string=str(2**53 + 1),
        integer=2**53 + 1,
        float=2**53 + 1,
        list=[2**53 + 1],
        natural=2**53 + 1,
    ),
    takes(10**400, "an integer beyond a float", string="1" + "0" * 400),
    takes(10**5000, "an integer Python does not write out"),
    takes(1.0, "a whole float", string="1.0", boolean=True, integer=1, float=1.0, list=[1.0], natural=1.0),
    takes(1.5, "a float", string="1.5", float=1.5, list=[1.5], natural=1.5),
    takes(DriverFloat(1.5), "a driver's own float", string="1.5", float=1.5, list=[1.5], natural=1.5),
    takes(
        -0.0,
        "minus zero",
        string="-0.0",
        boolean=False,
        integer=0,
        float=-0.0,
        time="1970-01-01T00:00:00.000+00:00",
        list=[-0.0],
        natural=-0.0,
    ),
    takes(
        float(2**63),
        "a float of 2^63",
        string="9.223372036854776e+18",
        float=float(2**63),
        list=[float(2**63)],
        natural=float(2**63),
    ),
    takes(1e308, "a huge float", string="1e+308", float=1e308, list=[1e308], natural=1e308),
    takes(math.nan, "NaN"),
    takes(math.inf, "infinity"),
    takes(-math.inf, "minus infinity"),
    takes(Decimal("12"), "a decimal without places", string="12", integer=12, float=12.0, list=[12], natural=12),
    takes(Decimal("12.00"), "a whole decimal", string="12.00", integer=12, float=12.0, list=[12.0], natural=12.0),
    takes(Decimal("12.50"), "a decimal", string="12.50", float=12.5, list=[12.5], natural=12.5),
    takes(Decimal("1"), "a decimal of one", string="1", boolean=True, integer=1, float=1.0, list=[1], natural=1),
    takes(
        Decimal("1E+3"),
        "a decimal with an exponent",
        string="1000",
        integer=1000,
        float=1000.0,
        list=[1000.0],
        natural=1000.0,
    ),
    takes(Decimal("1E-7"), "a small decimal", string="0.0000001", float=1e-7, list=[1e-7], natural=1e-7),
    takes(
        Decimal("-0"),
        "a decimal of minus zero",
        string="-0",
        boolean=False,
        integer=0,
        float=-0.0,
        time="1970-01-01T00:00:00.000+00:00",
        list=[0],
        natural=0,
    ),
    takes(
        Decimal("9223372036854775807"),
        "the largest integer as a decimal",
        string="9223372036854775807",
        integer=2**63 - 1,
        float=2**63 - 1,
        list=[2**63 - 1],
        natural=2**63 - 1,
    ),
    takes(Decimal("9223372036854775808"), "one more as a decimal", string="9223372036854775808", float=2**63),
    takes(
        Decimal("9007199254740993.00"),
        "a whole decimal that no float is",
        string="9007199254740993.00",
        integer=2**53 + 1,
        float=2**53 + 1,
        list=[2**53 + 1],
        natural=2**53 + 1,
    ),
    takes(Decimal("9007199254740993.25"), "a decimal whose places no float has", string="9007199254740993.25"),
    takes(
        Decimal("0.333333333333333333333"),
        "a decimal of many places",
        string="0.333333333333333333333",
        float=0.3333333333333333,
        list=[0.3333333333333333],
        natural=0.3333333333333333,
    ),
    takes(Decimal("1E+400"), "a decimal beyond a float", string="1" + "0" * 400),
    takes(Decimal("1E+999999999999"), "a decimal beyond memory"),
    takes(Decimal("1E-999999999999"), "a decimal too small for memory", float=0.0, list=[0.0], natural=0.0),
    takes(Decimal("NaN"), "a decimal NaN"),
    takes(Decimal("sNaN"), "a signalling NaN"),
    takes(Decimal("Infinity"), "a decimal infinity"),
    takes(Decimal("-Infinity"), "a decimal minus infinity"),
    *(
        takes(moment, case, string=text, time=text, list=[text], natural=text)
        for case, moment, text in [
            ("a date", datetime.date(2026, 1, 2), "2026-01-02T00:00:00.000+00:00"),
            ("a naive time is UTC", datetime.datetime(2026, 1, 2, 3, 4, 5, 999999), "2026-01-02T03:04:05.999+00:00"),
            ("a time in UTC", datetime.datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000+00:00"),
            ("a time west", datetime.datetime(2026, 1, 1, 20, tzinfo=hours(-5)), "2026-01-02T01:00:00.000+00:00"),
            (
                "a time at a half hour",
                datetime.datetime(2026, 1, 2, tzinfo=hours(5.5)),
                "2026-01-01T18:30:00.000+00:00",
            ),
            (
                "a time at an odd second",
                datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(seconds=1172))),
                "2026-01-01T23:40:28.000+00:00",
            ),
            (
                "a zone without an offset",
                datetime.datetime(2026, 1, 2, tzinfo=UnknownOffset()),
                "2026-01-02T00:00:00.000+00:00",
            ),
            ("the first time", datetime.datetime.min, "0001-01-01T00:00:00.000+00:00"),
            ("the last time", datetime.datetime.max, "9999-12-31T23:59:59.999+00:00"),
            ("the first time, west", datetime.datetime.min.replace(tzinfo=hours(-14)), "0001-01-01T14:00:00.000+00:00"),
        ]
    ),
    takes(datetime.datetime.min.replace(tzinfo=hours(14)), "before the first year"),
    takes(datetime.datetime.max.replace(tzinfo=hours(-14)), "after the last year"),
    takes(
        datetime.time(3, 4, 5, 600000),
        "a time of day",
        string="03:04:05.600000",
        list=["03:04:05.600000"],
        natural="03:04:05.600000",
    ),
    takes(datetime.timedelta(days=1), "an interval"),
    takes(UUID(UUID_TEXT), "a uuid", string=UUID_TEXT, list=[UUID_TEXT], natural=UUID_TEXT),
    takes(b"x", "bytes"),
    takes(bytearray(b"x"), "a bytearray"),
    takes(memoryview(b"x"), "a memoryview"),
    takes([], "an empty list", list=[], natural=[]),
    takes(["a", 1, True], "a list", list=["a", 1, True], natural=["a", 1, True]),
    takes(("a", Decimal("2")), "a tuple", list=["a", 2], natural=["a", 2]),
    takes(
        [datetime.date(2026, 1, 2)],
        "a list of dates",
        list=["2026-01-02T00:00:00.000+00:00"],
        natural=["2026-01-02T00:00:00.000+00:00"],
    ),
    takes(["a", None, ""], "a list with a null", list=["a", ""], natural=["a", ""]),
    takes([None], "a list of nothing but a null", list=[], natural=[]),
    takes(["a", ["b"]], "a nested list"),
    takes([{"a": 1}], "a list of structures"),
    takes([b"x"], "a list of bytes"),
    takes([math.nan], "a list with NaN"),
    takes([2**63], "a list with more than 64 bits"),
    takes({"a": 1}, "a structure"),
    takes({"a"}, "a set"),
    takes(1j, "a complex number"),
    takes(None, "null"),
    takes(object(), "anything else"),
    takes("\ud800", "half a character"),
    takes(["\ud800"], "a list with half a character"),
]
# A date alone in a text column keeps its own form.
DATE_TEXTS = {datetime.date(2026, 1, 2): "2026-01-02"}


def exactly(value: Any) -> str:
    """Tells 1, 1.0 and True apart, and -0.0 from 0.0, as JSON does."""
    return orjson.dumps(value).decode()


@pytest.mark.parametrize("field_type", TYPES, ids=str)
@pytest.mark.parametrize(("value", "expected"), MATRIX)
def test_every_field_type_takes_or_refuses_every_value_of_a_driver(value, expected, field_type):
    name = field_type or "natural"
    if name not in expected:
        with pytest.raises(InvalidValue):
            CONVERTERS[field_type](value)
        return
    wanted = expected[name]
    if name == "string" and type(value) is datetime.date:
        wanted = DATE_TEXTS[value]
    assert exactly(CONVERTERS[field_type](value)) == exactly(wanted)


@pytest.mark.parametrize(
    ("field_type", "value", "reason"),
    [
        pytest.param("string", b"secret", "bytes cannot be sent", id="bytes"),
        pytest.param(None, memoryview(b"x"), "bytes cannot be sent", id="memoryview"),
        pytest.param("string", {"a": 1}, "a nested value cannot be sent as text", id="structure"),
        pytest.param("list", [["a"]], "a nested value cannot be sent as a value Pendo can hold", id="nested list"),
        pytest.param("float", math.nan, "not a number (NaN)", id="NaN"),
        pytest.param("boolean", Decimal("sNaN"), "not a number (NaN)", id="signalling NaN"),
        pytest.param("float", "nan", "not a number (NaN)", id="NaN as text"),
        pytest.param("integer", -math.inf, "infinite", id="infinity"),
        pytest.param("integer", 1.5, "1.5 is not a whole number", id="fraction"),
        pytest.param("integer", "many", "'many' is not a whole number", id="no integer"),
        pytest.param("integer", True, "true is not a whole number", id="boolean as integer"),
        pytest.param("integer", 2**63, "9223372036854775808 does not fit into 64 bits", id="64 bits"),
        pytest.param("integer", Decimal("1E+30"), "1E+30 does not fit into 64 bits", id="64 bits, decimal"),
        pytest.param("integer", 10**5000, "this number does not fit into 64 bits", id="too long to show"),
        pytest.param("string", 10**5000, "a number of more than 1,000 digits", id="too long to send"),
        pytest.param("string", Decimal("1E-2000"), "a number of more than 1,000 digits", id="too small to send"),
        pytest.param("float", Decimal("1E+400"), "1E+400 is too large for a number", id="beyond a float"),
        pytest.param(None, Decimal("1E+400"), "1E+400 is too large for a number", id="beyond a float, undeclared"),
        pytest.param("float", "much", "'much' is not a number", id="no number"),
        pytest.param(
            "float",
            Decimal("12345678901234567.89"),
            "12345678901234567.89 has more digits than a number can carry; a string field keeps them all",
            id="digits that no number can carry",
        ),
        pytest.param("boolean", 2, "2 is not a boolean", id="no boolean"),
        pytest.param("time", "soon", "'soon' is not an ISO 8601 time", id="no time"),
        pytest.param("time", 1680373680, "1680373680 looks like epoch seconds; Pendo wants milliseconds", id="seconds"),
        pytest.param("time", 10**18, "1000000000000000000 is outside the years 1 to 9999", id="nanoseconds"),
        pytest.param("time", True, "true is not a time", id="boolean as time"),
        pytest.param("string", "a\ud800", r"'a\ud800' is not Unicode", id="half a character"),
        pytest.param("float", {"unreadable": "infinite"}, "infinite", id="what the driver could not read"),
        pytest.param("list", ["a", {"unreadable": "infinite"}], "infinite", id="what it could not read in a list"),
        pytest.param("string", datetime.timedelta(1), "1 day, 0:00:00 is not text", id="interval"),
    ],
)
def test_the_reason_says_what_is_wrong(field_type, value, reason):
    with pytest.raises(InvalidValue, match=f"^{re.escape(reason)}$"):
        CONVERTERS[field_type](value)


def test_a_long_value_is_cut_in_the_reason():
    with pytest.raises(InvalidValue) as caught:
        CONVERTERS["integer"]("x" * 1000)
    assert str(caught.value) == f"'{'x' * 56}... is not a whole number"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        pytest.param("2026-01-02", "2026-01-02T00:00:00.000", id="date"),
        pytest.param(" 2026-01-02 ", "2026-01-02T00:00:00.000", id="blanks around"),
        pytest.param("2026-01-02 15:04", "2026-01-02T15:04:00.000", id="minutes"),
        pytest.param("2026-01-02T15:04:05", "2026-01-02T15:04:05.000", id="seconds"),
        pytest.param("2026-01-02t15:04:05z", "2026-01-02T15:04:05.000", id="lower case"),
        pytest.param("2026-01-02T15:04:05Z", "2026-01-02T15:04:05.000", id="Z"),
        pytest.param("2026-01-02T15:04:05.9Z", "2026-01-02T15:04:05.900", id="tenths"),
        pytest.param("2026-01-02T15:04:05,98Z", "2026-01-02T15:04:05.980", id="comma"),
        pytest.param("2026-01-02T15:04:05.123999Z", "2026-01-02T15:04:05.123", id="microseconds"),
        pytest.param("2026-01-02T15:04:05.123999999Z", "2026-01-02T15:04:05.123", id="nanoseconds"),
        pytest.param("2026-01-02T15:04:05.999-05:00", "2026-01-02T20:04:05.999", id="Pendo's own example"),
        pytest.param("2026-01-02 15:04:05+00", "2026-01-02T15:04:05.000", id="PostgreSQL"),
        pytest.param("2026-01-02 15:04:05.5+05:30", "2026-01-02T09:34:05.500", id="PostgreSQL in India"),
        pytest.param("2026-01-02 15:04:05+00:19:32", "2026-01-02T14:44:33.000", id="PostgreSQL in old Amsterdam"),
        pytest.param("2026-01-02 15:04:05.000 +0000", "2026-01-02T15:04:05.000", id="Snowflake"),
        pytest.param("2026-01-02 15:04 -0330", "2026-01-02T18:34:00.000", id="a zone after minutes"),
    ],
)
def test_texts_of_times_mean_the_same_on_every_python(text, instant):
    assert to_time(text) == f"{instant}+00:00"


def test_the_machines_own_zone_never_counts(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        for zone in (None, UnknownOffset()):
            assert to_time(datetime.datetime(2026, 1, 2, tzinfo=zone)) == "2026-01-02T00:00:00.000+00:00"
        assert to_time("2026-01-02") == "2026-01-02T00:00:00.000+00:00"
        assert to_epoch_ms(datetime.date(1970, 1, 1)) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026",
        "2026-01",
        "20260102",
        "2026-W01-1",
        "2026-13-01",
        "2026-02-30",
        "0000-01-01",
        "2026-01-02T15",
        "2026-01-02T25:00",
        "2026-01-02T15:04:05.",
        "2026-01-02T15:04.5",
        "2026-01-02T15:04:05+25:00",
        "2026-01-02T15:04:05 Europe/Berlin",
        "2026-01-02 +01:00",
        "15:04:05",
        "01/02/2026",
        "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0662",
        "2026-01-02\x00",
        # Python 3.11 reads these as the years 1612 and 1680.
        "1612010112345",
        "1680010112345",
        "1680373680000",
    ],
)
def test_other_texts_are_no_times(text):
    for convert in (to_time, to_epoch_ms):
        with pytest.raises(InvalidValue, match="is not an ISO 8601 time"):
            convert(text)


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        pytest.param(datetime.datetime(1970, 1, 1), 0, id="the epoch"),
        pytest.param(datetime.datetime(2023, 4, 1, 18, 28, tzinfo=UTC), 1680373680000, id="UTC"),
        pytest.param(datetime.datetime(2023, 4, 1, 13, 28, tzinfo=hours(-5)), 1680373680000, id="a zone"),
        pytest.param(datetime.datetime(2023, 4, 1, 18, 28, 0, 999999), 1680373680999, id="microseconds are cut"),
        pytest.param(datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), -1, id="before the epoch"),
        pytest.param(datetime.date(2023, 4, 1), 1680307200000, id="a date"),
        pytest.param("2023-04-01T18:28:00Z", 1680373680000, id="text"),
        pytest.param(1680373680000, 1680373680000, id="milliseconds"),
        pytest.param(Decimal("1680373680000"), 1680373680000, id="a decimal"),
        pytest.param(1680373680000.0, 1680373680000, id="a float"),
        pytest.param(100_000_000_000, 100_000_000_000, id="the earliest milliseconds taken for such"),
        pytest.param(datetime.datetime.min, -62135596800000, id="the first time"),
        pytest.param(datetime.datetime.max, 253402300799999, id="the last time"),
    ],
)
def test_events_carry_epoch_milliseconds(value, milliseconds):
    found = to_epoch_ms(value)
    assert type(found) is int
    assert found == milliseconds


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "is null", id="null"),
        pytest.param(99_999_999_999, "99999999999 looks like epoch seconds; Pendo wants milliseconds", id="seconds"),
        pytest.param(1680373680000.5, "1680373680000.5 is not a whole number", id="half a millisecond"),
        pytest.param(1680373680000000, "outside the years 1 to 9999", id="microseconds"),
        pytest.param(2**62, "outside the years 1 to 9999", id="beyond all years"),
        pytest.param(-(2**63), "outside the years 1 to 9999", id="before all years"),
        pytest.param(datetime.datetime.min.replace(tzinfo=hours(1)), "outside the years 1 to 9999", id="first year"),
        pytest.param("0001-01-01T00:00:00+01:00", "outside the years 1 to 9999", id="first year as text"),
        pytest.param(math.nan, r"not a number \(NaN\)", id="NaN"),
        pytest.param(datetime.time(3), "03:00:00 is not a time", id="time of day"),
        pytest.param(False, "false is not a time", id="boolean"),
    ],
)
def test_events_without_a_usable_time_are_invalid(value, reason):
    with pytest.raises(InvalidValue, match=reason):
        to_epoch_ms(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("Ada", "Ada", id="case is kept"),
        pytest.param("ada ", "ada ", id="blanks are kept"),
        pytest.param("\tÄ\u00a0🚀\n", "\tÄ\u00a0🚀\n", id="anything is kept"),
        pytest.param("007", "007", id="zeros are kept"),
        pytest.param("o'brien\";--", "o'brien\";--", id="quotes are kept"),
        pytest.param("x" * 5000, "x" * 5000, id="length is kept"),
        pytest.param(7, "7", id="an integer"),
        pytest.param(2**70, "1180591620717411303424", id="a wide integer"),
        pytest.param(Decimal("12"), "12", id="a decimal"),
        pytest.param(Decimal("12.00"), "12.00", id="a decimal with its places, as the warehouse writes it"),
        pytest.param(Decimal("12.5"), "12.5", id="a decimal that is not whole"),
        pytest.param(Decimal("-1E-7"), "-0.0000001", id="a small decimal"),
        pytest.param(Decimal("1E+3"), "1000", id="a decimal with an exponent"),
        pytest.param(UUID(UUID_TEXT), UUID_TEXT, id="a uuid"),
        pytest.param("_pendo_t_x", "_pendo_t_x", id="not quite an anonymous id"),
        pytest.param("x_PENDO_T_", "x_PENDO_T_", id="an anonymous id's beginning elsewhere"),
    ],
)
def test_ids_are_sent_exactly_as_they_are(value, text):
    for convert in (to_identifier, to_visitor_id):
        assert exactly(convert(value)) == exactly(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "is null", id="null"),
        pytest.param("", "is empty", id="empty"),
        pytest.param(" \t\n", "is empty", id="blank"),
        pytest.param(True, "true is not an id", id="boolean"),
        pytest.param(12.0, "12.0 is not an id", id="float"),
        pytest.param(math.nan, "nan is not an id", id="NaN as a float"),
        pytest.param(Decimal("NaN"), r"not a number \(NaN\)", id="NaN"),
        pytest.param(Decimal("sNaN"), r"not a number \(NaN\)", id="signalling NaN"),
        pytest.param(Decimal("-Infinity"), "infinite", id="infinity"),
        pytest.param(Decimal("1E+999999999999"), "a number of more than 1,000 digits", id="beyond memory"),
        pytest.param(Decimal("1E-999999999999"), "a number of more than 1,000 digits", id="too small for memory"),
        pytest.param(10**5000, "a number of more than 1,000 digits", id="too long"),
        pytest.param(datetime.date(2026, 1, 2), "2026-01-02 is not an id", id="date"),
        pytest.param(b"x", "bytes cannot be sent", id="bytes"),
        pytest.param(["x"], "a nested value cannot be sent as an id", id="list"),
        pytest.param({"unreadable": "infinite"}, "infinite", id="unreadable"),
        pytest.param("a\udfff", "is not Unicode", id="half a character"),
    ],
)
def test_what_is_no_id(value, reason):
    for convert in (to_identifier, to_visitor_id):
        with pytest.raises(InvalidValue, match=reason):
            convert(value)


@pytest.mark.parametrize("text", ["_PENDO_T_", "_PENDO_T_abc", "VISITOR-UNIQUE-ID"])
def test_anonymous_ids_are_no_visitors(text):
    with pytest.raises(InvalidValue, match="an anonymous visitor id"):
        to_visitor_id(text)
    assert to_identifier(text) == text


@pytest.mark.parametrize("convert", CONVERTS, ids=lambda convert: convert.__name__)
@given(anything)
@example(Decimal("1E+999999999999999999"))
@example(Decimal("0E+999999999999999999"))
@example(Decimal("1E-999999999999999999"))
def test_a_value_is_sent_as_it_is_read_back_or_refused(convert, value):
    try:
        converted = convert(value)
    except InvalidValue as refusal:
        reason = str(refusal)
    else:
        body = orjson.dumps(converted)
        assert exactly(orjson.loads(body)) == body.decode()
        assert orjson.loads(body) == converted
        return
    assert 0 < len(reason) < 200
    assert reason.encode()


@given(scalars | st.lists(scalars, max_size=4))
def test_a_converted_value_is_of_the_fields_type(value):
    fits = {
        "string": lambda found: isinstance(found, str),
        "boolean": lambda found: type(found) is bool,
        "integer": lambda found: type(found) is int and found in INT64,
        # A whole number that no float is keeps its digits.
        "float": lambda found: math.isfinite(found) if type(found) is float else abs(found) > 2**53,
        "time": lambda found: re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found),
        "list": lambda found: type(found) is list and not any(isinstance(item, list | dict) for item in found),
        None: lambda found: not isinstance(found, dict | type(None)),
    }
    for field_type, convert in CONVERTERS.items():
        try:
            converted = convert(value)
        except InvalidValue:
            continue
        assert fits[field_type](converted), field_type


@given(datetimes)
def test_a_time_is_the_same_instant_in_every_form(moment):
    try:
        text = to_time(moment)
    except InvalidValue:
        # Only a zone can carry a time out of the calendar.
        assume(moment.tzinfo is not None)
        assert moment.year in (1, 9999)
        return
    aware = moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)
    since_epoch = (aware.replace(tzinfo=None) - aware.utcoffset()) - datetime.datetime(1970, 1, 1)
    milliseconds = since_epoch // datetime.timedelta(milliseconds=1)
    assert to_epoch_ms(moment) == to_epoch_ms(text) == milliseconds
    assert to_time(text) == text
    assert to_time(moment.isoformat()) == to_time(moment.isoformat(sep=" ")) == text


@given(st.integers(100_000_000_000, 253402300799999) | st.integers(-62135596800000, 0))
def test_epoch_milliseconds_come_back(milliseconds):
    assert to_epoch_ms(milliseconds) == milliseconds
    assert to_epoch_ms(to_time(milliseconds)) == milliseconds


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_integer_of_64_bits_comes_through(number):
    forms = [number, str(number), Decimal(number), f" {number}.0 "]
    assert {CONVERTERS["integer"](form) for form in forms} == {number}
    assert CONVERTERS["string"](number) == CONVERTERS["string"](Decimal(number)) == str(number)


@given(any_text)
def test_text_is_never_changed(text):
    try:
        assert CONVERTERS["string"](text) == text
        assert CONVERTERS[None](text) == text
        assert CONVERTERS["list"](text) == [text]
    except InvalidValue:
        with pytest.raises(UnicodeEncodeError):
            text.encode()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1E+38"), max_value=Decimal("1E+38")))
def test_a_decimal_is_written_out_in_digits(number):
    assume(number.as_tuple().exponent > -500)
    text = CONVERTERS["string"](number)
    assert re.fullmatch(r"-?\d+(\.\d+)?", text)
    assert Decimal(text) == number
