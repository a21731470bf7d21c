"""Settings: flag, else environment variable, else ``vars: {dbt_pendo: …}``, else the default."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dbt_pendo.channels import Channel, read_channels
from dbt_pendo.errors import ConfigError
from dbt_pendo.secret import SECRET_PREFIX, Secret, Secrets, secrets_of_url, shown_word

# pendo-api.md 1: one subscription lives in one region; a key fails on another region's hosts.
REGIONS: Mapping[str, tuple[str, str]] = {
    "us": ("https://app.pendo.io", "https://data.pendo.io"),
    "us1": ("https://us1.app.pendo.io", "https://us1.data.pendo.io"),
    "eu": ("https://app.eu.pendo.io", "https://data.eu.pendo.io"),
    "jpn": ("https://app.jpn.pendo.io", "https://data.jpn.pendo.io"),
    "au": ("https://app.au.pendo.io", "https://data.au.pendo.io"),
}

# Setting, its environment variable, its type. Flags are named after the setting.
ENVIRONMENT: Mapping[str, tuple[str, type]] = {
    "region": ("PENDO_REGION", str),
    "api_url": ("PENDO_API_URL", str),
    "data_url": ("PENDO_DATA_URL", str),
    "concurrency": ("PENDO_CONCURRENCY", int),
    "requests_per_second": ("PENDO_REQUESTS_PER_SECOND", float),
    "timeout": ("PENDO_TIMEOUT", float),
    "retries": ("PENDO_RETRIES", int),
    "retry_time": ("PENDO_RETRY_TIME", float),
    "max_attempts": ("PENDO_MAX_ATTEMPTS", int),
    "missing_retry": ("PENDO_MISSING_RETRY", float),
    "max_error_share": ("PENDO_MAX_ERROR_SHARE", float),
    "allow_http": ("PENDO_ALLOW_HTTP", bool),
    "schema": ("DBT_PENDO_SCHEMA", str),
    "require_tests": ("DBT_PENDO_REQUIRE_TESTS", bool),
    "mask": ("DBT_PENDO_MASK", tuple),
    "keep_runs": ("DBT_PENDO_KEEP_RUNS", int),
    "owner": ("DBT_PENDO_OWNER", str),
}

# What else may stand under `vars: dbt_pendo:`: who is told of what a run changed, and what the dbt package asks for.
ALERTS = "alerts"
PACKAGE_VARS = ("models", "ledger")

MAY_BE_ZERO = frozenset({"retries", "missing_retry"})

INTEGRATION_KEY = "PENDO_INTEGRATION_KEY"
TRACK_SECRET = "PENDO_TRACK_SECRET"  # noqa: S105 - the variable's name, not a secret
DBT_CLOUD_TOKEN = "DBT_CLOUD_API_TOKEN"  # noqa: S105 - the variable's name, not a secret
DBT_CLOUD_ACCOUNT = "DBT_CLOUD_ACCOUNT_ID"
DBT_CLOUD_HOST = "DBT_CLOUD_HOST"
URLS = frozenset({ENVIRONMENT["api_url"][0], ENVIRONMENT["data_url"][0], DBT_CLOUD_HOST})
PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
# A shorter variable of dbt's secret ones may hold any word, and no secret.
SHORTEST_SECRET = 4
# A longer value that makes no sense is not repeated: it may be a key that was pasted into the wrong place.
LONGEST_REPEATED = 8
# The name of a host, perhaps with a scheme and a port: no key looks like it.
_PLAIN_HOST = re.compile(r"(?:[a-z]+://)?(?:[a-z0-9-]{1,30}\.)+[a-z]{2,10}(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach Pendo, and where the bookkeeping lives.

    Attributes:
        region: Which of Pendo's regions holds the subscription.
        api_url: Base URL of the Engage API, without a trailing slash.
        data_url: Base URL of the host that takes track events.
        concurrency: Requests in flight at most.
        requests_per_second: A hard ceiling; None for none.
        timeout: Seconds one request may take.
        retries: How often a request is sent again after a fault that may pass.
        retry_time: Seconds after its first fault in which a request is sent again, if retries are left.
        max_attempts: A missing or rejected row is held after so many attempts, until its data or mapping changes.
        missing_retry: Hours after which a row whose id Pendo does not know is tried again.
        max_error_share: The share of rejected rows above which a sync stops.
        allow_http: Whether keys may travel over plain http to hosts other than this machine.
        schema: The warehouse schema of ledger, change sets and run log; None for ``<target schema>_pendo``.
        require_tests: Whether models of which a test failed are held back.
        mask: Columns whose values are left out of the calls that a run keeps.
        keep_runs: How many runs keep their calls.
        owner: Whom exposures name as their owner: a name, an e-mail address, or ``Name <address>``; None for nobody.
        alerts: Where to tell of what a run changed.
        integration_key: The key that writes metadata.
        track_secrets: Track Event shared secrets by app; the empty name is the only app's.
        other_secrets: What else in the environment nobody may see.
    """

    region: str = "us"
    api_url: str = REGIONS["us"][0]
    data_url: str = REGIONS["us"][1]
    concurrency: int = 4
    requests_per_second: float | None = None
    timeout: float = 60.0
    retries: int = 8
    retry_time: float = 300.0
    max_attempts: int = 5
    missing_retry: float = 24.0
    max_error_share: float = 0.5
    allow_http: bool = False
    schema: str | None = None
    require_tests: bool = False
    mask: tuple[str, ...] = ()
    keep_runs: int = 20
    owner: str | None = None
    alerts: tuple[Channel, ...] = ()
    integration_key: Secret | None = None
    track_secrets: Mapping[str, Secret] = field(default_factory=dict)
    other_secrets: tuple[Secret, ...] = ()

    @property
    def secrets(self) -> Secrets:
        """All that no text from outside may show."""
        key = () if self.integration_key is None else (self.integration_key,)
        webhooks = (channel.url for channel in self.alerts if channel.url is not None)
        return Secrets((*key, *self.track_secrets.values(), *webhooks, *self.other_secrets))

    def require_integration_key(self) -> Secret:
        """Returns the integration key.

        Raises:
            ConfigError: If none is set.
        """
        if self.integration_key is None:
            raise ConfigError(
                "No Pendo integration key is set.",
                f"Create one with write access in Pendo (Settings > Integrations) and put it in {INTEGRATION_KEY}.",
            )
        return self.integration_key

    def require_track_secret(self, app: str | None) -> Secret:
        """Returns the Track Event shared secret of an app, by its name in the mapping.

        Raises:
            ConfigError: If none is set.
        """
        secret = self.track_secrets.get((app or "").upper())
        if secret is None:
            variable = f"{TRACK_SECRET}_{app.upper()}" if app else TRACK_SECRET
            raise ConfigError(
                f"No Track Event shared secret is set{f' for the app {app}' if app else ''}.",
                f"Copy it from Pendo (Subscription Settings > your app > App Details) into {variable}.",
            )
        return secret


