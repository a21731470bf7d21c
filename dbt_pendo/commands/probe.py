"""Asks a Pendo what no document says (pendo-api.md 9), on records and fields of its own, which it removes again.

`QUESTIONS` is what is asked. A question has the name of the sandbox's switch, where there is one, and its answers are
the values of that switch: so `sandbox --like` needs no table of its own.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dbt_pendo import __version__
from dbt_pendo.commands.context import Invocation, new_run_id, now
from dbt_pendo.delivery.signals import InterruptedRunError, Stop, stop_on_signals
from dbt_pendo.errors import ConfigError
from dbt_pendo.history.calls import CallLog
from dbt_pendo.pendo.client import Call
from dbt_pendo.pendo.metadata import verify_key
from dbt_pendo.pendo.probe import (
    LATE,
    METADATA,
    PATIENCE,
    PREFIX,
    REFUSED,
    Names,
    Probe,
    Reply,
    UnsettledError,
    Written,
    remove,
)
from dbt_pendo.secret import Secret
from dbt_pendo.settings import READ_ONLY_KEY, Settings

PROBE_FILE = "pendo_probe.json"
UNKNOWN = "unknown"
_LIMIT_HEADER = re.compile(r"retry-after|(x-)?rate-?limit[a-z-]{0,30}")
_HINT = f"Create one with write access in Pendo (Settings > Integrations); {READ_ONLY_KEY} may hold one without."


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe has learnt, and why it has not learnt the rest."""

    region: str | None
    answers: Mapping[str, Any]
    reasons: Mapping[str, str]
    # What could not be removed, with what to do.
    left: tuple[str, ...] = ()
    # Why it has ended early; None if it has not.
    interrupted: InterruptedRunError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the document: answers alone, without any id, key or host."""
        metadata = {"dbt_pendo_version": __version__, "generated_at": f"{now():%Y-%m-%dT%H:%M:%SZ}"}
        return {"metadata": {**metadata, "region": self.region}, "answers": self.answers, "reasons": self.reasons}


# The questions. Each returns its answer; one that Pendo answers in no known way is ``Reply.other``.


def _created_rows(probe: Probe) -> Any:
    reply = probe.created
    counted = reply.document.get("updated")
    return bool(counted) if reply.fate == "taken" and counted in (0, 1) else reply.other


def _empty_lists(probe: Probe) -> Any:
    shown = probe.created.document.keys() & {"missing", "errors"}
    return not shown if probe.created.fate == "taken" and len(shown) != 1 else probe.created.other


def _underscores(probe: Probe) -> Any:
    name = probe.names.fields["number"]
    return {name: False, name.replace("_", ""): True}.get(probe.keys["number"], "other 200")


def _null(probe: Probe) -> Any:
    written = probe.write("number", None)
    if written.reply.fate in ("record error", "refuse call"):
        return "error"
    return _kept(written) or written.reply.other


def _kept(written: Written) -> str:
    """Returns what became of a field whose value was to go: ``clear``, ``ignore``; empty for anything else."""
    if written.reply.fate != "taken":
        return ""
    return "clear" if written.after is None else "ignore" if written.after == written.before else ""


def _mismatch(probe: Probe) -> Any:
    written = probe.write("number", PREFIX)
    if written.reply.fate != "taken":
        return written.reply.fate or written.reply.other
    return "stored" if written.after == PREFIX else "discard"


def _empty_number(probe: Probe) -> Any:
    written = probe.write("number", "")
    if written.reply.fate != "taken":
        return written.reply.fate or written.reply.other
    return _kept(written) or ("zero" if written.after == 0 else "stored")


def _takes_time(probe: Probe, value: Any) -> Any:
    written = probe.write("time", value)
    if written.reply.fate is None:
        return written.reply.other
    return written.reply.fate == "taken" and written.after not in (None, written.before)


def _duplicate(probe: Probe) -> Any:
    written = probe.write("number", 1001, 1002)
    if written.reply.fate == "refuse call":
        return "refuse call"
    winners = [name for name, value in (("first wins", 1001), ("last wins", 1002)) if written.after == value]
    return winners[0] if winners else written.reply.other


def _error_items(probe: Probe) -> Any:
    if not probe.errors:
        return "none seen"
    item = probe.errors[0]
    if not isinstance(item, str):
        return "object" if isinstance(item, dict) else "other"
    return "named" if probe.names.record in item else "unnamed"


def _agent_field(probe: Probe) -> Any:
    probe.require_visitor()
    name = probe.names.field("agent")
    probe.made["agent"] = None
    reply = probe.bulk([probe.item({name: "a"})], "agent")
    if reply.fate != "taken":
        return reply.fate or reply.other
    return "create" if probe.until(lambda: probe.found("agent", name)[0], bool) else "discard"


def _unknown_id(probe: Probe) -> Reply:
    return probe.call("GET", f"{METADATA}/visitor/custom/value/{probe.names.record}-none/{probe.keys['number']}")


def _error_bodies(probe: Probe) -> Any:
    reply = _unknown_id(probe)
    return reply.other if reply.ok else reply.form


def _undocumented(probe: Probe) -> Any:
    probe.require_visitor()
    path = f"{METADATA}/visitor/custom/value/{probe.names.record}/{probe.keys['number']}"
    reply = probe.call("PUT", path, 7)
    return reply.form if reply.ok else reply.other


def _parent_id_key(probe: Probe) -> Any:
    # An id that is not created, without values, which would make fields.
    for key in ("parentAccountId", "accountId"):
        reply = probe.call("POST", f"{METADATA}/parentAccount/custom/value", [{key: probe.names.record, "values": {}}])
        if reply.status == 404:
            return "refused"
        if reply.ok:
            return key
    return reply.other


def _wrong_key(probe: Probe) -> Any:
    client = probe.client_of(replace(probe.settings, integration_key=Secret(probe.names.record, "a wrong key")))
    return probe.call("GET", f"{METADATA}/schema/visitor", client=client).status


def _read_only_write(probe: Probe) -> Any:
    probe.require_visitor()
    reply = probe.bulk([probe.item({probe.keys["number"]: 5})], client=probe.reader)
    return reply.other if reply.ok else reply.status


def _read_only_aggregation(probe: Probe) -> Any:
    reply, _ = probe.rows("visitor", client=probe.reader)
    return not reply.ok if reply.ok or reply.status in (401, 402, 403) else reply.other


def _aggregated(probe: Probe) -> None:
    """Makes sure that the aggregation shows the visitor."""
    probe.require_visitor()
    reply, rows = probe.until(lambda: probe.rows("visitor"), lambda found: found[1] or not found[0].ok)
    if not rows:
        raise UnsettledError(f"the aggregation does not show the visitor (HTTP {reply.status})")


def _exclude_option(probe: Probe) -> Any:
    _aggregated(probe)
    # The visitor is not on the list.
    reply, rows = probe.rows("visitor", {"blacklist": "only"})
    if reply.status in REFUSED:
        return "refused"
    return ("ignored" if rows else "taken") if reply.ok else reply.other


def _child_accounts(probe: Probe) -> Any:
    if probe.created_account.fate != "taken":
        raise UnsettledError(f"Pendo did not create the account (HTTP {probe.created_account.status})")
    path = f"/api/v1/account/{probe.names.record}"
    if not probe.until(lambda: probe.call("GET", path).ok, bool):
        raise UnsettledError("the account could not be read back")
    # It is no parent's child.
    reply, rows = probe.rows("account")
    return not rows if reply.ok else reply.other


def _wrong_secret(probe: Probe) -> Any:
    return probe.track(probe.sample(LATE), Secret(probe.names.record, "a wrong secret")).status


def _late_events(probe: Probe) -> Any:
    return not probe.event[1]


def _track_reply(probe: Probe) -> Any:
    reply = probe.track(probe.event[0])
    return reply.form if reply.ok else reply.other


def _incomplete(probe: Probe) -> Any:
    reply = probe.track({name: value for name, value in probe.event[0].items() if name != "event"})
    return "drop" if reply.ok else "refuse" if reply.status in REFUSED else reply.other


def _event_arrays(probe: Probe) -> Any:
    event, _ = probe.event
    reply = probe.track([event])
    if reply.status in REFUSED:
        return "reject"
    if not reply.ok:
        return reply.other
    reply = probe.track([event, {**event, "timestamp": "never"}])
    return "accept" if reply.ok else "atomic" if reply.status in REFUSED else reply.other


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    # Of the sandbox's switch, where there is one.
    name: str
    ask: Callable[[Probe], Any]


# In the order in which they are asked: `error_items` and `limit_headers` look at what was answered before.
QUESTIONS = (
    Question("created_counts_as_updated", _created_rows),
    Question("omit_empty_lists", _empty_lists),
    Question("number_becomes", lambda probe: probe.type_of("number") or "other 200"),
    Question("drop_underscores", _underscores),
    Question("accept_date_only", lambda probe: _takes_time(probe, "2024-01-31")),
    Question("accept_epoch", lambda probe: _takes_time(probe, 1_709_251_200_000)),
    Question("null", _null),
    Question("type_mismatch", _mismatch),
    Question("empty_number", _empty_number),
    Question("duplicate_id", _duplicate),
    Question("unknown_agent_field", _agent_field),
    Question("error_items", _error_items),
    Question("unknown_id_status", lambda probe: _unknown_id(probe).status),
    Question("error_bodies", _error_bodies),
    Question("undocumented_replies", _undocumented),
    Question("parent_account_id_key", _parent_id_key),
    Question("exclude_list_option", _exclude_option),
    Question("child_accounts_only", _child_accounts),
    Question("wrong_key_status", _wrong_key),
    Question("read_only_write_status", _read_only_write),
    Question("aggregation_needs_write", _read_only_aggregation),
    Question("wrong_track_secret_status", _wrong_secret),
    Question("refuse_late_events", _late_events),
    Question("track_reply", _track_reply),
    Question("incomplete_events", _incomplete),
    Question("event_arrays", _event_arrays),
    Question("limit_headers", lambda probe: sorted(filter(_LIMIT_HEADER.fullmatch, probe.headers))),
)


def probe_pendo(invocation: Invocation, names: Names, tell: Callable[[str], None]) -> Probed:
    """Asks the Pendo of the settings; SIGINT and SIGTERM end it early, and what was made is removed all the same.

    The calls are kept in dbt's target folder, as those of a sync, if there is a project.

    Args:
        invocation: Where, and with which settings.
        names: What is made is named so.
        tell: Says something at once to whoever waits.

    Raises:
        ConfigError: If the integration key may not write.
        PendoError: If Pendo does not know it, or does not answer.
    """
    stop = Stop()

    def on_stop(signal: str) -> None:
        tell(
            f"Interrupted by {signal}: what was made is being removed. Press Ctrl-C again to stop at once; then delete "
            f"what is named {names.record} in Pendo yourself."
        )

    with contextlib.closing(CallLog()) as calls, stop_on_signals(stop, on_stop):
        if (invocation.project_dir / "dbt_project.yml").exists():
            calls.begin(invocation.target_path, new_run_id(), invocation.settings.keep_runs)
        return ask_pendo(invocation.settings, names, tell, stop, calls.write)


def ask_pendo(
    settings: Settings,
    names: Names,
    tell: Callable[[str], None],
    stop: Stop | None = None,
    watch: Callable[[Call], None] = lambda _: None,
    patience: float = PATIENCE,
) -> Probed:
    """Asks all questions, and removes what was made for them.

    Args:
        settings: Pendo, and the keys.
        names: What is made is named so.
        tell: Gets what could not be removed, with what to do, even if this raises.
        stop: Whether the probe has to end.
        watch: Gets each attempt at a call.
        patience: Seconds in which a write is to be seen by a reader.

    Raises:
        ConfigError: If the integration key may not write.
        PendoError: If Pendo does not know it, or does not answer.
    """
    answers: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    interrupted: InterruptedRunError | None = None
    left: tuple[str, ...] = ()
    stop = stop or Stop()
    with contextlib.ExitStack() as clients:
        probe = Probe(settings, names, clients, watch, stop.wait, stop.ends_at, patience)
        try:
            if not verify_key(probe.client):
                raise ConfigError(f"The key in {settings.require_integration_key().variable} may not write.", _HINT)
            for question in QUESTIONS:
                stop.check()
                try:
                    answers[question.name] = question.ask(probe)
                except UnsettledError as error:
                    answers[question.name], reasons[question.name] = UNKNOWN, error.message
        except InterruptedRunError as error:
            interrupted = error
        finally:
            left = tuple(remove(settings, names, tuple(probe.made), watch))
            for one in left:
                tell(one)
    return Probed(settings.pendo.region, answers, reasons, left, interrupted)
