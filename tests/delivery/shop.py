"""The shop, its syncs, and what has to hold after every run: Pendo and the ledger tell the truth."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from harness import Project, check_document, run_cli
from harness.dbt import SMALL_PROFILE, models_yaml, project_yaml
from harness.pendo import canonical, epoch_ms, writes
from harness.postgres import Connected

from dbt_pendo.sandbox import Fault, Request, Sandbox

# What dbt builds. Some rows hold a null, which a Pendo with the switch `null: error` rejects; some events are old,
# which one with `refuse_late_events` refuses.

SYNCS: dict[str, dict[str, Any]] = {
    "users": {
        **{"object": "visitor", "visitor_id": "user_id", "batch_size": 20},
        "fields": {"plan": "plan", "seats": "seats", "active": "active"},
    },
    "orgs": {
        **{"object": "account", "account_id": "org_id", "mode": "upsert", "batch_size": 10},
        "fields": {"tier": "tier", "arr": {"column": "arr", "nulls": "skip"}},
    },
    "clicks": {
        **{"object": "track_event", "event": "Clicked", "event_id": "click_id", "visitor_id": "user_id"},
        **{"timestamp": "clicked_at", "batch_size": 10, "max_age": "none"},
        "properties": {"id": "click_id", "amount": "amount"},
    },
}
FILES = {
    "dbt_project.yml": project_yaml("shop"),
    "profiles.yml": SMALL_PROFILE,
    "models/models.yml": models_yaml(SYNCS),
    "models/users.sql": """\
select
    'v-' || lpad(cast(i as varchar), 3, '0') as user_id,
    case i % 3 when 0 then 'free' when 1 then 'pro' else 'team' end as plan,
    case when i % 15 <> 7 then i * 3 end as seats,
    i % 2 = 0 as active
from generate_series(0, 59) numbers(i)
""",
    "models/orgs.sql": """\
select
    'a-' || lpad(cast(i as varchar), 3, '0') as org_id,
    case when i % 8 <> 3 then case i % 2 when 0 then 'gold' else 'silver' end end as tier,
    case when i % 5 <> 0 then cast(i * 1.5 as float8) end as arr
from generate_series(0, 24) numbers(i)
""",
    "models/clicks.sql": """\
select
    'c-' || lpad(cast(i as varchar), 3, '0') as click_id,
    'v-' || lpad(cast(i % 10 as varchar), 3, '0') as user_id,
    date_trunc('second', now()::timestamp) - interval '1 day' * case when i % 20 = 9 then 30 else 0 end as clicked_at,
    i as amount
from generate_series(0, 59) numbers(i)
""",
}

# Users that Pendo does not know.
STRANGERS = frozenset({"v-011", "v-041"})


# What Pendo may say to a request that would fare no better if it were sent again.
REFUSALS = frozenset({400, 404, 409, 413, 422})


def set_scene(sandbox: Sandbox) -> None:
    """What Pendo holds before the first sync: other values, and a field that no sync may touch."""
    for name, type_name in (("plan", "string"), ("seats", "integer"), ("active", "boolean"), ("own", "string")):
        sandbox.add_field("visitor", "custom", name, type_name)
    for name, type_name in (("tier", "string"), ("arr", "float")):
        sandbox.add_field("account", "custom", name, type_name)
    known = {f"v-{number:03}" for number in range(60)} - STRANGERS
    sandbox.add_visitors({user: {"custom": {"seats": 999, "own": "kept"}} for user in sorted(known)})
    sandbox.add_accounts([f"a-{number:03}" for number in range(0, 25, 2)])


def be_strict(sandbox: Sandbox, strict: bool = True) -> None:
    """Lets Pendo reject the rows that hold a null, and events that are old; or relent."""
    sandbox.switches = sandbox.switches.with_changes(
        {"null": "error" if strict else "clear", "refuse_late_events": strict, "error_items": "object"}
    )


@dataclass(frozen=True)
class Kind:
    """One of the shop's syncs, which has the name of its model."""

    model: str
    key: str
    path: str
    object: str
    # The key of a row in the midst, to aim a fault at, and those of the rows that a strict Pendo rejects.
    marked: str
    spoilt: frozenset[str]

    @property
    def is_event(self) -> bool:
        return self.object == "track_event"


def _keys(letter: str, numbers: Iterable[int]) -> frozenset[str]:
    return frozenset(f"{letter}-{number:03}" for number in numbers)


