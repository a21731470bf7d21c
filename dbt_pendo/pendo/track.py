"""Pendo's track API (pendo-api.md 4 and 9)."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_pendo.pendo.client import TRACK_PATH, Answer, PendoClient, PendoError, Request
from dbt_pendo.wording import host_of

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
