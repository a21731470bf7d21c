"""What dbt left behind: read as every dbt writes it, believed only where it can be."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.spec import Annotation, CurrentRows, Model
from dbt_pendo.project.manifest import Manifest, read_manifest
from dbt_pendo.project.run_results import BUILDING_COMMANDS, BUILT, LastRun, read_last_run

MAPPING = {"object": "visitor", "visitor_id": "user_id"}
OTHER = {"object": "account", "account_id": "org_id"}
V12 = "https://schemas.getdbt.com/dbt/manifest/v12.json"


def a_node(name: str = "users", **more: Any) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "package_name": "shop",
        "name": name,
        "alias": name,
        "database": "shop",
        "schema": "marts",
        "relation_name": f'"shop"."marts"."{name}"',
        "original_file_path": f"models/{name}.sql",
        "patch_path": f"shop://models/{name}.yml",
        "version": None,
        "config": {"materialized": "table", "meta": {"pendo": MAPPING}},
        "meta": {},
        "columns": {},
        "depends_on": {"nodes": []},
        **more,
    }


def a_manifest(*nodes: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "dbt_schema_version": V12,
            "project_name": "shop",
            "invocation_id": "inv-1",
            "adapter_type": "duckdb",
            **metadata,
        },
        "nodes": {f"{node['resource_type']}.shop.{node['name']}": node for node in nodes},
    }


def write(folder: Path, document: Any, name: str = "manifest.json") -> Path:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    (folder / name).write_bytes(content)
    return folder


def models_of(folder: Path, *nodes: dict[str, Any]) -> tuple[Model, ...]:
    return read_manifest(write(folder, a_manifest(*nodes))).models


def test_an_annotated_model_is_read_with_all_a_sync_needs(tmp_path):
    manifest = read_manifest(write(tmp_path, a_manifest(a_node(), a_node("plain", config={"meta": {}}))))
    assert manifest == Manifest(
        path=tmp_path / "manifest.json",
        project="shop",
        invocation_id="inv-1",
        models=(
            Model(
                unique_id="model.shop.users",
                package="shop",
                name="users",
                version=None,
                relation_name='"shop"."marts"."users"',
                database="shop",
                schema="marts",
                identifier="users",
                materialized="table",
                annotation=Annotation("model.shop.users", "users", "models/users.yml", MAPPING),
            ),
        ),
        exposures={},
    )


@pytest.mark.parametrize("version", [12, 20])
def test_manifests_of_known_versions_are_read(tmp_path, version):
    schema = f"https://schemas.getdbt.com/dbt/manifest/v{version}.json"
    assert len(read_manifest(write(tmp_path, a_manifest(a_node(), dbt_schema_version=schema))).models) == 1


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        pytest.param("https://schemas.getdbt.com/dbt/manifest/v11.json", "version 11", id="dbt 1.7"),
        pytest.param("https://schemas.getdbt.com/dbt/manifest/v13.json", "version 13", id="the next"),
        pytest.param("https://schemas.getdbt.com/dbt/manifest/v120.json", "version 120", id="no prefix counts"),
        pytest.param(
            "https://schemas.getdbt.com/dbt/run-results/v12.json", "an unknown version", id="another artifact"
        ),
        pytest.param("v12", "an unknown version", id="something else"),
        pytest.param(None, "an unknown version", id="null"),
    ],
)
def test_manifests_of_other_versions_are_refused(tmp_path, schema, found):
    with pytest.raises(
        ConfigError, match=f"manifest.json is a manifest of {found}; this release .* reads version 12"
    ) as caught:
        read_manifest(write(tmp_path, a_manifest(a_node(), dbt_schema_version=schema)))
    assert caught.value.exit_code == 2
    assert "dbt build" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is not a dbt artifact", id="empty"),
        pytest.param(b'{"metadata": {', "is not a dbt artifact", id="half written"),
        pytest.param(b"\xff\xfe{}", "is not a dbt artifact", id="not UTF-8"),
        pytest.param(b"[" * 100_000, "is not a dbt artifact", id="too deep"),
        pytest.param(b"[]", "is not a dbt artifact", id="an array"),
        pytest.param(b"null", "is not a dbt artifact", id="null"),
        pytest.param({}, "is not a dbt artifact", id="an empty object"),
        pytest.param({"metadata": {"dbt_schema_version": V12}}, "is not a dbt artifact", id="no nodes"),
        pytest.param({"nodes": {}}, "is not a dbt artifact", id="no metadata"),
        pytest.param({"metadata": None, "nodes": {}}, "is not a dbt artifact", id="null metadata"),
        pytest.param({"metadata": {}, "nodes": []}, "is not a dbt artifact", id="a list of nodes"),
        pytest.param({"metadata": {}, "nodes": {}}, "a manifest of an unknown version", id="empty metadata"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_file_and_what_to_do(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_manifest(write(tmp_path, content))
    assert str(tmp_path / "manifest.json") in caught.value.message
    assert "dbt build" in caught.value.hint
    assert caught.value.exit_code == 2


def test_no_manifest_is_said_to_be_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"^There is no manifest\.json in ") as caught:
        read_manifest(tmp_path / "target")
    assert "dbt build" in caught.value.hint
    assert "--target-path" in caught.value.hint


def test_a_manifest_that_cannot_be_read_says_why(tmp_path):
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_manifest(tmp_path)


# Where the mapping stands.


@pytest.mark.parametrize(
    ("config_meta", "meta", "read"),
    [
        pytest.param({"pendo": MAPPING}, {}, MAPPING, id="config.meta"),
        pytest.param({}, {"pendo": MAPPING}, MAPPING, id="meta"),
        pytest.param({"pendo": MAPPING}, {"pendo": OTHER}, MAPPING, id="config.meta comes first"),
        pytest.param({"owner": "me"}, {"pendo": OTHER}, OTHER, id="config.meta about something else"),
        pytest.param(None, {"pendo": MAPPING}, MAPPING, id="config.meta is null"),
        pytest.param({"pendo": MAPPING}, None, MAPPING, id="meta is null"),
        pytest.param("text", {"pendo": MAPPING}, MAPPING, id="config.meta is no mapping"),
        pytest.param({"pendo": [MAPPING, OTHER]}, {}, [MAPPING, OTHER], id="a list"),
        pytest.param({"pendo": "users"}, {}, "users", id="nonsense is for the parser to judge"),
    ],
)
def test_config_meta_comes_before_meta(tmp_path, config_meta, meta, read):
    (model,) = models_of(tmp_path, a_node(config={"materialized": "view", "meta": config_meta}, meta=meta))
    assert model.annotation.meta == read
    assert model.materialized == "view"


@pytest.mark.parametrize(
    ("column", "read"),
    [
        pytest.param({"config": {"meta": {"pendo": "plan"}}}, {"plan_name": "plan"}, id="config.meta"),
        pytest.param({"meta": {"pendo": "plan"}}, {"plan_name": "plan"}, id="meta"),
        pytest.param(
            {"config": {"meta": {"pendo": "plan"}}, "meta": {"pendo": "other"}}, {"plan_name": "plan"}, id="both"
        ),
        pytest.param(
            {"config": {"meta": None}, "meta": {"pendo": True}}, {"plan_name": True}, id="config.meta is null"
        ),
        pytest.param({"config": None, "meta": {"pendo": True}}, {"plan_name": True}, id="config is null"),
        pytest.param({"config": {"meta": {"pendo": None}}}, {"plan_name": None}, id="an empty mapping is one"),
        pytest.param({"config": {"meta": {}}, "meta": {}}, {}, id="neither"),
        pytest.param({}, {}, id="nothing"),
        pytest.param(None, {}, id="null"),
    ],
)
def test_columns_carry_mappings_of_their_own(tmp_path, column, read):
    columns = {"plan_name": {"name": "plan_name", **column} if column is not None else None, "other": {"name": "other"}}
    (model,) = models_of(tmp_path, a_node(columns=columns))
    assert model.annotation.columns == read


@pytest.mark.parametrize(
    ("config_meta", "meta"),
    [
        pytest.param({"pendo": None}, {"pendo": None}, id="as dbt writes it"),
        pytest.param({"pendo": None}, {"pendo": MAPPING}, id="config.meta comes first"),
        pytest.param({"owner": "me"}, {"pendo": None}, id="meta alone"),
        pytest.param({"pendo": None}, None, id="meta is null"),
    ],
)
def test_null_takes_a_model_and_its_columns_out(tmp_path, config_meta, meta):
    columns = {"plan": {"name": "plan", "meta": {"pendo": "plan"}}, "id": {"name": "id", "meta": {"pendo": None}}}
    out = a_node("out", config={"meta": config_meta}, meta=meta, columns=columns)
    assert [model.name for model in models_of(tmp_path, a_node(), out)] == ["users"]


@pytest.mark.parametrize("pendo", [MAPPING, [MAPPING, OTHER]], ids=["a mapping", "a list"])
def test_what_a_column_inherits_from_its_model_is_no_mapping_of_its_own(tmp_path, pendo):
    """dbt v2 writes a model's meta to each of its columns that has none."""
    columns = {
        "id": {"name": "id", "meta": {"owner": "me", "pendo": pendo}, "config": {}},
        "plan": {"name": "plan", "meta": {"pendo": True}, "config": {"meta": {"pendo": True}}},
    }
    (model,) = models_of(tmp_path, a_node(config={"meta": {"owner": "me", "pendo": pendo}}, columns=columns))
    assert (model.annotation.meta, model.annotation.columns) == (pendo, {"plan": True})


