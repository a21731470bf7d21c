"""The sandbox: Pendo's stand-in on a port, with switches, faults and an account of what it received."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbt_pendo.errors import ConfigError

from .api import Api, Keys, refused, seconds_left
from .control import PREFIX, control
from .exchange import Call, RefusedError, Reply
from .faults import Fault, Faults
from .metadata import Metadata
from .server import HOST, Server
from .state import USERS, Pendo
from .subscription import seed
from .switches import Switches
from .track import Event
from .traffic import Request, Traffic, latency_seconds

Seed = Iterable[str] | Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Ids, or ``{id: {group: {key: value}}}``."""


class Sandbox:
    """A real HTTP server on 127.0.0.1 that behaves as Pendo does; API and data host in one.

    Use it as a context manager, or call ``start`` and ``stop``.

    Args:
        port: 0 takes a free one.
        switches: Which Pendo it is, where nobody knows; may be replaced while it runs.
        apps: Names of further apps, each with its own track secret; the default app has the empty name.
        on_request: Called after each request, on its thread.
    """

    def __init__(
        self,
        port: int = 0,
        switches: Switches | None = None,
        *,
        apps: Iterable[str] = (),
        on_request: Callable[[Request], None] | None = None,
    ) -> None:
        self.switches = switches or Switches()
        self.integration_key = "sandbox-integration-key"
        self.read_only_key = "sandbox-read-only-key"
        apps = tuple(apps)
        self.track_secrets = {"": "sandbox-track-secret", **{a: f"sandbox-track-secret-{a}" for a in apps}}
        self.pendo = Pendo(apps)
        self._port = port
        self._on_request = on_request
        self._faults = Faults()
        self._traffic = Traffic()
        self._api = Api(self.pendo, Keys(self.integration_key, self.read_only_key, self.track_secrets))
        self._stopping = threading.Event()
        self._server: Server | None = None

    # Running.

    def start(self) -> Sandbox:
        """Starts to listen, on a thread; ConfigError when the port cannot be had."""
        self._stopping.clear()
        self._server = Server(self._port, self._answer)
        return self

    def stop(self) -> None:
        """Hangs up on everyone and waits for all threads; hangs are cut short."""
        self._stopping.set()
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Base URL of the API and of ``/data/track``; only while it runs."""
        if self._server is None:
            raise RuntimeError("the sandbox is not running")
        return f"http://{HOST}:{self._server.server_port}"

    # Setting a scene.

    def add_field(
        self, kind: str, group: str, name: str, type_name: str, *, element_type: str = "", display_name: str = ""
    ) -> str:
        """Adds a field to the schema and returns the key it is stored under.

        Args:
            kind: visitor, account or parentAccount.
            group: custom, agent, pendo, or any other.
            name: Letters, digits and underscores.
            type_name: string, time, date, boolean, integer, float, list, or empty for anything.
            element_type: The type of a list's elements; empty is any scalar.
            display_name: What people see in Pendo, any text; empty is the name.
        """
        more = {"element_type": element_type, "display_name": display_name or name}
        with self.pendo.lock:
            schema = self.pendo.records[kind].schema
            field = schema.new_field(name, type_name, self.switches, **more)
            schema.put(group, field)
        return field.key

    def use_field(self, kind: str, group: str, key: str, **names: list[str]) -> None:
        """Says what uses a field: the names of ``guides``, ``reports`` and ``segments``.

        Raises:
            ValueError: If something else is said to use it.
        """
        if unknown := names.keys() - set(USERS):
            raise ValueError(f"{', '.join(sorted(unknown))} is none of {', '.join(USERS)}")
        with self.pendo.lock:
            self.pendo.uses[kind, group, key] = names

    def add_visitors(self, visitors: Seed) -> None:
        """Makes visitors known: ids, or ids with values, which are stored as they are."""
        self._add("visitor", visitors)

    def add_accounts(self, accounts: Seed) -> None:
        """Makes accounts known, as ``add_visitors`` does."""
        self._add("account", accounts)

    def add_parent_accounts(self, parent_accounts: Seed) -> None:
        """Makes parent accounts known, as ``add_visitors`` does."""
        self._add("parentAccount", parent_accounts)

    def exclude_visitors(self, visitors: Iterable[str]) -> None:
        """Puts visitors on the subscription's exclude list, which hides them from aggregations."""
        with self.pendo.lock:
            self.pendo.records["visitor"].excluded.update(visitors)

    def exclude_accounts(self, accounts: Iterable[str]) -> None:
        """Puts accounts on the exclude list."""
        with self.pendo.lock:
            self.pendo.records["account"].excluded.update(accounts)

    def add_segment(self, name: str, visitors: Iterable[str] = (), *, created_by_api: bool = True) -> str:
        """Adds a segment and returns its id."""
        with self.pendo.lock:
            return self.pendo.segments.add(name, visitors, created_by_api=created_by_api)

    def fail(self, fault: Fault) -> None:
        """Queues a fault; of those that fit a request the first hits it."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Drops all faults that have not happened."""
        self._faults.clear()

    def replace_integration_key(self, key: str) -> None:
        """Takes another integration key from now on, and the one before no more."""
        self.integration_key = key
        self._api.keys = replace(self._api.keys, integration=key)

    def reset(self) -> None:
        """Forgets all data, fields, faults and requests; the switches stay."""
        with self.pendo.lock:
            self.pendo.clear()
        self.clear_faults()
        self.forget_requests()

    # Looking.

    @property
    def visitors(self) -> dict[str, Metadata]:
        """A copy of all visitors: ``{id: {"auto", "agent", "custom", "pendo"}}``."""
        return self._snapshot("visitor")

    @property
    def accounts(self) -> dict[str, Metadata]:
        """A copy of all accounts."""
        return self._snapshot("account")

    @property
    def parent_accounts(self) -> dict[str, Metadata]:
        """A copy of all parent accounts."""
        return self._snapshot("parentAccount")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The accepted events as they came, in order; an event sent twice is here twice."""
        return [event.body for event in self.receipts]

    @property
    def receipts(self) -> list[Event]:
        """The accepted events with app, time of receipt, and what Pendo would hold against them."""
        with self.pendo.lock:
            return list(self.pendo.events.accepted)

    @property
    def app_ids(self) -> dict[str, int]:
        """The apps' ids by their names; the default app has none."""
        return self.pendo.app_ids

    @property
    def segments(self) -> dict[str, dict[str, Any]]:
        """All segments by id, each with its ``visitors``."""
        with self.pendo.lock:
            self.pendo.segments.carry_out(self.switches)
            return self.pendo.segments.snapshot()

    @property
    def faults(self) -> list[Fault]:
        """The faults that can still happen."""
        return self._faults.waiting()

    @property
    def requests(self) -> list[Request]:
        """Every request so far, except those for ``/_sandbox``."""
        return self._traffic.requests()

    @property
    def counters(self) -> dict[str, Any]:
        """What the requests add up to."""
        return self._traffic.counters()

    @property
    def peak_concurrency(self) -> int:
        """The most requests that were worked on at once."""
        return self._traffic.peak_concurrency

    def forget_requests(self) -> None:
        """Empties the account of requests."""
        self._traffic.forget()

    # How.

    def _add(self, kind: str, seed: Seed) -> None:
        with self.pendo.lock:
            records = self.pendo.records[kind]
            for record_id in seed:
                records.add(record_id, seed[record_id] if isinstance(seed, Mapping) else None)

    def _snapshot(self, kind: str) -> dict[str, Metadata]:
        with self.pendo.lock:
            self.pendo.deletions.carry_out(self.pendo.records, self.switches)
            return self.pendo.records[kind].snapshot()

    def _answer(self, call: Call) -> Reply:
        if call.path.startswith(PREFIX):
            return control(self, call)
        arrived, started = time.time(), time.perf_counter()
        switches = self.switches
        # Counted as done before it is sent: else one client, one request after the other, would count as two.
        with self._traffic.in_flight():
            pause, longest = latency_seconds(switches), seconds_left(call, switches)
            if pause:
                self._stopping.wait(min(pause, longest))
            fault = self._faults.take(call.method, call.path, call.body)
            applied = fault is None or fault.when == "after"
            reply = self._api.answer(call, switches) if applied else None
            if reply is not None and pause > longest:
                # Pendo still works on it, as far as a client knows.
                reply = refused(RefusedError(408, "the call took too long"), switches)
            if fault is not None:
                reply = fault.spoil(reply)
            assert reply is not None  # noqa: S101  # an answer, a fault, or both
            request = Request(
                at=arrived,
                method=call.method,
                path=call.path,
                query=call.query,
                key=self._api.owner(call),
                size=len(call.body),
                records=call.records,
                status=reply.status if reply.ending in ("keep", "truncate") else None,
                fault=None if fault is None else str(fault),
                seconds=time.perf_counter() - started,
                body=call.body if switches.keep_bodies else b"",
            )
            # Logged before a hang: who waits for its end may have given up long ago.
            self._traffic.add(request)
            if self._on_request is not None:
                self._on_request(request)
            if fault is not None and fault.action == "hang":
                self._stopping.wait(fault.seconds)
        return reply


