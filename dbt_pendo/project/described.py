"""One model of the manifest, whether it carries ``meta.pendo`` or not, and what dbt knows of its columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt_pendo.errors import ConfigError
from dbt_pendo.project.artifacts import (
    MANIFEST,
    Model,
    as_mapping,
    is_annotated,
    is_syncable,
    read_manifest_document,
    read_model,
)
from dbt_pendo.spec.wording import closest, listing, quoted


@dataclass(frozen=True, slots=True)
class DescribedColumn:
    """A column as the project's YAML describes it: its name, and its type if that is said."""

    name: str
    dtype: str | None


@dataclass(frozen=True, slots=True)
class Described:
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


def find_model(target_path: Path, name: str) -> Described:
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
        meant = closest(name.rpartition(".")[2], names)
        hint = f"Did you mean {quoted(meant)}? " if meant else ""
        raise ConfigError(
            f"There is no model {quoted(name)} in {target_path / MANIFEST}.",
            f"{hint}If it is new, run `dbt parse` first.",
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


def _described(document: Mapping[str, Any], unique_id: str) -> Described:
    node = document["nodes"][unique_id]
    config = as_mapping(node.get("config"))
    patch = node.get("patch_path")
    columns = [(name, as_mapping(column)) for name, column in as_mapping(node.get("columns")).items()]
    return Described(
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
