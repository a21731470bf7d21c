"""Settings: flag, else environment variable, else ``vars: {dbt_pendo: …}``, else the default."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dbt_pendo.channels import VARIABLE, Channel, read_channels
from dbt_pendo.errors import ConfigError
from dbt_pendo.secret import SECRET_PREFIX, Secret, Secrets, find_secret, secrets_of_url, shown_word
from dbt_pendo.wording import did_you_mean, host_of, is_loopback

# pendo-api.md 1: one subscription lives in one region; a key fails on another region's hosts.
REGIONS: Mapping[str, tuple[str, str]] = {
    "us": ("https://app.pendo.io", "https://data.pendo.io"),
    "us1": ("https://us1.app.pendo.io", "https://us1.data.pendo.io"),
    "eu": ("https://app.eu.pendo.io", "https://data.eu.pendo.io"),
    "jpn": ("https://app.jpn.pendo.io", "https://data.jpn.pendo.io"),
    "au": ("https://app.au.pendo.io", "https://data.au.pendo.io"),
}

# Seconds one request may take, and one on which Pendo may work for minutes.
TIMEOUT, LONG_TIMEOUT = 60.0, 300.0
# How the variables of settings begin that say nothing of Pendo itself.
OURS = "DBT_PENDO"
# What else may stand under `vars: dbt_pendo:`: the channels of alerts, and what the dbt package reads.
ALERTS = "alerts"
TARGETS = "targets"
# Of a target: the variables that hold what it does not share with the others.
SECRETS_OF_TARGETS = ("integration_key", "track_secret")
PACKAGE_VARS = ("models", "ledger")

INTEGRATION_KEY = "PENDO_INTEGRATION_KEY"
READ_ONLY_KEY = "PENDO_READ_ONLY_KEY"
TRACK_SECRET = "PENDO_TRACK_SECRET"  # noqa: S105 - the variable's name, not a secret
DBT_CLOUD_TOKEN = "DBT_CLOUD_API_TOKEN"  # noqa: S105 - the variable's name, not a secret
DBT_CLOUD_ACCOUNT = "DBT_CLOUD_ACCOUNT_ID"
DBT_CLOUD_HOST = "DBT_CLOUD_HOST"
URLS = frozenset({"PENDO_API_URL", "PENDO_DATA_URL", DBT_CLOUD_HOST})
PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
# A shorter variable of dbt's secret ones may hold any word, and no secret.
SHORTEST_SECRET = 4
# A longer value that makes no sense is not repeated: it may be a key that was pasted into the wrong place.
LONGEST_REPEATED = 8
# The name of a host, perhaps with a scheme and a port: no key looks like it.
_PLAIN_HOST = re.compile(r"(?:[a-z]+://)?(?:[a-z0-9-]{1,30}\.)+[a-z]{2,10}(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Setting:
    """How a setting is given: by a flag of its name, an environment variable, or ``vars: {dbt_pendo: …}``."""

    variable: str
    kind: type
    help: str
    may_be_zero: bool = False
    default: Any = None

    @property
    def shown_default(self) -> str:
        """What is taken when it is not given, in words; empty where the help says it."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        return "" if self.default in (None, ()) else f"{self.default:g}" if self.kind is float else str(self.default)


def _setting(
    default: Any, help_: str, kind: type | None = None, may_be_zero: bool = False, prefix: str = "PENDO"
) -> Any:
    """Declares a setting, of the kind of its default unless another is named; its variable has its name."""

    def named(name: str) -> Setting:
        return Setting(f"{prefix}_{name.upper()}", kind or type(default), help_, may_be_zero, default)

    return field(default=default, metadata={"named": named})


