"""``dbt build`` in a process of its own, by whichever dbt the user has."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.project.manifest import as_mapping, read_artifact


def run_dbt_build(arguments: Sequence[str], target_path: Path, stdout_is_ours: bool) -> tuple[int, bool]:
    """Runs ``dbt build`` to its end.

    Args:
        arguments: What follows ``build``.
        target_path: dbt's target folder.
        stdout_is_ours: Keep dbt from writing to stdout; its lines go to stderr.

    Returns:
        dbt's exit status, and whether it has left results of its own: it leaves those of an earlier run when it does
        not get as far as to build (a project that does not parse, a flag that is wrong).

    Raises:
        ConfigError: If there is no dbt.
        DbtPendoError: If we were told to stop meanwhile.
    """
    before = _invocation(target_path)
    command = [_dbt(), "build", *arguments]
    signals: list[int] = []
    with subprocess.Popen(command, stdout=sys.stderr if stdout_is_ours else None) as dbt:  # noqa: S603

        def stop(number: int, _: FrameType | None) -> None:
            signals.append(number)
            if number == signal.SIGTERM:
                # A terminal tells dbt of Ctrl-C itself; of this only we know.
                dbt.send_signal(number)

        # dbt needs a moment to cancel its queries, so it is waited for.
        handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            status = dbt.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    if signals:
        raise DbtPendoError("Interrupted while dbt was building; nothing was synced.")
    return status, _invocation(target_path) not in (None, before)


def _dbt() -> str:
    """Returns the dbt of the PATH, which may be v2; else the one that was installed with us."""
    found = shutil.which("dbt") or shutil.which("dbt", path=str(Path(sys.executable).parent))
    if found is None:
        raise ConfigError("There is no `dbt` on the PATH.", "Install dbt, or activate its environment.")
    return found


def _invocation(target_path: Path) -> str | None:
    """Returns which invocation left ``run_results.json``; None when there is none."""
    try:
        metadata = as_mapping(read_artifact(target_path / "run_results.json").get("metadata"))
    except ConfigError:
        return None
    return str(metadata.get("invocation_id"))
