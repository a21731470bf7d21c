"""dbt Cloud from inside: real dbt publishes, dbt-pendo takes. An engine's test file imports it."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acme import Acme
from engine import Engine, Store
from harness.forked import REPOSITORY

from dbt_pendo.sandbox import Sandbox

__all__ = ["TestPublishedPath", "inside"]

PEOPLE = {"object": "visitor", "visitor_id": "id", "fields": {"plan": "plan"}}


class Inside(Acme):
    """Acme with the dbt package installed, and hooks of its own around the one that publishes."""

    def __init__(self, engine: Engine, folder: Path, schema: str, sandbox: Sandbox) -> None:
        super().__init__(engine, folder, schema, sandbox)
        (folder / "packages.yml").write_text(json.dumps({"packages": [{"local": str(REPOSITORY)}]}), encoding="utf-8")
        (folder / "models" / "broken.sql").write_text("select * from {{ target.schema }}.nowhere", encoding="utf-8")
        broken = {"name": "broken", "config": {"meta": {"pendo": PEOPLE}}}
        (folder / "models" / "broken.yml").write_text(json.dumps({"models": [broken]}), encoding="utf-8")
        hooks = [
            "create table if not exists {{ target.schema }}.hooks (x varchar(10))",
            "insert into {{ target.schema }}.hooks values ('before')",
            "{{ dbt_pendo.publish(results) }}",
            "insert into {{ target.schema }}.hooks values ('after')",
        ]
        with (folder / "dbt_project.yml").open("a", encoding="utf-8") as project:
            project.write(f"on-run-end: {json.dumps(hooks)}\n")


@pytest.fixture
def inside(engine: Engine, tmp_path: Path) -> Iterator[Inside]:
    with Sandbox() as sandbox:
        project = Inside(engine, tmp_path / "inside", f"i{uuid.uuid4().hex[:12]}", sandbox)
        project.dbt("deps")
        yield project
    project.drop()


class TestPublishedPath:
    def test_what_was_published_is_synced_once_though_docs_came_last(self, inside: Inside) -> None:
        with inside.session() as session:
            store = Store(inside.engine, session, inside.schema)
            session.ensure_schema(store.own_schema)
            session.run(f"create table {store.relation('pendo_builds', store.own_schema)} as select 1 as x")
        # dbt goes on where nothing can be published.
        assert "dbt_pendo: nothing was published" in inside.dbt("build", "--exclude", "broken")
        with inside.session() as session:
            session.drop(store.own_schema, "pendo_builds")

        assert "dbt_pendo: published 3 models to" in inside.dbt("build", status=1)
        inside.dbt("docs", "generate")
        shutil.rmtree(inside.folder / "target")

        results = self.sync(inside)
        assert {name: result["status"] for name, result in results.items()} == {
            **{"visitors": "success", "events": "success", "broken": "skipped"}
        }
        inside.check_pendo()
        assert self.sync(inside) == {}

        # One changed, one gone.
        inside.seed({**{name: count for name, count in inside.seats.items() if name != "v3"}, "v5": 9})
        inside.dbt("build", "--exclude", "broken")
        inside.dbt("docs", "generate")
        last = self.sync(inside)
        assert last.keys() == {"visitors", "events"}
        assert (last["visitors"]["planned"]["changed"], last["visitors"]["planned"]["removed"]) == (1, 1)
        inside.check_pendo()

        inside.dbt("run-operation", "dbt_pendo.publish")
        again = self.sync(inside, "--exclude", "broken")
        assert {result["planned"]["unchanged"] for result in again.values()} == {len(inside.seats)}
        with inside.session() as session:
            hooks = session.rows(f"select x from {inside.schema}.hooks order by x")
        assert hooks == [("after",)] * 3 + [("before",)] * 3

    def sync(self, inside: Inside, *flags: str) -> dict[str, dict[str, Any]]:
        return {result["sync"]: result for result in inside.run("sync", "--published", *flags)["results"]}
