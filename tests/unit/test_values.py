"""One warehouse value → one JSON value, or a reason."""

import contextlib
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

from dbt_pendo.records.convert import (
    CONVERTERS,
    INT64,
    InvalidValue,
    to_epoch_ms,
    to_identifier,
    to_time,
    to_visitor_id,
)

CONVERTS = [*CONVERTERS.values(), to_epoch_ms, to_identifier, to_visitor_id]
UTC = datetime.timezone.utc
UUID_TEXT = "8c9d2f6e-3c1b-4a58-9a55-1d2f3e4b5c6d"


def hours(count: float) -> datetime.timezone:
    return datetime.timezone(datetime.timedelta(hours=count))


class UnknownOffset(datetime.tzinfo):
    """A zone that cannot tell its offset: by Python's rules the time is naive."""

    def utcoffset(self, moment: datetime.datetime | None) -> None:
        return None


# As numpy.float64 is one; orjson does not take subclasses.
DriverFloat = type("DriverFloat", (float,), {})
DriverText = type("DriverText", (str,), {})
MIDNIGHT = "2026-01-02T00:00:00.000+00:00"
EPOCH = "1970-01-01T00:00:00.000+00:00"
EPOCH_MS = 1680373680999
EPOCH_DAY = "2023-04-01T18:28:00.999+00:00"
LARGEST = 2**63 - 1
GAP = 2**53 + 1
"""The first integer that no float is."""
ABSENT = object()


def takes(value: Any, case: str, natural: Any = ABSENT, **expected: Any) -> Any:
    """A value, and what each type makes of it; a type that is not named refuses it.

    `natural` is a field of no declared type; the list of such a value has it as its one item.
    """
    if natural is not ABSENT:
        in_list = natural if isinstance(natural, list) else [natural]
        expected = {"natural": natural, "list": in_list, **expected}
    return pytest.param(value, expected, id=case)


def text(value: str, case: str, **expected: Any) -> Any:
    """A text: itself, wherever it stands for nothing else."""
    return takes(value, case, value, string=value, **expected)


def moment(value: Any, case: str, written: str) -> Any:
    return takes(value, case, written, string=written, time=written)


