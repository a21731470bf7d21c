"""Calls of a probe, which learns what no document says of Pendo, and what it makes in Pendo to do so."""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import orjson

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.mapping.objects import OBJECTS
from dbt_pendo.mapping.spec import Group, Object
from dbt_pendo.network import read_json
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import (
    FIRST_WAIT,
    RETRIED,
    TRACK_PATH,
    Call,
    PendoClient,
    PendoError,
    Request,
    UnavailableError,
)
from dbt_pendo.pendo.deletion import deletion_request
from dbt_pendo.pendo.metadata import Schema, read_schema
from dbt_pendo.secret import Secret
from dbt_pendo.settings import READ_ONLY_KEY, Settings

METADATA = "/api/v1/metadata"
EVENT = "dbt-pendo-probe"
PREFIX = f"{EVENT}-"
# Seconds in which a write is to be seen by a reader.
PATIENCE = 10.0
# Seconds in which a call that changes nothing, or removes what was made, is repeated.
RETRY_TIME = 30.0
# Events of this age are taken and never processed (pendo-api.md 4), so that they define no event name.
LATE = datetime.timedelta(days=8)
# The statuses of a call that is refused as a whole, for what it holds (pendo-api.md 2).
REFUSED = (400, 422)

Fate = Literal["taken", "record error", "refuse call"]
Field = Literal["number", "time"]
Found = TypeVar("Found")


class UnsettledError(DbtPendoError):
    """A question has no answer; the message says why, and names no id, key or host."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a probe makes in Pendo, by name."""

    tag: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def record(self) -> str:
        """The id of its visitor, and that of its account."""
        return PREFIX + self.tag

    def field(self, end: str) -> str:
        """Returns the name of a field: in letters that Pendo does not fold (pendo-api.md 3)."""
        return f"{PREFIX}{self.tag}-{end}".replace("-", "_")

    @property
    def fields(self) -> Mapping[Field, str]:
        """Its custom fields, by the type with which they are created."""
        return {"number": self.field("a"), "time": self.field("b")}


