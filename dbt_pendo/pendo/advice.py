"""What to do about a status that no row of a sync is to blame for."""

from __future__ import annotations

from dbt_pendo.network import proxy_variable
from dbt_pendo.secret import Secret
from dbt_pendo.settings import REGIONS, Settings
from dbt_pendo.wording import host_of

# What a variable takes.
INTEGRATION_KEY = "an integration key with write access (Settings > Integrations)"
TRACK_SECRET = "the app's shared secret (Subscription Settings > your app > App Details), not the integration key"  # noqa: S105
# It may pass: what helps beside another run.
_RETRIED = {
    408: "Pendo ends a call after five minutes: a smaller batch_size takes less. ",
    429: "Pendo wants fewer requests: lower PENDO_CONCURRENCY, or set PENDO_REQUESTS_PER_SECOND. ",
    502: "A proxy or gateway before Pendo says that it gets no good answer from it. ",
    503: "It is overloaded or under maintenance. ",
    504: "A proxy or gateway before Pendo says that it gets no answer from it in time. ",
}


def host_setting(settings: Settings, host: str) -> str:
    """Returns which setting names a host of Pendo's in place of the region."""
    # Events follow PENDO_API_URL, unless they have a host of their own.
    return "PENDO_API_URL" if host == settings.api_url else "PENDO_DATA_URL"


def of_refusal(status: int, settings: Settings, host: str, secret: Secret) -> str | None:
    """Returns what to do about a status that ends the sync, whatever its rows hold; None for any other."""
    setting, proxy = host_setting(settings, host), proxy_variable(host)
    in_between = f"A proxy in between may say so: look at {proxy}, and at {setting}."
    return {
        402: f"The key's rights or the contract with Pendo do not allow it: look at {secret.variable}, which takes a "
        "key with write access (Settings > Integrations).",
        405: f"Pendo takes it, so another host may have answered: look at {setting}. {in_between}",
        411: in_between,
        414: in_between,
        421: f"The host serves no Pendo under this name: look at {setting}. {in_between}",
        426: f"The host wants another protocol, such as https: look at {setting}.",
        451: f"It is blocked for legal reasons: ask who runs the network, or Pendo. {in_between}",
        511: "The network wants a log-in before it lets anything through: log in with a browser, then run it again.",
    }.get(status)


def of_redirect(settings: Settings, host: str, path: str, location: str | None) -> tuple[str, str]:
    """Returns where a redirect points to, host only, and what to do about it."""
    target = host_of(location, f"{host}{path}") if location else ""
    setting = host_setting(settings, host)
    proxy = proxy_variable(host)
    if not target:
        return "to no host it names", f"Look at {setting}, and at {proxy}."
    if target == host_of(host):
        return (
            f"to another page of {target}",
            f"A proxy or a log-in may be in between: look at {setting}, and at {proxy}.",
        )
    region = next((region for region, hosts in REGIONS.items() if target in hosts), None)
    if region is not None and host in REGIONS[settings.region]:
        return f"to {target}", f"Set PENDO_REGION to {region}, where that host is."
    return f"to {target}", f"If that host is Pendo's, set {setting} to it; else a proxy or a log-in is in between."


def of_fault(status: int | None, host: str, by_proxy: bool) -> str:
    """Returns what to do when retries did not help; no status means that there was no answer."""
    helps = _RETRIED.get(status or 0, "")
    at_proxy = f", {proxy_variable(host)}" if by_proxy else ""
    return (
        f"{helps}What was delivered is kept. Look at PENDO_API_URL, PENDO_DATA_URL{at_proxy} and the network, then run "
        "it again."
    )