# What the field types make of what drivers yield.
MATRIX = [
    text("Ada", "text"),
    text("", "empty text"),
    text(" \t", "blank text"),
    text("Zoë 🚀\n\0", "text of any sort"),
    text(DriverText("x"), "a driver's own text"),
    text("true", "text: a boolean", boolean=True),
    text(" No ", "text: a boolean, loosely", boolean=False),
    text("1", "text: a digit", boolean=True, integer=1, float=1.0),
    text(" 12 ", "text: a number", integer=12, float=12.0),
    text("12.0", "text: a whole decimal", integer=12, float=12.0),
    text("12.5", "text: a decimal", float=12.5),
    text("1e3", "text: an exponent", integer=1000, float=1000.0),
    text("1e400", "text: beyond a float"),
    text("1e999999999999", "text: beyond memory"),
    text("1_000", "text: Python's way to write a number"),
    text("nan", "text: not a number"),
    text(str(LARGEST), "text: the largest integer", integer=LARGEST, float=LARGEST),
    text("9223372036854775808", "text: one more", float=2**63),
    text("2026-01-02", "text: a date", time=MIDNIGHT),
    takes(True, "true", True, string="true", boolean=True),
    takes(False, "false", False, string="false", boolean=False),
    takes(0, "zero", 0, string="0", boolean=False, integer=0, float=0.0, time=EPOCH),
    takes(1, "one: no epoch anyone means", 1, string="1", boolean=True, integer=1, float=1.0),
    takes(7, "a small integer", 7, string="7", integer=7, float=7.0),
    takes(
        EPOCH_MS, "epoch ms", EPOCH_MS, string=str(EPOCH_MS), integer=EPOCH_MS, float=float(EPOCH_MS), time=EPOCH_DAY
    ),
    takes(1680373680, "epoch seconds", 1680373680, string="1680373680", integer=1680373680, float=1680373680.0),
    takes(-1, "before 1970", -1, string="-1", integer=-1, float=-1.0, time="1969-12-31T23:59:59.999+00:00"),
    takes(LARGEST, "largest", LARGEST, string=str(LARGEST), integer=LARGEST, float=LARGEST),
    takes(-(2**63), "smallest", -(2**63), string="-9223372036854775808", integer=-(2**63), float=-(2**63)),
    takes(2**63, "one more than 64 bits", string="9223372036854775808", float=2**63),
    takes(-(2**63) - 1, "one less than 64 bits", string="-9223372036854775809"),
    takes(2**64 - 1, "the largest integer that JSON can carry", string="18446744073709551615", float=2**64 - 1),
    takes(2**64, "one more than JSON can carry", string="18446744073709551616"),
    takes(10**30, "a huge integer that a float writes out", string="1" + "0" * 30, float=1e30),
    takes(2**53, "before the gaps", 2**53, string="9007199254740992", integer=2**53, float=9007199254740992.0),
    takes(GAP, "no float is this", GAP, string=str(GAP), integer=GAP, float=GAP),
    takes(10**400, "an integer beyond a float", string="1" + "0" * 400),
    takes(1.0, "a whole float", 1.0, string="1.0", boolean=True, integer=1, float=1.0),
    takes(1.5, "a float", 1.5, string="1.5", float=1.5),
    takes(DriverFloat(1.5), "a driver's own float", 1.5, string="1.5", float=1.5),
    takes(-0.0, "minus zero", -0.0, string="-0.0", boolean=False, integer=0, float=-0.0, time=EPOCH),
    takes(float(2**63), "a float of 2^63", 2.0**63, string="9.223372036854776e+18", float=2.0**63),
    takes(1e308, "a huge float", 1e308, string="1e+308", float=1e308),
    takes(Decimal("12"), "a decimal without places", 12, string="12", integer=12, float=12.0),
    takes(Decimal("12.00"), "a whole decimal", 12.0, string="12.00", integer=12, float=12.0),
    takes(Decimal("12.50"), "a decimal", 12.5, string="12.50", float=12.5),
    takes(Decimal("1"), "a decimal of one", 1, string="1", boolean=True, integer=1, float=1.0),
    takes(Decimal("1E+3"), "a decimal with an exponent", 1000.0, string="1000", integer=1000, float=1000.0),
    takes(Decimal("1E-7"), "a small decimal", 1e-7, string="0.0000001", float=1e-7),
    takes(Decimal("-0"), "a decimal of minus zero", 0, string="-0", boolean=False, integer=0, float=-0.0, time=EPOCH),
    takes(Decimal(LARGEST), "largest decimal", LARGEST, string=str(LARGEST), integer=LARGEST, float=LARGEST),
    takes(Decimal("9223372036854775808"), "one more as a decimal", string="9223372036854775808", float=2**63),
    takes(Decimal(f"{GAP}.00"), "a whole decimal that no float is", GAP, string=f"{GAP}.00", integer=GAP, float=GAP),
    takes(Decimal("9007199254740993.25"), "a decimal whose places no float has", string="9007199254740993.25"),
    takes(Decimal("0.3" + "3" * 20), "many places", 0.3333333333333333, string="0.3" + "3" * 20, float=1 / 3),
    takes(Decimal("1E+400"), "a decimal beyond a float", string="1" + "0" * 400),
    takes(Decimal("1E-999999999999"), "a decimal too small for memory", 0.0, float=0.0),
    takes(datetime.date(2026, 1, 2), "a date", MIDNIGHT, string="2026-01-02", time=MIDNIGHT),
    moment(datetime.datetime(2026, 1, 2, 3, 4, 5, 999999), "a naive time is UTC", "2026-01-02T03:04:05.999+00:00"),
    moment(datetime.datetime(2026, 1, 2, tzinfo=UTC), "a time in UTC", MIDNIGHT),
    moment(datetime.datetime(2026, 1, 1, 20, tzinfo=hours(-5)), "a time west", "2026-01-02T01:00:00.000+00:00"),
    moment(datetime.datetime(2026, 1, 2, tzinfo=hours(5.5)), "at a half hour", "2026-01-01T18:30:00.000+00:00"),
    moment(datetime.datetime(2026, 1, 2, tzinfo=hours(1172 / 3600)), "an odd second", "2026-01-01T23:40:28.000+00:00"),
    moment(datetime.datetime(2026, 1, 2, tzinfo=UnknownOffset()), "a zone without an offset", MIDNIGHT),
    moment(datetime.datetime.min, "the first time", "0001-01-01T00:00:00.000+00:00"),
    moment(datetime.datetime.max, "the last time", "9999-12-31T23:59:59.999+00:00"),
    moment(datetime.datetime.min.replace(tzinfo=hours(-14)), "the first, west", "0001-01-01T14:00:00.000+00:00"),
    takes(datetime.time(3, 4, 5, 600000), "a time of day", "03:04:05.600000", string="03:04:05.600000"),
    takes(UUID(UUID_TEXT), "a uuid", UUID_TEXT, string=UUID_TEXT),
    takes([], "an empty list", []),
    takes(["a", 1, True], "a list", ["a", 1, True]),
    takes(("a", Decimal("2")), "a tuple", ["a", 2]),
    takes([datetime.date(2026, 1, 2)], "a list of dates", [MIDNIGHT]),
    takes(["a", None, ""], "a list with a null", ["a", ""]),
    takes([None], "a list of nothing but a null", []),
]