def test_columns_alone_make_a_model_annotated(tmp_path):
    columns = {"id": {"name": "ID", "meta": {"pendo": "plan"}}}
    (model,) = models_of(tmp_path, a_node(config={"materialized": "table"}, columns=columns))
    assert (model.annotation.meta, model.annotation.columns) == (None, {"ID": "plan"})


@pytest.mark.parametrize(
    "nulls",
    [
        pytest.param({"config": {"materialized": "table", "meta": None}, "meta": {"pendo": MAPPING}}, id="config.meta"),
        pytest.param({"config": None, "meta": {"pendo": MAPPING}}, id="config"),
        pytest.param({"columns": None}, id="columns"),
        pytest.param({"depends_on": None}, id="depends_on"),
        pytest.param({"depends_on": {"nodes": None}}, id="depends_on.nodes"),
        pytest.param({"meta": None}, id="meta"),
        pytest.param({"database": None}, id="database"),
        pytest.param({"patch_path": None}, id="patch_path"),
    ],
)
def test_a_null_where_dbt_v2_writes_one_does_no_harm(tmp_path, nulls):
    (model,) = models_of(
        tmp_path, a_node(**nulls), a_node("plain", config=None, columns=None, depends_on=None, meta=None)
    )
    assert model.annotation.meta == MAPPING


