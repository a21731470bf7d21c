"""Sending below the warehouse: records of each kind, real requests to the sandbox, and what each row was told."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import chosen

from dbt_pendo.delivery import send
from dbt_pendo.delivery.send import Batch, Sender
from dbt_pendo.delivery.signals import Stop
from dbt_pendo.delivery.writers import make_writers
from dbt_pendo.mapping.spec import Column, Event, Field, SyncSpec
from dbt_pendo.outcomes import DELIVERED, Outcome, Position
from dbt_pendo.pendo.client import PendoClient
from dbt_pendo.records.render import Record
from dbt_pendo.sandbox import Fault, Sandbox
from dbt_pendo.secret import Secret
from dbt_pendo.settings import Settings

SECRETS: Mapping[str, Any] = {
    "integration_key": Secret("sandbox-integration-key", "PENDO_INTEGRATION_KEY"),
    "track_secrets": {"": Secret("sandbox-track-secret", "PENDO_TRACK_SECRET")},
}
FIELDS = (Field("seats", Column("seats")), Field("health", Column("health"), group="agent"))
VISITORS = SyncSpec("users", "model.shop.users", "users.yml", "visitor", "id", fields=FIELDS)
ACCOUNTS = SyncSpec("orgs", "model.shop.orgs", "orgs.yml", "account", "id", fields=FIELDS, mode="upsert")
EVENT = Event(Column("name"), Column("visitor"), Column("at"))
EVENTS = SyncSpec("clicks", "model.shop.clicks", "clicks.yml", "track_event", "id", event=EVENT)


@dataclass(frozen=True)
class Kind:
    """A sync, as the tests of sending need it: its records, and how many go into a batch."""

    spec: SyncSpec
    path: str
    size: int
    count: int

    @property
    def is_event(self) -> bool:
        return self.spec.event is not None

    @property
    def calls(self) -> int:
        """The requests that it takes."""
        return math.ceil(self.count / self.size) * (1 if self.is_event else 2)

    @property
    def records(self) -> list[Record]:
        if self.is_event:
            return [event(self.spec, number) for number in range(self.count)]
        return [record(self.spec, number, number) for number in range(self.count)]

    @property
    def marked(self) -> Record:
        """A record in the midst, to aim a fault at."""
        return self.records[self.count // 2]

    def at(self, fault: Fault, key: str = "") -> Fault:
        """Aims a fault at the requests that hold a key."""
        return replace(fault, path=self.path, method="POST", body_contains=f'"{key}"' if key else "")


KINDS = {
    "visitor": Kind(VISITORS, "/metadata/visitor/", 10, 25),
    "account": Kind(ACCOUNTS, "/metadata/account/", 10, 25),
    "single": Kind(EVENTS, "/data/track", 1, 5),
    "batch": Kind(EVENTS, "/data/track", 10, 25),
}


def record(spec: SyncSpec, number: Any, seats: Any, health: Any = 1) -> Record:
    """A record of two groups; a None says nothing to its group."""
    key = f"r{number}"
    groups = [("seats", seats), ("health", health)]
    bodies = tuple(
        None if value is None else {f"{spec.object}Id": key, "values": {name: value}} for name, value in groups
    )
    return Record(("000", number), key, bodies)


def event(spec: SyncSpec, number: Any, at: int = 1, name: str = "e") -> Record:
    """An event, whose id is its visitor's, too; a moment before 1 is refused."""
    key = f"r{number}"
    return Record(("000", number), key, ({"type": "track", "event": name, "visitorId": key, "timestamp": at},))


@dataclass
class Settled:
    """Who was told what."""

    outcomes: dict[Position, Outcome] = field(default_factory=dict)
    times: Counter[Position] = field(default_factory=Counter)

    def __call__(self, positions: Sequence[Position], others: Mapping[Position, Outcome]) -> None:
        assert others.keys() <= set(positions)
        self.outcomes.update({position: others.get(position, DELIVERED) for position in positions})
        self.times.update(positions)

    def statuses(self) -> list[str]:
        assert set(self.times.values()) <= {1}
        return [self.outcomes[position].status for position in sorted(self.outcomes)]


def set_up(pendo: Sandbox, **switches: Any) -> None:
    """An empty Pendo that knows the fields."""
    pendo.reset()
    pendo.switches = chosen(**switches)
    for kind in ("visitor", "account"):
        pendo.add_field(kind, "custom", "seats", "integer")
        pendo.add_field(kind, "agent", "health", "integer")


def deliver_all(
    pendo: Sandbox,
    spec: SyncSpec,
    records: Sequence[Record],
    size: int,
    proven: bool = True,
    settled: Settled | None = None,
    **settings: Any,
) -> Settled:
    """Delivers records in batches; ``proven``: Pendo has taken one before, so that nothing looks hopeless."""
    settled = Settled() if settled is None else settled
    settings = {"retries": 0, **settings}
    with PendoClient(Settings(api_url=pendo.url, data_url=pendo.url, **settings, **SECRETS)) as client:
        sender = Sender(Stop().check, client.settings.max_error_share)
        writes = [writer.write for writer in make_writers(client, spec, Stop()).updates]
        if proven:
            pendo.add_visitors(["rproof"])
            proof = Settled()
            good = event(spec, "proof", 1) if spec.event else record(spec, "proof", 1, None)
            sender.send(Batch([good]), writes, proof)
            assert proof.statuses() == ["delivered"]
        pendo.forget_requests()
        for start in range(0, len(records), size):
            sender.send(Batch(records[start : start + size]), writes, settled)
    return settled


def held(pendo: Sandbox, kind: Kind) -> dict[str, Any]:
    """What Pendo holds of each key: its values, or how often its event came; without the one that comes first."""
    if kind.is_event:
        found: dict[str, Any] = dict(Counter(one["visitorId"] for one in pendo.events))
    else:
        records = pendo.visitors if kind.spec.object == "visitor" else pendo.accounts
        found = {key: {**one["custom"], **one["agent"]} for key, one in records.items()}
    return {key: value for key, value in found.items() if key != "rproof"}


def wanted(kind: Kind, without: Sequence[str] = ()) -> dict[str, Any]:
    """What Pendo has to hold of the records that it took."""
    values = {one.key: 1 if kind.is_event else {"seats": one.position[1], "health": 1} for one in kind.records}
    # A visitor is there all the same; an account was never made.
    refused: dict[str, Any] = {key: {} for key in without} if kind.spec.object == "visitor" else {}
    return {key: value for key, value in values.items() if key not in without} | refused


def most_requests(batches: int, bad: int, size: int) -> int:
    """What splitting may cost: the batches, two halves a level for each row at fault, and a look at a few rows."""
    return batches + 2 * bad * math.ceil(math.log2(max(size, 2))) + (send.HOPELESS if bad else 0)
