"""Guesses a mapping from the names and types of columns, each guess with its reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dbt_pendo.delivery.fields import kind_of
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Object
from dbt_pendo.warehouse.names import TableColumn
from dbt_pendo.wording import quoted

Guessed = TypeVar("Guessed")
BY_MODEL = "by the model's name"

# Names of columns with the id of a record, the likelier first.
_IDS: Mapping[Object, Sequence[str]] = {
    "visitor": ("visitor_id", "user_id", "member_id", "person_id", "contact_id", "customer_id"),
    "account": (
        *("account_id", "org_id", "organization_id", "organisation_id", "company_id"),
        *("tenant_id", "workspace_id", "client_id"),
    ),
    "parent_account": (
        *("parent_account_id", "parent_org_id", "parent_organization_id", "parent_organisation_id"),
        *("parent_company_id", "parent_id"),
    ),
}
_EVENT_IDS = ("event_id", "message_id")
_EVENT_NAMES = ("event_name", "event", "event_type")
_MOMENTS = ("occurred_at", "happened_at", "event_time", "event_timestamp", "event_at", "timestamp", "created_at")
# The last word of a model's name, in the singular, by what its rows are.
_NOUNS: Mapping[Object, Collection[str]] = {
    "visitor": {"visitor", "user", "member", "person", "people", "contact", "customer"},
    "account": {"account", "org", "organization", "organisation", "company", "companie", "tenant", "workspace"},
    "track_event": {"event", "click", "action", "activity", "activitie", "payment", "order", "login", "session"},
    "segment": {"segment", "cohort", "audience"},
}
# A key made for joins, which no product knows.
_SURROGATE = re.compile(r"(^|_)(key|sk|pk|hk|hash)$", re.IGNORECASE)
# When a row was written rather than when something happened.
_BOOKKEEPING = re.compile(
    r"^_|^dbt_|(updated|modified|loaded|synced|inserted|ingested|deleted)_?(at|on)$", re.IGNORECASE
)
_TIMELY = re.compile(r"(_at|_on|_time|_date|_ts)$|^(date|time|timestamp)", re.IGNORECASE)
_PERSONAL = re.compile(
    r"e_?mail|phone|mobile|address|street|postcode|zip_?code|birth|passport|iban|password|secret|token"
    r"|(first|last|middle|given|family|full|sur)_?name|(^|_)(ip|dob|ssn)($|_)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Guess(Generic[Guessed]):
    """A guess, and why."""

    value: Guessed
    why: str


def guess_object(model: str, key: Sequence[str], columns: Sequence[TableColumn]) -> Guess[Object]:
    """Guesses what the rows of a model become in Pendo.

    Args:
        model: The model's name.
        key: The columns that dbt takes for its primary key.
        columns: Its columns.
    """
    if len(columns) == 1 and _find_column(_IDS["visitor"], columns):
        return Guess("segment", "it has nothing but the ids of visitors")
    if (identified := _find_object(key, "its key is")) is not None:
        return identified
    noun = model.lower().rpartition("_")[2]
    for object_, nouns in _NOUNS.items():
        if noun in nouns or noun.removesuffix("s") in nouns:
            return Guess(object_, BY_MODEL)
    visitor, moment = _find_column(_IDS["visitor"], columns), guess_moment(columns)
    if visitor is not None and moment is not None:
        return Guess("track_event", f"it has {quoted(visitor.value)} and {quoted(moment.value)}")
    identified = _find_object([column.name for column in columns], "it has")
    return identified or Guess("visitor", "nothing says what its rows are")


def guess_keys(
    object_: Object, model: str, key: Sequence[str], columns: Sequence[TableColumn]
) -> dict[str, Guess[Any] | None]:
    """Guesses the keys of a mapping that every row needs, in the order in which they are written.

    None stands for a column that is needed, and that none looks like.
    """
    title: Guess[Any] = Guess(title_of(model), BY_MODEL)
    if object_ == "segment":
        return {"segment": title, "visitor_id": guess_id(object_, key, columns)}
    if object_ != "track_event":
        id_ = guess_id(object_, key, columns)
        rule = "must be the id that your product gives to Pendo"
        return {OBJECTS[object_].key: id_ and Guess(id_.value, f"{id_.why}; {rule}")}
    named, account = _find_column(_EVENT_NAMES, columns), _find_column(_IDS["account"], columns)
    return {
        "event": Guess({"column": named.value}, named.why) if named else title,
        "event_id": guess_event_id(key, columns),
        "visitor_id": _find_column(_IDS["visitor"], columns),
        # An event may do without an account.
        **({"account_id": account} if account else {}),
        "timestamp": guess_moment(columns),
    }


def columns_of(keys: Mapping[str, Guess[Any] | None]) -> set[str]:
    """Returns the columns that guessed keys of a mapping take."""
    values = [guess.value for guess in keys.values() if guess and guess.why != BY_MODEL]
    return {value["column"] if isinstance(value, dict) else value for value in values}


def guess_id(object_: Object, key: Sequence[str], columns: Sequence[TableColumn]) -> Guess[str] | None:
    """Guesses the column with the id of a visitor, an account or a parent account; None if no column looks like one."""
    by_name = _find_column(_IDS.get(object_, _IDS["visitor"]), columns)
    primary = _find_key(key, columns)
    if primary is not None and not (by_name is not None and _SURROGATE.search(primary)):
        return Guess(primary, "the model's primary key")
    return by_name or _find_column(("id",), columns) or _find_any_id(columns)


def guess_event_id(key: Sequence[str], columns: Sequence[TableColumn]) -> Guess[str] | None:
    """Guesses the column that is unique for each event."""
    primary = _find_key(key, columns)
    if primary is not None and len(key) == 1:
        return Guess(primary, "the model's primary key")
    others = [column for column in columns if _find_object([column.name], "") is None]
    return _find_column((*_EVENT_IDS, "id"), columns) or _find_any_id(others)


def guess_moment(columns: Sequence[TableColumn]) -> Guess[str] | None:
    """Guesses the column that says when an event happened."""
    timely = [column for column in columns if kind_of(column.dtype) == "time"]
    timely = timely or [column for column in columns if _TIMELY.search(column.name)]
    happened = [column for column in timely if not _BOOKKEEPING.search(column.name)] or timely
    if named := _find_column(_MOMENTS, happened):
        return named
    # A time of day says more than a date.
    happened.sort(key=lambda column: column.dtype.lower().startswith("date") or column.name.lower().endswith("_date"))
    return Guess(happened[0].name, "it holds a time") if happened else None


def is_personal(column: str) -> bool:
    """Returns whether a column's name sounds like data about a person that should not travel by accident."""
    return _PERSONAL.search(column) is not None