@dataclass(frozen=True, slots=True)
class DbtCloudAccount:
    """An account of dbt Cloud, and the way into it.

    Attributes:
        url: Base URL of its host, without a trailing slash; which host it is differs by account.
        account_id: dbt Cloud's number for it.
        token: A service token or a personal one.
        secrets: All that no text from outside may show, the token among it.
    """

    url: str
    account_id: int
    token: Secret
    secrets: Secrets


def load_dbt_cloud(environ: Mapping[str, str] = os.environ) -> DbtCloudAccount:
    """Reads from the environment how to reach dbt Cloud.

    Args:
        environ: The environment.

    Raises:
        ConfigError: If a variable is missing or makes no sense.
    """
    host = environ.get(DBT_CLOUD_HOST, "").strip() or "cloud.getdbt.com"
    url = _checked_url(host if "://" in host else f"https://{host}", DBT_CLOUD_HOST, "cloud.getdbt.com")
    if urlsplit(url).path:
        shown = f"{host_of(url)}/…"
        raise ConfigError(f"{DBT_CLOUD_HOST}: {shown} is more than a host.", "Write it like cloud.getdbt.com.")
    if urlsplit(url).scheme != "https" and not is_this_machine(urlsplit(url).hostname or ""):
        raise ConfigError(f"{DBT_CLOUD_HOST}: {host_of(url)} would send the token over plain http.", "Use https.")
    account = environ.get(DBT_CLOUD_ACCOUNT, "").strip()
    if not account:
        raise ConfigError(
            f"No dbt Cloud account is set: {DBT_CLOUD_ACCOUNT} is empty.",
            "Copy its number from the address of any page of dbt Cloud: …/deploy/<account>/…",
        )
    account_id = int(_convert("account_id", account, int, DBT_CLOUD_ACCOUNT))
    for variable in (DBT_CLOUD_TOKEN, f"{SECRET_PREFIX}{DBT_CLOUD_TOKEN}"):
        if text := environ.get(variable, "").strip():
            token = Secret(_checked_secret(text, variable), variable)
            return DbtCloudAccount(url, account_id, token, Secrets((token, *environment_secrets(environ))))
    raise ConfigError(
        f"No dbt Cloud token is set: {DBT_CLOUD_TOKEN} is empty.",
        "Create a service token that may read jobs (Account settings > Service tokens), and put it there.",
    )


