"""Reads `run_results.json`: what the last dbt command did to each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbt_pendo.errors import ConfigError
from dbt_pendo.project.manifest import Manifest, as_mapping, as_mappings, read_artifact

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
    path = target_path / "run_results.json"
    if not path.exists():
        return LastRun(unreliable_because=f"there is no {path.name} to say what dbt built")
    document = read_artifact(path)
    metadata, arguments = as_mapping(document.get("metadata")), as_mapping(document.get("args"))
    command = arguments.get("which")
    if not isinstance(command, str) or command not in BUILDING_COMMANDS | {"test"}:
        # dbt's own name for `dbt docs generate`.
        spoken = "docs generate" if command == "generate" else command
        written = f"`dbt {spoken}`" if isinstance(spoken, str) else "no command that is known"
        return LastRun(unreliable_because=f"{path.name} was written by {written}, which does not say what was built")
    if not manifest.invocation_id or metadata.get("invocation_id") != manifest.invocation_id:
        return LastRun(unreliable_because=f"{path.name} is of another dbt invocation than {manifest.path.name}")
    if not isinstance(document.get("results"), list):
        raise ConfigError(f"{path} lists no results.", "Run `dbt build` to write it anew.")
    statuses = {str(one.get("unique_id")): str(one.get("status")) for one in as_mappings(document["results"])}
    partial = next((f"--{flag}" for flag in ("empty", "sample") if arguments.get(flag)), "")
    return LastRun(command, statuses, partial)
