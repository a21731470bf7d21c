"""The records of one kind (visitor, account, parentAccount) and how Pendo writes them (section 3)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from zlib import crc32

from .exchange import RefusedError
from .schema import WRITABLE, Convert, Schema, converter
from .switches import Switches

Metadata = dict[str, dict[str, Any]]
"""One record's values: ``{group: {key: value}}``."""

_UNACCEPTABLE = "format is unacceptable due to malformed JSON or missing field mappings"
_PER_APP = "auto__"
_ID_KEYS = {"visitor": "visitorId", "account": "accountId"}


class _MismatchError(ValueError):
    """A value does not fit its field's type."""


class _Column(NamedTuple):
    """What becomes of one name among the values of a bulk call."""

    key: str
    convert: Convert | None  # None: the value is dropped
    problem: str = ""  # fails every record that carries the name


class Records:
    """Pendo's records of one kind. Ids are case sensitive (section 8). Callers hold the state's lock."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.schema = Schema(kind)
        self._records: dict[str, Metadata] = {}
        self.excluded: set[str] = set()  # the subscription's exclude list
        self._deleted: set[str] = set()
        self._sorted_ids: list[str] | None = None
        self._before: dict[str, tuple[float, Metadata | None]] = {}

    # What is there.

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._records

    def metadata(self, record_id: str) -> Metadata | None:
        """A copy of one record's values, as they are now."""
        record = self._records.get(record_id)
        if record is None:
            return None
        automatic = {"id": record_id, "idhash": crc32(record_id.encode()), **record["auto"]}
        groups = {group: dict(record.get(group, {})) for group in WRITABLE}
        for group, values in groups.items():
            # Undeleting a field brings its values back.
            for key in self.schema.deleted(group):
                values.pop(key, None)
        if record_id in self._deleted:
            groups["pendo"]["donotprocess"] = True
        return {**record, "auto": automatic, **groups}

    def visible(self, record_id: str) -> Metadata | None:
        """The same as a reader sees it, which may lag behind (Switches.read_lag_seconds)."""
        if record_id in self._before:
            until, before = self._before[record_id]
            if time.monotonic() < until:
                return before
            del self._before[record_id]
        return self.metadata(record_id)

    def visible_ids(self) -> list[str]:
        """The ids that a reader sees as processed by Pendo, in no promised order."""
        deleted = self._deleted
        ids = [k for k, r in self._records.items() if k not in deleted and not r.get("pendo", {}).get("donotprocess")]
        if not self._before:
            return ids
        known = {**dict.fromkeys(ids), **self._before}
        return [k for k in known if self.visible(k) is not None and (k in self._before or not self.is_ignored(k))]

    def ignored_ids(self) -> list[str]:
        """The ids marked Do Not Process, also of records that are gone."""
        known = {**self._records, **dict.fromkeys(self._deleted)}
        return [k for k in known if self.is_ignored(k) and k not in self._before]

    def in_order(self, ids: Iterable[str]) -> list[str]:
        """Sorts ids by code point; all are sorted once, since reading by pages asks over and over."""
        if self._sorted_ids is None:
            self._sorted_ids = sorted(self._records)
        chosen = set(ids)
        found = [i for i in self._sorted_ids if i in chosen]
        return found if len(found) == len(chosen) else sorted(chosen)

    def apps_of(self, record_id: str) -> set[str]:
        """The ids of the apps that have seen a record, where there are several."""
        groups = self._records.get(record_id, {})
        return {group.removeprefix(_PER_APP) for group in groups if group.startswith(_PER_APP)}

    def snapshot(self) -> dict[str, Metadata]:
        """All records as they are now."""
        return {k: metadata for k in self._records if (metadata := self.metadata(k)) is not None}

    def is_ignored(self, record_id: str) -> bool:
        """Whether the id is marked Do Not Process, by its flag or by a bulk deletion."""
        if record_id in self._deleted:
            return True
        return bool(self._records.get(record_id, {}).get("pendo", {}).get("donotprocess"))

    # What changes it.

    def add(self, record_id: str, values: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Puts a record there as it is, unchecked; for setting a scene."""
        self._deleted.discard(record_id)
        record = self._records.get(record_id) or self._create(record_id)
        for group, fields in (values or {}).items():
            record.setdefault(group, {}).update(fields)

    def forget(self, record_id: str) -> None:
        """Marks an id Do Not Process for good, as a bulk deletion does at once (SUP-13857784403611)."""
        self._deleted.add(record_id)

    def remember(self, record_id: str) -> None:
        """Takes that mark off again."""
        self._deleted.discard(record_id)

    def remove(self, record_id: str, switches: Switches) -> None:
        """Deletes a record, if it is there."""
        self._keep_before(record_id, switches)
        if self._records.pop(record_id, None) is not None:
            self._sorted_ids = None

    def visit(
        self, record_id: str, at: int, account_id: str | None, switches: Switches, app_id: int | None = None
    ) -> None:
        """Notes an event: the first one creates the record (SUP-9781050780955).

        Args:
            record_id: Whose event.
            at: When, in epoch milliseconds.
            account_id: The account it was for, if any.
            switches: Whether readers see it at once.
            app_id: In which app, where there are several (``metadata.auto__<appId>``, section 6).
        """
        self._keep_before(record_id, switches)
        record = self._records.get(record_id) or self._create(record_id)
        automatic = record["auto"]
        for visits in (automatic, *([] if app_id is None else [record.setdefault(f"{_PER_APP}{app_id}", {})])):
            visits["firstvisit"] = min(visits.get("firstvisit", at), at)
            visits["lastvisit"] = max(visits.get("lastvisit", at), at)
        if account_id is not None:
            automatic["accountid"] = account_id
            accounts = automatic.setdefault("accountids", [])
            if account_id not in accounts:
                accounts.append(account_id)

    def bulk_write(self, group: str, payload: Any, *, create: bool, switches: Switches) -> dict[str, Any]:
        """``POST /metadata/{kind}/{group}/value``: writes what it can, and says what it could not.

        Args:
            group: One of the writable groups.
            payload: ``[{"visitorId": id, "values": {name: value}}]``, as parsed.
            create: Whether missing records are created (``?create=true``).
            switches: The variants of the rules.

        Returns:
            ``{total, updated, failed, missing, errors, kind}`` with failed = missing + errors (KC). Nothing
            is written for a record in either list.

        Raises:
            RefusedError: 400, nothing at all was written.
        """
        if group not in WRITABLE:
            raise RefusedError(400, f"group {group!r} cannot be written")
        items = self._items(payload, switches)
        columns = self._columns(group, items, switches)
        staged: list[tuple[str, dict[str, Any], list[str]]] = []
        missing: list[str] = []
        errors: list[Any] = []
        seen: set[str] = set()
        dropped = 0
        for record_id, values in items:
            is_lost = record_id in self._deleted and switches.deleted_records == "missing"
            if record_id not in self._records and (not create or is_lost):
                missing.append(record_id)
                continue
            if record_id in seen and switches.duplicate_id == "first wins":
                dropped += 1
                continue
            seen.add(record_id)
            try:
                staged.append((record_id, *_converted(values, columns, switches)))
            except ValueError as problem:
                if isinstance(problem, _MismatchError) and switches.type_mismatch == "refuse call":
                    raise RefusedError(400, str(problem)) from problem
                errors.append(self._error_item(record_id, str(problem), switches))
        created = 0
        now = _now()
        for record_id, sets, clears in staged:
            self._keep_before(record_id, switches)
            record = self._records.get(record_id)
            if record is None:
                record = self._create(record_id)
                created += 1
            self._apply(record, group, sets, clears, now)
        updated = len(staged) + dropped - (0 if switches.created_counts_as_updated else created)
        answer: dict[str, Any] = {
            "total": len(items),
            "updated": updated,
            "failed": len(missing) + len(errors),
            "kind": self.kind,
        }
        for name, found in (("missing", missing), ("errors", errors)):
            if found or not switches.omit_empty_lists:
                answer[name] = found
        return answer

    def read_value(self, group: str, record_id: str, name: str, switches: Switches) -> Any:
        """``GET /metadata/{kind}/{group}/value/{id}/{field}``.

        Raises:
            RefusedError: 404, no such record or field.
        """
        field = self.schema.find(group, name, switches)
        metadata = self.visible(record_id)
        if field is None or metadata is None:
            raise RefusedError(404, f"no {self.kind} {record_id!r} or no field {name!r}")
        return metadata.get(group, {}).get(field.key)

    def write_value(self, group: str, record_id: str, name: str, value: Any, switches: Switches) -> None:
        """``PUT`` on the same path; the value is a raw JSON scalar or array.

        Raises:
            RefusedError: 404, no such record or field; 400, the group or the value is not acceptable.
        """
        if group not in WRITABLE:
            raise RefusedError(400, f"group {group!r} cannot be written")
        field = self.schema.find(group, name, switches)
        if field is not None and field.key == "blacklistguides" and switches.guide_exclusion != "on":
            if switches.guide_exclusion == "off, 403":
                raise RefusedError(403, "guide exclude list is not enabled")
            field = None
        if field is None or record_id not in self._records:
            raise RefusedError(404, f"no {self.kind} {record_id!r} or no field {name!r}")
        column = _Column(field.key, converter(field.type, field.element_type, switches))
        try:
            sets, clears = _converted({name: value}, {name: column}, switches)
        except ValueError as problem:
            raise RefusedError(400, str(problem)) from problem
        self._keep_before(record_id, switches)
        if field.key == "donotprocess" and value is False:
            self.remember(record_id)
        self._apply(self._records[record_id], group, sets, clears, _now())

    # How.

    def _create(self, record_id: str) -> Metadata:
        self._sorted_ids = None
        record = self._records[record_id] = {"auto": {"lastupdated": _now()}}
        return record

    def _apply(self, record: Metadata, group: str, sets: dict[str, Any], clears: list[str], now: int) -> None:
        fields = record.setdefault(group, {})
        fields.update(sets)
        for key in clears:
            fields.pop(key, None)
        record["auto"]["lastupdated"] = now

    def _keep_before(self, record_id: str, switches: Switches) -> None:
        """Remembers what readers go on seeing for a while, if the switches say so."""
        if switches.read_lag_seconds > 0:
            before = self.visible(record_id)
            if record_id not in self._before:
                self._before[record_id] = (time.monotonic() + switches.read_lag_seconds, before)

    def _id_key(self, switches: Switches) -> str:
        return _ID_KEYS.get(self.kind, switches.parent_account_id_key)

    def _items(self, payload: Any, switches: Switches) -> list[tuple[str, dict[str, Any]]]:
        id_key = self._id_key(switches)
        if not isinstance(payload, list):
            raise RefusedError(400, f"{_UNACCEPTABLE}: expected an array")
        items: list[tuple[str, dict[str, Any]]] = []
        for item in payload:
            record_id, values = (item.get(id_key), item.get("values")) if type(item) is dict else (None, None)
            if type(record_id) is not str or not record_id or type(values) is not dict:
                raise RefusedError(400, f"{_UNACCEPTABLE}: each item needs {id_key} and values")
            items.append((record_id, values))
        if switches.duplicate_id == "refuse call" and len({record_id for record_id, _ in items}) < len(items):
            raise RefusedError(400, f"duplicate {id_key}")
        return items

    def _columns(self, group: str, items: list[tuple[str, dict[str, Any]]], switches: Switches) -> dict[str, _Column]:
        """Looks every name of the call up once, and decides what becomes of the unknown ones."""
        columns: dict[str, _Column] = {}
        for name in dict.fromkeys(name for _, values in items for name in values):
            field = self.schema.find(group, name, switches)
            if field is not None:
                columns[name] = _Column(field.key, converter(field.type, field.element_type, switches))
            else:
                columns[name] = self._unknown(group, name, switches)
        return columns

    def _unknown(self, group: str, name: str, switches: Switches) -> _Column:
        """What becomes of a name that matches no field: a custom field is created, without a type (D)."""
        policy = switches.unknown_agent_field if group == "agent" else "create"
        if policy == "create" and group != "pendo":
            field = self.schema.new_field(name, "", switches)
            self.schema.put(group, field)
            return _Column(field.key, converter(field.type, field.element_type, switches))
        if policy == "record error":
            return _Column(name, None, f"unknown field {name!r}")
        if policy == "discard":
            return _Column(name, None)
        raise RefusedError(400, f"{_UNACCEPTABLE}: unknown field {name!r} in group {group!r}")

    def _error_item(self, record_id: str, problem: str, switches: Switches) -> Any:
        if switches.error_items == "object":
            return {self._id_key(switches): record_id, "error": problem}
        return f"{self.kind} {record_id!r}: {problem}" if switches.error_items == "named" else problem


def _converted(
    values: dict[str, Any], columns: dict[str, _Column], switches: Switches
) -> tuple[dict[str, Any], list[str]]:
    """One record's values as they are stored, and the keys to clear; ValueError says what is wrong."""
    sets: dict[str, Any] = {}
    clears: list[str] = []
    for name, value in values.items():
        key, convert, problem = columns[name]
        if problem:
            raise ValueError(problem)
        if convert is None:
            continue
        if value is not None:
            try:
                sets[key] = convert(value)
            except ValueError as error:
                if switches.type_mismatch == "discard":
                    continue
                raise _MismatchError(f"field {name!r}: {error}, got {value!r:.60}") from None
        elif switches.null == "error":
            raise _MismatchError(f"field {name!r}: null is not a value")
        elif switches.null == "clear":
            clears.append(key)
    return sets, clears


def _now() -> int:
    """Epoch milliseconds."""
    return int(time.time() * 1000)
