"""What the last dbt command did to each node, as far as ``run_results.json`` can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbt_pendo.errors import ConfigError
from dbt_pendo.project.manifest import Manifest, as_mapping, read_artifact

BUILDING_COMMANDS = frozenset({"run", "build", "seed", "snapshot", "retry"})
# Of dbt's statuses, those that leave a model's table as it should be.
BUILT = frozenset({"success", "pass", "warn", "reused", "no-op"})


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last dbt command.

    Attributes:
        command: Its name as dbt has it, such as ``build``; empty when there is nothing to believe.
        statuses: dbt's status of each node that it ran, tests included.
        partial: The flag by which it built tables without all their rows, such as ``--empty``; empty when it did not.
        doubt: Why nothing is believed; empty when something is.
    """

    command: str = ""
    statuses: Mapping[str, str] = field(default_factory=dict)
    partial: str = ""
    doubt: str = ""

    @property
    def builds(self) -> bool:
        """Whether it was a command that builds models."""
        return self.command in BUILDING_COMMANDS

    def left_out(self, unique_id: str) -> bool:
        """Returns whether it built models and this was not one of them: nobody selected it."""
        return self.builds and unique_id not in self.statuses


def read_last_run(target_path: Path, manifest: Manifest) -> LastRun:
    """Reads ``run_results.json``, and believes it only where it tells the truth.

    That is when a command that builds wrote it, in the manifest's own invocation: ``docs generate``, ``show`` and
    ``run-operation`` overwrite it, and the first marks models as built that were not (dbt-notes.md, trap 3). ``dbt
    test`` builds nothing, but what it says of tests is so.

    Args:
        target_path: dbt's target folder.
        manifest: The manifest beside it.

    Raises:
        ConfigError: If it is there and broken: what it said may have been a failure.
    """
    path = target_path / "run_results.json"
    if not path.exists():
        return LastRun(doubt=f"there is no {path.name} to say what dbt built")
    document = read_artifact(path)
    metadata, arguments = as_mapping(document.get("metadata")), as_mapping(document.get("args"))
    command = arguments.get("which")
    if not isinstance(command, str) or command not in BUILDING_COMMANDS | {"test"}:
        written = f"`dbt {_spoken(command)}`" if isinstance(command, str) else "no command that is known"
        return LastRun(doubt=f"{path.name} was written by {written}, which does not say what was built")
    if not manifest.invocation_id or metadata.get("invocation_id") != manifest.invocation_id:
        return LastRun(doubt=f"{path.name} is of another dbt invocation than {manifest.path.name}")
    results = document.get("results")
    if not isinstance(results, list):
        raise ConfigError(f"{path} lists no results.", "Run `dbt build` to write it anew.")
    partial = next((f"--{flag}" for flag in ("empty", "sample") if arguments.get(flag)), "")
    return LastRun(command, _statuses(results), partial)


def _statuses(results: list[Any]) -> Mapping[str, str]:
    return {str(result.get("unique_id")): str(result.get("status")) for result in results if isinstance(result, dict)}


def _spoken(command: str) -> str:
    # dbt's own name for `dbt docs generate`.
    return "docs generate" if command == "generate" else command
