"""Reads dbt's `manifest.json`: the models that carry `meta.pendo`, and a model by its name.

Reads its `run_results.json` too: what the last dbt command did to each node.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import orjson

from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.spec import PII, Annotation, CurrentRows, Model, Relation
from dbt_pendo.wording import closest, listing, quoted

# dbt 1.8 to 1.12 and dbt v2 write v12, early previews of v2 v20 (dbt-notes.md, Versions).
SUPPORTED_MANIFESTS = (12, 20)
MANIFEST, RUN_RESULTS = "manifest.json", "run_results.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of the manifest that concern syncs."""

    path: Path
    # The name of the dbt project.
    project: str
    # Of the dbt command that wrote it.
    invocation_id: str
    # The adapter that it was written for.
    adapter_type: str
    # The annotated models, parents before children.
    models: tuple[Model, ...]
    # The file of each exposure of the project, by the exposure's name.
    exposures: Mapping[str, str]
    # What looks like a misspelt `meta.pendo`, in sentences without their full stop.
    misspelt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model as the project's YAML describes it."""

    model: Model
    # ``model``, ``seed`` or ``snapshot``.
    kind: str
    # The YAML file with an entry of the model; None if there is none.
    entry: str | None
    # The columns of its primary key, else those of its ``unique_key``.
    key: Sequence[str]
    # The type of each described column by its name; empty if the YAML does not say it.
    columns: Mapping[str, str]


def read_manifest(target_path: Path) -> Manifest:
    """Reads the annotated models in dbt's target folder.

    Raises:
        ConfigError: If there is no manifest, it is none, or a version that this release does not know.
    """
    document = _read_document(target_path)
    metadata, nodes = document["metadata"], document["nodes"]
    project = str(metadata.get("project_name") or "")
    parents = {unique_id: _parents_of(node) for unique_id, node in sorted(nodes.items())}
    tests = _tests_of({**nodes, **as_mapping(document.get("unit_tests"))})
    models = {unique_id: _model(unique_id, document) for unique_id, node in nodes.items() if _is_syncable(node)}
    return Manifest(
        path=target_path / MANIFEST,
        project=project,
        invocation_id=str(metadata.get("invocation_id") or ""),
        adapter_type=str(metadata.get("adapter_type") or ""),
        models=tuple(
            replace(
                model,
                ancestors=(ancestors := _ancestors(unique_id, parents)),
                tests=frozenset(tests.get(unique_id, ())),
                tests_above=_tests_above(ancestors, tests, parents),
            )
            for unique_id in _build_order(parents)
            if (model := models.get(unique_id)) and model.is_annotated
        ),
        exposures={
            str(exposure.get("name")): str(exposure.get("original_file_path"))
            for exposure in map(as_mapping, as_mapping(document.get("exposures")).values())
            if exposure.get("package_name") == project
        },
        misspelt=tuple(
            f"{model.annotation.file}: {model.name}: nothing reads `meta.{key}`; did you mean `meta.pendo`?"
            for unique_id, model in models.items()
            if not model.is_annotated
            for key in _misspelt(nodes[unique_id])
        ),
    )


def read_relations(state: Path) -> dict[str, Relation]:
    """Returns where the models of another manifest are, by their ids.

    Raises:
        ConfigError: If there is no usable manifest.
    """
    document = _read_document(state)
    models = (_model(unique_id, document) for unique_id, node in document["nodes"].items() if _is_syncable(node))
    return {model.unique_id: model.relation for model in models}


def find_model(target_path: Path, name: str) -> ModelDescription:
    """Finds a model, seed or snapshot in the manifest.

    Args:
        target_path: dbt's target folder.
        name: The model: ``dim_users``, ``shop.dim_users``, ``dim_users.v2``, ``dim_users_v2``, or dbt's unique id.
            The name of a versioned model alone means its latest version, as in ``ref``.

    Raises:
        ConfigError: If there is no usable manifest, no model of that name in it, or several.
    """
    document = _read_document(target_path)
    nodes = {unique_id: node for unique_id, node in document["nodes"].items() if _is_syncable(node)}
    found = [unique_id for unique_id, node in nodes.items() if name in _names(unique_id, node)]
    if not found:
        meant = closest(name.rpartition(".")[2], sorted({str(node.get("name")) for node in nodes.values()}))
        hint = f"Did you mean {quoted(meant)}? " if meant else ""
        raise ConfigError(
            f"There is no model {quoted(name)} in {target_path / MANIFEST}.",
            f"{hint}If it is new, run `dbt parse` first.",
        )
    # As ``ref`` does, prefer the project's own models, and the latest of the versions.
    project = document["metadata"].get("project_name")
    found = [one for one in found if nodes[one].get("package_name") == project] or found
    found = [one for one in found if nodes[one].get("version") == nodes[one].get("latest_version")] or found
    if len(found) > 1:
        raise ConfigError(f"{quoted(name)} may mean {listing(found, last='or')}.", "Write one of these ids instead.")
    node = nodes[found[0]]
    columns = [(name, as_mapping(column)) for name, column in as_mapping(node.get("columns")).items()]
    return ModelDescription(
        model=_model(found[0], document),
        kind=str(node.get("resource_type")),
        entry=_patch_file(node),
        key=as_texts(node.get("primary_key")) or as_texts(as_mapping(node.get("config")).get("unique_key")),
        columns={str(column.get("name") or name): str(column.get("data_type") or "") for name, column in columns},
    )


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


