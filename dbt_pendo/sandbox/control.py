"""The sandbox's own paths, ``/_sandbox/…``: no keys, no faults, no log.

| path | GET | POST | DELETE |
| --- | --- | --- | --- |
| ``/_sandbox/state`` | all data (``?only=events,segments`` for some of it) | | |
| ``/_sandbox/requests`` | the account of requests, and counters | | forgets it |
| ``/_sandbox/faults`` | the faults waiting | queues a fault, or an array of them | drops them |
| ``/_sandbox/switches`` | the switches | sets some of them | |
| ``/_sandbox/seed`` | | adds fields, visitors, accounts, parentAccounts, excluded ones, segments | |
| ``/_sandbox/reset`` | | forgets everything but the switches | |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dbt_pendo.errors import ConfigError

from .exchange import Call, RefusedError, Reply, json_reply, text_reply
from .faults import Fault

if TYPE_CHECKING:
    from .sandbox import Sandbox

PREFIX = "/_sandbox/"


def control(sandbox: Sandbox, call: Call) -> Reply:
    """Answers a call for one of the sandbox's own paths; 400 tells what is wrong with it."""
    name = call.path.removeprefix(PREFIX)
    methods = _PATHS.get(name)
    if methods is None:
        return text_reply(f"there are {', '.join(PREFIX + path for path in _PATHS)}", 404)
    if call.method not in methods:
        return text_reply(f"{name} takes {', '.join(methods)}", 405)
    try:
        return json_reply(methods[call.method](sandbox, call))
    except RefusedError as refusal:
        return text_reply(refusal.message, refusal.status)
    except ConfigError as error:
        return text_reply(str(error), 400)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return text_reply(f"{name} does not understand that: {error!r}", 400)


def _get_state(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    parts: dict[str, Callable[[], Any]] = {
        "visitors": lambda: sandbox.visitors,
        "accounts": lambda: sandbox.accounts,
        "parentAccounts": lambda: sandbox.parent_accounts,
        "events": lambda: sandbox.events,
        "receipts": lambda: [{**asdict(receipt), "body": None} for receipt in sandbox.receipts],
        "segments": lambda: sandbox.segments,
    }
    only = call.options.get("only")
    return {name: parts[name]() for name in (only.split(",") if only else parts)}


def _get_requests(sandbox: Sandbox, _: Call) -> dict[str, Any]:
    requests = [{**asdict(r), "body": r.body.decode(errors="replace")} for r in sandbox.requests]
    return {"counters": sandbox.counters, "requests": requests}


def _delete_requests(sandbox: Sandbox, _: Call) -> dict[str, Any]:
    sandbox.forget_requests()
    return {}


def _get_faults(sandbox: Sandbox, _: Call) -> list[dict[str, Any]]:
    return [asdict(fault) for fault in sandbox.faults]


def _post_faults(sandbox: Sandbox, call: Call) -> list[dict[str, Any]]:
    wanted = call.payload if isinstance(call.payload, list) else [call.payload]
    for fault in [Fault.from_json(item) for item in wanted]:
        sandbox.fail(fault)
    return _get_faults(sandbox, call)


def _delete_faults(sandbox: Sandbox, call: Call) -> list[dict[str, Any]]:
    sandbox.clear_faults()
    return _get_faults(sandbox, call)


def _get_switches(sandbox: Sandbox, _: Call) -> dict[str, Any]:
    return asdict(sandbox.switches)


def _post_switches(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    sandbox.switches = sandbox.switches.with_changes(call.payload)
    return asdict(sandbox.switches)


def _post_seed(sandbox: Sandbox, call: Call) -> dict[str, Any]:
    seed = dict(call.payload)
    for field in seed.pop("fields", []):
        sandbox.add_field(
            field["kind"],
            field["group"],
            field["name"],
            field["type"],
            element_type=field.get("elementType", ""),
            display_name=field.get("displayName", ""),
        )
    sandbox.add_visitors(seed.pop("visitors", []))
    sandbox.add_accounts(seed.pop("accounts", []))
    sandbox.add_parent_accounts(seed.pop("parentAccounts", []))
    sandbox.exclude_visitors(seed.pop("excludedVisitors", []))
    sandbox.exclude_accounts(seed.pop("excludedAccounts", []))
    segments = seed.pop("segments", [])
    ids = [sandbox.add_segment(segment["name"], segment.get("visitors", [])) for segment in segments]
    if seed:
        raise ValueError(f"unknown: {', '.join(seed)}")
    return {"segmentIds": ids}


def _post_reset(sandbox: Sandbox, _: Call) -> dict[str, Any]:
    sandbox.reset()
    return {}


_PATHS: dict[str, dict[str, Callable[[Any, Call], Any]]] = {
    "state": {"GET": _get_state},
    "requests": {"GET": _get_requests, "DELETE": _delete_requests},
    "faults": {"GET": _get_faults, "POST": _post_faults, "DELETE": _delete_faults},
    "switches": {"GET": _get_switches, "POST": _post_switches},
    "seed": {"POST": _post_seed},
    "reset": {"POST": _post_reset},
}
