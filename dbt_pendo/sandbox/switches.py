"""What nobody outside Pendo knows: each unknown of Pendo's API as a switch, and what the sandbox assumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dbt_pendo.errors import ConfigError

UnknownField = Literal["refuse call", "record error", "create", "discard"]


@dataclass(frozen=True)
class Switches:
    """Variants of Pendo's behaviour; the defaults are the assumptions of pendo-api.md ("Simulator choices").

    Nothing here is tuned to a client: a client must get its work done whatever the switches say.

    Attributes:
        wrong_key_status: Answer to a missing or garbage integration key; Pendo was seen to say 403.
        read_only_write_status: Answer to a write with a read-only key, with an empty body.
        aggregation_needs_write: Sources disagree on whether a read-only key may aggregate.
        wrong_track_secret_status: Answer of ``/data/track`` to anything but a track secret.

        error_bodies: Body of a 400, 404, 409 or 413: a sentence, ``{"error": sentence}``, or nothing.
        undocumented_replies: Body of a 200 whose body no source shows (fields created or deleted, a single
            value or a segment changed): nothing, or some JSON.
        track_reply: Body of a 200 of ``/data/track``.
        omit_empty_lists: Leave ``missing`` and ``errors`` out of a bulk answer when they are empty.

        unknown_field: A custom or agent field not in the schema: 400 for the whole call; an ``errors`` item
            for the record; the field is created; its value is dropped silently.
        unknown_agent_field: The same for the agent group alone; None follows ``unknown_field``.
        type_mismatch: A value of the wrong type: an ``errors`` item (the record is not written), or 400.
        error_items: What an ``errors`` item is: a text that names the record, a text that does not, or an
            object ``{"visitorId": …, "error": …}``.
        null: What null does to a field: clears it, nothing, or fails the record.
        duplicate_id: One id twice in a bulk call: later values win, the first record wins (later ones are
            counted and dropped), or 400 for the call.
        created_counts_as_updated: Records made by ``?create=true`` are counted in ``updated``; if not, they
            are counted in ``total`` only.
        parent_account_id_key: The key that identifies a parent account in a bulk call.
        accept_date_only: A time field takes ``2024-01-31``.
        accept_epoch: A time field takes epoch milliseconds.

        drop_underscores: The stored key of a field also loses its underscores (``SFDC_Profile`` was seen as
            ``sfdcprofile``).
        creatable_types: The types a field can be created with; the default is all that is documented.
        number_becomes: The schema type of a field created as ``number``.
        existing_field: Creating a field that exists: it stays as it is (200), or 400.
        invalid_field_name: Creating a field with an invalid name: 400, or it is left out (200).

        event_arrays: An array of events: all or none (400 if one is invalid), the valid ones are kept (200),
            or arrays are refused (400).
        context_required: An event without ``context`` is invalid.
        refuse_late_events: An event more than 7 days old is invalid instead of flagged.
        refuse_future_events: An event whose time is yet to come is invalid instead of flagged.
        events_create_accounts: An event's accountId creates the account record.

        segment_busy_seconds: For so long after a write on a segment, further writes get a 409.
        segment_busy_calls: After a write on a segment so many writes get a 409; looking at its status counts.
        segment_busy_reply: The 409 is the call's status, or each operation's status in a PATCH's multistatus.
        segment_names_unique: Uploading a segment under a name in use is a 400.
        segment_unknown_visitors: A visitor Pendo has never seen becomes a member, or is refused: 400 for the upload
            or overwrite, for the operation in a PATCH.
        max_segment_visitors: The most visitors of an upload or overwrite; more is a 413.

        deletion_seconds: Bulk deletions are carried out after so many seconds; None is never.
        deletion_end: What becomes of them then: the records are gone, or the job fails and they are all there.
        read_lag_seconds: For so long after a write, reading back shows what was there before.

        max_body_bytes: Larger request bodies are a 413; None is no limit.
        max_records_per_call: More records in a bulk call or event array are refused; None is no limit.
        too_many_records_status: The status of that refusal.

        requests_per_second: A token bucket; calls beyond it get a 429. None is no limit.
        burst: Calls that may come at once after a pause; None is one second's worth.
        retry_after: Seconds in the ``Retry-After`` of a 429; None sends none.
        latency_ms: Every answer waits between so many and so many milliseconds, uniformly spread.

        keep_bodies: Keep the request bodies in the account of what was received (needs memory).
    """

    wrong_key_status: int = 403
    read_only_write_status: int = 403
    aggregation_needs_write: bool = False
    wrong_track_secret_status: int = 403

    error_bodies: Literal["text", "json", "empty"] = "text"
    undocumented_replies: Literal["empty", "json"] = "empty"
    track_reply: Literal["empty", "json"] = "empty"
    omit_empty_lists: bool = True

    unknown_field: UnknownField = "refuse call"
    unknown_agent_field: UnknownField | None = None
    type_mismatch: Literal["record error", "refuse call"] = "record error"
    error_items: Literal["named", "unnamed", "object"] = "named"
    null: Literal["clear", "ignore", "error"] = "clear"
    duplicate_id: Literal["last wins", "first wins", "refuse call"] = "last wins"
    created_counts_as_updated: bool = True
    parent_account_id_key: Literal["parentAccountId", "accountId"] = "parentAccountId"
    accept_date_only: bool = False
    accept_epoch: bool = False

    drop_underscores: bool = False
    creatable_types: tuple[str, ...] = ("string", "number", "time", "boolean")
    number_becomes: Literal["float", "integer"] = "float"
    existing_field: Literal["keep", "refuse call"] = "keep"
    invalid_field_name: Literal["refuse call", "skip"] = "refuse call"

    event_arrays: Literal["atomic", "accept", "reject"] = "atomic"
    context_required: bool = False
    refuse_late_events: bool = False
    refuse_future_events: bool = False
    events_create_accounts: bool = False

    segment_busy_seconds: float = 0.0
    segment_busy_calls: int = 0
    segment_busy_reply: Literal["call", "operation"] = "call"
    segment_names_unique: bool = False
    segment_unknown_visitors: Literal["accept", "refuse"] = "accept"
    max_segment_visitors: int | None = None

    deletion_seconds: float | None = 0.0
    deletion_end: Literal["complete", "failed"] = "complete"
    read_lag_seconds: float = 0.0

    max_body_bytes: int | None = None
    max_records_per_call: int | None = None
    too_many_records_status: Literal[413, 400] = 413

    requests_per_second: float | None = None
    burst: int | None = None
    retry_after: int | None = None
    latency_ms: tuple[float, float] = (0.0, 0.0)

    keep_bodies: bool = True

    def __post_init__(self) -> None:
        for name, hint in _HINTS.items():
            value = getattr(self, name)
            if not _fits(value, hint):
                raise ConfigError(f"Switch {name} cannot be {value!r}.", f"Expected: {_spelled(hint)}.")

    def with_changes(self, changes: Mapping[str, Any]) -> Switches:
        """These switches with some set anew, as they come from JSON or a command line.

        Args:
            changes: Switch name to value; a list stands for a tuple.

        Raises:
            ConfigError: A switch does not exist or cannot have that value.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
                raise ConfigError(f"The sandbox has no switch {name!r}.", hint)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
        return replace(self, **values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as the annotations above go."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return value in arguments
    if get_origin(hint) is tuple:
        same_length = arguments[-1] is Ellipsis or len(arguments) == len(value)
        return isinstance(value, tuple) and same_length and all(_fits(v, arguments[0]) for v in value)
    if arguments:
        return any(_fits(value, argument) for argument in arguments)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def _spelled(hint: Any) -> str:
    """An annotation in words."""
    if get_origin(hint) is Literal:
        return ", ".join(repr(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list of {get_args(hint)[0].__name__}"
    return " or ".join(_spelled(a) for a in get_args(hint)) or {type(None): "null"}.get(hint, hint.__name__)


_HINTS = get_type_hints(Switches)
