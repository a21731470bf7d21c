"""Runs `dbt build` in a process of its own, with the dbt that the user has."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.project.artifacts import as_mapping, read_artifact


def run_dbt_build(arguments: Sequence[str], target_path: Path, stdout_is_ours: bool) -> tuple[int, bool]:
    """Runs ``dbt build`` to its end.

    Args:
        arguments: What follows ``build``.
        target_path: dbt's target folder.
        stdout_is_ours: Whether dbt's lines go to stderr.

    Returns:
        dbt's exit status, and whether it wrote new results: if it fails before it builds (a project that does not
        parse, a wrong flag), it leaves those of an earlier run.

    Raises:
        ConfigError: If there is no dbt.
        DbtPendoError: If a signal asked us to stop.
    """
    before = _invocation(target_path)
    # The dbt of the PATH, which may be v2; else the one that was installed with us.
    dbt_path = shutil.which("dbt") or shutil.which("dbt", path=str(Path(sys.executable).parent))
    if dbt_path is None:
        raise ConfigError("There is no `dbt` on the PATH.", "Install dbt, or activate its environment.")
    signals: list[int] = []
    with subprocess.Popen([dbt_path, "build", *arguments], stdout=sys.stderr if stdout_is_ours else None) as dbt:  # noqa: S603

        def stop(number: int, _: FrameType | None) -> None:
            signals.append(number)
            if number == signal.SIGTERM:
                # A terminal sends Ctrl-C to dbt as well; this signal only came to us.
                dbt.send_signal(number)

        # dbt needs a moment to cancel its queries, so we wait for it.
        handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            status = dbt.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    if signals:
        raise DbtPendoError("Interrupted while dbt was building; nothing was synced.")
    return status, _invocation(target_path) not in (None, before)


def _invocation(target_path: Path) -> str | None:
    """Returns the invocation that wrote ``run_results.json``; None if there is no such file."""
    try:
        metadata = as_mapping(read_artifact(target_path / "run_results.json").get("metadata"))
    except ConfigError:
        return None
    return str(metadata.get("invocation_id"))