def test_what_dbt_leaves_out_does_no_harm(tmp_path):
    node = {
        "resource_type": "model",
        "name": "users",
        "schema": "marts",
        "meta": {"pendo": MAPPING},
        "path": "users.sql",
    }
    (model,) = models_of(tmp_path, node, {"resource_type": "model", "name": "bare"})
    assert (model.identifier, model.relation_name, model.database) == ("users", None, None)
    assert model.annotation.file == "users.sql"


@pytest.mark.parametrize("kind", ["model", "seed", "snapshot"])
def test_what_has_a_table_can_be_synced(tmp_path, kind):
    assert [model.unique_id for model in models_of(tmp_path, a_node(resource_type=kind))] == [f"{kind}.shop.users"]


@pytest.mark.parametrize(
    ("config", "read"),
    [
        pytest.param({}, CurrentRows(), id="dbt 1.8"),
        pytest.param(
            {"snapshot_meta_column_names": {"dbt_valid_to": None}, "dbt_valid_to_current": None},
            CurrentRows(),
            id="nulls for nothing",
        ),
        pytest.param({"snapshot_meta_column_names": None}, CurrentRows(), id="a null for all of them"),
        pytest.param(
            {
                "snapshot_meta_column_names": {"dbt_valid_to": "until", "dbt_is_deleted": "gone", "dbt_scd_id": "id"},
                "dbt_valid_to_current": "to_date('9999-12-31')",
            },
            CurrentRows("until", "to_date('9999-12-31')", "gone"),
            id="all of them",
        ),
    ],
)
def test_a_snapshot_says_which_rows_are_current(tmp_path, config, read):
    (model,) = models_of(tmp_path, a_node(resource_type="snapshot", config={"meta": {"pendo": MAPPING}, **config}))
    assert model.current_rows == read