def exactly(value: Any) -> str:
    """Tells 1, 1.0 and True apart, and -0.0 from 0.0, as JSON does."""
    return orjson.dumps(value).decode()


def converted(value: Any) -> dict[str, str]:
    """What each type that takes a value makes of it, as JSON."""
    made = {}
    for field_type, convert in CONVERTERS.items():
        with contextlib.suppress(InvalidValue):
            made[field_type or "natural"] = exactly(convert(value))
    return made


@pytest.mark.parametrize(("value", "expected"), MATRIX)
def test_every_field_type_takes_or_refuses_every_value_of_a_driver(value, expected):
    assert converted(value) == {name: exactly(wanted) for name, wanted in expected.items()}


TOO_MANY = "has more digits than a number can carry; a string field keeps them all"
BEYOND = [datetime.datetime.min.replace(tzinfo=hours(14)), datetime.datetime.max.replace(tzinfo=hours(-14)), 10**5000]


def test_what_no_field_can_hold():
    for value in [
        *(math.nan, math.inf, -math.inf, *map(Decimal, ["NaN", "sNaN", "inf", "-inf", "1E+999999999999"]), *BEYOND),
        *(["a", ["b"]], [{"a": 1}], [b"x"], [math.nan], [2**63], ["\ud800"], {"a": 1}, {"a"}),
        *(b"x", bytearray(b"x"), memoryview(b"x"), datetime.timedelta(days=1), 1j, None, object(), "\ud800"),
    ]:
        assert converted(value) == {}


