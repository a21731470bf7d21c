"""What nobody outside Pendo knows: each unknown of Pendo's API as a switch; the defaults are what Pendo documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dbt_pendo.errors import ConfigError


def _switch(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Switches:
    """Variants of Pendo's behaviour; the defaults are what Pendo documents, wherever it does (pendo-api.md 9).

    Nothing here is tuned to a client: a client must get its work done whatever the switches say.
    """

    # Keys and bodies (pendo-api.md 2).
    wrong_key_status: Literal[401, 403] = _switch(
        401, "Answer to no valid integration key: 401 by Pendo's reference, 403 was seen; `token/verify` has 403"
    )
    read_only_write_status: Literal[401, 402, 403] = _switch(
        403, "Answer to a write with a read-only key; no source says"
    )
    aggregation_needs_write: bool = _switch(False, "A read-only key may not aggregate; sources disagree")
    wrong_track_secret_status: Literal[403, 401, 400, 200] = _switch(
        403, "Answer of `/data/track` to no valid track secret; with 200 the event is dropped; no source says"
    )

    error_bodies: Literal["json", "text", "empty"] = _switch(
        "json", 'Body of an error: `{"error": sentence}` by Pendo\'s reference; text and nothing were seen'
    )
    undocumented_replies: Literal["json", "empty"] = _switch(
        "json",
        "Body of a 200 whose body no source shows (fields created or deleted, a single value or a segment changed): "
        "some JSON, as all bodies by Pendo's reference, or nothing",
    )
    track_reply: Literal["json", "empty"] = _switch(
        "json", "Body of a 200 of `/data/track`: some JSON, as all bodies by Pendo's reference, or nothing"
    )
    omit_empty_lists: bool = _switch(
        False, "Leave `missing` and `errors`, which Pendo's reference shows, out of a bulk answer if they are empty"
    )

    unknown_agent_field: Literal["refuse call", "record error", "create", "discard"] = _switch(
        "refuse call",
        "An agent field not in the schema: 400 for the whole call; an `errors` item for the record; the field is "
        "created, as a custom field is; its value is dropped silently",
    )
    type_mismatch: Literal["record error", "discard", "refuse call"] = _switch(
        "record error",
        "A value of the wrong type; no source says: an `errors` item (the record is not written), it is dropped in "
        "silence, or 400",
    )
    error_items: Literal["named", "unnamed", "object"] = _switch(
        "named",
        'What an `errors` item is: a text that names the record, a text that does not, or an object `{"visitorId": …, '
        '"error": …}`',
    )
    null: Literal["clear", "ignore", "error"] = _switch(
        "clear", "What null does to a field: clears it, nothing, or fails the record"
    )
    duplicate_id: Literal["last wins", "first wins", "refuse call"] = _switch(
        "last wins",
        "One id twice in a bulk call: later values win, the first record wins (later ones are counted and dropped), or "
        "400 for the call",
    )
    created_counts_as_updated: bool = _switch(
        True, "Records made by `?create=true` are counted in `updated`; if not, they are counted in `total` only"
    )
    bulk_write_seconds: float = _switch(
        300.0, "A bulk write that takes longer (see `latency_ms`) is answered with 408 then; it is done all the same"
    )
    parent_account_id_key: Literal["refused", "parentAccountId", "accountId"] = _switch(
        "refused",
        "The key that identifies a parent account in a bulk call; Pendo's reference knows no metadata of parent "
        "accounts, so that each call is a 404",
    )
    accept_date_only: bool = _switch(False, "A time field takes `2024-01-31`")

    drop_underscores: bool = _switch(
        False, "The stored key of a field also loses its underscores (`SFDC_Profile` was seen as `sfdcprofile`)"
    )
    creatable_types: tuple[str, ...] = _switch(
        ("string", "number", "time", "boolean"),
        "The types a field can be created with; the default is all that is documented",
    )
    number_becomes: Literal["float", "integer"] = _switch("float", "The schema type of a field created as `number`")
    invalid_field: Literal["refuse call", "create others"] = _switch(
        "refuse call", "Creating fields of which some are invalid is a 422: none is created, or the others are"
    )
    field_reply: Literal["object", "list", "empty"] = _switch(
        "object", "Body of an answer to the creation of fields: `{results, summary}`, the results alone, or nothing"
    )
    dependencies_reply: Literal["nested", "list", "one field"] = _switch(
        "nested",
        "What `/metadata/dependencies` says of all fields: `{kind: {group: {field: uses}}}`, a list of objects, or 404 "
        "(only that of one field answers)",
    )
    guide_exclusion: Literal["off", "off, 403", "on"] = _switch(
        "on", "Whether Pendo Support has enabled `blacklistguides`; writing it is a 404 or a 403 if not"
    )
    deleted_records: Literal["missing", "written"] = _switch(
        "missing",
        "A write with `?create=true` to an id that was deleted: it stays in `missing`, or the record is made anew and "
        "its `donotprocess` reads true",
    )

    exclude_list_option: Literal["taken", "refused", "ignored"] = _switch(
        "taken",
        "The option `blacklist` of the sources in an aggregation (6): `ignore` and `only` are done, it is a 400, "
        "or the list is applied whatever it says",
    )
    accounts_without_app_id: Literal["all apps", "default app"] = _switch(
        "all apps",
        "Which accounts an aggregation without `appId` returns; one that no app has seen is the default app's",
    )
    child_accounts_only: bool = _switch(
        False,
        "Parent accounts are on: the source `accounts` returns those with an id `Parent::Child` alone (section 6)",
    )

    event_arrays: Literal["reject", "atomic", "accept"] = _switch(
        "reject",
        "An array of events: 400, as Pendo's reference has one event a call; all or none (400 if one is invalid); or "
        "the valid ones are kept (200)",
    )
    incomplete_events: Literal["refuse", "drop"] = _switch(
        "refuse", "An event without type, event, visitorId or timestamp; no source says: 400, or 200 and it is dropped"
    )
    refuse_late_events: bool = _switch(False, "An event more than 7 days old is invalid instead of flagged")
    refuse_future_events: bool = _switch(False, "An event whose time is yet to come is invalid instead of flagged")
    events_create_accounts: bool = _switch(False, "An event's accountId creates the account record")

    segment_seconds: tuple[float, float] = _switch(
        (0.1, 0.1),
        "The members of an uploaded or overwritten segment wait for so many seconds (`Pending`: the old ones serve), "
        "and are then loaded for so many (`Progress`: the segment is empty); one segment at a time",
    )
    segment_looks: tuple[int, int] = _switch(
        (0, 0), "Each of the two also lasts for so many looks at the segment's status; a write that gets a 409 counts"
    )
    segment_status_seconds: float = _switch(14_400.0, "For so long after its end the status of a job is kept; then 404")
    segment_command_case: Literal["capital", "lower", "upper"] = _switch(
        "capital", "Letters of `Pending`, `Progress`, `Finish` and `Error` in a segment's status"
    )
    segment_second_job: Literal["queue", "refuse"] = _switch(
        "queue", "An upload or overwrite while another segment is loaded: waits for its turn, or is a 409"
    )
    segment_ids: Literal["as they are", "lower case"] = _switch(
        "as they are", "Ids of members, which are trimmed in any case; some subscriptions make them lower case"
    )
    segment_invalid_ids: tuple[str, ...] = _switch(
        (), "Ids that fail validation: one of them ends a job as `Error`, and is a 400 for an operation of a PATCH"
    )
    multistatus_order: Literal["as sent", "reversed", "shuffled"] = _switch(
        "as sent", "The order of the entries that answer the operations of a PATCH"
    )
    segment_busy_seconds: float = _switch(
        0.0, "For so long after a PATCH or a single visitor further writes of the segment get a 409"
    )
    segment_busy_calls: int = _switch(0, "After a PATCH or a single visitor so many writes of the segment get a 409")
    segment_busy_reply: Literal["call", "operation"] = _switch(
        "call", "The 409 is the call's status, or each operation's status in a PATCH's multistatus"
    )
    segment_names_unique: bool = _switch(False, "Uploading a segment under a name in use is a 400")
    segment_unknown_visitors: Literal["accept", "refuse"] = _switch(
        "accept",
        "A visitor Pendo has never seen becomes a member, or is refused: 400 for the upload or overwrite, for the "
        "operation in a PATCH",
    )
    max_segment_visitors: int = _switch(
        10_000_000, "The most visitors of a segment; a call that brings it more is a 400"
    )

    deletion_seconds: float | None = _switch(0.0, "Bulk deletions are carried out after so many seconds; null is never")
    deletion_end: Literal["complete", "failed"] = _switch(
        "complete", "What becomes of them then: the records are gone, or the job fails and they are all there"
    )
    deletion_calls_per_job: int = _switch(
        3, "So many calls of one kind are answered with the same job, as long as it has not begun"
    )
    deletion_states: tuple[str, str, str] = _switch(
        ("queued", "complete", "failed"), "The words for a deletion that waits, has been carried out, has failed"
    )
    deletion_list: Literal["array", "object", "by id"] = _switch(
        "array", 'Form of `GET /bulkdelete`: `[{"id": …}]`, `{"bulkDeletes": [{"id": …}]}`, or `{id: {…}}`'
    )
    deletion_list_names_ids: bool = _switch(False, "Whether its entries name the ids to be deleted")
    read_lag_seconds: float = _switch(0.0, "For so long after a write, reading back shows what was there before")

    max_body_bytes: int | None = _switch(None, "Larger request bodies are a 413; null is no limit")
    max_records_per_call: int | None = _switch(
        None, "More records in a bulk call or event array are refused; null is no limit"
    )
    too_many_records_status: Literal[413, 400] = _switch(413, "The status of that refusal")

    requests_per_second: float | None = _switch(None, "A token bucket; calls beyond it get a 429. null is no limit")
    burst: int | None = _switch(None, "Calls that may come at once after a pause; null is one second's worth")
    retry_after: int | None = _switch(None, "Seconds in the `Retry-After` of a 429; null sends none")
    latency_ms: tuple[float, float] = _switch(
        (0.0, 0.0), "Every answer waits between so many and so many milliseconds, uniformly spread"
    )

    keep_bodies: bool = _switch(True, "Keep the request bodies in the account of what was received (needs memory)")

    def __post_init__(self) -> None:
        for name, hint in _HINTS.items():
            value = getattr(self, name)
            if not _fits(value, hint):
                raise ConfigError(f"Switch {name} cannot be {value!r}.", f"Expected: {_spelled(hint)}.")

    @classmethod
    def described(cls) -> list[dict[str, Any]]:
        """Returns each switch with its default, the values that it takes, and what it does."""
        return [
            {
                "switch": one.name,
                "default": one.default,
                "values": _spelled(_HINTS[one.name]),
                "meaning": one.metadata["meaning"],
            }
            for one in fields(cls)
        ]

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
        if not isinstance(value, tuple) or (arguments[-1] is not Ellipsis and len(arguments) != len(value)):
            return False
        return all(_fits(v, arguments[0]) for v in value)
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
        count = "" if Ellipsis in get_args(hint) else f"{len(get_args(hint))} "
        return f"a list of {count}{get_args(hint)[0].__name__}"
    return " or ".join(_spelled(a) for a in get_args(hint)) or {type(None): "null"}.get(hint, hint.__name__)


_HINTS = get_type_hints(Switches)