def title_of(model: str) -> str:
    """Returns a model's name as a person might write it: ``fct_invoice_payments`` is ``Invoice payments``."""
    words = re.sub(r"^(fct|fact|dim|stg|int|mart|pendo)_", "", model.lower()).split("_")
    return " ".join(filter(None, words)).capitalize() or model


def _find_object(names: Iterable[str], why: str) -> Guess[Object] | None:
    """Returns the kind of record whose id one of the columns holds, by the first that sounds like one."""
    for name in names:
        for object_, ids in _IDS.items():
            if _bare(name) in map(_bare, ids):
                return Guess(object_, f"{why} {quoted(name)}")
    return None


def _find_key(key: Sequence[str], columns: Sequence[TableColumn]) -> str | None:
    """Returns the primary key's column; of several that are unique the likelier id."""
    present = [found.value for name in key if (found := _find_column([name], columns))]
    likely = [name for name in present if _find_object([name], "")]
    return next(iter(likely or present), None)


def _find_column(names: Iterable[str], columns: Sequence[TableColumn]) -> Guess[str] | None:
    """Returns the first column that has one of some names, the likelier names first."""
    known = {_bare(column.name): column.name for column in reversed(columns)}
    return next((Guess(known[_bare(name)], "by its name") for name in names if _bare(name) in known), None)


def _find_any_id(columns: Sequence[TableColumn]) -> Guess[str] | None:
    found = next((column.name for column in columns if column.name.lower().endswith("id")), None)
    return None if found is None else Guess(found, "its name ends like an id's; is it unique?")


def _bare(name: str) -> str:
    return name.lower().replace("_", "")
