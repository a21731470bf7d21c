"""Checks mappings: by themselves, against the warehouse and against Pendo (`check`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dbt_pendo.commands.context import Context, Found, SyncFinding
from dbt_pendo.commands.sample import Look, look_at_model
from dbt_pendo.commands.select import Selected
from dbt_pendo.delivery.events import (
    age_warnings,
    count_events,
    count_warnings,
    new_event_names,
    property_name_warnings,
    require_moment,
)
from dbt_pendo.delivery.fields import agent_warnings, match_fields
from dbt_pendo.delivery.prepare import Prepared, find_mapped, find_source
from dbt_pendo.delivery.sync import Options, consent_warnings, second_ledger
from dbt_pendo.errors import DbtPendoError, JoinedError, all_errors
from dbt_pendo.mapping.spec import MappingError, Model, Problem, SyncSpec
from dbt_pendo.records.masking import body_mask
from dbt_pendo.warehouse.names import TableColumn


@dataclass(frozen=True, slots=True)
class Checked(SyncFinding):
    """What a check says of one sync."""

    # What Pendo would accept and not use.
    warnings: Sequence[str] = ()
    # Events older than the sync's `max_age`.
    left_out: int = 0
    # Records that would be marked Do Not Process.
    do_not_process: int = 0
    # The fields that a sync would create: name, group, type.
    new_fields: Sequence[Mapping[str, str]] = ()
    # Names of events that Pendo does not know yet.
    new_event_names: Sequence[str] = ()
    # Rows that would be invalid.
    looks: Sequence[Look] = ()

    def details(self) -> dict[str, Any]:
        """Returns what was found."""
        return {
            "problems": _problems(self.spec.name, self.error),
            "warnings": list(self.warnings),
            "left_out": self.left_out,
            "do_not_process": self.do_not_process,
            "new_fields": list(self.new_fields),
            "new_event_names": list(self.new_event_names),
            "invalid": [entry for look in self.looks for entry in look.to_dicts()],
        }


@dataclass(frozen=True, slots=True)
class Unread:
    """A sync whose mapping does not say enough to look for more than is wrong in it."""

    sync: str
    error: MappingError
    warnings: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Its name, as nobody knows the kind of its object."""
        return self.sync

    def to_dict(self) -> dict[str, Any]:
        """Returns its entry under ``results``."""
        return {
            "sync": self.sync,
            "unique_id": self.error.problems[0].unique_id,
            "object": None,
            "status": "error",
            "message": str(self.error),
            "problems": _problems(self.sync, self.error),
            "warnings": [],
        }


def _problems(sync: str, error: DbtPendoError | None) -> list[dict[str, Any]]:
    """Returns all problems of a sync, each with its place as far as it has one, and what to do about it."""
    found: list[dict[str, Any]] = []
    for one in all_errors(error):
        # A key that is not set, say, has no place in a file.
        nowhere = Problem("", sync, "", one.message)
        problems = one.problems if isinstance(one, MappingError) else [nowhere]
        found += [{**problem.to_dict(), "sync": sync, "hint": one.hint or None} for problem in problems]
    return found


def check_syncs(context: Context) -> Iterator[Checked | Unread]:
    """Compares each mapping with the warehouse and with Pendo, as far as it can be read; tells all problems of each."""
    mistakes = _mistakes(context.selected)

    def check(model: Model, spec: SyncSpec) -> Checked:
        if spec.name in mistakes:
            return _failed(spec, [mistakes[spec.name], *_find_errors(context, model, spec)])
        try:
            return _check(context, model, spec)
        except DbtPendoError as error:
            # Who interrupts it waits for no more questions.
            context.stop.check()
            errors = _find_errors(context, model, spec)
            error = context.located(error)
            is_among_them = str(error) in map(str, errors)
            return _failed(spec, errors if is_among_them else [error, *errors])

    yield from context.each_sync(check, _checked)
    yield from _unread(context.selected, mistakes)


