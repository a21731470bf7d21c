"""Reads dbt's `manifest.json`: the models that carry `meta.pendo`, and a model by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import orjson

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.spec import Annotation
from dbt_pendo.wording import did_you_mean, listing, quoted

# dbt 1.8 to 1.12 and dbt v2 write v12, early previews of v2 v20 (dbt-notes.md, Versions).
SUPPORTED_MANIFESTS = (12, 20)
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class CurrentRows:
    """What tells the current rows of a snapshot's table from those that were current before.

    Attributes:
        valid_to: The column that says until when a row was current; null for one that still is.
        valid_to_current: SQL of the value that it has instead (``dbt_valid_to_current``); None where there is none.
        is_deleted: The column that is 'True' for a deleted record; dbt makes it for ``hard_deletes: new_record``.
    """

    valid_to: str = "dbt_valid_to"
    valid_to_current: str | None = None
    is_deleted: str = "dbt_is_deleted"


@dataclass(frozen=True, slots=True)
class Model:
    """A model, seed or snapshot.

    Attributes:
        unique_id: dbt's id.
        package: The dbt project or package that it belongs to.
        name: Its name there.
        version: Its version, of a versioned model.
        relation_name: The table or view, quoted for the adapter; None when nothing is materialised.
        database: The database dbt built it in.
        schema: The schema dbt built it in.
        identifier: The table's name in the warehouse.
        materialized: ``table``, ``view``, ``ephemeral`` …
        annotation: Its mapping, as the user wrote it.
        ancestors: The ids of all nodes that it is made of, near and far.
        tests: The ids of its tests, unit tests among them.
        owner: Who owns the group that it belongs to, as dbt's YAML says it; empty where nobody does.
        is_private: Whether dbt lets nothing outside its group refer to it.
        current_rows: What tells a snapshot's current rows; None for models and seeds, of which every row is current.
    """

    unique_id: str
    package: str
    name: str
    version: str | float | None
    relation_name: str | None
    database: str | None
    schema: str
    identifier: str
    materialized: str
    annotation: Annotation
    ancestors: frozenset[str] = frozenset()
    tests: frozenset[str] = frozenset()
    owner: Mapping[str, Any] = field(default_factory=dict)
    is_private: bool = False
    current_rows: CurrentRows | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the manifest says that concerns a sync.

    Attributes:
        path: The file.
        project: The name of the dbt project.
        invocation_id: The dbt invocation that wrote it.
        adapter_type: The adapter the project was built with.
        models: The annotated models in dbt's order: parents before children.
        exposures: The exposures of the project, each with the file that it stands in.
    """

    path: Path
    project: str
    invocation_id: str
    adapter_type: str
    models: tuple[Model, ...]
    exposures: Mapping[str, str] = field(default_factory=dict)


def read_manifest(target_path: Path) -> Manifest:
    """Reads ``manifest.json``.

    Args:
        target_path: dbt's target folder.

    Raises:
        ConfigError: If there is none, it is no manifest, or a version this release does not know.
    """
    document = read_manifest_document(target_path)
    metadata, nodes = document["metadata"], document["nodes"]
    project = str(metadata.get("project_name") or "")
    graph = _Graph(nodes, as_mapping(document.get("unit_tests")))
    groups = as_mapping(document.get("groups"))
    annotated = {
        unique_id: _model(unique_id, node, graph, groups)
        for unique_id, node in nodes.items()
        if is_syncable(node) and is_annotated(node)
    }
    return Manifest(
        path=target_path / MANIFEST,
        project=project,
        invocation_id=str(metadata.get("invocation_id") or ""),
        adapter_type=str(metadata.get("adapter_type") or ""),
        models=tuple(annotated[unique_id] for unique_id in graph.order if unique_id in annotated),
        exposures={
            str(exposure.get("name")): str(exposure.get("original_file_path"))
            for exposure in map(as_mapping, as_mapping(document.get("exposures")).values())
            if exposure.get("package_name") == project
        },
    )


def read_manifest_document(target_path: Path) -> dict[str, Any]:
    """Reads ``manifest.json`` as it is.

    Args:
        target_path: dbt's target folder.

    Raises:
        ConfigError: If there is none, it is no manifest, or a version this release does not know.
    """
    path = target_path / MANIFEST
    document = read_artifact(path)
    metadata = document.get("metadata")
    nodes = document.get("nodes")
    if not isinstance(metadata, dict) or not isinstance(nodes, dict):
        raise ConfigError(f"{path} is not a dbt manifest.", "Run `dbt build` to write a new one.")
    version = re.search(r"/manifest/v(\d+)\.json", str(metadata.get("dbt_schema_version")))
    if version is None or int(version[1]) not in SUPPORTED_MANIFESTS:
        found = f"version {version[1]}" if version else "an unknown version"
        raise ConfigError(
            f"{path} is a manifest of {found}; this release of dbt-pendo reads version 12, which dbt 1.8 and "
            "newer write.",
            "Run `dbt build` with such a dbt, or upgrade dbt-pendo.",
        )
    return document