UNREADABLE = {"unreadable": "infinite"}
REASONS: dict[str, list[tuple[Any, str]]] = {
    "string": [
        *((b"secret", "bytes cannot be sent"), ({"a": 1}, "a nested value cannot be sent as text")),
        *((10**5000, "a number of more than 1,000 digits"), (Decimal("1E-2000"), "a number of more than 1,000 digits")),
        ("a\ud800", r"'a\ud800' is not Unicode"),
    ],
    "list": [([["a"]], "a nested value cannot be sent as a value Pendo can hold"), (["a", UNREADABLE], "infinite")],
    "float": [
        *((math.nan, "not a number (NaN)"), ("nan", "not a number (NaN)"), ("much", "'much' is not a number")),
        *((Decimal("1E+400"), "1E+400 is too large for a number"), (UNREADABLE, "infinite")),
        (Decimal("12345678901234567.89"), f"12345678901234567.89 {TOO_MANY}"),
    ],
    "integer": [
        *((-math.inf, "infinite"), (1.5, "1.5 is not a whole number"), ("many", "'many' is not a whole number")),
        *(("x" * 1000, f"'{'x' * 56}... is not a whole number"), (True, "true is not a whole number")),
        (2**63, "9223372036854775808 does not fit into 64 bits"),
        (Decimal("1E+30"), "1E+30 does not fit into 64 bits"),
        (10**5000, "this number does not fit into 64 bits"),
    ],
    "natural": [(Decimal("1E+400"), "1E+400 is too large for a number")],
    "boolean": [(2, "2 is not a boolean")],
    "time": [
        *(("soon", "'soon' is not an ISO 8601 time"), (True, "true is not a time")),
        (1680373680, "1680373680 looks like epoch seconds; Pendo wants milliseconds"),
        (10**18, "1000000000000000000 is outside the years 1 to 9999"),
    ],
    "event time": [
        *((None, "is null"), (datetime.time(3), "03:00:00 is not a time"), (False, "false is not a time")),
        (99_999_999_999, "99999999999 looks like epoch seconds; Pendo wants milliseconds"),
        (1680373680000.5, "1680373680000.5 is not a whole number"),
        (1680373680000000, "1680373680000000 is outside the years 1 to 9999"),
        (datetime.datetime.min.replace(tzinfo=hours(1)), "0001-01-01 00:00:00+01:00 is outside the years 1 to 9999"),
        ("0001-01-01T00:00:00+01:00", "'0001-01-01T00:00:00+01:00' is outside the years 1 to 9999"),
    ],
    "id": [
        *((None, "is null"), ("", "is empty"), (" \t\n", "is empty"), (True, "true is not an id")),
        *((12.0, "12.0 is not an id"), (math.nan, "nan is not an id"), (Decimal("sNaN"), "not a number (NaN)")),
        *((huge, "a number of more than 1,000 digits") for huge in (Decimal("1E+999999999999"), 10**5000)),
        *((datetime.date(2026, 1, 2), "2026-01-02 is not an id"), (b"x", "bytes cannot be sent")),
        *((["x"], "a nested value cannot be sent as an id"), (UNREADABLE, "infinite")),
        ("a\udfff", r"'a\udfff' is not Unicode"),
    ],
}


@pytest.mark.parametrize("convert", REASONS)
def test_the_reason_says_what_is_wrong(convert):
    of_name = {"natural": [CONVERTERS[None]], "event time": [to_epoch_ms], "id": [to_identifier, to_visitor_id]}
    for value, reason in REASONS[convert]:
        for function in of_name.get(convert) or [CONVERTERS[convert]]:
            with pytest.raises(InvalidValue, match=f"^{re.escape(reason)}$"):
                function(value)


def test_texts_of_times_mean_the_same_on_every_python():
    for written, instant in [
        *(("2026-01-02", "00:00:00.000"), (" 2026-01-02 ", "00:00:00.000"), ("2026-01-02 15:04", "15:04:00.000")),
        *((f"2026-01-02T15:04:05{zone}", "15:04:05.000") for zone in ("", "Z")),
        *(("2026-01-02t15:04:05z", "15:04:05.000"), ("2026-01-02T15:04:05.9Z", "15:04:05.900")),
        *(("2026-01-02T15:04:05,98Z", "15:04:05.980"), ("2026-01-02T15:04:05.123999Z", "15:04:05.123")),
        ("2026-01-02T15:04:05.123999999Z", "15:04:05.123"),
        # Pendo's own example, then as PostgreSQL (also in India and in old Amsterdam) and Snowflake write them.
        *(("2026-01-02T15:04:05.999-05:00", "20:04:05.999"), ("2026-01-02 15:04:05+00", "15:04:05.000")),
        *(("2026-01-02 15:04:05.5+05:30", "09:34:05.500"), ("2026-01-02 15:04:05+00:19:32", "14:44:33.000")),
        *(("2026-01-02 15:04:05.000 +0000", "15:04:05.000"), ("2026-01-02 15:04 -0330", "18:34:00.000")),
    ]:
        assert to_time(written) == f"2026-01-02T{instant}+00:00", written


