"""Pendo's track API (pendo-api.md 4 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dbt_pendo.network import reports_error
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.client import TRACK_PATH, PendoClient, PendoError, Request
from dbt_pendo.wording import host_of

# Under which keys a track type has its name: what events say, and what people call it.
_NAMES = ("trackTypeName", "name")
# A body that is no event, so that Pendo stores nothing.
_NO_EVENT = b"{}"


def track_request(app: str | None, body: bytes, keys: Sequence[str] = ()) -> Request:
    """Returns the request that sends one event, or an array of them; a 2xx means that Pendo took all.

    One source says that the body of the answer is empty, another that it is JSON.
    """
    return Request("POST", TRACK_PATH, body, keys, app=app, is_clear=Answer.acknowledges)


def verify_secret(client: PendoClient, app: str | None) -> bool:
    """Returns True if Pendo knows the Track Event shared secret of an app; sends no event.

    There is no call for it. But Pendo complains about an empty event only after it has accepted the secret.

    Raises:
        ConfigError: If the app's secret is not set.
        KeyRefusedError: If Pendo does not know it.
        PendoError: If the data host takes no events, or does not answer.
    """
    answer = client.send(track_request(app, _NO_EVENT))
    if answer.status == 404:
        raise PendoError(
            f"{host_of(client.settings.data_url)} takes no track events ({answer.message}).",
            "Look at PENDO_DATA_URL and PENDO_API_URL.",
        )
    return True


def read_event_names(client: PendoClient) -> frozenset[str]:
    """Returns the names of the track events that Pendo knows, in all apps (pendo-api.md 4).

    Raises:
        ConfigError: If the integration key is not set.
        PendoError: If Pendo does not tell them.
    """
    request = Request("GET", "/api/v1/tracktype?expand=*", is_clear=lambda answer: _listed(answer.json) is not None)
    types = _listed(client.ask(request, "tell which track events it knows").json) or []
    names = [name for one in types for name in (map(one.get, _NAMES) if isinstance(one, dict) else [one])]
    return frozenset(name for name in names if isinstance(name, str))


def _listed(document: Any) -> list[Any] | None:
    """Returns the list that an answer is, or that it has under some key; None when there is none."""
    if isinstance(document, dict) and not reports_error(document):
        document = next((value for value in document.values() if isinstance(value, list)), None)
    return document if isinstance(document, list) else None