def read_artifact(path: Path) -> dict[str, Any]:
    """Reads one of dbt's JSON files.

    Raises:
        ConfigError: If there is none, or it is no JSON object.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path.name} in {path.parent}.",
            "Run `dbt build` first, or name dbt's target folder with --target-path.",
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError:
        raise ConfigError(f"{path} is not JSON.", "Run `dbt build` to write it anew.") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a dbt artifact.", "Run `dbt build` to write it anew.")
    return document


def read_model(document: Mapping[str, Any], unique_id: str) -> Model:
    """Reads one model of a manifest, whether it carries ``meta.pendo`` or not.

    Args:
        document: The manifest as it is.
        unique_id: dbt's id of the model.
    """
    nodes = document["nodes"]
    graph = _Graph(nodes, as_mapping(document.get("unit_tests")))
    return _model(unique_id, nodes[unique_id], graph, as_mapping(document.get("groups")))


def _model(unique_id: str, node: Mapping[str, Any], graph: _Graph, groups: Mapping[str, Any]) -> Model:
    config = as_mapping(node.get("config"))
    name = str(node.get("name"))
    package = str(node.get("package_name") or "")
    version = node.get("version")
    group = as_mapping(groups.get(f"group.{package}.{config.get('group') or node.get('group')}"))
    return Model(
        unique_id=unique_id,
        package=package,
        name=name,
        version=version,
        relation_name=node.get("relation_name"),
        database=node.get("database"),
        schema=str(node.get("schema")),
        identifier=str(node.get("alias") or name),
        materialized=str(config.get("materialized")),
        annotation=Annotation(
            unique_id=unique_id,
            model=f"{name}_v{version}" if version is not None else name,
            file=_declared_in(node),
            meta=_pendo_of(node)[1],
            columns=_annotated_columns(node),
        ),
        ancestors=graph.ancestors(unique_id),
        tests=graph.tests.get(unique_id, frozenset()),
        owner=as_mapping(group.get("owner")),
        is_private=(config.get("access") or node.get("access")) == "private",
        current_rows=read_current_rows(config) if node.get("resource_type") == "snapshot" else None,
    )


def read_current_rows(config: Mapping[str, Any]) -> CurrentRows:
    """Returns what tells the current rows of a snapshot.

    Args:
        config: The snapshot's config; that of dbt 1.8 says nothing.
    """
    names, default = as_mapping(config.get("snapshot_meta_column_names")), CurrentRows()
    return CurrentRows(
        valid_to=str(names.get("dbt_valid_to") or default.valid_to),
        valid_to_current=str(config.get("dbt_valid_to_current") or "") or None,
        is_deleted=str(names.get("dbt_is_deleted") or default.is_deleted),
    )


def is_syncable(node: Any) -> bool:
    """Returns whether a node of the manifest is one that can become a sync: a model, a seed or a snapshot."""
    return isinstance(node, dict) and node.get("resource_type") in ("model", "seed", "snapshot")


def is_annotated(node: Mapping[str, Any]) -> bool:
    """Returns whether a node or one of its columns carries ``meta.pendo``; null there carries none."""
    return _pendo_of(node)[1] is not None or bool(_annotated_columns(node))


def _annotated_columns(node: Mapping[str, Any]) -> dict[str, Any]:
    marked, meta = _pendo_of(node)
    if marked and meta is None:
        return {}
    return {
        str(as_mapping(column).get("name") or name): value
        for name, column in as_mapping(node.get("columns")).items()
        for present, value in [_pendo_of(as_mapping(column))]
        # dbt v2 lets columns that have no meta of their own inherit the model's.
        if present and not (marked and value == meta)
    }


def _pendo_of(node: Mapping[str, Any]) -> tuple[bool, Any]:
    """Returns whether ``meta.pendo`` is there, and what it says: ``config.meta`` first, then the older ``meta``."""
    for meta in (as_mapping(node.get("config")).get("meta"), node.get("meta")):
        if isinstance(meta, dict) and "pendo" in meta:
            return True, meta["pendo"]
    return False, None


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Returns a part of an artifact that dbt may leave out, or write as null."""
    return value if isinstance(value, dict) else {}


def _declared_in(node: Mapping[str, Any]) -> str:
    """Returns the YAML file that describes a model, else the file the model itself stands in."""
    patch = node.get("patch_path")
    if patch:
        return str(patch).split("://", 1)[-1]
    return str(node.get("original_file_path") or node.get("path"))


