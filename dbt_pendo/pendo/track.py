"""Pendo's track API (pendo-api.md 4 and 9)."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_pendo.pendo.answers import acknowledges
from dbt_pendo.pendo.client import Answer, PendoClient, PendoError
from dbt_pendo.wording import host_of

# A body that is no event: whatever Pendo answers, there is nothing in it to keep.
_NO_EVENT = b"{}"


def send_events(client: PendoClient, app: str | None, body: bytes, keys: Sequence[str]) -> Answer:
    """Sends one event, or an array of them, those of the keys; a 2xx means that all were taken.

    One source says that its body is empty, another that it is JSON.

    Raises:
        UnavailableError: If Pendo does not answer; a page of HTML or an error is no answer, whatever its status.
    """
    return client.track(app, body, acknowledges, keys)


def verify_secret(client: PendoClient, app: str | None) -> None:
    """Makes sure that Pendo knows the Track Event shared secret of an app; sends no event.

    There is no call for it. Whoever complains about an empty event has taken the secret for good.

    Raises:
        ConfigError: If the app's secret is not set.
        KeyRefusedError: If Pendo does not know it.
        PendoError: If the data host takes no events, or does not answer.
    """
    answer = client.track(app, _NO_EVENT, acknowledges)
    if answer.status == 404:
        raise PendoError(
            f"{host_of(client.settings.data_url)} takes no track events ({answer.message}).",
            "Look at PENDO_DATA_URL and PENDO_API_URL.",
        )