def test_the_machines_own_zone_never_counts(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        for zone in (None, UnknownOffset()):
            assert to_time(datetime.datetime(2026, 1, 2, tzinfo=zone)) == MIDNIGHT
        assert to_time("2026-01-02") == MIDNIGHT
        assert to_epoch_ms(datetime.date(1970, 1, 1)) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_other_texts_are_no_times():
    for written in [
        *("", "2026-01-02T15:04:05 Europe/Berlin", "2026-01-02 +01:00", "2026-01-02\x00"),
        *("now", "2026", "2026-01", "20260102", "2026-W01-1", "2026-13-01", "2026-02-30", "0000-01-01"),
        *("2026-01-02T15", "2026-01-02T25:00", "2026-01-02T15:04:05.", "2026-01-02T15:04.5"),
        *("2026-01-02T15:04:05+25:00", "15:04:05", "01/02/2026", "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0662"),
        # Python 3.11 reads these as the years 1612 and 1680.
        *("1612010112345", "1680010112345", "1680373680000"),
    ]:
        for convert in (to_time, to_epoch_ms):
            with pytest.raises(InvalidValue, match="is not an ISO 8601 time"):
                convert(written)


def test_events_carry_epoch_milliseconds():
    for value, milliseconds in [
        (datetime.date(2023, 4, 1), 1680307200000),
        ("2023-04-01T18:28:00Z", 1680373680000),
        # The earliest milliseconds that are taken for such.
        (100_000_000_000, 100_000_000_000),
        *((number, 1680373680000) for number in (1680373680000, 1680373680000.0, Decimal("1680373680000"))),
    ]:
        assert exactly(to_epoch_ms(value)) == exactly(milliseconds)


ODD_IDS = ["Ada", "ada ", "\tÄ\u00a0🚀\n", "007", "o'brien\";--", "x" * 5000, "_pendo_t_x", "x_PENDO_T_", "PENDO_"]


def test_ids_are_sent_exactly_as_they_are():
    for value, sent in [
        *((odd, odd) for odd in ODD_IDS),
        *((Decimal(number), number) for number in ("12", "12.00", "12.5")),
        *((Decimal("-1E-7"), "-0.0000001"), (Decimal("1E+3"), "1000")),
        *((7, "7"), (2**70, "1180591620717411303424"), (UUID(UUID_TEXT), UUID_TEXT)),
    ]:
        for convert in (to_identifier, to_visitor_id):
            assert exactly(convert(value)) == exactly(sent)
    for anonymous in ("_PENDO_T_", "_PENDO_T_abc", "PENDO_T", "PENDO_T_abc", "VISITOR-UNIQUE-ID"):
        assert to_identifier(anonymous) == anonymous
        with pytest.raises(InvalidValue, match="an anonymous visitor id"):
            to_visitor_id(anonymous)


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
        assert moment.tzinfo is not None
        assert moment.year in (1, 9999)
        return
    aware = moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)
    since_epoch = (aware.replace(tzinfo=None) - aware.utcoffset()) - datetime.datetime(1970, 1, 1)
    milliseconds = since_epoch // datetime.timedelta(milliseconds=1)
    assert to_epoch_ms(moment) == to_epoch_ms(text) == milliseconds
    assert to_time(text) == text
    assert to_time(moment.isoformat()) == to_time(moment.isoformat(sep=" ")) == text
    # What is less is no epoch that anyone means.
    assert 0 < milliseconds < 100_000_000_000 or to_epoch_ms(milliseconds) == milliseconds


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
