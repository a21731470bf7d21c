"""What hypothesis can make of warehouse values, and beyond."""

import datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st


class Unprintable:
    """A driver's own type at its worst."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")


any_text = st.text(st.characters(exclude_categories=()))
"""Text with everything a Python str can hold, lone surrogates among it."""

texts = st.text() | st.sampled_from(
    [
        *("", " ", "true", "No", "_PENDO_T_x", "VISITOR-UNIQUE-ID", "Ünïcödé 🚀", 'o\'brien\n"x"; --\\{{ }}\0'),
        *("1", " 12 ", "-0", "1.5", "1e400", "1E+999999999", "1_000", "nan", "sNaN", "-Infinity", "9" * 5000),
        *("2026-01-02", "2026-01-02T15:04:05.999-05:00", "0001-01-01T00:00:00+14:00", "1612010112345", "\u0661\u0662"),
    ]
)

integers = (
    st.integers() | st.integers(-(2**64), 2**64) | st.sampled_from([2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 10**4000])
)

exponents = st.integers(-(10**9), 10**9) | st.integers(-40, 40) | st.sampled_from([10**18 - 1000, 1000 - 10**18])
decimals = (
    st.decimals()
    | st.decimals(allow_nan=False, allow_infinity=False, places=2)
    | st.builds(lambda digits, exponent: Decimal(f"{digits}E{exponent}"), st.integers(-(10**40), 10**40), exponents)
    | st.sampled_from(["sNaN", "-NaN", "-Infinity", "-0", "1E+400"]).map(Decimal)
)

zones = (
    st.none()
    | st.timezones()
    | st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
    | st.integers(-86_399, 86_399).map(lambda seconds: datetime.timezone(datetime.timedelta(seconds=seconds)))
)
datetimes = st.datetimes(timezones=zones) | st.builds(
    lambda moment, zone: moment.replace(tzinfo=zone),
    st.sampled_from([datetime.datetime.min, datetime.datetime.max]),
    zones,
)

scalars: st.SearchStrategy[Any] = st.one_of(
    *(texts, st.booleans(), integers, st.floats(), decimals),
    *(datetimes, st.dates(), st.times(), st.timedeltas(), st.uuids()),
)

anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        *(st.none(), scalars, any_text, st.complex_numbers(), st.fractions()),
        *(st.binary(), st.binary().map(bytearray), st.binary().map(memoryview)),
        st.sampled_from([object(), Unprintable(), Unprintable, Ellipsis, range(3)]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.frozensets(st.integers(), max_size=3)
        | st.sets(st.text(), max_size=3)
    ),
    max_leaves=6,
)
