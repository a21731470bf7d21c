"""dbt's public jaffle_shop: customers as visitors, orders as track events."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from harness import (
    REPOSITORY,
    Project,
    build_once,
    canonical,
    custom,
    enter,
    epoch_ms,
    held_fields,
    planned,
    run_dbt,
    sent_events,
    sent_ids,
    writes,
)

from dbt_pendo.sandbox import Sandbox

FIELDS = {
    "firstname": ("first_name", "string"),
    "lastname": ("last_name", "string"),
    "firstorder": ("first_order", "time"),
    "recentorder": ("most_recent_order", "time"),
    "orders": ("number_of_orders", "integer"),
    "lifetimevalue": ("customer_lifetime_value", "float"),
}
COLUMNS = {name: column for name, (column, _) in FIELDS.items()}


@pytest.fixture(scope="session")
def built_jaffle_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        shutil.copytree(REPOSITORY / "tests" / "projects" / "jaffle_shop", folder, dirs_exist_ok=True)
        run_dbt("build", cwd=folder, env={})

    return build_once(tmp_path_factory, "jaffle_shop", build)


@pytest.fixture
def jaffle_shop(built_jaffle_shop: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    database = ("jaffle_shop.duckdb", "JAFFLE_DUCKDB_PATH")
    return enter(built_jaffle_shop, tmp_path / "jaffle_shop", monkeypatch, Project, *database)


def open_shop(project: Project, sandbox: Sandbox) -> list[str]:
    """Gives Pendo the fields and all customers but the last; ids are text there, integers in the warehouse."""
    for name, (_, type_) in FIELDS.items():
        sandbox.add_field("visitor", "custom", name, type_)
    customers = [str(customer) for (customer,) in project.sql("select customer_id from main.customers order by 1")]
    assert len(customers) == 100
    sandbox.add_visitors(customers[:-1])
    return customers


def expected_orders(project: Project) -> list[dict[str, object]]:
    return [
        {
            "type": "track",
            "event": "Order Placed",
            "visitorId": str(row["customer_id"]),
            "timestamp": epoch_ms(row["order_date"]),
            "properties": held_fields(row, {"amount": "amount", "status": "status"}),
            "context": {},
        }
        for row in project.rows("main.orders")
    ]


def test_customers_are_visitors_and_orders_events(jaffle_shop, sandbox):
    customers = open_shop(jaffle_shop, sandbox)
    assert jaffle_shop.check().statuses == {"customers": "success", "orders": "success"}
    # The one thing it posts is an empty object, to learn whether Pendo knows the Track secret.
    assert [(request.path, request.body) for request in writes(sandbox.requests)] == [("/data/track", b"{}")]
    ended = jaffle_shop.sync()
    visitors, orders = ended.result("customers"), ended.result("orders")
    assert (visitors["planned"], visitors["delivered"], visitors["missing"]) == (planned(added=100), 99, 1)
    assert orders["planned"] == planned(added=99)
    assert orders["delivered"] == orders["requests"] == 99
    rows = {str(row["customer_id"]): row for row in jaffle_shop.rows("main.customers")}
    assert custom(sandbox.visitors) == {customer: held_fields(rows[customer], COLUMNS) for customer in customers[:-1]}
    assert sum(row["number_of_orders"] is None for row in rows.values()) == 38
    assert canonical(sandbox.events) == canonical(expected_orders(jaffle_shop))


def test_what_changes_is_sent_and_nothing_else(jaffle_shop, sandbox):
    sandbox.add_visitors(open_shop(jaffle_shop, sandbox))
    jaffle_shop.sync()
    sandbox.forget_requests()
    jaffle_shop.sync()
    assert writes(sandbox.requests) == []
    jaffle_shop.sql(
        "insert into main.orders (order_id, customer_id, order_date, status, amount) values (100, 1, '2018-04-10', "
        "'placed', 12.34); update main.orders set status = 'returned' where order_id = 1; "
        "update main.customers set most_recent_order = '2018-04-10', number_of_orders = 3 where customer_id = 1"
    )
    jaffle_shop.sync()
    assert sent_ids(sandbox.requests, "visitor") == ["1"]
    (event,) = sent_events(sandbox.requests)
    assert event["properties"] == {"amount": 12.34, "status": "placed"}
    assert sandbox.visitors["1"]["custom"]["recentorder"] == epoch_ms("2018-04-10")
    assert len(sandbox.events) == 100