def serve(
    port: int,
    switches: Switches | None = None,
    on_request: Callable[[Request], None] | None = None,
    *,
    apps: Iterable[str] = (),
    on_start: Callable[[Sandbox], None] | None = None,
) -> None:
    """Runs a sandbox until Ctrl-C.

    Args:
        port: 0 takes a free one.
        switches: Which Pendo it is.
        on_request: Called after each request, on its thread.
        apps: Names of further apps, each with its own track secret.
        on_start: Called once it listens: the place to set the scene and to tell its URL and keys.

    Raises:
        ConfigError: The port cannot be had.
    """
    with Sandbox(port, switches, apps=apps, on_request=on_request) as sandbox:
        try:
            if on_start is not None:
                on_start(sandbox)
            threading.Event().wait()
        except KeyboardInterrupt:
            return


_EXAMPLE = '{"fields": {"visitor": {"custom": {"plan": "string"}}}, "visitors": ["v1"], "accounts": ["a1"]}'


def load_subscription(sandbox: Sandbox, path: Path) -> None:
    """Gives the sandbox the fields, records and segments of a JSON file, as ``seed`` describes it.

    Raises:
        ConfigError: If the file cannot be read as that; it says where in the file.
    """
    try:
        seed(sandbox, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", f"A subscription looks like {_EXAMPLE}.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {error}.", f"Write it like {_EXAMPLE}.") from None
