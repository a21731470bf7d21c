"""A segment of visitors v0, v1, …, what Pendo has of it, and the calls it took."""

from collections.abc import Iterable
from typing import Any

from harness import writes

from dbt_pendo.sandbox import Sandbox

NAME = "Trial, at risk"
TRIAL: dict[str, Any] = {"object": "segment", "segment": NAME, "visitor_id": "id"}
UPLOAD = "/segment/upload"
PATCH = "PATCH /segment-1/visitor"


def ids(*numbers: int) -> str:
    """The select of the visitors of a range."""
    return f"select 'v' || i as id from range({', '.join(map(str, numbers))}) r(i)"


def names(*numbers: int) -> list[str]:
    return sorted(f"v{number}" for number in range(*numbers))


def members(sandbox: Sandbox, segment_id: str = "segment-1") -> list[str]:
    found = sandbox.segments[segment_id]["visitors"]
    assert len(set(found)) == len(found)
    return sorted(found)


def calls(sandbox: Sandbox) -> list[str]:
    """The writes; an export of members is none."""
    made = [request for request in writes(sandbox.requests) if not request.path.endswith("/visitors")]
    return [f"{request.method} {request.path.partition('/segment')[2]}" for request in made]


def change_in_pendo(sandbox: Sandbox, *add: str, without: Iterable[str] = (), segment_id: str = "segment-1") -> None:
    """Somebody else adds and removes members."""
    with sandbox.pendo.lock:
        for name in add:
            sandbox.pendo.segments.put_visitor(segment_id, name, sandbox.switches)
        for name in without:
            sandbox.pendo.segments.delete_visitor(segment_id, name, sandbox.switches)


def delete_in_pendo(sandbox: Sandbox, segment_id: str = "segment-1") -> None:
    with sandbox.pendo.lock:
        sandbox.pendo.segments.delete(segment_id)
