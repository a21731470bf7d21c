"""What the names and types of columns suggest for a starter mapping."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from dbt_pendo.commands import guesses as guess
from dbt_pendo.commands.init import _scalar
from dbt_pendo.warehouse.names import TableColumn


def columns(text: str) -> list[TableColumn]:
    """``user_id seen_at:timestamp``: names, each with its type if it matters."""
    return [TableColumn(name, dtype) for name, _, dtype in (word.partition(":") for word in text.split())]


# By object: models, the columns of their keys, and all their columns.
OBJECTS = {
    "visitor": [
        # The key says it best, then what the model is called, then what it has.
        *("dim_x / user_id / user_id plan", "dim_x / USERID / USERID PLAN", "dim_x / email user_id / user_id email"),
        *("dim_users / / id account_id created_at", "pendo_visitors / id / id plan"),
        *("fct_usage / / n user_id", "x / / y", "x / /"),
    ],
    "account": [
        *("dim_users / account_id / account_id plan", "dim_x / organisation_id / organisation_id user_id created_at"),
        *("dim_accounts / id / id user_id created_at", "dim_companies / / id name", "facts / / plan org_id user_id"),
    ],
    "parent_account": ["dim_x / parent_account_id / parent_account_id"],
    "track_event": [
        *("fct_user_events / id / id user_id occurred_at", "user_payments / payment_id / payment_id user_id paid_at"),
        *("fct_usage / usage_id / usage_id user_id used_at", "fct_usage / / n user_id day:date"),
    ],
    "segment": ["churn_cohort / / user_id score", "at_risk / / visitor_id", "at_risk / visitor_id / visitor_id"],
}


@pytest.mark.parametrize("object_", OBJECTS)
def test_what_the_rows_are(object_: str) -> None:
    for described in OBJECTS[object_]:
        model, key, has = described.split("/")
        found = guess.guess_object(model.strip(), key.split(), columns(has))
        assert (found.value, bool(found.why)) == (object_, True), described


# By object: the columns of the key, all columns, and the id among them.
IDS: dict[Any, list[str]] = {
    "visitor": [
        *("person_ref / plan person_ref user_id / person_ref", "email user_id / email user_id / user_id"),
        # A key made for joins is not what the product knows.
        *("user_sk / user_sk user_id / user_id", "user_sk / user_sk plan / user_sk"),
        *("USER_ID / USER_ID / USER_ID", "gone / user_id / user_id", "/ id user_id visitor_id / visitor_id"),
    ],
    "account": ["/ id user_id / id", "/ user_id org_id / org_id", "/ name crm_id / crm_id", "/ name /"],
    "segment": ["/ account_id user_id / user_id"],
    "track_event": [
        *("n / n event_id / n", "user_id day / user_id day event_id / event_id", "/ user_id id / id"),
        *("/ user_id org_id invoice_id / invoice_id", "/ user_id org_id /"),
    ],
}


@pytest.mark.parametrize("object_", IDS)
def test_the_id_of_a_record_or_an_event(object_: Any) -> None:
    for described in IDS[object_]:
        key, has, id_ = described.split("/")
        known = key.split(), columns(has)
        found = guess.guess_event_id(*known) if object_ == "track_event" else guess.guess_id(object_, *known)
        assert (found and found.value) == (id_.strip() or None), described


def test_when_an_event_happened() -> None:
    for has, moment in [
        *(("day:date paid_at:timestamp", "paid_at"), ("created_at:timestamp occurred_at:timestamp", "occurred_at")),
        *(("updated_at:timestamp_ntz paid:timestamp", "paid"), ("_loaded:timestamp day:date", "day")),
        ("updated_at:timestamp n:integer", "updated_at"),
        # Without types, or with the times as text, the names have to do.
        *(("n paid_on", "paid_on"), ("n:integer paid_at:varchar", "paid_at"), ("n:integer paid:varchar", None)),
    ]:
        found = guess.guess_moment(columns(has))
        assert (found and found.value) == moment, has


def test_what_may_be_personal_and_titles() -> None:
    personal = "email EMAIL_ADDRESS e_mail phone mobile_no first_name lastname full_name ip ip_address dob birthday"
    assert [name for name in personal.split() if not guess.is_personal(name)] == []
    other = "plan name zip_files script tips company_name role ssnx"
    assert [name for name in other.split() if guess.is_personal(name)] == []
    names = {"fct_invoice_payments": "Invoice payments", "Usage": "Usage", "dim_": "dim_", "pendo_a__b": "A b"}
    assert {name: guess.title_of(name) for name in names} == names


@given(st.text(), st.booleans())
@example("\xa0", False)
def test_any_name_is_written_as_yaml_reads_it_on_one_line(name: str, flow: bool) -> None:
    written = _scalar(name, flow)
    assert len(written.splitlines()) == 1
    assert yaml.safe_load(f"{{k: {written}}}" if flow else f"k: {written}") == {"k": name}
    assert yaml.safe_load(f"{written}: v") == {name: "v"}
