"""Alerts on their way: one request a channel, which may fail and never takes long."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

import orjson
import requests
from urllib3.exceptions import NewConnectionError

from dbt_pendo import __version__
from dbt_pendo.alerts.changes import Alert
from dbt_pendo.alerts.message import message_of
from dbt_pendo.channels import Channel
from dbt_pendo.errors import ConfigError
from dbt_pendo.network import PROXY_LOGIN, BoundedAdapter, bounded, certificates, proxies_for, proxy_variable
from dbt_pendo.secret import Secret
from dbt_pendo.settings import is_open_http, is_url

# Seconds.
TIMEOUT = 10.0
RETRY_AFTER = 1.0
# Two attempts, and the look for a host, which nothing cuts short.
DEADLINE = 25.0
NO_ANSWER = "it does not answer in time"


def unusable(channels: Sequence[Channel], allow_http: bool) -> list[str]:
    """Returns why channels cannot be told of anything, a line each."""
    return [
        _line(channel.variable, fault) for channel in channels if (fault := _fault_of(channel, allow_http)) is not None
    ]


def tell(alert: Alert, channels: Sequence[Channel], allow_http: bool) -> list[str]:
    """Posts an alert to those who want to know of it.

    Args:
        alert: What has changed; nothing is posted where that is nothing.
        channels: Whom to tell.
        allow_http: Whether URLs may travel over plain http to other machines.

    Returns:
        Why channels were not, or could not be, told; never their URLs.
    """
    faults: dict[str, str | None] = {}
    threads = []
    for channel in channels:
        if (fault := _fault_of(channel, allow_http)) is not None:
            faults[channel.variable] = fault
            continue
        part = alert.about(channel.events)
        if channel.url is not None and part.changes:
            faults[channel.variable] = NO_ANSWER
            body = orjson.dumps(message_of(part, channel.format))
            # A daemon: the process does not wait for it longer than we do.
            threads.append(
                threading.Thread(target=_tell, args=(channel.variable, channel.url, body, faults), daemon=True)
            )
    for thread in threads:
        thread.start()
    give_up_at = time.monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(give_up_at - time.monotonic(), 0))
    return [_line(variable, fault) for variable, fault in list(faults.items()) if fault is not None]


def _line(variable: str, fault: str) -> str:
    return f"No alert to {variable}: {fault}."


def _fault_of(channel: Channel, allow_http: bool) -> str | None:
    """Returns why nothing can be posted to a channel; None when something can."""
    if channel.url is None:
        return "the environment variable is not set"
    url = channel.url.reveal()
    if not is_url(url):
        return "what it holds is no URL"
    if is_open_http(url) and not allow_http:
        return "its URL would travel over plain http; use https, or set PENDO_ALLOW_HTTP=true"
    return None


def _tell(variable: str, url: Secret, body: bytes, faults: dict[str, str | None]) -> None:
    try:
        fault, may_repeat = _post(url, body)
        if may_repeat:
            time.sleep(RETRY_AFTER)
            fault, _ = _post(url, body)
    except ConfigError as error:
        fault = error.message.rstrip(".")
    except Exception as error:
        # Whatever it is, the URL may be in its text.
        fault = f"it cannot be posted to ({type(error).__name__})"
    faults[variable] = fault


def _post(url: Secret, body: bytes) -> tuple[str | None, bool]:
    """Posts once.

    Returns:
        Why it was not taken, None when it was; and whether it may be posted again, for it surely was not.
    """
    address = url.reveal()
    headers = {"User-Agent": f"dbt-pendo/{__version__}", "Content-Type": "application/json"}
    request = requests.Request("POST", address, headers, data=body).prepare()
    # No session, which would follow redirects: the message is for this host.
    with contextlib.closing(BoundedAdapter()) as adapter, bounded(TIMEOUT):
        try:
            # A stream, for what it says is of no interest.
            response = adapter.send(request, stream=True, verify=certificates(), proxies=proxies_for(address))
        except requests.ConnectTimeout:
            return NO_ANSWER, True
        except requests.Timeout:
            return NO_ANSWER, False
        except requests.ConnectionError as error:
            refused = isinstance(getattr(error.args[0], "reason", None) if error.args else None, NewConnectionError)
            return "it cannot be reached" if refused else "the connection broke", refused
        status = response.status_code
    if 200 <= status < 300:
        return None, False
    if status == PROXY_LOGIN:
        return f"the proxy in {proxy_variable(address)} wants a log-in (HTTP 407)", False
    if 300 <= status < 400:
        return f"it answers with a redirect (HTTP {status})", False
    return f"it answers HTTP {status}", status == 429 or status >= 500