def _check(context: Context, model: Model, spec: SyncSpec) -> Checked:
    prepared = context.prepare(model, spec, may_create=False)
    segment, tables = context.find_segment(prepared), context.tables(prepared)
    counts = count_events(prepared, tables, Options().to_plan(context.settings))
    if spec.event is not None:
        context.pendo.require_track_secret(spec.event.app)
    mask = body_mask(context.settings.mask, spec, prepared.fields)
    look = look_at_model(prepared, tables, mask)
    consents = tables.count_consents(Options().to_plan(context.settings))
    warnings = [
        *_mapping_warnings(spec),
        *([held_back] if (held_back := second_ledger(prepared)) else []),
        *consent_warnings(spec, consents, mask),
        *look.warnings(),
        *age_warnings(prepared),
        *count_warnings(counts),
    ]
    if segment is not None and segment.taking_over:
        warnings.append(segment.blocked or segment.taking_over)
    return Checked(
        spec,
        warnings=warnings,
        left_out=counts.left_out,
        do_not_process=consents.ignored,
        new_fields=prepared.new_fields,
        new_event_names=new_event_names(prepared, tables, context.pendo),
        looks=[look],
    )


def _find_errors(context: Context, model: Model, spec: SyncSpec) -> list[DbtPendoError]:
    """Returns all that speaks against a sync, where ``Context.prepare`` raises the first; creates nothing."""
    errors: list[DbtPendoError] = []

    def try_to(step: Callable[[], Found]) -> Found | None:
        try:
            return step()
        except DbtPendoError as error:
            errors.append(context.located(error))
        return None

    source = try_to(partial(find_source, context.session, model, spec, context.selected.last_run))
    columns: Mapping[str, TableColumn] = {}
    with contextlib.suppress(DbtPendoError):
        # Without those that are missing.
        columns = find_mapped(context.session, model, spec)
    try_to(partial(require_moment, spec, columns))
    if spec.event is not None:
        try_to(partial(context.pendo.require_track_secret, spec.event.app))
    else:
        try_to(context.pendo.require_key)
        # With one that may only read, Pendo still tells its fields.
        with contextlib.suppress(DbtPendoError):
            context.pendo.require_key(writes=False)
            try_to(partial(match_fields, context.pendo, spec, columns, may_create=False))
            if source is not None:
                try_to(partial(context.find_segment, Prepared(spec, source, ())))
    try_to(partial(context.subscriptions.require, spec))
    return errors


def check_offline(selected: Selected) -> Iterator[Checked | Unread]:
    """Checks mappings by themselves."""
    mistakes = _mistakes(selected)
    for _, spec in selected.syncs:
        yield _failed(spec, [mistakes[spec.name]]) if spec.name in mistakes else _checked(spec)
    yield from _unread(selected, mistakes)


def _mistakes(selected: Selected) -> dict[str, MappingError]:
    """Returns what is wrong in the mappings themselves, by the name of the sync."""
    by_sync: dict[str, list[Problem]] = {}
    for problem in selected.problems:
        by_sync.setdefault(problem.sync, []).append(problem)
    return {sync: MappingError(problems) for sync, problems in by_sync.items()}


def _unread(selected: Selected, mistakes: Mapping[str, MappingError]) -> Iterator[Unread]:
    read = {spec.name for _, spec in selected.syncs}
    return (Unread(sync, error) for sync, error in mistakes.items() if sync not in read)


def _checked(spec: SyncSpec, error: DbtPendoError | None = None) -> Checked:
    return Checked(spec, error, warnings=_mapping_warnings(spec))


def _failed(spec: SyncSpec, errors: Sequence[DbtPendoError]) -> Checked:
    return _checked(spec, errors[0] if len(errors) == 1 else JoinedError(errors))


def _mapping_warnings(spec: SyncSpec) -> list[str]:
    return [*agent_warnings(spec), *property_name_warnings(spec)]