@pytest.mark.parametrize("kind", ["test", "unit_test", "analysis", "operation", "source", "exposure"])
def test_what_has_no_table_cannot(tmp_path, kind):
    assert models_of(tmp_path, a_node(resource_type=kind)) == ()


def test_a_versioned_model_is_named_with_its_version(tmp_path):
    document = a_manifest(a_node(version=2, alias="users_v2"), a_node("orgs", version="beta", alias="orgs_beta"))
    document["nodes"]["model.shop.users.v2"] = document["nodes"].pop("model.shop.users")
    by_id = {model.unique_id: model for model in read_manifest(write(tmp_path, document)).models}
    users, orgs = by_id["model.shop.users.v2"], by_id["model.shop.orgs"]
    assert (users.annotation.model, users.identifier) == ("users_v2", "users_v2")
    assert (orgs.annotation.model, orgs.identifier) == ("orgs_vbeta", "orgs_beta")


def test_an_alias_is_the_tables_name_and_not_the_syncs(tmp_path):
    (model,) = models_of(tmp_path, a_node(alias="dim_users"))
    assert (model.identifier, model.annotation.model) == ("dim_users", "users")


def test_an_ephemeral_model_has_no_relation(tmp_path):
    node = a_node(relation_name=None, config={"materialized": "ephemeral", "meta": {"pendo": MAPPING}})
    (model,) = models_of(tmp_path, node)
    assert (model.relation_name, model.materialized) == (None, "ephemeral")


@pytest.mark.parametrize(
    ("paths", "file"),
    [
        ({"patch_path": "shop://models/users.yml"}, "models/users.yml"),
        ({"patch_path": "models/users.yml"}, "models/users.yml"),
        ({"patch_path": None}, "models/users.sql"),
    ],
)
def test_the_file_named_is_the_one_to_open(tmp_path, paths, file):
    (model,) = models_of(tmp_path, a_node(**paths))
    assert model.annotation.file == file


# The order of the run.


def test_parents_come_before_children_also_across_models_without_annotation(tmp_path):
    chain = [
        a_node("a_last", depends_on={"nodes": ["model.shop.between"]}),
        a_node("between", config={"materialized": "view"}, depends_on={"nodes": ["model.shop.z_first"]}),
        a_node("z_first", depends_on={"nodes": ["source.shop.raw.users", "seed.shop.gone"]}),
    ]
    assert [model.annotation.model for model in models_of(tmp_path, *chain)] == ["z_first", "a_last"]


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


def test_a_circle_is_dbts_to_refuse(tmp_path):
    first = a_node("b", depends_on={"nodes": ["model.shop.a"]})
    second = a_node("a", depends_on={"nodes": ["model.shop.b"]})
    assert [model.annotation.model for model in models_of(tmp_path, first, second)] == ["a", "b"]


# The results of the last run.

RESULTS = {
    "metadata": {"invocation_id": "inv-1"},
    "args": {"which": "build"},
    "results": [
        {"unique_id": "model.shop.good", "status": "success"},
        {"unique_id": "model.shop.bad", "status": "error"},
        {"unique_id": "model.shop.late", "status": "skipped"},
    ],
}
UNBUILT = {"model.shop.bad": "error", "model.shop.late": "skipped"}


def last_run(folder: Path, results: Any, **metadata: Any) -> LastRun:
    write(folder, a_manifest(a_node(), **metadata))
    if results is not None:
        write(folder, results, "run_results.json")
    return read_last_run(folder, read_manifest(folder))


def unbuilt(folder: Path, results: Any, **metadata: Any) -> dict[str, str]:
    """What was not brought up to date; nothing is either believed, or doubted with a reason."""
    found = last_run(folder, results, **metadata)
    assert bool(found.unreliable_because) is not bool(found.command)
    return {node: status for node, status in found.statuses.items() if status not in BUILT}


def changed(part: str, value: Any) -> dict[str, Any]:
    results = copy.deepcopy(RESULTS)
    results[part] = value
    return results


