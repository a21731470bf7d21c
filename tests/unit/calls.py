"""Calls of a client, and all that could be shown of an error."""

import traceback
from typing import Any

import orjson

from dbt_pendo.errors import DbtPendoError
from dbt_pendo.pendo.client import PendoClient, Request
from dbt_pendo.pendo.track import track_request

VALUES = "/api/v1/metadata/visitor/custom/value"
VERIFY = "/api/v1/token/verify"
BODY = orjson.dumps([{"visitorId": "v1", "values": {"plan": "pro"}}])
EVENT = {"type": "track", "event": "Paid", "visitorId": "v1", "timestamp": 1680373680000}
FOREVER = None


def write(client: PendoClient) -> Any:
    return client.send(Request("POST", VALUES, BODY))


def verify(client: PendoClient) -> Any:
    return client.send(Request("GET", VERIFY))


def send_event(client: PendoClient, app: str | None = None) -> Any:
    return client.send(track_request(app, orjson.dumps(EVENT)))


def everything_told(error: BaseException) -> str:
    """All that any log, traceback or results file could show of an error."""
    told = [str(error), repr(error), repr(error.args), *traceback.format_exception(error)]
    if isinstance(error, DbtPendoError):
        told += [error.message, error.hint]
    return "\n".join(told)