class _Graph:
    """Which node is made of which, and tested by which."""

    def __init__(self, nodes: Mapping[str, Any], unit_tests: Mapping[str, Any]) -> None:
        self._parents = {
            unique_id: _parents_of(node) for unique_id, node in sorted(nodes.items()) if isinstance(node, dict)
        }
        tests: dict[str, set[str]] = {}
        for unique_id, node in (*nodes.items(), *unit_tests.items()):
            for tested in _tested_by(unique_id, as_mapping(node)):
                tests.setdefault(tested, set()).add(unique_id)
        self.tests = {tested: frozenset(testing) for tested, testing in tests.items()}

    @property
    def order(self) -> Sequence[str]:
        """The nodes as dbt would build them, parents first."""
        try:
            return list(TopologicalSorter(self._parents).static_order())
        except CycleError:
            return list(self._parents)

    def ancestors(self, unique_id: str) -> frozenset[str]:
        """Returns all nodes that one is made of."""
        found: set[str] = set()
        waiting = [unique_id]
        while waiting:
            parents = set(self._parents.get(waiting.pop(), ())) - found
            found |= parents
            waiting += parents
        return frozenset(found)


def _parents_of(node: Mapping[str, Any]) -> list[str]:
    parents = as_mapping(node.get("depends_on")).get("nodes")
    return sorted(map(str, parents)) if isinstance(parents, list) else []


def _tested_by(unique_id: str, node: Mapping[str, Any]) -> list[str]:
    """Returns the nodes that a test is about; none for what is no test."""
    if not unique_id.startswith(("test.", "unit_test.")):
        return []
    # A test of relationships also reads the other model, and says nothing about that one.
    attached = node.get("attached_node")
    return [str(attached)] if attached else _parents_of(node)


@dataclass(frozen=True, slots=True)
class DescribedColumn:
    """A column as the project's YAML describes it: its name, and its type if that is said."""

    name: str
    dtype: str | None


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model as the project describes it.

    Attributes:
        model: The model.
        kind: ``model``, ``seed`` or ``snapshot``.
        is_annotated: Whether it carries ``meta.pendo`` already.
        entry: The YAML file with an entry of it; None if no file has one.
        key: The columns that dbt takes for its primary key; else those of its ``unique_key``.
        columns: Its described columns.
    """

    model: Model
    kind: str
    is_annotated: bool
    entry: str | None
    key: Sequence[str]
    columns: Sequence[DescribedColumn]


def find_model(target_path: Path, name: str) -> ModelDescription:
    """Finds a model, seed or snapshot in the manifest.

    Args:
        target_path: dbt's target folder.
        name: The model: ``dim_users``, ``shop.dim_users``, ``dim_users.v2``, ``dim_users_v2``, or dbt's unique id.
            The name of a versioned model alone means its latest version, as in ``ref``.

    Raises:
        ConfigError: If there is no usable manifest, none of that name in it, or several.
    """
    document = read_manifest_document(target_path)
    nodes = {unique_id: node for unique_id, node in document["nodes"].items() if is_syncable(node)}
    found = [unique_id for unique_id, node in nodes.items() if name in _names(unique_id, node)]
    if len(found) > 1:
        found = _preferred(found, nodes, as_mapping(document["metadata"]).get("project_name"))
    if not found:
        names = sorted({str(node.get("name")) for node in nodes.values()})
        advice = did_you_mean(name.rpartition(".")[2], names)
        raise ConfigError(
            f"There is no model {quoted(name)} in {target_path / MANIFEST}.",
            f"{advice} If it is new, run `dbt parse` first.".lstrip(),
        )
    if len(found) > 1:
        raise ConfigError(f"{quoted(name)} may mean {listing(found, last='or')}.", "Write one of these ids instead.")
    return _described(document, found[0])


def _names(unique_id: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yields all that a user may call a node."""
    name, package, version = node.get("name"), node.get("package_name"), node.get("version")
    yield unique_id
    for suffix in ("",) if version is None else ("", f".v{version}", f"_v{version}"):
        yield f"{name}{suffix}"
        yield f"{package}.{name}{suffix}"


def _preferred(found: Sequence[str], nodes: Mapping[str, Any], project: Any) -> list[str]:
    """Returns those that dbt's ``ref`` would prefer: the project's own, and the latest of the versions."""
    own = [unique_id for unique_id in found if nodes[unique_id].get("package_name") == project] or list(found)
    latest = [
        unique_id for unique_id in own if nodes[unique_id].get("version") == nodes[unique_id].get("latest_version")
    ]
    return latest or own


def _described(document: Mapping[str, Any], unique_id: str) -> ModelDescription:
    node = document["nodes"][unique_id]
    config = as_mapping(node.get("config"))
    patch = node.get("patch_path")
    columns = [(name, as_mapping(column)) for name, column in as_mapping(node.get("columns")).items()]
    return ModelDescription(
        model=read_model(document, unique_id),
        kind=str(node.get("resource_type")),
        is_annotated=is_annotated(node),
        entry=str(patch).split("://", 1)[-1] if patch else None,
        key=_texts(node.get("primary_key")) or _texts(config.get("unique_key")),
        columns=[
            DescribedColumn(str(column.get("name") or name), column.get("data_type") or None)
            for name, column in columns
        ],
    )


def _texts(value: Any) -> list[str]:
    """Returns one text or a list of them, as a list."""
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text]
