"""Pendo's HTTP API: keys, paths and bodies, in front of the rules (pendo-api.md)."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import responses
from math import inf
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from .exchange import Call, RefusedError, Reply, json_reply, text_reply
from .state import KINDS, Pendo
from .switches import Switches
from .traffic import RateLimit

KEY_HEADER = "x-pendo-integration-key"
BASE64_HEADER = "x-pendo-base64-encoded-params"

Access = Literal["verify", "read", "write", "aggregate", "track"]


@dataclass(frozen=True)
class Keys:
    """The keys that open the API (section 2); track secrets by app, the default app is empty."""

    integration: str
    read_only: str
    track: dict[str, str]

    def owner(self, key: str | None) -> str:
        """Whose key this is, in words fit for a log."""
        if not key:
            return ""
        if key == self.integration:
            return "integration"
        if key == self.read_only:
            return "read-only"
        app = self.app(key)
        return "unknown" if app is None else f"track:{app}" if app else "track"

    def app(self, secret: str | None) -> str | None:
        """The app a track secret belongs to; None for anything else."""
        return next((app for app, own in self.track.items() if own == secret), None)


@dataclass(frozen=True)
class _Ask:
    """What a handler works on."""

    pendo: Pendo
    switches: Switches
    call: Call
    params: dict[str, str]
    keys: Keys
    key: str

    def done(self, value: Any) -> Reply:
        """The reply of a call that worked and whose body no source shows."""
        return json_reply(value) if self.switches.undocumented_replies == "json" else Reply(200)

    def payload_within_limits(self) -> Any:
        """The body as JSON, with no more records than allowed."""
        limit = self.switches.max_records_per_call
        if limit is not None and self.call.records > limit:
            raise RefusedError(self.switches.too_many_records_status, f"more than {limit} records")
        return self.call.payload


class Api:
    """Answers calls as Pendo would."""

    def __init__(self, pendo: Pendo, keys: Keys) -> None:
        self._pendo = pendo
        self.keys = keys
        self._rate_limit = RateLimit()

    def owner(self, call: Call) -> str:
        """Whose key a call carries."""
        return self.keys.owner(call.headers.get(KEY_HEADER))

    def answer(self, call: Call, switches: Switches) -> Reply:
        """The reply to a call, with its effect applied."""
        try:
            self._rate_limit.check(switches)
            if call.problem is not None:
                raise call.problem
            if switches.max_body_bytes is not None and len(call.body) > switches.max_body_bytes:
                raise RefusedError(413, "request body is too large")
            route, found = _find(call)
            key = call.headers.get(KEY_HEADER, "")
            self._authorize(route.access, key, switches)
            if found.get("kind") == "parentAccount" and switches.parent_account_id_key == "refused":
                raise RefusedError(404, "metadata is of visitors and accounts; see the switch parent_account_id_key")
            params = _decoded(found, call)
            with self._pendo.lock:
                self._pendo.deletions.carry_out(self._pendo.records, switches)
                self._pendo.segments.carry_out(switches)
                return route.handler(_Ask(self._pendo, switches, call, params, self.keys, key))
        except RefusedError as refusal:
            return refused(refusal, switches)

    def _authorize(self, access: Access, key: str, switches: Switches) -> None:
        """Refuses a key that does not open a call (section 2); what a track secret opens, ``_track`` judges."""
        if access == "track":
            return
        if key not in (self.keys.integration, self.keys.read_only):
            status = 403 if access == "verify" else switches.wrong_key_status
            raise RefusedError(status, "the integration key is invalid")
        writes = access == "write" or (access == "aggregate" and switches.aggregation_needs_write)
        if writes and key != self.keys.integration:
            raise RefusedError(switches.read_only_write_status, "the integration key may only read")


def seconds_left(call: Call, switches: Switches) -> float:
    """How long Pendo lets a call take: bulk writes five minutes (section 3), others for ever."""
    is_bulk_write = call.method == "POST" and call.path.startswith("/api/v1/metadata/") and call.path.endswith("/value")
    return switches.bulk_write_seconds if is_bulk_write else inf


def refused(refusal: RefusedError, switches: Switches) -> Reply:
    """The reply that tells a refusal."""
    said = refusal.message or responses[refusal.status]
    if switches.error_bodies == "text":
        return text_reply(said, refusal.status, refusal.headers)
    body = json_reply({"error": said}).body if switches.error_bodies == "json" else b""
    return Reply(refusal.status, body, headers=refusal.headers)


# The handlers, in the order of the sections of pendo-api.md.


def _verify(ask: _Ask) -> Reply:
    return json_reply({"valid": True, "writeAccess": ask.key == ask.keys.integration})


def _get_schema(ask: _Ask) -> Reply:
    return json_reply(ask.pendo.records[ask.params["kind"]].schema.as_json())


def _create_fields(ask: _Ask) -> Reply:
    schema = ask.pendo.records[ask.params["kind"]].schema
    status, body = schema.create(ask.params["group"], ask.call.payload, ask.switches)
    if ask.switches.field_reply == "empty":
        return Reply(status)
    return json_reply(body["results"] if ask.switches.field_reply == "list" else body, status)


def _delete_field(ask: _Ask) -> Reply:
    schema = ask.pendo.records[ask.params["kind"]].schema
    return replace(ask.done({}), status=schema.delete(ask.params["group"], ask.params["field"], ask.switches))


def _dependencies(ask: _Ask) -> Reply:
    return json_reply(ask.pendo.dependencies_of_all(ask.switches))


def _field_dependencies(ask: _Ask) -> Reply:
    where = ask.params
    return json_reply(ask.pendo.dependencies_of(where["kind"], where["group"], where["field"], ask.switches))


def _bulk_write(ask: _Ask) -> Reply:
    answer = ask.pendo.records[ask.params["kind"]].bulk_write(
        ask.params["group"],
        ask.payload_within_limits(),
        create=ask.call.options.get("create") == "true",
        switches=ask.switches,
    )
    return json_reply(answer)


def _read_value(ask: _Ask) -> Reply:
    where = ask.params
    records = ask.pendo.records[where["kind"]]
    return json_reply(records.read_value(where["group"], where["id"], where["field"], ask.switches))


def _write_value(ask: _Ask) -> Reply:
    where, value = ask.params, ask.call.payload
    records = ask.pendo.records[where["kind"]]
    records.write_value(where["group"], where["id"], where["field"], value, ask.switches)
    return ask.done(value)


def _track(ask: _Ask) -> Reply:
    app, wrong = ask.keys.app(ask.key), ask.switches.wrong_track_secret_status
    if app is not None:
        ask.pendo.receive_events(ask.payload_within_limits(), app, ask.switches)
    elif wrong != 200:
        raise RefusedError(wrong, "the Track Event shared secret is invalid")
    return json_reply({"status": "ok"}) if ask.switches.track_reply == "json" else Reply(200)


def _track_types(ask: _Ask) -> Reply:
    return json_reply(ask.pendo.events.types(ask.call.options))


def _list_none(_: _Ask) -> Reply:
    return json_reply([])


def _list_segments(ask: _Ask) -> Reply:
    chosen = {"true": True, "false": False}.get(ask.call.options.get("createdByApi", ""))
    return json_reply(ask.pendo.segments.listed(chosen))


def _get_segment(ask: _Ask) -> Reply:
    return json_reply(ask.pendo.segments.get(ask.params["id"]))


def _segment_status(ask: _Ask) -> Reply:
    return json_reply(ask.pendo.segments.status(ask.params["id"], ask.switches))


def _upload_segment(ask: _Ask) -> Reply:
    return json_reply({"segmentId": ask.pendo.segments.upload(ask.call.payload, ask.switches)})


def _put_segment(ask: _Ask) -> Reply:
    ask.pendo.segments.overwrite(ask.params["id"], ask.call.payload, ask.switches)
    return ask.done({"segmentId": ask.params["id"]})


def _delete_segment(ask: _Ask) -> Reply:
    ask.pendo.segments.delete(ask.params["id"])
    return ask.done({})


def _put_segment_visitor(ask: _Ask) -> Reply:
    ask.pendo.segments.put_visitor(ask.params["id"], ask.params["visitor"], ask.switches)
    return ask.done({})


def _delete_segment_visitor(ask: _Ask) -> Reply:
    ask.pendo.segments.delete_visitor(ask.params["id"], ask.params["visitor"], ask.switches)
    return ask.done({})


def _patch_segment(ask: _Ask) -> Reply:
    statuses = ask.pendo.segments.patch(ask.params["id"], ask.call.payload, ask.switches)
    return json_reply({"multistatus": statuses})


def _export_segment(ask: _Ask) -> Reply:
    return json_reply({"jobId": ask.pendo.segments.export(ask.params["id"])})


def _export_status(ask: _Ask) -> Reply:
    ask.pendo.segments.exported(ask.params["job"])
    return json_reply("finished")


def _export_csv(ask: _Ask) -> Reply:
    visitors = ask.pendo.segments.exported(ask.params["job"])
    lines = ["visitorId", *('"' + v.replace('"', '""') + '"' for v in visitors)]
    return Reply(200, "".join(f"{line}\n" for line in lines).encode(), "text/csv")


def _get_record(ask: _Ask) -> Reply:
    metadata = ask.pendo.records[ask.params["readable"]].visible(ask.params["id"])
    if metadata is None:
        raise RefusedError(404, f"no {ask.params['readable']} {ask.params['id']!r}")
    return json_reply({"metadata": metadata})


def _aggregate(ask: _Ask) -> Reply:
    started = int(time.time() * 1000)
    return json_reply({"startTime": started, "results": ask.pendo.aggregate(ask.call.payload, ask.switches)})


def _bulk_delete(ask: _Ask) -> Reply:
    records = ask.pendo.records[ask.params["readable"]]
    return json_reply(ask.pendo.deletions.request(ask.call.payload, records, ask.switches))


def _list_deletions(ask: _Ask) -> Reply:
    return json_reply(ask.pendo.deletions.listed(ask.switches))


def _get_deletion(ask: _Ask) -> Reply:
    return json_reply(ask.pendo.deletions.get(ask.params["id"], ask.switches))


class _Route(NamedTuple):
    method: str
    pattern: re.Pattern[str]
    access: Access
    handler: Callable[[_Ask], Reply]


def _route(method: str, path: str, access: Access, handler: Callable[[_Ask], Reply]) -> _Route:
    names = {"kind": "|".join(KINDS), "readable": "visitor|account", "listed": "page|feature|report|guide"}
    pattern = re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{names.get(m[1], '[^/]+')})", path)
    return _Route(method, re.compile(pattern), access, handler)


# Busiest first.
_ROUTES = (
    _route("POST", "/data/track", "track", _track),
    _route("POST", "/api/v1/metadata/{kind}/{group}/value", "write", _bulk_write),
    _route("GET", "/api/v1/token/verify", "verify", _verify),
    _route("GET", "/api/v1/metadata/schema/{kind}", "read", _get_schema),
    _route("POST", "/api/v1/metadata/schema/{kind}/{group}", "write", _create_fields),
    _route("DELETE", "/api/v1/metadata/schema/{kind}/{group}/{field}", "write", _delete_field),
    _route("GET", "/api/v1/metadata/dependencies", "read", _dependencies),
    _route("GET", "/api/v1/metadata/dependencies/{kind}/{group}/{field}", "read", _field_dependencies),
    _route("GET", "/api/v1/metadata/{kind}/{group}/value/{id}/{field}", "read", _read_value),
    _route("PUT", "/api/v1/metadata/{kind}/{group}/value/{id}/{field}", "write", _write_value),
    _route("GET", "/api/v1/tracktype", "read", _track_types),
    _route("GET", "/api/v1/{listed}", "read", _list_none),
    _route("GET", "/api/v1/segment", "read", _list_segments),
    _route("POST", "/api/v1/segment/upload", "write", _upload_segment),
    _route("GET", "/api/v1/segment/{id}", "read", _get_segment),
    _route("PUT", "/api/v1/segment/{id}", "write", _put_segment),
    _route("DELETE", "/api/v1/segment/{id}", "write", _delete_segment),
    _route("GET", "/api/v1/segment/{id}/status", "read", _segment_status),
    _route("PATCH", "/api/v1/segment/{id}/visitor", "write", _patch_segment),
    _route("PUT", "/api/v1/segment/{id}/visitor/{visitor}", "write", _put_segment_visitor),
    _route("DELETE", "/api/v1/segment/{id}/visitor/{visitor}", "write", _delete_segment_visitor),
    _route("POST", "/api/v1/segment/{id}/visitors", "read", _export_segment),
    _route("GET", "/api/v1/segment/{id}/visitors/{job}/status", "read", _export_status),
    _route("GET", "/api/v1/segment/{id}/visitors/{job}/results/csv", "read", _export_csv),
    _route("POST", "/api/v1/aggregation", "aggregate", _aggregate),
    _route("POST", "/api/v1/bulkdelete/{readable}", "write", _bulk_delete),
    _route("GET", "/api/v1/bulkdelete", "read", _list_deletions),
    _route("GET", "/api/v1/bulkdelete/{id}", "read", _get_deletion),
    _route("GET", "/api/v1/{readable}/{id}", "read", _get_record),
)


def _find(call: Call) -> tuple[_Route, dict[str, str]]:
    """The route of a call and its path parameters; RefusedError 404 or 405."""
    others: set[str] = set()
    for route in _ROUTES:
        # Matched before it is decoded: an id may hold an encoded slash.
        if match := route.pattern.fullmatch(call.path):
            if route.method == call.method:
                return route, match.groupdict()
            others.add(route.method)
    if others:
        raise RefusedError(405, "method not allowed", {"Allow": ", ".join(sorted(others))})
    raise RefusedError(404, "not found")


def _decoded(params: dict[str, str], call: Call) -> dict[str, str]:
    """The path parameters as meant: percent-decoded, and ids in base64 after `b64_` when the header says so (D)."""
    decoded = {name: unquote(value) for name, value in params.items()}
    if call.headers.get(BASE64_HEADER, "").lower() == "true":
        for name in decoded.keys() & {"id", "visitor"}:
            if not decoded[name].startswith("b64_"):
                continue
            value = decoded[name].removeprefix("b64_").replace("-", "+").replace("_", "/")
            try:
                padded = value + "=" * (-len(value) % 4)
                decoded[name] = base64.b64decode(padded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise RefusedError(400, f"{decoded[name]!r} is not base64") from None
    return decoded
