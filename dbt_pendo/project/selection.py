"""Applies ``--select``, ``--exclude`` and ``--selector`` to the manifest, by dbt's own selector engine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from dbt_pendo.errors import ConfigError
from dbt_pendo.wording import shortened


def select_nodes(
    manifest_path: Path,
    project_dir: Path,
    select: Sequence[str],
    exclude: Sequence[str],
    selector: str | None,
    state: Path | None = None,
) -> tuple[set[str], list[str]]:
    """Returns the ids of the nodes that dbt would select, and what dbt says of criteria that match none.

    Args:
        manifest_path: The manifest to select from.
        project_dir: Where ``selectors.yml`` would be.
        select: dbt's selection syntax, one or several specifiers in each text.
        exclude: The same, to leave out.
        selector: The name of a selector in ``selectors.yml``, to use instead of the two above.
        state: The folder of the manifest that `state:` compares with.

    Raises:
        ConfigError: If dbt does not understand the selection, or cannot read the manifest.
    """
    from dbt.artifacts.schemas.manifest import WritableManifest
    from dbt.compilation import Linker
    from dbt.contracts.graph.manifest import Manifest
    from dbt.contracts.project import ProjectFlags
    from dbt.contracts.state import PreviousState
    from dbt.flags import set_from_args
    from dbt.graph.cli import parse_difference
    from dbt.graph.graph import Graph
    from dbt.graph.selector import NodeSelector
    from dbt.version import __version__ as dbt_version
    from dbt_common.events.event_manager import EventManager
    from dbt_common.events.event_manager_client import ctx_set_event_manager
    from dbt_common.exceptions import DbtBaseException

    # Without a logger; a command may have dropped dbt's events before.
    events = EventManager()
    ctx_set_event_manager(events)
    # Project flags decide how dbt reads a manifest that another version of it wrote.
    set_from_args(argparse.Namespace(indirect_selection="eager", project_dir=str(project_dir)), ProjectFlags())
    try:
        document = _with_metas(orjson.loads(manifest_path.read_bytes()))
        manifest = Manifest.from_writable_manifest(WritableManifest.upgrade_schema_version(document))
        linker = Linker()
        linker.link_graph(manifest)
    except Exception as error:  # dbt checks little of what it reads, so this may be any
        why = shortened(" ".join(str(error).split()), 200)
        raise ConfigError(
            f"{manifest_path}: dbt {dbt_version} cannot select from it: {why}",
            "Run `dbt build` to write it anew, or leave out --select and the like.",
        ) from None
    unmatched: list[str] = []

    def note(event: Any) -> None:
        if event.info.name == "NoNodesForSelectionCriteria":
            unmatched.append(event.info.msg)

    events.add_callback(note)
    before = Path.cwd()
    try:
        if selector:
            spec = _named_selector(project_dir, selector)
        else:
            spec = parse_difference(list(select) or None, list(exclude) or None)
        # The method `path:` searches the working directory, which for dbt is the project.
        os.chdir(project_dir)
        previous = state and PreviousState(state, manifest_path.parent, project_dir)
        return set(NodeSelector(Graph(linker.graph), manifest, previous).get_selected(spec)), unmatched
    except (DbtBaseException, ValueError, KeyError) as error:
        hint = "Name the folder of the other manifest with --state." if "state" in str(error) and not state else ""
        raise ConfigError(f"dbt does not understand the selection: {str(error).strip()}", hint) from None
    finally:
        ctx_set_event_manager(EventManager())
        os.chdir(before)


def _with_metas(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns a manifest without a null ``meta``: dbt v2 may write one, and dbt v1 does not read it."""
    for node in manifest.get("nodes", {}).values():
        columns = [column for column in (node.get("columns") or {}).values() if isinstance(column, dict)]
        for holder in (node, node.get("config"), *columns, *(column.get("config") for column in columns)):
            if isinstance(holder, dict) and holder.get("meta", {}) is None:
                holder["meta"] = {}
    return manifest


def _named_selector(project_dir: Path, name: str) -> object:
    from dbt.config.selectors import selector_config_from_data, selector_data_from_root

    selectors = selector_config_from_data(selector_data_from_root(str(project_dir)) or {"selectors": []})
    if name not in selectors:
        known = ", ".join(selectors) or "none"
        raise ConfigError(f"There is no selector {name!r} in selectors.yml.", f"Selectors there: {known}.")
    chosen = selectors[name]
    return chosen["definition"] if isinstance(chosen, dict) else chosen