@dataclass(frozen=True, slots=True)
class Reply:
    """Pendo's answer to one call."""

    status: int
    content: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object of the body; empty for any other body."""
        found = read_json(self.content)
        return found if isinstance(found, dict) else {}

    @property
    def form(self) -> str:
        """What the body is: ``empty``, ``json`` or ``text``."""
        if not self.content.strip():
            return "empty"
        return "text" if read_json(self.content) is None else "json"

    @property
    def other(self) -> str:
        """The answer to a question whose known answers do not fit: the status alone."""
        return f"other {self.status}"

    @property
    def fate(self) -> Fate | None:
        """What a bulk call did to its only record; None if that is none of what is known."""
        if self.status in REFUSED:
            return "refuse call"
        found = self.document
        if not self.ok or not found.keys() & {"total", "updated", "failed"}:
            return None
        return "record error" if found.get("failed") or found.get("errors") or found.get("missing") else "taken"


@dataclass(frozen=True, slots=True)
class Written:
    """A value that was written to a field, and what the field held before and after it, as read back."""

    reply: Reply
    before: Any = None
    after: Any = None


@dataclass(eq=False)
class Probe:
    """Calls of a probe, and what it has made; each call is sent once, as a repeat would falsify the answer."""

    settings: Settings
    names: Names
    clients: contextlib.ExitStack
    watch: Callable[[Call], None] = lambda _: None
    # Waits some seconds, and raises what ends the probe.
    wait: Callable[[float], None] = time.sleep
    # The end of calls in flight, by ``time.monotonic``.
    ends_at: Callable[[], float] = lambda: math.inf
    # Seconds.
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        self.made: dict[str, None] = {}
        self.headers: set[str] = set()
        self.errors: list[Any] = []
        self._last: Call | None = None
        self._is_ready: bool | None = None
        # Why Pendo has no fields, if it has answered.
        self._no_fields = ""
        self._numbers = itertools.count(1)
        self.client = self.client_of(self.settings)

    def client_of(self, settings: Settings) -> PendoClient:
        """Opens a client, which ends with the probe."""
        settings = replace(settings, retry_time=min(settings.retry_time, RETRY_TIME))
        client = PendoClient(settings, wait=self.wait, watch=self._see, ends_at=self.ends_at)
        return self.clients.enter_context(client)

    @functools.cached_property
    def reader(self) -> PendoClient:
        """A client with the key that may only read."""
        if (key := self.settings.read_only_key) is None:
            raise UnsettledError(f"{READ_ONLY_KEY} is not set")
        client = self.client_of(replace(self.settings, integration_key=key))
        if self.call("GET", "/api/v1/token/verify", client=client).document.get("writeAccess") is not False:
            raise UnsettledError(f"the key in {READ_ONLY_KEY} is unknown to Pendo, or may write")
        return client

    def call(
        self, method: str, path: str, body: Any = None, client: PendoClient | None = None, app: str | None = None
    ) -> Reply:
        """Sends a call, and returns its answer of whatever status.

        Raises:
            UnsettledError: If there is none, or one that says nothing of the call (408, 429, 5xx).
            DbtPendoError: What ends the probe, by ``wait``.
        """
        self._last = None
        content = None if body is None else orjson.dumps(body)
        with contextlib.suppress(PendoError):
            (client or self.client).send(Request(method, path, content, app=app, idempotent=method == "GET"))
        if self._last is None or self._last.status is None:
            raise UnsettledError("Pendo did not answer")
        reply = Reply(self._last.status, self._last.answer)
        if reply.status in RETRIED:
            raise UnsettledError(f"Pendo answered HTTP {reply.status}")
        errors = reply.document.get("errors") if "/value" in path else None
        self.errors += errors if isinstance(errors, list) else [errors] if errors else []
        return reply

    def _see(self, call: Call) -> None:
        self._last = call
        self.headers |= {name.lower() for name in call.headers}
        self.watch(call)

    def until(self, look: Callable[[], Found], wanted: Callable[[Found], object]) -> Found:
        """Looks until something wanted is seen, once more when patience has ended, and returns what was seen last."""
        ends_at, pause = time.monotonic() + self.patience, 0.02
        while True:
            is_last = time.monotonic() >= ends_at
            found = look()
            if is_last or wanted(found):
                return found
            self.wait(pause)
            pause = min(pause * 2, 2.0)

    # What it makes. A creation that failed is tried again by the next question that needs it.

    @functools.cached_property
    def keys(self) -> Mapping[Field, str]:
        """The keys of the two fields, which are created now."""
        if self._no_fields:
            raise UnsettledError(self._no_fields)
        self.made["fields"] = None
        body = [{"name": name, "displayname": name, "type": type_} for type_, name in self.names.fields.items()]
        reply = self.call("POST", f"{METADATA}/schema/visitor/custom", body)
        found = self.until(lambda: self.found("custom", *self.names.fields.values()), lambda f: all(f) or not reply.ok)
        if not all(found):
            self._no_fields = f"Pendo did not create the fields (HTTP {reply.status})"
            raise UnsettledError(self._no_fields)
        return {type_: key for type_, key in zip(self.names.fields, found, strict=True) if key}

    def found(self, group: Group, *names: str) -> list[str | None]:
        """Returns the keys of fields of visitors, by name; None for each that is not there."""
        schema = self._schema()
        return [one.key if (one := schema.find(group, name)) else None for name in names]

    def type_of(self, type_: Field) -> str | None:
        """Returns the type that Pendo gave a field."""
        found = self._schema().find("custom", self.keys[type_])
        return found.type if found else None

    def _schema(self) -> Schema:
        try:
            return read_schema(self.client, "visitor")
        except PendoError:
            raise UnsettledError("Pendo does not let the fields be read") from None

    @functools.cached_property
    def created(self) -> Reply:
        """The answer to the creation of the visitor."""
        values = {self.keys["number"]: next(self._numbers), self.keys["time"]: _moment(next(self._numbers))}
        return self._create("visitor", values)

    @functools.cached_property
    def created_account(self) -> Reply:
        """The answer to the creation of the account."""
        return self._create("account", {})

    def _create(self, object_: Object, values: Mapping[str, Any]) -> Reply:
        self.made[object_] = None
        item = {OBJECTS[object_].id_key: self.names.record, "values": values}
        return self.call("POST", f"{METADATA}/{object_}/custom/value?create=true", [item])

    def require_visitor(self) -> None:
        """Returns, once the visitor can be read with a value in each field.

        Raises:
            UnsettledError: If it cannot be.
        """
        if self._is_ready is None:
            self._is_ready = self.created.fate == "taken" and None not in self._seen().values()
        if not self._is_ready:
            raise UnsettledError(f"a plain write was not taken, or not seen within {self.patience:g} s")

    def _seen(self) -> dict[Field, Any]:
        return self.until(self.values, lambda values: None not in values.values())

    def values(self) -> dict[Field, Any]:
        """Returns what the fields of the visitor hold."""
        reply = self.call("GET", f"/api/v1/visitor/{self.names.record}")
        metadata = reply.document.get("metadata")
        custom = metadata.get("custom") if isinstance(metadata, dict) else None
        return {type_: custom.get(key) if isinstance(custom, dict) else None for type_, key in self.keys.items()}

    def write(self, type_: Field, *values: Any) -> Written:
        """Writes a value to one field, and another to its neighbour, by which a reader sees that it was done.

        Args:
            type_: The field.
            values: Its value; several are written in one call, a record each.
        """
        self.require_visitor()
        beside: Field = "time" if type_ == "number" else "number"
        number, before = next(self._numbers), self.values()
        marker = number if beside == "number" else _moment(number)
        items = [self.item({self.keys[type_]: value, self.keys[beside]: marker}) for value in values]
        reply = self.bulk(items)
        if reply.fate != "taken":
            return Written(reply)
        after = self.until(self.values, lambda after: after[beside] != before[beside])
        if after[beside] == before[beside]:
            raise UnsettledError(f"what was written could not be read back within {self.patience:g} s")
        return Written(reply, before[type_], after[type_])

    def item(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the visitor's item of a bulk call."""
        return {"visitorId": self.names.record, "values": values}

    def bulk(self, items: Any, group: str = "custom", client: PendoClient | None = None) -> Reply:
        """Writes values of visitors."""
        return self.call("POST", f"{METADATA}/visitor/{group}/value", items, client)

    def rows(self, object_: Object, options: Any = None, client: PendoClient | None = None) -> tuple[Reply, list[Any]]:
        """Asks the aggregation for the visitor or the account, with options of its source."""
        kind = OBJECTS[object_]
        chosen = f"{kind.id_key}=={orjson.dumps(self.names.record).decode()}"
        stages: list[Any] = [{"source": {kind.plural: options}}, {"filter": chosen}, {"limit": 1}]
        body = {"response": {"mimeType": "application/json"}, "request": {"requestId": "probe", "pipeline": stages}}
        reply = self.call("POST", "/api/v1/aggregation", body, client)
        rows = reply.document.get("results")
        return reply, rows if isinstance(rows, list) else []

    # Events.

    def track(self, body: Any, secret: Secret | None = None) -> Reply:
        """Sends an event of the visitor, with whom it is removed; ``secret`` takes the place of the app's."""
        settings = self.settings
        if not secret and not settings.track_secrets:
            raise UnsettledError(f"{settings.track_secret_variable} is not set")
        app = "" if secret else min(settings.track_secrets)
        client = self.client_of(replace(settings, track_secrets={"": secret})) if secret else None
        self.made["visitor"] = None
        return self.call("POST", TRACK_PATH, body, client, app)

    def sample(self, age: datetime.timedelta) -> dict[str, Any]:
        """Returns an event of the visitor."""
        milliseconds = int((datetime.datetime.now(datetime.timezone.utc) - age).timestamp() * 1000)
        return {"type": "track", "event": EVENT, "visitorId": self.names.record, "timestamp": milliseconds}

    @functools.cached_property
    def event(self) -> tuple[dict[str, Any], bool]:
        """An event that Pendo takes, and whether it takes late ones."""
        for age in (LATE, datetime.timedelta()):
            if (reply := self.track(event := self.sample(age))).ok:
                return event, age is LATE
        raise UnsettledError(f"Pendo did not take a plain event (HTTP {reply.status})")