def read_current_rows(config: Mapping[str, Any]) -> CurrentRows:
    """Reads from a snapshot's config how to tell its current rows; the config of dbt 1.8 does not say."""
    names, default = as_mapping(config.get("snapshot_meta_column_names")), CurrentRows()
    return CurrentRows(
        valid_to=str(names.get("dbt_valid_to") or default.valid_to),
        valid_to_current=str(config.get("dbt_valid_to_current") or "") or None,
        is_deleted=str(names.get("dbt_is_deleted") or default.is_deleted),
    )


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Returns a part of an artifact that dbt may leave out, or write as null."""
    return value if isinstance(value, dict) else {}


def as_mappings(value: Any) -> list[Mapping[str, Any]]:
    """Returns the mappings of a list that may be missing or hold something else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def as_texts(value: Any) -> list[str]:
    """Returns one text or a list of them, as a list."""
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text]


def _read_document(target_path: Path) -> dict[str, Any]:
    path = target_path / MANIFEST
    document = read_artifact(path)
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(document.get("nodes"), dict):
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


def _model(unique_id: str, document: Mapping[str, Any]) -> Model:
    """Returns a model without its place in dbt's graph."""
    node = document["nodes"][unique_id]
    config = as_mapping(node.get("config"))
    name, package, version = str(node.get("name")), str(node.get("package_name") or ""), node.get("version")
    groups = as_mapping(document.get("groups"))
    group = as_mapping(groups.get(f"group.{package}.{config.get('group') or node.get('group')}"))
    return Model(
        unique_id=unique_id,
        name=name,
        relation=Relation(
            node.get("relation_name"), node.get("database"), str(node.get("schema")), str(node.get("alias") or name)
        ),
        materialized=str(config.get("materialized")),
        annotation=_annotation(unique_id, name if version is None else f"{name}_v{version}", node),
        package=package,
        version=version,
        owner=as_mapping(group.get("owner")),
        is_placed_by_target=all(
            config.get(name) is None for name in ("schema", "database", "target_schema", "target_database")
        ),
        is_private=(config.get("access") or node.get("access")) == "private",
        current_rows=read_current_rows(config) if node.get("resource_type") == "snapshot" else None,
    )


def _annotation(unique_id: str, name: str, node: Mapping[str, Any]) -> Annotation:
    file = _patch_file(node) or str(node.get("original_file_path") or node.get("path"))
    metas = _pendo_metas(node)
    if metas == [None]:
        # Null takes the columns out as well.
        return Annotation(unique_id, name, file, None)
    columns = {
        str(as_mapping(column).get("name") or key): meta
        for key, column in as_mapping(node.get("columns")).items()
        for meta in _pendo_metas(as_mapping(column))
        # dbt v2 lets columns that have no meta of their own inherit the model's.
        if meta not in metas
    }
    return Annotation(unique_id, name, file, metas[0] if metas else None, columns, _marks(node))