@pytest.mark.parametrize("which", sorted(BUILDING_COMMANDS))
def test_the_results_of_a_command_that_builds_are_believed(tmp_path, which):
    assert unbuilt(tmp_path, changed("args", {"which": which})) == UNBUILT
    assert {"run", "build", "seed", "snapshot", "retry"} == BUILDING_COMMANDS


@pytest.mark.parametrize(
    "which", ["generate", "docs generate", "show", "run-operation", "compile", "list", "buildx", "", None, ["build"]]
)
def test_the_results_of_other_commands_are_not(tmp_path, which):
    found = last_run(tmp_path, changed("args", {"which": which}))
    assert (found.statuses, found.command, found.builds) == ({}, "", False)
    assert "run_results.json was written by" in found.unreliable_because


def test_those_of_dbt_test_are_believed_and_build_nothing(tmp_path):
    tested = changed("args", {"which": "test"})
    tested["results"] = [{"unique_id": "test.shop.unique_users_id.1f", "status": "fail"}]
    found = last_run(tmp_path, tested)
    assert (found.command, found.builds, found.unreliable_because) == ("test", False, "")
    assert found.statuses == {"test.shop.unique_users_id.1f": "fail"}


@pytest.mark.parametrize(
    ("of_results", "of_manifest"),
    [("inv-2", "inv-1"), (None, "inv-1"), ("", ""), (None, None), ("inv-1", None), ("None", None)],
)
def test_the_results_of_another_invocation_are_not(tmp_path, of_results, of_manifest):
    results = changed("metadata", {"invocation_id": of_results})
    assert unbuilt(tmp_path, results, invocation_id=of_manifest) == {}


@pytest.mark.parametrize("status", ["success", "pass", "warn", "reused", "no-op"])
def test_these_leave_the_table_as_it_should_be(tmp_path, status):
    assert unbuilt(tmp_path, changed("results", [{"unique_id": "model.shop.users", "status": status}])) == {}


@pytest.mark.parametrize("status", ["error", "fail", "skipped", "runtime error", "partial success", "cancelled"])
def test_these_do_not(tmp_path, status):
    results = changed("results", [{"unique_id": "model.shop.users", "status": status}])
    assert unbuilt(tmp_path, results) == {"model.shop.users": status}


@pytest.mark.parametrize(
    "results",
    [
        pytest.param(None, id="none"),
        pytest.param(changed("metadata", None), id="null metadata"),
        pytest.param(changed("metadata", ["inv-1"]), id="a list as metadata"),
        pytest.param(changed("args", None), id="null args"),
        pytest.param(changed("args", "build"), id="text as args"),
        pytest.param(changed("results", [None, "x", 7]), id="results of another sort"),
    ],
)
def test_results_that_cannot_be_read_say_nothing(tmp_path, results):
    assert unbuilt(tmp_path, results) == {}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        pytest.param(b"", "is not a dbt artifact", id="empty"),
        pytest.param(json.dumps(RESULTS).encode()[:-20], "is not a dbt artifact", id="half written"),
        pytest.param(b'{"args": "\xff"}', "is not a dbt artifact", id="not UTF-8"),
        pytest.param([], "is not a dbt artifact", id="a list"),
        pytest.param({}, "is not a dbt artifact", id="an empty object"),
        pytest.param(changed("results", None), "is not a dbt artifact", id="null results"),
        pytest.param(changed("results", {"model.shop.bad": "error"}), "is not a dbt artifact", id="results by id"),
    ],
)
def test_results_that_may_hide_a_failure_are_refused(tmp_path, results, message):
    with pytest.raises(ConfigError, match=message) as caught:
        last_run(tmp_path, results)
    assert str(tmp_path / "run_results.json") in caught.value.message
    assert "dbt build" in caught.value.hint


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["", "build", "inv-1", "pendo", "model", "success"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "args", "results", "which", "invocation_id", "status", "unique_id", "meta"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_results_file_whatever_it_holds_breaks_a_run(tmp_path, document):
    with contextlib.suppress(ConfigError):
        assert isinstance(last_run(tmp_path, json.dumps(document).encode()), LastRun)
