"""dbt's public jaffle_shop, a project that is not ours: customers as visitors, orders as track events."""

from __future__ import annotations

import shutil

from harness import REPOSITORY, Project, custom, enter, epoch_ms, held_fields, planned, run_dbt, writes

FIELDS = {
    "firstname": ("first_name", "string"),
    "lastname": ("last_name", "string"),
    "firstorder": ("first_order", "time"),
    "recentorder": ("most_recent_order", "time"),
    "orders": ("number_of_orders", "integer"),
    "lifetimevalue": ("customer_lifetime_value", "float"),
}


def test_customers_are_visitors_and_orders_events(tmp_path, sandbox, monkeypatch):
    built = tmp_path / "built"
    shutil.copytree(REPOSITORY / "tests" / "projects" / "jaffle_shop", built)
    run_dbt("build", cwd=built, env={})
    shop = enter(built, tmp_path / "shop", monkeypatch, Project, "jaffle_shop.duckdb", "JAFFLE_DUCKDB_PATH")
    for name, (_, type_) in FIELDS.items():
        sandbox.add_field("visitor", "custom", name, type_)
    # Ids are text in Pendo, and integers in the warehouse.
    customers = {str(row["customer_id"]): row for row in shop.rows("main.customers")}
    sandbox.add_visitors(list(customers))

    ended = shop.sync()
    visitors, orders = ended.result("customers"), ended.result("orders")
    assert (visitors["planned"], visitors["delivered"]) == (planned(added=100), 100)
    assert (orders["planned"], orders["delivered"]) == (planned(added=99), 99)
    columns = {name: column for name, (column, _) in FIELDS.items()}
    assert custom(sandbox.visitors) == {key: held_fields(row, columns) for key, row in customers.items()}
    assert len(sandbox.events) == 99
    held = {(event["visitorId"], event["timestamp"], *event["properties"].values()) for event in sandbox.events}
    assert held == {
        (str(row["customer_id"]), epoch_ms(row["order_date"]), float(row["amount"]), row["status"])
        for row in shop.rows("main.orders")
    }

    sandbox.forget_requests()
    again = shop.sync()
    counts = (again.result("customers")["planned"], again.result("orders")["planned"])
    assert counts == (planned(unchanged=100), planned(unchanged=99))
    assert writes(sandbox.requests) == []