def _marks(node: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Returns what marks each column as personal data: its meta, and its tags."""
    marks = {}
    for key, value in as_mapping(node.get("columns")).items():
        column = as_mapping(value)
        config = as_mapping(column.get("config"))
        found = [PII] if any(meta.get("pii") is True for meta in _metas(column)) else []
        found += [*as_texts(column.get("tags")), *as_texts(config.get("tags"))]
        if found:
            marks[str(column.get("name") or key).lower()] = tuple(dict.fromkeys(found))
    return marks


def _pendo_metas(node: Mapping[str, Any]) -> list[Any]:
    """Returns what ``meta.pendo`` says, or nothing: that of ``config.meta``, else that of the older ``meta``."""
    return [meta["pendo"] for meta in _metas(node) if "pendo" in meta][:1]


def _metas(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns ``config.meta`` of a model or a column, and the older ``meta``."""
    return [as_mapping(as_mapping(node.get("config")).get("meta")), as_mapping(node.get("meta"))]


def _misspelt(node: Mapping[str, Any]) -> list[str]:
    """Returns the keys of a node's meta that look like `pendo`."""
    return sorted({key for meta in _metas(node) for key in map(str, meta) if _looks_like_pendo(key)})


@functools.cache
def _looks_like_pendo(key: str) -> bool:
    # Close enough for `pendoo` and `Pendo`, and not for `vendor`. Many models have the same few keys.
    return bool(difflib.get_close_matches(key.lower(), ["pendo"], cutoff=0.88))


def _patch_file(node: Mapping[str, Any]) -> str | None:
    """Returns the YAML file with an entry of a model; dbt writes ``shop://models/users.yml``."""
    patch = node.get("patch_path")
    return str(patch).split("://", 1)[-1] if patch else None


def _is_syncable(node: Any) -> bool:
    return as_mapping(node).get("resource_type") in ("model", "seed", "snapshot")


def _names(unique_id: str, node: Mapping[str, Any]) -> Collection[str]:
    """Returns all that a user may call a node."""
    name, package, version = node.get("name"), node.get("package_name"), node.get("version")
    names = [f"{name}"] if version is None else [f"{name}", f"{name}.v{version}", f"{name}_v{version}"]
    return {unique_id, *names, *(f"{package}.{one}" for one in names)}


def _parents_of(node: Any) -> list[str]:
    parents = as_mapping(as_mapping(node).get("depends_on")).get("nodes")
    return sorted(map(str, parents)) if isinstance(parents, list) else []


def _build_order(parents: Mapping[str, Iterable[str]]) -> Sequence[str]:
    """Returns the nodes in the order in which dbt would build them."""
    try:
        return list(TopologicalSorter(parents).static_order())
    except CycleError:
        return list(parents)


def _ancestors(unique_id: str, parents: Mapping[str, Iterable[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = [unique_id]
    while waiting:
        new = set(parents.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return frozenset(found)


def _tests_of(nodes: Mapping[str, Any]) -> Mapping[str, Collection[str]]:
    """Returns the tests of each node, unit tests among them."""
    tests: dict[str, set[str]] = {}
    for unique_id, node in nodes.items():
        if unique_id.startswith(("test.", "unit_test.")):
            # A test of relationships also reads the other model, and says nothing about that one.
            attached = as_mapping(node).get("attached_node")
            for tested in [str(attached)] if attached else _parents_of(node):
                tests.setdefault(tested, set()).add(unique_id)
    return tests


def _tests_above(
    ancestors: frozenset[str], tests: Mapping[str, Collection[str]], parents: Mapping[str, Collection[str]]
) -> frozenset[str]:
    """Returns the tests that dbt would wait for: those that read nothing but what a model is made of."""
    found = {test for ancestor in ancestors for test in tests.get(ancestor, ())}
    return frozenset(test for test in found if ancestors.issuperset(parents.get(test, ())))


BUILDING_COMMANDS = frozenset({"run", "build", "seed", "snapshot", "retry"})
# Of dbt's statuses, those that leave a model's table as it should be.
BUILT = frozenset({"success", "pass", "warn", "reused", "no-op"})


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last dbt command, or the one that published a build."""

    # Its name as dbt has it, such as ``build``; empty if it is not known.
    command: str = ""
    # dbt's status of each node that it ran, tests included.
    statuses: Mapping[str, str] = field(default_factory=dict)
    # The flag by which it built tables without all their rows, such as ``--empty``; empty if there was none.
    partial: str = ""
    # Why run_results.json is ignored; empty if it is used.
    unreliable_because: str = ""
    # Whether it published models without saying if they were built.
    published_as_is: bool = False
    # Whether it read models that it did not build from where another manifest has them.
    deferred: bool = False
    # The target that it was told to use; empty if it was not told, and took the profile's.
    target: str = ""

    @property
    def builds(self) -> bool:
        """Whether it was a command that builds models."""
        return self.command in BUILDING_COMMANDS

    def left_out(self, unique_id: str) -> bool:
        """Returns whether it built models and this was not one of them: it was not selected."""
        return self.builds and unique_id not in self.statuses


def read_last_run(target_path: Path, manifest: Manifest) -> LastRun:
    """Reads ``run_results.json``, and uses it only if a command that builds or tests wrote it with the manifest.

    ``docs generate``, ``show`` and ``run-operation`` overwrite it, and the first marks models as built that were not
    (dbt-notes.md, trap 3). ``dbt test`` builds nothing, but its results of tests are right.

    Raises:
        ConfigError: If it is there and broken: it may have held a failure.
    """
    path = target_path / RUN_RESULTS
    if not path.exists():
        return LastRun(unreliable_because=f"there is no {path.name} to say what dbt built")
    document = read_artifact(path)
    metadata, arguments = as_mapping(document.get("metadata")), as_mapping(document.get("args"))
    command = arguments.get("which")
    is_of_manifest = bool(manifest.invocation_id) and metadata.get("invocation_id") == manifest.invocation_id
    target = str(arguments.get("target") or "") if is_of_manifest else ""
    if not isinstance(command, str) or command not in BUILDING_COMMANDS | {"test"}:
        # dbt's own name for `dbt docs generate`.
        spoken = "docs generate" if command == "generate" else command
        written = f"`dbt {spoken}`" if isinstance(spoken, str) else "no command that is known"
        unreliable = f"{path.name} was written by {written}, which does not say what was built"
        return LastRun(unreliable_because=unreliable, target=target)
    if not is_of_manifest:
        return LastRun(unreliable_because=f"{path.name} is of another dbt invocation than {manifest.path.name}")
    if not isinstance(document.get("results"), list):
        raise ConfigError(f"{path} lists no results.", "Run `dbt build` to write it anew.")
    statuses = {str(one.get("unique_id")): str(one.get("status")) for one in as_mappings(document["results"])}
    partial = next((f"--{flag}" for flag in ("empty", "sample") if arguments.get(flag)), "")
    return LastRun(command, statuses, partial, deferred=bool(arguments.get("defer")), target=target)
