"""Which syncs may run, by what dbt's last command did to their models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dbt_pendo.errors import ConfigError
from dbt_pendo.project.artifacts import Model
from dbt_pendo.project.run_results import BUILT, LastRun


@dataclass(frozen=True, slots=True)
class Gates:
    """What has to be so for a model to be synced, beside that dbt did not fail to build it.

    Attributes:
        only_built: The last dbt command built it.
        require_tests: No test of it failed there.
    """

    only_built: bool = False
    require_tests: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sync may run.

    Attributes:
        may_run: Whether it may.
        reason: Why or why not, as half a sentence.
        asked_for: Whether the user wanted it left out; else that it is, is worth a warning.
    """

    may_run: bool
    reason: str
    asked_for: bool = False


def judge(model: Model, last_run: LastRun, gates: Gates) -> Verdict:
    """Says whether a model's syncs may run.

    Args:
        model: The model.
        last_run: What is known of dbt's last command.
        gates: What the user asks for.
    """
    if last_run.doubt:
        return Verdict(True, f"its table as it is: {last_run.doubt}")
    status = last_run.statuses.get(model.unique_id)
    if status is not None and status not in BUILT:
        return Verdict(False, f"the last dbt run left the model in status {status!r}")
    if status is not None and last_run.partial:
        return Verdict(False, f"`dbt {last_run.command} {last_run.partial}` built it without all its rows")
    if status is None and (parent := _unbuilt(sorted(model.ancestors), last_run)) is not None:
        # Its table may be whole, and is older than what dbt has just failed to bring up to date.
        return Verdict(
            False,
            f"stale: `dbt {last_run.command}` left {_name(parent)}, which it is made of, in status "
            f"{last_run.statuses[parent]!r}",
        )
    if status is None and gates.only_built:
        return Verdict(False, f"the last `dbt {last_run.command}` did not build it (--only-built)", asked_for=True)
    ran = [test for test in sorted(model.tests) if test in last_run.statuses]
    failed = [test for test in ran if last_run.statuses[test] not in BUILT | {"skipped"}]
    if failed and gates.require_tests:
        names = ", ".join(_name(test) for test in failed)
        return Verdict(False, f"{len(failed)} of its tests failed (--require-tests): {names}")
    built = "built" if status else "its table as it is, not built"
    return Verdict(True, f"{built} by `dbt {last_run.command}`{_tested(ran, failed, last_run)}")


def require_evidence(last_run: LastRun, gates: Gates) -> None:
    """Refuses gates that nothing can be said about: to open them unseen, or to sync nothing, would be a guess.

    Raises:
        ConfigError: If a gate asks for what is not known.
    """
    nothing_built = (
        "" if last_run.builds else f"the last dbt command was `dbt {last_run.command}`, which builds nothing"
    )
    for flag, asked, doubt in (
        ("--only-built", gates.only_built, last_run.doubt or nothing_built),
        ("--require-tests", gates.require_tests, last_run.doubt),
    ):
        if asked and doubt:
            raise ConfigError(f"{flag}: {doubt}.", "Run dbt-pendo right after `dbt build`, before other dbt commands.")


def _unbuilt(nodes: Iterable[str], last_run: LastRun) -> str | None:
    return next((node for node in nodes if last_run.statuses.get(node, "success") not in BUILT), None)


def _tested(ran: list[str], failed: list[str], last_run: LastRun) -> str:
    if failed:
        return f", {len(failed)} of {len(ran)} tests failed"
    passed = sum(last_run.statuses[test] in BUILT for test in ran)
    return f", {passed} test{'s' if passed > 1 else ''} passed" if passed else ""


def _name(unique_id: str) -> str:
    """Returns what people call a node: the part that is the name in ``test.shop.unique_users_id.1f2e`` and the like."""
    parts = unique_id.split(".")
    at = {"test": slice(2, 3), "unit_test": slice(-1, None)}.get(parts[0], slice(2, None))
    return ".".join(parts[at]) or unique_id
