"""Runs `dbt build` in a process of its own, with the dbt that the user has."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.project.artifacts import MANIFEST, RUN_RESULTS, as_mapping, read_artifact


def run_dbt_build(arguments: Sequence[str], target_path: Path, stdout_is_ours: bool) -> tuple[int, bool]:
    """Runs ``dbt build`` to its end.

    Args:
        arguments: What follows ``build``.
        target_path: dbt's target folder.
        stdout_is_ours: Whether dbt's lines go to stderr.

    Returns:
        dbt's exit status, and whether it wrote new results: if it fails before it builds (a project that does not
        parse, a wrong flag) or selects nothing, it leaves those of an earlier run.

    Raises:
        ConfigError: If there is no dbt.
        DbtPendoError: If a signal asked us to stop, or dbt ended well and has left no manifest where we look.
    """
    results, manifest = target_path / RUN_RESULTS, target_path / MANIFEST
    before, parsed_at = _invocation(results), _written_at(manifest)
    # So that the two never look in two folders.
    environment = {**os.environ, **dict.fromkeys(("DBT_TARGET_PATH", "DBT_ENGINE_TARGET_PATH"), str(target_path))}
    # The dbt of the PATH, which may be v2; else the one that was installed with us.
    dbt_path = shutil.which("dbt") or shutil.which("dbt", path=str(Path(sys.executable).parent))
    if dbt_path is None:
        raise ConfigError("There is no `dbt` on the PATH.", "Install dbt, or activate its environment.")
    signals: list[int] = []
    started: list[subprocess.Popen[bytes]] = []
    stdout = sys.stderr if stdout_is_ours else None

    def stop(number: int, _: FrameType | None) -> None:
        signals.append(number)
        if number == signal.SIGTERM:
            # A terminal sends Ctrl-C to dbt as well; this signal only came to us.
            for dbt in started:
                dbt.send_signal(number)

    # dbt needs a moment to cancel its queries, so we wait for it.
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with subprocess.Popen([dbt_path, "build", *arguments], env=environment, stdout=stdout) as dbt:  # noqa: S603
            started.append(dbt)
            if signals:
                # It came before dbt was there.
                dbt.terminate()
            status = dbt.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if signals:
        raise DbtPendoError("Interrupted while dbt was building; nothing was synced.")
    has_built = _invocation(results) not in (None, before)
    if not (status or has_built) and (_written_at(manifest) == parsed_at or _invocation(manifest) is None):
        raise DbtPendoError(
            f"`dbt build` ended well and has written nothing to {target_path}; nothing was synced.",
            "Give --target-path, to dbt and to dbt-pendo the same.",
        )
    return status, has_built


def _written_at(path: Path) -> int | None:
    """Returns when a file was written, in nanoseconds; None if there is none. To read a manifest may take seconds."""
    return path.stat().st_mtime_ns if path.exists() else None


def _invocation(path: Path) -> str | None:
    """Returns the invocation that wrote an artifact; None if there is no such file."""
    try:
        metadata = as_mapping(read_artifact(path).get("metadata"))
    except ConfigError:
        return None
    return str(metadata.get("invocation_id"))
