"""What dbt left behind: read as every dbt writes it, believed only where it can be."""

import contextlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.spec import Annotation, CurrentRows, Model, Relation
from dbt_pendo.project.artifacts import BUILDING_COMMANDS, BUILT, LastRun, Manifest, read_last_run, read_manifest

MAPPING = {"object": "visitor", "visitor_id": "user_id"}
OTHER = {"object": "account", "account_id": "org_id"}
V12 = "https://schemas.getdbt.com/dbt/manifest/v12.json"


def a_node(name: str = "users", **more: Any) -> dict[str, Any]:
    return {
        **{"resource_type": "model", "package_name": "shop", "name": name, "alias": name, "version": None},
        **{"database": "shop", "schema": "marts", "relation_name": f'"shop"."marts"."{name}"'},
        **{"original_file_path": f"models/{name}.sql", "patch_path": f"shop://models/{name}.yml"},
        **{"config": {"materialized": "table", "meta": {"pendo": MAPPING}}, "meta": {}, "columns": {}},
        "depends_on": {"nodes": []},
        **more,
    }


def a_manifest(*nodes: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    known = {"project_name": "shop", "invocation_id": "inv-1", "adapter_type": "duckdb"}
    return {
        "metadata": {"dbt_schema_version": V12, **known, **metadata},
        "nodes": {f"{node['resource_type']}.shop.{node['name']}": node for node in nodes},
    }


def write(folder: Path, document: Any, name: str = "manifest.json") -> Path:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    (folder / name).write_bytes(content)
    return folder


def models_of(folder: Path, *nodes: dict[str, Any]) -> tuple[Model, ...]:
    return read_manifest(write(folder, a_manifest(*nodes))).models


@pytest.mark.parametrize("version", [12, 20])
def test_an_annotated_model_is_read_with_all_a_sync_needs(tmp_path, version):
    document = a_manifest(
        *(a_node(), a_node("plain", config={"meta": {}})),
        dbt_schema_version=f"https://schemas.getdbt.com/dbt/manifest/v{version}.json",
    )
    annotation = Annotation("model.shop.users", "users", "models/users.yml", MAPPING)
    model = Model(
        **{"unique_id": "model.shop.users", "package": "shop", "name": "users", "version": None},
        relation=Relation('"shop"."marts"."users"', "shop", "marts", "users"),
        **{"materialized": "table", "annotation": annotation, "is_placed_by_target": True},
    )
    known = {"project": "shop", "invocation_id": "inv-1", "adapter_type": "duckdb", "exposures": {}}
    wanted = Manifest(path=tmp_path / "manifest.json", models=(model,), **known)
    assert read_manifest(write(tmp_path, document)) == wanted


def of_schema(schema: str | None) -> dict[str, Any]:
    return a_manifest(a_node(), dbt_schema_version=schema)


NO_MANIFESTS = {
    "is not JSON": [b"", b'{"metadata": {', b"\xff\xfe{}", b"[" * 100_000],
    "is not a dbt artifact": [b"[]", b"null"],
    "is not a dbt manifest": [
        *({}, {"nodes": {}}, {"metadata": None, "nodes": {}}, {"metadata": {}, "nodes": []}),
        {"metadata": {"dbt_schema_version": V12}},
    ],
    "a manifest of an unknown version; this release .* reads version 12": [
        *({"metadata": {}, "nodes": {}}, of_schema("https://schemas.getdbt.com/dbt/run-results/v12.json")),
        *(of_schema("v12"), of_schema(None)),
    ],
    **{f"a manifest of version {old};": [of_schema(V12.replace("12", old))] for old in ("11", "13", "120")},
}


@pytest.mark.parametrize(
    ("message", "content"), [(message, one) for message, contents in NO_MANIFESTS.items() for one in contents]
)
def test_what_is_no_manifest_is_refused_with_the_file_and_what_to_do(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_manifest(write(tmp_path, content))
    assert str(tmp_path / "manifest.json") in caught.value.message
    assert "dbt build" in caught.value.hint
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match=r"^There is no manifest\.json in ") as caught:
        read_manifest(tmp_path / "target")
    assert re.search("dbt build.*--target-path", caught.value.hint)


def test_config_meta_comes_before_meta(tmp_path):
    for config_meta, meta, read in [
        *(({"pendo": MAPPING}, meta, MAPPING) for meta in ({}, None, {"pendo": OTHER})),
        *((config_meta, {"pendo": MAPPING}, MAPPING) for config_meta in ({}, None, "text", {"owner": "me"})),
        # Nonsense is for the parser to judge.
        *(({"pendo": odd}, {}, odd) for odd in ([MAPPING, OTHER], "users")),
    ]:
        (model,) = models_of(tmp_path, a_node(config={"materialized": "view", "meta": config_meta}, meta=meta))
        assert (model.annotation.meta, model.materialized) == (read, "view")


def test_columns_carry_mappings_of_their_own(tmp_path):
    for column, read in [
        *(({"config": {"meta": {"pendo": "plan"}}, **more}, {"ID": "plan"}) for more in ({}, {"meta": {"pendo": "x"}})),
        *(({"config": config, "meta": {"pendo": True}}, {"ID": True}) for config in ({}, None, {"meta": None})),
        # An empty mapping is one.
        ({"config": {"meta": {"pendo": None}}}, {"ID": None}),
        *(({"config": {"meta": {}}, "meta": {}}, {}), ({}, {}), (None, {})),
    ]:
        columns = {"id": {"name": "ID", **column} if column is not None else None, "other": {"name": "other"}}
        (model,) = models_of(tmp_path, a_node(columns=columns))
        assert model.annotation.columns == read
        # Columns alone make a model annotated.
        models = models_of(tmp_path, a_node(config={"materialized": "table"}, columns=columns))
        alone = [(model.annotation.meta, model.annotation.columns) for model in models]
        assert alone == ([(None, read)] if read else [])


def test_null_takes_a_model_and_its_columns_out(tmp_path):
    columns = {"plan": {"name": "plan", "meta": {"pendo": "plan"}}, "id": {"name": "id", "meta": {"pendo": None}}}
    for config_meta, meta in [
        *(({"pendo": None}, {"pendo": None}), ({"pendo": None}, {"pendo": MAPPING})),
        *(({"owner": "me"}, {"pendo": None}), ({"pendo": None}, None)),
    ]:
        out = a_node("out", config={"meta": config_meta}, meta=meta, columns=columns)
        assert [model.name for model in models_of(tmp_path, a_node(), out)] == ["users"]


def test_what_a_column_inherits_from_its_model_is_no_mapping_of_its_own(tmp_path):
    """dbt v2 writes a model's meta to each of its columns that has none."""
    plan = {"name": "plan", "meta": {"pendo": True}, "config": {"meta": {"pendo": True}}}
    for pendo in (MAPPING, [MAPPING, OTHER]):
        meta = {"owner": "me", "pendo": pendo}
        columns = {"id": {"name": "id", "meta": meta, "config": {}}, "plan": plan}
        (model,) = models_of(tmp_path, a_node(config={"meta": meta}, columns=columns))
        assert (model.annotation.meta, model.annotation.columns) == (pendo, {"plan": True})


def test_a_null_where_dbt_v2_writes_one_does_no_harm(tmp_path):
    plain = a_node("plain", config=None, columns=None, depends_on=None, meta=None)
    for nulls in [
        {"config": {"materialized": "table", "meta": None}, "meta": {"pendo": MAPPING}},
        {"config": None, "meta": {"pendo": MAPPING}},
        {"depends_on": {"nodes": None}},
        *({key: None} for key in ("columns", "depends_on", "meta", "database", "patch_path")),
    ]:
        (model,) = models_of(tmp_path, a_node(**nulls), plain)
        assert model.annotation.meta == MAPPING
    # Nor does what is left out.
    node = {"resource_type": "model", "name": "users", "schema": "marts", "meta": {"pendo": MAPPING}, "path": "u.sql"}
    (model,) = models_of(tmp_path, node, {"resource_type": "model", "name": "bare"})
    assert model.relation == Relation(None, None, "marts", "users")
    assert model.annotation.file == "u.sql"


def test_what_has_a_table_can_be_synced(tmp_path):
    kinds = ["model", "seed", "snapshot", "test", "unit_test", "analysis", "operation", "source", "exposure"]
    found = models_of(tmp_path, *(a_node(f"a_{kind}", resource_type=kind) for kind in kinds))
    assert {model.unique_id for model in found} == {f"{kind}.shop.a_{kind}" for kind in kinds[:3]}


def test_a_snapshot_says_which_rows_are_current(tmp_path):
    names = {"dbt_valid_to": "until", "dbt_is_deleted": "gone", "dbt_scd_id": "id"}
    last = "to_date('9999-12-31')"
    for config, read in [
        # dbt 1.8 writes neither.
        ({}, CurrentRows()),
        ({"snapshot_meta_column_names": {"dbt_valid_to": None}, "dbt_valid_to_current": None}, CurrentRows()),
        ({"snapshot_meta_column_names": None}, CurrentRows()),
        ({"snapshot_meta_column_names": names, "dbt_valid_to_current": last}, CurrentRows("until", last, "gone")),
    ]:
        node = a_node(resource_type="snapshot", config={"meta": {"pendo": MAPPING}, **config})
        assert [model.current_rows for model in models_of(tmp_path, node)] == [read]


def test_a_table_a_sync_and_a_file_have_their_names(tmp_path):
    for node, *names in [
        ({"version": 2, "alias": "users_v2"}, "users_v2", "users_v2", "models/users.yml"),
        ({"version": "beta", "alias": "users_beta"}, "users_beta", "users_vbeta", "models/users.yml"),
        # An alias is the table's name and not the sync's.
        ({"alias": "dim_users"}, "dim_users", "users", "models/users.yml"),
        ({"patch_path": "models/users.yml"}, "users", "users", "models/users.yml"),
        ({"patch_path": None}, "users", "users", "models/users.sql"),
    ]:
        (found,) = models_of(tmp_path, a_node(**node))
        assert [found.relation.identifier, found.annotation.model, found.annotation.file] == names


def test_parents_come_before_children_also_across_models_without_annotation(tmp_path):
    chain = [
        a_node("a_last", depends_on={"nodes": ["model.shop.between"]}),
        a_node("between", config={"materialized": "view"}, depends_on={"nodes": ["model.shop.z_first"]}),
        a_node("z_first", depends_on={"nodes": ["source.shop.raw.users", "seed.shop.gone"]}),
    ]
    assert [model.annotation.model for model in models_of(tmp_path, *chain)] == ["z_first", "a_last"]
    # A circle is dbt's to refuse.
    circle = [a_node(name, depends_on={"nodes": [f"model.shop.{other}"]}) for name, other in ("ba", "ab")]
    assert [model.annotation.model for model in models_of(tmp_path, *circle)] == ["a", "b"]


@given(st.integers(1, 8), st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_graph_is_run_parents_first_and_always_the_same(tmp_path, size, dice):
    names = [f"m{at}" for at in range(size)]
    dice.shuffle(names)
    parents = {name: dice.sample(names[:at], dice.randint(0, at)) for at, name in enumerate(names)}
    nodes = [a_node(n, depends_on={"nodes": [f"model.shop.{parent}" for parent in parents[n]]}) for n in names]
    order = [model.annotation.model for model in models_of(tmp_path, *nodes)]
    assert sorted(order) == sorted(names)
    assert all(order.index(parent) < order.index(name) for name in names for parent in parents[name])
    random.Random(1).shuffle(nodes)
    assert [model.annotation.model for model in models_of(tmp_path, *nodes)] == order


UNBUILT = {"model.shop.bad": "error", "model.shop.late": "skipped"}
STATUSES = {"model.shop.good": "success", **UNBUILT}


def results_of(statuses: Any = STATUSES, **changed: Any) -> dict[str, Any]:
    if isinstance(statuses, dict):
        statuses = [{"unique_id": node, "status": status} for node, status in statuses.items()]
    return {"metadata": {"invocation_id": "inv-1"}, "args": {"which": "build"}, "results": statuses, **changed}


def last_run(folder: Path, results: Any, **metadata: Any) -> LastRun:
    """The results are either believed, or doubted with a reason."""
    write(folder, a_manifest(a_node(), **metadata))
    if results is not None:
        write(folder, results, "run_results.json")
    found = read_last_run(folder, read_manifest(folder))
    assert bool(found.unreliable_because) is not bool(found.command)
    return found


def unbuilt(found: LastRun) -> dict[str, str]:
    return {node: status for node, status in found.statuses.items() if status not in BUILT}


def test_the_results_of_a_command_that_builds_are_believed(tmp_path):
    for which in ("run", "build", "seed", "snapshot", "retry"):
        assert which in BUILDING_COMMANDS
        assert unbuilt(last_run(tmp_path, results_of(args={"which": which}))) == UNBUILT
    # Those of `dbt test` are too, which builds nothing.
    found = last_run(tmp_path, results_of({"test.shop.unique_users_id.1f": "fail"}, args={"which": "test"}))
    assert (found.command, found.builds, found.unreliable_because) == ("test", False, "")
    assert found.statuses == {"test.shop.unique_users_id.1f": "fail"}

    # Those of other commands, and of another invocation, are not.
    commands = ("generate", "docs generate", "show", "run-operation", "compile", "list", "buildx", "", None, ["build"])
    invocations = (("inv-2", "inv-1"), (None, "inv-1"), ("", ""), (None, None), ("inv-1", None), ("None", None))
    others = [*((which, "inv-1", "inv-1") for which in commands), *(("build", *ids) for ids in invocations)]
    for which, of_results, of_manifest in others:
        results = results_of(args={"which": which}, metadata={"invocation_id": of_results})
        found = last_run(tmp_path, results, invocation_id=of_manifest)
        assert (found.statuses, found.command, found.builds) == ({}, "", False)
        assert which == "build" or "run_results.json was written by" in found.unreliable_because


def test_a_status_says_whether_the_table_is_as_it_should_be(tmp_path):
    # Results that cannot be read say nothing.
    for odd in [
        *(None, {}, results_of(metadata=None), results_of(metadata=["inv-1"]), results_of(args=None)),
        *(results_of(args="build"), results_of([None, "x", 7])),
    ]:
        assert unbuilt(last_run(tmp_path, odd)) == {}
    built = ["success", "pass", "warn", "reused", "no-op"]
    failed = ["error", "fail", "skipped", "runtime error", "partial success", "cancelled"]
    results = results_of({status: status for status in [*built, *failed]})
    assert unbuilt(last_run(tmp_path, results)) == {status: status for status in failed}


def test_results_that_may_hide_a_failure_are_refused(tmp_path):
    for results, message in [
        *((bad, "is not JSON") for bad in (b"", json.dumps(results_of()).encode()[:-20], b'{"args": "\xff"}')),
        ([], "is not a dbt artifact"),
        *((results_of(results=bad), "lists no results") for bad in (None, {"model.shop.bad": "error"})),
    ]:
        with pytest.raises(ConfigError, match=f"{tmp_path / 'run_results.json'} {message}") as caught:
            last_run(tmp_path, results)
        assert "dbt build" in caught.value.hint


KEYS = ["metadata", "args", "results", "which", "invocation_id", "status", "unique_id", "meta"]
WORDS = ["", "build", "inv-1", "pendo", "model", "success"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_results_file_whatever_it_holds_breaks_a_run(tmp_path, document):
    with contextlib.suppress(ConfigError):
        assert isinstance(last_run(tmp_path, json.dumps(document).encode()), LastRun)
