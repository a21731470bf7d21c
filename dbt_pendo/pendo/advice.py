"""What Pendo says in an error, and what to do about it, by its status."""

from __future__ import annotations

import re
from typing import Any

from dbt_pendo.network import proxy_variable
from dbt_pendo.secret import Secret
from dbt_pendo.settings import REGIONS, Settings
from dbt_pendo.wording import host_of

# What a variable takes.
INTEGRATION_KEY = "an integration key with write access (Settings > Integrations)"
TRACK_SECRET = "the app's shared secret (Subscription Settings > your app > App Details), not the integration key"  # noqa: S105
# By statuses that may pass: what helps beside another run.
_RETRIED = {
    408: "Pendo ends a call after five minutes: a smaller batch_size takes less. ",
    429: "Pendo wants fewer requests: lower PENDO_CONCURRENCY, or set PENDO_REQUESTS_PER_SECOND. ",
    502: "A proxy or gateway before Pendo says that it gets no good answer from it. ",
    503: "It is overloaded or under maintenance. ",
    504: "A proxy or gateway before Pendo says that it gets no answer from it in time. ",
}
# By statuses that end the sync, whatever its rows hold: what they mean, where HTTP's word does not say it.
_REFUSALS = {
    **dict.fromkeys((405, 411, 414, 421), ""),
    402: "Pendo finds no fault in the request: the contract with Pendo or the key's rights do not allow it. Look at "
    "{key}, which takes {kind}. ",
    426: "The host wants another protocol, such as https. ",
    451: "It is blocked for legal reasons. ",
    511: "The network wants a log-in: log in with a browser. ",
}
_MAPPING = "Fix the mapping, the data, or the field that it names; `dbt-pendo check` compares the mapping with Pendo."
# By statuses of a request that Pendo refuses for what is in it, or seems to.
_REFUSED = {
    404: "The host does not know such a call: look at PENDO_API_URL and PENDO_DATA_URL.",
    413: "Even a row alone is too large for Pendo, or for a proxy before it: set a smaller batch_size, and map less.",
}
# Where an error in JSON has its words, in lower case.
_WORDS = (
    *("message", "msg", "error", "errors", "errormessage", "error_description", "fault", "faultstring"),
    *("detail", "details", "description", "reason", "title"),
)
# How deep they are looked for.
_DEPTH = 8


def words_of(error: Any, depth: int = _DEPTH) -> str:
    """Returns what an error in JSON says: ``{"error": …}``, ``{"message": …}``, ``{"errors": […]}``, one in another.

    Returns:
        Its words; empty when it has none under a usual name.
    """
    if depth == 0 or isinstance(error, str):
        return error if isinstance(error, str) else ""
    if isinstance(error, list):
        return "; ".join(dict.fromkeys(filter(None, (words_of(item, depth - 1) for item in error))))
    if not isinstance(error, dict):
        return ""
    found = (words_of(value, depth - 1) for name, value in error.items() if str(name).lower() in _WORDS)
    return ": ".join(dict.fromkeys(filter(None, found)))


def of_refused_rows(reason: str) -> str:
    """Returns what to do when Pendo refuses row after row for a reason, which begins with ``HTTP`` and the status."""
    found = re.match(r"HTTP (\d{3})", reason)
    return _REFUSED.get(int(found[1]) if found else 0, _MAPPING)


def host_variable(settings: Settings, host: str) -> str:
    """Returns which setting names a host of Pendo's in place of the region."""
    # Events follow PENDO_API_URL, unless they have a host of their own.
    return "PENDO_API_URL" if host == settings.api_url else "PENDO_DATA_URL"


def of_refusal(status: int, settings: Settings, host: str, secret: Secret) -> str | None:
    """Returns what to do about a status that ends the sync, whatever its rows hold; None for any other."""
    if status not in _REFUSALS:
        return None
    meaning = _REFUSALS[status].format(key=secret.variable, kind=INTEGRATION_KEY)
    in_between = f"look at {host_variable(settings, host)}, and at {proxy_variable(host)}"
    return f"{meaning}Another host or a proxy may have answered: {in_between}."


def of_redirect(settings: Settings, host: str, path: str, location: str | None) -> tuple[str, str]:
    """Returns where a redirect points to, host only, and what to do about it."""
    target = host_of(location, f"{host}{path}") if location else ""
    setting, proxy = host_variable(settings, host), proxy_variable(host)
    hint = f"A proxy or a log-in may be in between: look at {setting}, and at {proxy}."
    if not target:
        return "to no host it names", hint
    if target == host_of(host):
        return f"to another page of {target}", hint
    for region, hosts in REGIONS.items():
        if target in hosts and host in REGIONS[settings.region]:
            return f"to {target}", f"Set PENDO_REGION to {region}, where that host is."
    return f"to {target}", f"If that host is Pendo's, set {setting} to it. {hint}"


def of_fault(status: int | None, settings: Settings, host: str, by_proxy: bool) -> str:
    """Returns what to do when retries did not help; no status means that there was no answer."""
    by_region = host in REGIONS[settings.region]
    named_by = f"PENDO_REGION ({settings.region})" if by_region else host_variable(settings, host)
    at_proxy = f", {proxy_variable(host)}" if by_proxy else ""
    return (
        f"{_RETRIED.get(status or 0, '')}What was delivered is kept. Look at {named_by}{at_proxy} "
        "and the network, then run it again."
    )