@dataclass(frozen=True, slots=True)
class PendoHost:
    """The Pendo that a run works with, as results, logs and messages name it."""

    host: str  # of its API, as a URL without a path, which may be secret
    region: str | None  # None for a host that PENDO_API_URL names
    sandbox: bool  # whether it is a stand-in, whose bookkeeping is kept apart

    def __str__(self) -> str:
        return f"{self.host} ({'sandbox' if self.sandbox else self.region})".removesuffix(" (None)")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach Pendo, and where the bookkeeping lives."""

    region: str = _setting("us", "Pendo's region: us, us1, eu, jpn or au.")
    # URLs have no slash at their end.
    api_url: str = _setting(REGIONS["us"][0], "Any other host of Pendo's API: a custom domain, a proxy, the sandbox.")
    data_url: str = _setting(REGIONS["us"][1], "Any other host for track events.")
    # None for what the host says: a sandbox if it is on this machine.
    sandbox: bool | None = _setting(
        None, "Whether Pendo is a stand-in, with bookkeeping of its own. Default: if it is on this machine.", bool
    )
    concurrency: int = _setting(4, "Requests in flight at most.")
    requests_per_second: float | None = _setting(None, "Never more requests a second than this.", float)
    # None for the usual ones (see ``seconds_for``).
    timeout: float | None = _setting(
        None, "Seconds one request may take. Default: 60; of bulk calls, segments and reading back 300.", float
    )
    retries: int = _setting(8, "How often a request is sent again after a fault that may pass.", may_be_zero=True)
    retry_time: float = _setting(300.0, "Seconds after its first fault in which a request may be sent again.")
    segment_timeout: float = _setting(600.0, "Seconds that Pendo may take to load a segment, or be busy with others.")
    # Until its data or mapping changes.
    max_attempts: int = _setting(5, "Hold a missing or rejected row after so many attempts.")
    missing_retry: float = _setting(
        24.0, "Hours after which a row whose id Pendo does not know is tried again.", may_be_zero=True
    )
    max_error_share: float = _setting(0.5, "Stop a sync when a larger share of its rows than this is rejected.")
    allow_http: bool = _setting(False, "Let keys travel over plain http to other machines.")
    # None for `<target schema>_pendo`, or `<target schema>_pendo_sandbox`.
    schema: str | None = _setting(None, "Warehouse schema of ledger, change sets and run log.", str, prefix=OURS)
    require_tests: bool = _setting(
        True, "Hold back models of which, or above which, a test of severity error failed.", prefix=OURS
    )
    mask: tuple[str, ...] = _setting(
        (),
        "Columns, with commas between them, whose values are left out of plans, and of the calls that a run keeps.",
        prefix=OURS,
    )
    refuse_tags: tuple[str, ...] = _setting(
        (), "Tags of columns that are not sent unless a mapping says `allow_pii: true`.", prefix=OURS
    )
    lock_interval: float = _setting(
        30.0, "Seconds between signs of life of a sync's lock while only Pendo is waited for, at least 30.", prefix=OURS
    )
    keep_runs: int = _setting(20, "How many runs keep their calls.", prefix=OURS)
    owner: str | None = _setting(
        None, "Owner of exposures whose models have none: `Name`, `address`, or `Name <address>`.", str, prefix=OURS
    )
    # Without a slash at its end.
    docs_url: str | None = _setting(
        None, "Where the project's dbt docs are, for links to its models: http or https.", str, prefix=OURS
    )
    alerts: tuple[Channel, ...] = ()
    # dbt's targets that may write to a Pendo that is no sandbox; None where the project names none.
    targets: tuple[str, ...] | None = None
    integration_key: Secret | None = None
    integration_key_variable: str = INTEGRATION_KEY
    track_secret_variable: str = TRACK_SECRET
    # Track Event shared secrets by app, in upper case; the empty name is the only app's.
    track_secrets: Mapping[str, Secret] = field(default_factory=dict)
    # An integration key without write access, for `probe`.
    read_only_key: Secret | None = None
    # Other secrets of the environment.
    other_secrets: tuple[Secret, ...] = ()

    @property
    def pendo(self) -> PendoHost:
        """The Pendo that the settings name."""
        region = self.region if self.api_url == REGIONS[self.region][0] else None
        return PendoHost(host_of(self.api_url), region, self.is_here if self.sandbox is None else self.sandbox)

    @property
    def is_here(self) -> bool:
        """Whether Pendo is on this machine."""
        return is_loopback(self.api_url) and is_loopback(self.data_url)

    def seconds_for(self, is_long: bool) -> float:
        """Returns how many seconds a request may take; Pendo ends a bulk call after five minutes (pendo-api.md 3)."""
        return self.timeout or (LONG_TIMEOUT if is_long else TIMEOUT)

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
                f"Create one with write access in Pendo (Settings > Integrations) and put it in "
                f"{self.integration_key_variable}.",
            )
        return self.integration_key

    def require_listed(self, target: str | None) -> None:
        """Makes sure that a target of dbt's may write to this Pendo.

        Raises:
            ConfigError: If the project names targets, and not this one.
        """
        if self.targets is None or target in self.targets or (self.pendo.sandbox and self.is_here):
            return
        raise ConfigError(
            f"The target {target} may not write to Pendo at {self.pendo}: `targets` in dbt_project.yml does "
            "not name it. Nothing was sent.",
            f"Give --target with one of those named ({', '.join(self.targets) or 'none'}), name this one there, or try "
            "it with `dbt-pendo sandbox`.",
        )

    def require_track_secret(self, app: str | None) -> Secret:
        """Returns the Track Event shared secret of an app, by its name in the mapping.

        Raises:
            ConfigError: If none is set.
        """
        secret = self.track_secrets.get((app or "").upper())
        if secret is None:
            variable = "_".join(filter(None, (self.track_secret_variable, (app or "").upper())))
            raise ConfigError(
                f"No Track Event shared secret is set{f' for the app {app}' if app else ''}.",
                f"Copy it from Pendo (Subscription Settings > your app > App Details) into {variable}.",
            )
        return secret


SETTINGS: Mapping[str, Setting] = {
    one.name: one.metadata["named"](one.name) for one in dataclasses.fields(Settings) if one.metadata
}


@dataclass(frozen=True, slots=True)
class DbtCloudAccount:
    """An account of dbt Cloud, and the way into it."""

    url: str  # of its host, without a slash at the end; the host differs by account
    account_id: int
    token: Secret  # a service token or a personal one
    secrets: Secrets  # all that no text from outside may show, the token included


def load_dbt_cloud(environ: Mapping[str, str] = os.environ) -> DbtCloudAccount:
    """Reads from the environment how to reach dbt Cloud.

    Raises:
        ConfigError: If a variable is missing or makes no sense.
    """
    host = environ.get(DBT_CLOUD_HOST, "").strip() or "cloud.getdbt.com"
    # PENDO_ALLOW_HTTP is for Pendo alone.
    url = _checked_url(host if "://" in host else f"https://{host}", DBT_CLOUD_HOST, True, "cloud.getdbt.com")
    if urlsplit(url).path:
        shown = f"{host_of(url)}/…"
        raise ConfigError(f"{DBT_CLOUD_HOST}: {shown} is more than a host.", "Write it like cloud.getdbt.com.")
    if is_open_http(url):
        raise ConfigError(f"{DBT_CLOUD_HOST}: {host_of(url)} would send the token over plain http.", "Use https.")
    account = environ.get(DBT_CLOUD_ACCOUNT, "").strip()
    if not account:
        raise ConfigError(
            f"No dbt Cloud account is set: {DBT_CLOUD_ACCOUNT} is empty.",
            "Copy its number from the address of any page of dbt Cloud: …/deploy/<account>/…",
        )
    account_id = int(_convert(account, int, DBT_CLOUD_ACCOUNT))
    if (token := _find_key(environ, DBT_CLOUD_TOKEN)) is None:
        raise ConfigError(
            f"No dbt Cloud token is set: {DBT_CLOUD_TOKEN} is empty.",
            "Create a service token that may read jobs (Account settings > Service tokens), and put it there.",
        )
    return DbtCloudAccount(url, account_id, token, Secrets((token, *environment_secrets(environ))))


def load_settings(
    flags: Mapping[str, Any],
    project_vars: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    target: str | None = None,
) -> Settings:
    """Merges flags, environment and the project's variables.

    Args:
        flags: Settings given on the command line; None stands for "not given".
        project_vars: What stands under ``vars: dbt_pendo:`` in ``dbt_project.yml``.
        environ: The environment.
        target: dbt's target, which may have settings of its own under ``targets``.

    Raises:
        ConfigError: If a setting is unknown, or its value makes no sense.
    """
    _require_settings(project_vars, (*SETTINGS, ALERTS, TARGETS, *PACKAGE_VARS), "")
    targets = read_targets(project_vars.get(TARGETS))
    own = (targets or {}).get(target or "", {})
    key_variable, track_variable = own.get("integration_key", INTEGRATION_KEY), own.get("track_secret", TRACK_SECRET)
    keys = [one[name] for one in (targets or {}).values() for name in SECRETS_OF_TARGETS if name in one]

    values: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        for origin, value in (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (setting.variable, environ.get(setting.variable) or None),
            (f"vars.dbt_pendo.{TARGETS}.{target}.{name}", own.get(name)),
            (f"vars.dbt_pendo.{name}", project_vars.get(name)),
        ):
            if value is not None:
                values[name] = _convert(value, setting.kind, origin, setting.may_be_zero)
                break

    if values.get("max_error_share", 0) > 1:
        raise ConfigError("PENDO_MAX_ERROR_SHARE is a share from 0 to 1.", "Write 0.2 for 20 %.")
    region = values["region"] = str(values.get("region", "us")).lower()
    if region not in REGIONS:
        raise ConfigError(
            f"PENDO_REGION: {repeated(region)} is not a Pendo region.", f"Known regions: {', '.join(REGIONS)}."
        )
    api_url, data_url = REGIONS[region]
    allow_http = values.get("allow_http", False)
    values["api_url"] = _checked_url(values.get("api_url", api_url), "PENDO_API_URL", allow_http)
    if values["api_url"] != api_url:
        # A sandbox or a proxy takes events too: nothing must slip past the host the user named.
        data_url = values["api_url"]
    values["data_url"] = _checked_url(values.get("data_url", data_url), "PENDO_DATA_URL", allow_http)
    if docs_url := values.get("docs_url"):
        # Nothing is sent there.
        values["docs_url"] = _checked_docs_url(docs_url)
    return Settings(
        **values,
        integration_key=_find_key(environ, key_variable),
        integration_key_variable=key_variable,
        track_secret_variable=track_variable,
        track_secrets=_track_secrets(environ, track_variable),
        alerts=read_channels(declared, environ) if (declared := project_vars.get(ALERTS)) is not None else (),
        targets=None if targets is None else tuple(targets),
        read_only_key=_find_key(environ, READ_ONLY_KEY),
        # A text may show the key of another target.
        other_secrets=(*environment_secrets(environ), *filter(None, (find_secret(environ, one) for one in keys))),
    )


def read_targets(declared: Any) -> Mapping[str, Mapping[str, Any]] | None:
    """Reads ``targets``: the settings of each target that may write; None where the project names none.

    Raises:
        ConfigError: If it is neither a list of names nor a mapping of names to settings, or a setting is unknown.
    """
    where = f"dbt_project.yml: vars.dbt_pendo.{TARGETS}"
    if declared is None:
        return None
    if isinstance(declared, list) and all(isinstance(name, str) for name in declared):
        declared = dict.fromkeys(declared)
    if not isinstance(declared, dict) or not all(isinstance(name, str) and name for name in declared):
        raise ConfigError(f"{where} is neither a list of targets nor a mapping.", "Write it like `targets: [prod]`.")
    targets = {name: {} if own is None else own for name, own in declared.items()}
    for name, own in targets.items():
        if not isinstance(own, dict):
            raise ConfigError(f"{where}.{name} is not a mapping of settings.", "Write it like `prod: {region: eu}`.")
        _require_settings(own, (*SETTINGS, *SECRETS_OF_TARGETS), f"{TARGETS}.{name}.")
        for secret in SECRETS_OF_TARGETS:
            variable = own.get(secret, "X")
            if not isinstance(variable, str) or not VARIABLE.fullmatch(variable):
                raise ConfigError(
                    f"{where}.{name}.{secret} takes the name of an environment variable.",
                    f"Put the secret into {name.upper()}_{secret.upper()}, for example, and that name here.",
                )
    return targets


def _require_settings(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in map(str, given):
        if name not in known:
            advice = did_you_mean(name, known, "Known settings")
            raise ConfigError(f"dbt_project.yml: vars.dbt_pendo.{where}{shown_word(name)}: unknown setting.", advice)


def _convert(value: Any, kind: type, origin: str, may_be_zero: bool = False) -> Any:
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
    if not 0 <= number < float("inf") or (number == 0 and not may_be_zero):
        raise ConfigError(f"{origin}: {repeated(value)} must be {'zero or more' if may_be_zero else 'above zero'}.")
    return number


def _checked_url(url: str, variable: str, allow_http: bool, example: str = "https://app.pendo.io") -> str:
    url = url.strip()
    if "@" in url:
        raise ConfigError(f"{variable} carries a user name or password.", "Give the host alone.")
    if not _is_plain_url(url):
        told = repr(url) if _PLAIN_HOST.fullmatch(url) else repeated(url)
        raise ConfigError(f"{variable}: {told} is not the URL of a host.", f"Write it like {example}.")
    if is_open_http(url) and not allow_http:
        raise ConfigError(
            f"{variable}: {host_of(url)} would send the key over plain http, for everyone on the way to read.",
            "Use https; for a proxy to Pendo that you trust, set PENDO_ALLOW_HTTP=true.",
        )
    return url.rstrip("/")


def _checked_docs_url(url: str) -> str:
    url, variable = url.strip(), SETTINGS["docs_url"].variable
    if "@" in url:
        raise ConfigError(f"{variable} carries a user name or password.", "The report would show it: leave it out.")
    if not _is_plain_url(url):
        raise ConfigError(f"{variable}: {repeated(url)} is not a URL.", "Write it like https://dbt.example.com/docs.")
    return url.rstrip("/")


def _is_plain_url(url: str) -> bool:
    """Returns whether it is a URL to which a path can be added."""
    return is_url(url) and url.isprintable() and not any(mark in url for mark in " ?#")


def repeated(value: Any) -> str:
    """Returns a value that makes no sense as a message shows it: not if it may be a secret."""
    text = repr(value)
    return text if len(str(value)) <= LONGEST_REPEATED else f"what it holds ({len(str(value))} characters)"


def is_url(text: str) -> bool:
    """Returns whether a text is a URL that requests can be sent to."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        # A port that is no number, half an IPv6 address.
        return False


