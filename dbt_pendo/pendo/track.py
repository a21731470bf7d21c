"""Pendo's track API (pendo-api.md 4 and 9)."""

from __future__ import annotations

from dbt_pendo.pendo.client import Answer, PendoClient


def send_events(client: PendoClient, app: str | None, body: bytes) -> Answer:
    """Sends one event, or an array of them; any 2xx means that all were taken.

    The body of a 2xx is not read: one source says it is empty, another that it is JSON.
    """
    return client.track(app, body)
