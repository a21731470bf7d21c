"""Sends alerts about what a run has changed: one message a channel, which may fail and never takes long."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import orjson
import requests
from urllib3.exceptions import NewConnectionError
from urllib3.util import Retry

from dbt_pendo import __version__
from dbt_pendo.alerts.changes import RUNS_READ, Alert, changes_of
from dbt_pendo.alerts.message import message_of
from dbt_pendo.channels import Channel
from dbt_pendo.delivery.results import Ends, RunResults
from dbt_pendo.delivery.sync import Options
from dbt_pendo.errors import ConfigError
from dbt_pendo.mapping.spec import SyncSpec
from dbt_pendo.network import PROXY_LOGIN, BoundedAdapter, bounded, proxy_variable, transport_options
from dbt_pendo.records.masking import body_mask
from dbt_pendo.secret import Secret
from dbt_pendo.settings import Settings, is_open_http, is_url
from dbt_pendo.warehouse.runs import History
from dbt_pendo.warehouse.session import Session, WarehouseError

# Seconds: for a message, its second attempt included; before that attempt; and for all messages, with the look-ups of
# their hosts, which have no timeout of their own.
TIMEOUT = 10.0
RETRY_AFTER = 1.0
DEADLINE = 15.0
NO_ANSWER = "it does not answer in time"


class _Once(Retry):
    """A second attempt, a moment later; urllib3's own backoff begins with the third."""

    def get_backoff_time(self) -> float:
        return RETRY_AFTER


# Posted again is only what was certainly not taken: no connection, or a status that says so.
RETRY = _Once(
    total=1,
    read=False,
    allowed_methods=None,
    status_forcelist={429, *range(500, 600)},
    raise_on_status=False,
    respect_retry_after_header=False,
)


def send_alerts(
    session: Session, ends: Ends, settings: Settings, specs: Sequence[SyncSpec], run: RunResults, options: Options
) -> list[str]:
    """Sends alerts about what a run has changed, and returns what went wrong: that fails no run."""
    try:
        past = History(session, ends.schema).recent([result.sync for result in run.results], run.run_id, RUNS_READ)
    except WarehouseError:
        # An alert that comes twice is better than none.
        past = {}
    try:
        masked = {spec.name for spec in specs if body_mask(settings.mask, spec)}
        # Of a masked sync without the notes in which Pendo may quote a value, in any form.
        quoting = {result.sync for result in run.results if result.status == "error"} & masked
        results = [replace(result, notes=()) if result.sync in quoting else result for result in run.results]
        alerts = [Alert(run.run_id, ends, changes_of(results, past, options, channel)) for channel in settings.alerts]
        return _tell(alerts, settings)
    except Exception as error:
        return [f"No alert: something is wrong with alerts themselves ({type(error).__name__})."]


def unusable(settings: Settings) -> list[str]:
    """Returns why channels cannot get alerts, a line each."""
    return _lines({channel.variable: _fault_of(channel, settings) for channel in settings.alerts})


def _tell(alerts: Sequence[Alert], settings: Settings) -> list[str]:
    """Posts each channel its alert, if it has one, and returns why some did not get it; never their URLs."""
    faults: dict[str, str | None] = {}
    threads = []

    def post(variable: str, url: Secret, message: bytes) -> None:
        faults[variable] = _post(url.reveal(), message)

    for channel, alert in zip(settings.alerts, alerts, strict=True):
        faults[channel.variable] = fault = _fault_of(channel, settings)
        if fault is None and channel.url is not None and alert.changes:
            faults[channel.variable] = NO_ANSWER
            message = orjson.dumps(message_of(alert, channel.format))
            # A daemon: the process does not wait for it longer than we do.
            threads.append(threading.Thread(target=post, args=(channel.variable, channel.url, message), daemon=True))
    for thread in threads:
        thread.start()
    give_up_at = time.monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(give_up_at - time.monotonic(), 0))
    return _lines(faults)


def _lines(faults: dict[str, str | None]) -> list[str]:
    return [f"No alert to {variable}: {fault}." for variable, fault in list(faults.items()) if fault is not None]


def _fault_of(channel: Channel, settings: Settings) -> str | None:
    """Returns why nothing can be posted to a channel; None when something can."""
    if channel.url is None:
        return "the environment variable is not set"
    url = channel.url.reveal()
    if not is_url(url):
        return "what it holds is no URL"
    if is_open_http(url) and not settings.allow_http:
        return "its URL would travel over plain http; use https, or set PENDO_ALLOW_HTTP=true"
    return None


def _post(url: str, body: bytes) -> str | None:
    """Posts a message, and returns why it was not taken; None when it was."""
    headers = {"User-Agent": f"dbt-pendo/{__version__}", "Content-Type": "application/json"}
    try:
        request = requests.Request("POST", url, headers, data=body).prepare()
        # No session, which would follow redirects: the message is for this host.
        with contextlib.closing(BoundedAdapter(max_retries=RETRY)) as adapter, bounded(TIMEOUT):
            # A stream, because the body of the answer is not needed.
            response = adapter.send(request, stream=True, **transport_options(url))
    except requests.Timeout:
        return NO_ANSWER
    except requests.ConnectionError as error:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        return "it cannot be reached" if isinstance(reason, NewConnectionError) else "the connection broke"
    except ConfigError as error:
        return error.message.rstrip(".")
    except Exception as error:
        # The URL may be in its text.
        return f"it cannot be posted to ({type(error).__name__})"
    status = response.status_code
    if 200 <= status < 300:
        return None
    if status == PROXY_LOGIN:
        return f"the proxy in {proxy_variable(url)} wants a log-in (HTTP 407)"
    return f"it answers with a redirect (HTTP {status})" if 300 <= status < 400 else f"it answers HTTP {status}"