def _moment(number: int) -> str:
    """Returns a time that no other number has."""
    return f"{datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=number):%Y-%m-%dT%H:%M:%S}Z"


def remove(settings: Settings, names: Names, made: tuple[str, ...], watch: Callable[[Call], None]) -> Iterator[str]:
    """Removes what a probe has made, also if it was told to end, and yields what it could not with what to do."""
    with PendoClient(replace(settings, retry_time=min(settings.retry_time, RETRY_TIME)), watch=watch) as client:
        fields: list[tuple[Group, str]] = [("custom", name) for name in names.fields.values() if "fields" in made]
        fields += [("agent", names.field("agent"))] if "agent" in made else []
        try:
            schema = read_schema(client, "visitor") if fields else None
        except PendoError:
            schema = None
        for group, name in fields:
            found = schema.find(group, name) if schema else None
            path = f"{METADATA}/schema/visitor/{group}/{found.key if found else name}"
            try:
                request = Request("DELETE", path, is_clear=Answer.acknowledges)
                client.ask(request, f"delete the {group} field {name}", allowed=(404,))
            except PendoError as error:
                where = f"The {group} field {name} is left in Pendo; delete it there, in Settings > Metadata."
                yield f"{where} {error.message}"
        objects: tuple[Object, ...] = ("visitor", "account")
        for object_ in objects:
            if object_ in made and (problem := _delete_record(client, object_, names.record)):
                yield (
                    f"The {object_} {names.record} is left in Pendo, where nothing uses it; delete it with "
                    f"POST /api/v1/bulkdelete/{object_}. {problem}"
                )


def _delete_record(client: PendoClient, object_: Object, key: str) -> str:
    """Deletes a record, and returns why not; empty if its deletion waits, which repeats a call that was answered."""
    request, problem = deletion_request(object_, [key]), ""
    for attempt in range(1 + min(client.settings.retries, 2)):
        if attempt:
            client.wait(FIRST_WAIT)
        try:
            answer = client.send(replace(request, is_clear=Answer.acknowledges, idempotent=False))
        except UnavailableError as error:
            problem = error.message
        except PendoError as error:
            return error.message
        else:
            # After a call whose answer was lost a 400 says that the deletion waits already (pendo-api.md 7).
            return "" if answer.ok or (problem and answer.status == 400) else answer.message
    return problem