def is_open_http(url: str) -> bool:
    """Returns whether everyone on the way can read a request: plain http to another machine."""
    return urlsplit(url).scheme != "https" and not is_loopback(url)


def environment_secrets(environ: Mapping[str, str]) -> Iterator[Secret]:
    """Yields all that is secret in the environment, whether or not it can be used."""
    for variable, text in environ.items():
        text, name = text.strip(), variable.removeprefix(SECRET_PREFIX)
        is_key = name.startswith((INTEGRATION_KEY, TRACK_SECRET)) or name in (READ_ONLY_KEY, DBT_CLOUD_TOKEN)
        if is_key or (variable.startswith(SECRET_PREFIX) and len(text) >= SHORTEST_SECRET):
            yield Secret(text, variable)
        elif variable.upper() in PROXIES or variable in URLS:
            yield from secrets_of_url(text, variable)


def _track_secrets(environ: Mapping[str, str], first: str) -> dict[str, Secret]:
    """Finds the secrets of apps, by the app: in a variable, and in those that begin with it."""
    found = {}
    for name in sorted({variable.removeprefix(SECRET_PREFIX) for variable in environ}):
        if name == first or name.startswith(f"{first}_"):
            app = name.removeprefix(first).removeprefix("_").upper()
            if secret := _find_key(environ, name):
                found[app] = secret
    return found


def _find_key(environ: Mapping[str, str], variable: str) -> Secret | None:
    """Finds a key, and refuses one that no HTTP header can carry: the HTTP library's own error would show it."""
    key = find_secret(environ, variable)
    if key and not (key.reveal().isascii() and key.reveal().isprintable()):
        raise ConfigError(
            f"{key.variable} holds a character that is in no key, such as a line break or a typographic quote.",
            "Copy the key alone.",
        )
    return key


def default_project_dir() -> Path:
    """Returns the nearest folder, from here upwards, that holds a ``dbt_project.yml`` (dbt's own rule)."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dbt_project.yml").exists()), here)