def load_settings(
    flags: Mapping[str, Any], project_vars: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> Settings:
    """Merges flags, environment and the project's variables.

    Args:
        flags: Settings given on the command line; None stands for "not given".
        project_vars: What stands under ``vars: dbt_pendo:`` in ``dbt_project.yml``.
        environ: The environment.

    Raises:
        ConfigError: If a setting is unknown, or its value makes no sense.
    """
    known = (*ENVIRONMENT, ALERTS, *PACKAGE_VARS)
    for name in map(str, project_vars):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"Did you mean `{close[0]}`?" if close else f"Known settings: {', '.join(known)}."
            raise ConfigError(f"dbt_project.yml: vars.dbt_pendo.{shown_word(name)}: unknown setting.", advice)

    values: dict[str, Any] = {}
    for name, (variable, kind) in ENVIRONMENT.items():
        for origin, value in (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (variable, environ.get(variable) or None),
            (f"vars.dbt_pendo.{name}", project_vars.get(name)),
        ):
            if value is not None:
                values[name] = _convert(name, value, kind, origin)
                break

    if values.get("max_error_share", 0) > 1:
        raise ConfigError(f"{ENVIRONMENT['max_error_share'][0]} is a share from 0 to 1.", "Write 0.2 for 20 %.")
    region = values.get("region", "us")
    if region not in REGIONS:
        raise ConfigError(
            f"{ENVIRONMENT['region'][0]}: {repeated(region)} is not a Pendo region.",
            f"Known regions: {', '.join(REGIONS)}.",
        )
    api_url, data_url = REGIONS[region]
    values["api_url"] = _checked_url(values.get("api_url", api_url), ENVIRONMENT["api_url"][0])
    if values["api_url"] != api_url:
        # A sandbox or a proxy takes events too: nothing must slip past the host the user named.
        data_url = values["api_url"]
    values["data_url"] = _checked_url(values.get("data_url", data_url), ENVIRONMENT["data_url"][0])
    for name in ("api_url", "data_url"):
        _refuse_open_http(values[name], ENVIRONMENT[name][0], values.get("allow_http", False))

    return Settings(
        **values,
        **_secrets(environ),
        alerts=read_channels(project_vars.get(ALERTS), environ),
        other_secrets=tuple(environment_secrets(environ)),
    )


def _convert(name: str, value: Any, kind: type, origin: str) -> Any:
    if kind is str:
        return str(value)
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if (word := str(value).strip().lower()) not in words:
            raise ConfigError(f"{origin}: {repeated(value)} is neither true nor false.")
        return words[word]
    if kind is tuple:
        items = value if isinstance(value, list) else str(value).split(",")
        return tuple(item for each in items if (item := str(each).strip()))
    try:
        number = kind(str(value))
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{origin}: {repeated(value)} is not {wanted}.") from None
    may_be_zero = name in MAY_BE_ZERO
    if not 0 <= number < float("inf") or (number == 0 and not may_be_zero):
        raise ConfigError(f"{origin}: {repeated(value)} must be {'zero or more' if may_be_zero else 'above zero'}.")
    return number


def _checked_url(url: str, variable: str, example: str = "https://app.pendo.io") -> str:
    url = url.strip()
    if "@" in url:
        raise ConfigError(f"{variable} carries a user name or password.", "Give the host alone.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        # A port that is no number, half an IPv6 address.
        usable = False
    if not usable or not url.isprintable() or " " in url or "?" in url or "#" in url:
        told = repr(url) if _PLAIN_HOST.fullmatch(url) else repeated(url)
        raise ConfigError(f"{variable}: {told} is not the URL of a host.", f"Write it like {example}.")
    return url.rstrip("/")


def _refuse_open_http(url: str, variable: str, allowed: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or allowed or is_this_machine(parts.hostname or ""):
        return
    raise ConfigError(
        f"{variable}: {host_of(url)} would send the key over plain http, for everyone on the way to read.",
        f"Use https; for a proxy you trust, set {ENVIRONMENT['allow_http'][0]}=true.",
    )


def repeated(value: Any) -> str:
    """Returns a value that makes no sense as a message shows it: not if it may be a secret."""
    text = repr(value)
    return text if len(str(value)) <= LONGEST_REPEATED else f"what it holds ({len(str(value))} characters)"


def host_of(url: str) -> str:
    """Returns a URL as it is shown: scheme, host and port, for the rest may be secret."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port is not None else "")


def is_this_machine(host: str) -> bool:
    """Returns whether a host is the machine that asks."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def environment_secrets(environ: Mapping[str, str]) -> Iterator[Secret]:
    """Yields all that is secret in the environment, whether or not it can be used."""
    for variable, text in environ.items():
        text, name = text.strip(), variable.removeprefix(SECRET_PREFIX)
        is_key = name.startswith((INTEGRATION_KEY, TRACK_SECRET)) or name == DBT_CLOUD_TOKEN
        if is_key or (variable.startswith(SECRET_PREFIX) and len(text) >= SHORTEST_SECRET):
            yield Secret(text, variable)
        elif variable.upper() in PROXIES or variable in URLS:
            yield from secrets_of_url(text, variable)


def _secrets(environ: Mapping[str, str]) -> dict[str, Any]:
    """Finds the integration key and the track secrets; the plain name wins over the one dbt Cloud wants."""
    found: dict[str, Secret] = {}
    for prefix in (SECRET_PREFIX, ""):
        for variable, text in environ.items():
            name = variable.removeprefix(prefix)
            if variable.startswith(prefix) and name.startswith((INTEGRATION_KEY, TRACK_SECRET)) and text.strip():
                found[name] = Secret(_checked_secret(text.strip(), variable), variable)
    track = {
        name.removeprefix(TRACK_SECRET).removeprefix("_").upper(): secret
        for name, secret in found.items()
        if name == TRACK_SECRET or name.startswith(f"{TRACK_SECRET}_")
    }
    return {"integration_key": found.get(INTEGRATION_KEY), "track_secrets": track}


def _checked_secret(text: str, variable: str) -> str:
    """Refuses what no HTTP header can carry: the HTTP library's own error would show it."""
    if not (text.isascii() and text.isprintable()):
        raise ConfigError(
            f"{variable} holds a character that is in no key, such as a line break or a typographic quote.",
            "Copy the key alone.",
        )
    return text


def default_project_dir() -> Path:
    """Returns the nearest folder, from here upwards, that holds a ``dbt_project.yml`` (dbt's own rule)."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dbt_project.yml").exists()), here)