KINDS = {
    "visitor": Kind("users", "user_id", "/metadata/visitor/", "visitor", "v-033", _keys("v", range(7, 60, 15))),
    "account": Kind("orgs", "org_id", "/metadata/account/", "account", "a-013", _keys("a", range(3, 25, 8))),
    "batch": Kind("clicks", "click_id", "/data/track", "track_event", "c-031", _keys("c", range(9, 60, 20))),
}
kinds = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])


@dataclass
class Run:
    """One run of one sync, as its results have it."""

    status: int
    result: dict[str, Any]
    run_id: str
    requests: list[Request]
    verdicts: dict[str, str] = field(default_factory=dict)

    @property
    def planned(self) -> dict[str, int]:
        """The planned rows by kind, zeros left out."""
        return {kind: rows for kind, rows in self.result["planned"].items() if rows}

    @property
    def rejected(self) -> set[str]:
        return {key for key, verdict in self.verdicts.items() if verdict == "rejected"}

    @property
    def writes(self) -> list[Request]:
        return writes(self.requests)


class Shop(Project):
    """The shop's dbt project, and an account of what became of each event in its sandbox."""

    def __init__(self, folder: Path, database: Path) -> None:
        super().__init__(folder, database)
        self.sandbox: Sandbox
        # Of PostgreSQL; None for DuckDB.
        self.server: Path | None = None
        self.acknowledged = Counter[str]()
        self.unacknowledged = Counter[str]()

    # Commands.

    def sync(self, kind: Kind, *args: str, status: str | None = "success") -> Run:
        """Runs one sync, and checks what holds after every run, however it ended."""
        self.sandbox.forget_requests()
        ended = run_cli("sync", "--json", "--select", kind.model, *args)
        check_document(ended.json)
        result = ended.result()
        requests = [request for request in self.sandbox.requests if kind.path in request.path]
        run = Run(ended.status, result, ended.json["metadata"]["run_id"], requests)
        if status is not None:
            left_out = result["missing"] or result["planned"]["invalid"]
            assert result["status"] == ("warn" if status == "success" and left_out else status), result
        self._check_ledger(kind, run)
        self._check_results(run)
        if kind.is_event:
            self._check_events(kind, requests)
        # A run that ended in order leaves neither a journal nor a lock.
        assert not list((self.target / "dbt_pendo").glob("*.journal"))
        assert f"{kind.model}__lock" not in self.tables()
        return run

    def plan(self, kind: Kind, *args: str) -> dict[str, int]:
        """Returns what a plan counts, zeros left out."""
        planned = run_cli("plan", "--json", "--select", kind.model, *args).expect(0).planned
        return {name: rows for name, rows in planned.items() if rows}

    # The warehouse.

    def connect(self) -> Any:
        return super().connect() if self.server is None else Connected(self.server)

    def ledger(self, kind: Kind) -> list[dict[str, Any]]:
        """The entries of a ledger, oldest first."""
        return super().ledger(kind.model) if f"{kind.model}__ledger" in self.tables() else []

    def latest(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """The latest entry of each key."""
        return {entry["record_key"]: entry for entry in self.ledger(kind)}

    def statuses(self, kind: Kind) -> dict[str, str]:
        return {key: entry["status"] for key, entry in self.latest(kind).items()}

    def keys(self, kind: Kind) -> set[str]:
        """The keys of a model."""
        return {row[kind.key] for row in self.rows(kind.model)}

    def annotate(self, kind: Kind, **changes: Any) -> None:
        """Changes keys of a model's ``meta.pendo``, as ``dbt parse`` would after an edit of its YAML."""
        super().annotate(kind.model, SYNCS[kind.model] | changes)

    # What Pendo has to hold.

    def check_pendo(self, kind: Kind, without: Iterable[str] = ()) -> None:
        """Checks that Pendo holds exactly the model, field by field, but for some rows."""
        rows = [row for row in self.rows(kind.model) if row[kind.key] not in without]
        if kind.object == "visitor":
            held = {key: record["custom"] for key, record in self.sandbox.visitors.items()}
            assert not STRANGERS & held.keys()
            wanted = {
                row["user_id"]: {"own": "kept", **_values(row, "plan", "seats", "active")}
                for row in rows
                if row["user_id"] not in STRANGERS
            }
            assert {key: held.get(key) for key in wanted} == wanted
        elif kind.object == "account":
            accounts = self.sandbox.accounts
            for row in rows:
                assert accounts[row["org_id"]]["custom"] == _values(row, "tier", "arr")
        else:
            # Some may have come twice.
            assert set(canonical(self.sandbox.events)) == set(canonical(map(_event, rows)))

    def check_delivered(self, kind: Kind) -> None:
        """Checks that a sync is done: Pendo holds the model, the ledger says so, a further run has nothing to do."""
        self.check_pendo(kind)
        strangers = self.keys(kind) & STRANGERS if kind.object == "visitor" else set()
        assert self.statuses(kind) == {key: "missing" if key in strangers else "delivered" for key in self.keys(kind)}
        run = self.sync(kind)
        assert run.planned == {"unchanged": len(self.keys(kind) - strangers)} | (
            {"held": len(strangers)} if strangers else {}
        )
        assert not run.writes

    # What holds after every run.

    def _told(self, kind: Kind, requests: Iterable[Request]) -> tuple[dict[str, str], set[str]]:
        """What Pendo let the client know of each key, by the sandbox's own account.

        Beside them the keys whose verdict the client may not have been able to tell: those of an answer with errors
        that do not name the records, if the run ended before it could find out.
        """
        told: dict[str, str] = {}
        unsure: set[str] = set()
        for request in requests:
            if request.method != "POST":
                continue
            items = {_key(kind, item): item for item in _items(request)}
            if request.status == 200 and request.fault in (None, "status 200 after"):
                judged = {key: self._verdict(kind, key, item) for key, item in items.items()}
                told.update(judged)
                if "rejected" in judged.values() and self.sandbox.switches.error_items != "object":
                    unsure.update(key for key, verdict in judged.items() if verdict != "missing")
                else:
                    unsure.difference_update(judged)
            elif len(items) == 1 and request.status in REFUSALS and (request.fault or "status").startswith("status"):
                told.update(dict.fromkeys(items, "rejected"))
                unsure.difference_update(items)
        return told, unsure

    def _verdict(self, kind: Kind, key: str, item: Mapping[str, Any]) -> str:
        if kind.object == "visitor" and key not in self.sandbox.visitors:
            return "missing"
        strict = self.sandbox.switches.null == "error"
        return "rejected" if strict and None in item.get("values", {}).values() else "delivered"

    def _check_results(self, run: Run) -> None:
        result, told = run.result, Counter(run.verdicts.values())
        assert all(result[status] == told[status] for status in ("delivered", "missing", "rejected"))
        assert run.status == (0 if result["status"] in ("success", "warn") else 1)
        assert result["message"] or result["status"] == "success"

    def _check_ledger(self, kind: Kind, run: Run) -> None:
        """What the ledger has of a run is what Pendo has told: no more, and no less."""
        logged = [entry for entry in self.ledger(kind) if entry["run_id"] == run.run_id]
        written = [entry for entry in logged if entry["status"] != "invalid"]
        run.verdicts = {entry["record_key"]: entry["status"] for entry in written}
        assert len(written) == len(run.verdicts)
        assert all(bool(entry["detail"]) == (entry["status"] != "delivered") for entry in written)
        told, unsure = self._told(kind, run.requests)
        if run.result["status"] in ("success", "warn", "partial"):
            unsure = set()
        assert run.verdicts == {key: told[key] for key in told if key in run.verdicts or key not in unsure}

    def _check_events(self, kind: Kind, requests: Iterable[Request]) -> None:
        """An event comes again only if Pendo kept its word to itself; once it is acknowledged, never."""
        refused = kind.spoilt if self.sandbox.switches.refuse_late_events else frozenset()
        for request in requests:
            keys = [_key(kind, item) for item in _items(request)]
            if not refused.isdisjoint(keys):
                continue
            if request.status == 200 and request.fault in (None, "status 200 after"):
                self.acknowledged.update(keys)
            elif request.fault is not None and request.fault.endswith("after"):
                self.unacknowledged.update(keys)
        assert max(self.acknowledged.values(), default=1) == 1
        assert Counter(_key(kind, event) for event in self.sandbox.events) == self.acknowledged + self.unacknowledged


def at(kind: Kind, fault: Fault, marked: bool = False) -> Fault:
    """Aims a fault at a sync, or at the requests that hold its marked row."""
    return replace(fault, path=kind.path, method="POST", body_contains=f'"{kind.marked}"' if marked else "")


def _items(request: Request) -> list[dict[str, Any]]:
    body = json.loads(request.body)
    return body if isinstance(body, list) else [body]


def _key(kind: Kind, item: Mapping[str, Any]) -> str:
    return str(item["properties"]["id"] if kind.is_event else item[f"{kind.object}Id"])


def _values(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    values = {name: row[name] for name in names if row[name] is not None}
    return {name: float(value) if name == "arr" else value for name, value in values.items()}


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{"type": "track", "event": "Clicked", "visitorId": row["user_id"], "timestamp": epoch_ms(row["clicked_at"])},
        **{"properties": {"id": row["click_id"], "amount": row["amount"]}, "context": {}},
    }
