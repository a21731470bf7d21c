"""Posts alerts: one message a channel, which may fail and never takes long."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

import orjson
import requests
from urllib3.exceptions import NewConnectionError
from urllib3.util import Retry

from dbt_pendo import __version__
from dbt_pendo.alerts.changes import Alert
from dbt_pendo.alerts.message import message_of
from dbt_pendo.channels import Channel
from dbt_pendo.errors import ConfigError
from dbt_pendo.network import PROXY_LOGIN, BoundedAdapter, bounded, proxy_variable, transport_options
from dbt_pendo.secret import Secret
from dbt_pendo.settings import is_open_http, is_url

# Seconds: for a message, its second attempt included; before that attempt; and for all messages with the look for their
# hosts, which nothing cuts short.
TIMEOUT = 10.0
RETRY_AFTER = 1.0
DEADLINE = 15.0
NO_ANSWER = "it does not answer in time"


class _Once(Retry):
    """A second attempt, a moment later; urllib3's own backoff begins with the third."""

    def get_backoff_time(self) -> float:
        return RETRY_AFTER


# Only what surely was not taken is posted again: no connection, or a status that says so.
RETRY = _Once(
    total=1,
    read=False,
    allowed_methods=None,
    status_forcelist={429, *range(500, 600)},
    raise_on_status=False,
    respect_retry_after_header=False,
)


def unusable(channels: Sequence[Channel], allow_http: bool) -> list[str]:
    """Returns why channels cannot be told of anything, a line each."""
    return _lines({channel.variable: _fault_of(channel, allow_http) for channel in channels})


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
        part = alert.about(channel.events)
        faults[channel.variable] = fault = _fault_of(channel, allow_http)
        if fault is None and channel.url is not None and part.changes:
            faults[channel.variable] = NO_ANSWER
            message = orjson.dumps(message_of(part, channel.format))
            # A daemon: the process does not wait for it longer than we do.
            threads.append(
                threading.Thread(target=_tell, args=(channel.variable, channel.url, message, faults), daemon=True)
            )
    for thread in threads:
        thread.start()
    give_up_at = time.monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(give_up_at - time.monotonic(), 0))
    return _lines(faults)


def _lines(faults: dict[str, str | None]) -> list[str]:
    return [f"No alert to {variable}: {fault}." for variable, fault in list(faults.items()) if fault is not None]


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


def _tell(variable: str, url: Secret, message: bytes, faults: dict[str, str | None]) -> None:
    try:
        fault = _post(url.reveal(), message)
    except ConfigError as error:
        fault = error.message.rstrip(".")
    except Exception as error:
        # The URL may be in its text.
        fault = f"it cannot be posted to ({type(error).__name__})"
    faults[variable] = fault


def _post(url: str, body: bytes) -> str | None:
    """Posts a message, and returns why it was not taken; None when it was."""
    headers = {"User-Agent": f"dbt-pendo/{__version__}", "Content-Type": "application/json"}
    request = requests.Request("POST", url, headers, data=body).prepare()
    # No session, which would follow redirects: the message is for this host.
    with contextlib.closing(BoundedAdapter(max_retries=RETRY)) as adapter, bounded(TIMEOUT):
        try:
            # A stream, for what it says is of no interest.
            response = adapter.send(request, stream=True, **transport_options(url))
        except requests.Timeout:
            return NO_ANSWER
        except requests.ConnectionError as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            return "it cannot be reached" if isinstance(reason, NewConnectionError) else "the connection broke"
    status = response.status_code
    if 200 <= status < 300:
        return None
    if status == PROXY_LOGIN:
        return f"the proxy in {proxy_variable(url)} wants a log-in (HTTP 407)"
    return f"it answers with a redirect (HTTP {status})" if 300 <= status < 400 else f"it answers HTTP {status}"
