"""The one place a request leaves from: authentication, retries, errors."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
import requests

from dbt_pendo import __version__
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.network import (
    FAULTS,
    LARGEST_ANSWER,
    LOOKED_AT,
    PROXY_LOGIN,
    BoundedAdapter,
    LargeAnswerError,
    bounded,
    cause_of,
    certificates,
    describe_fault,
    never,
    proxies_for,
    proxy_login_advice,
    retry_after,
    wants_proxy_login,
)
from dbt_pendo.pendo import advice
from dbt_pendo.pendo.call import Call, Watcher
from dbt_pendo.pendo.pacing import Pacer
from dbt_pendo.secret import Secret, Secrets
from dbt_pendo.settings import REGIONS, Settings
from dbt_pendo.wording import host_of, number

# Pendo documents 408 for bulk calls; 429 is seen in the field (pendo-api.md 7). A 5xx is never a row's fault.
RETRIED = frozenset({408, 429, *range(500, 600)})
REFUSED = frozenset({401, 403})
# Seconds. After a 429 the pace is cut as well (pacing.py), so the request itself need not wait much longer.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
SHOWN_BODY = 300
TRACK_PATH = "/data/track"


class PendoError(DbtPendoError):
    """Pendo cannot be used for what the sync wants; the sync stops."""


class KeyRefusedError(PendoError):
    """Pendo refused the key or secret, so no request of this kind can succeed.

    Attributes:
        answer: Pendo's answer.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str, answer: Answer) -> None:
        super().__init__(message, hint)
        self.answer = answer


class UnavailableError(PendoError):
    """Pendo did not answer, or not usefully, through all retries."""


class LargeError(UnavailableError):
    """Pendo's answer is too large to be read, and would be again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Pendo's answer to one call.

    Attributes:
        status: The HTTP status: 2xx, or a 4xx that concerns the body of the request.
        content: The body.
        secret: What Pendo may have echoed, and nobody may see.
    """

    status: int
    content: bytes
    secret: Secret | Secrets | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx; failures may still stand inside the body."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body as JSON, or None when it is none: errors may be empty or plain text (pendo-api.md 7).

        It is as Pendo wrote it, for a field or a visitor may have a name that is a secret elsewhere.
        """
        try:
            return orjson.loads(self.content)
        except (orjson.JSONDecodeError, RecursionError):
            return None

    def told(self, part: Any) -> str:
        """Returns a part of the body's JSON as words for people, who see no secret that Pendo has quoted."""
        text = part if isinstance(part, str) else orjson.dumps(part).decode()
        return text if self.secret is None else self.secret.hidden_in(text)

    @property
    def message(self) -> str:
        """Pendo's own words, in one line."""
        text = self.content[:LOOKED_AT].decode(errors="replace")
        if self.secret is not None:
            text = self.secret.hidden_in(text)
        text = " ".join(text.split())[:SHOWN_BODY]
        return f"HTTP {self.status}: {text}" if text else f"HTTP {self.status}"


# Whether a 2xx says what was done.
IsClear: TypeAlias = Callable[[Answer], bool]


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why an attempt has to be made again.

    Attributes:
        reason: What went wrong.
        status: The status of the answer; None when there was none.
        wait: How many seconds Pendo wants us to wait; None if it does not say.
        refused: Whether Pendo has surely not done what was asked.
    """

    reason: str
    status: int | None = None
    wait: float | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over the wire: requests (retries among them), retries, and bytes of bodies sent."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.requests - other.requests, self.retries - other.retries, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class _Route:
    """How requests get to a host.

    Attributes:
        proxies: Those of the environment, of which one or none is used.
        certificates: What the host is checked against.
    """

    proxies: dict[str, str]
    certificates: str | bool


class PendoClient:
    """Sends requests to Pendo; may be used from several threads at once.

    Args:
        settings: Hosts, secrets, timeout.
        wait: How to wait some seconds.
        clock: The seconds of a clock that never goes back, which ``wait`` moves on.
        watch: Is told of each attempt at a request.
        ends_at: The end of requests in flight, by ``time.monotonic``; asked again and again.

    Raises:
        ConfigError: If no request can be made to the hosts.
    """

    def __init__(
        self,
        settings: Settings,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        watch: Watcher | None = None,
        ends_at: Callable[[], float] = never,
    ) -> None:
        self.settings = settings
        self._wait = wait
        self._clock = clock
        self._watch = watch
        self._ends_at = ends_at
        self._secrets = settings.secrets
        for host, variable in ((settings.api_url, "PENDO_API_URL"), (settings.data_url, "PENDO_DATA_URL")):
            _require_sendable(host, variable)
        self._routes: dict[str, _Route] = {}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._adapters: list[BoundedAdapter] = []
        self._prepared: dict[tuple[str, str, str], requests.PreparedRequest] = {}
        self._traffic = Traffic()
        self._pacer = Pacer(settings.concurrency, settings.requests_per_second)

    def __enter__(self) -> PendoClient:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for adapter in self._adapters:
                adapter.close()
            self._adapters.clear()

    @property
    def traffic(self) -> Traffic:
        """What this client has sent so far."""
        with self._lock:
            return self._traffic

    def api(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        is_clear: IsClear | None = None,
        repeatable: bool = True,
        keys: Sequence[str] = (),
    ) -> Answer:
        """Calls the Engage API with the integration key.

        Args:
            method: GET, POST, ...
            path: Below ``/api/v1/``.
            body: What to send.
            is_clear: Whether a 2xx says what was done; one that does not, a proxy's page say, is a fault that may
                pass. None where the caller judges every answer.
            repeatable: Whether it may be sent again when nobody can tell whether Pendo has done it.
            keys: The records in the body, by their keys.

        Raises:
            ConfigError: If no integration key is set, or no request can go by way of the proxy.
            KeyRefusedError: On 401 and 403.
            UnavailableError: If retries did not help.
        """
        key = self.settings.require_integration_key()
        url = self.settings.api_url
        return self._call(method, url, f"/api/v1/{path}", key, body, is_clear, repeatable, keys)

    def track(self, app: str | None, body: bytes, is_clear: IsClear | None = None, keys: Sequence[str] = ()) -> Answer:
        """Posts events with the Track Event shared secret of an app.

        Args:
            app: The app; None for the only one.
            body: What to send.
            is_clear: As for ``api``.
            keys: The events in it, by their keys.

        Raises:
            ConfigError: If the app's secret is not set.
            KeyRefusedError: On 401 and 403.
            UnavailableError: If retries did not help.
        """
        secret = self.settings.require_track_secret(app)
        return self._call("POST", self.settings.data_url, TRACK_PATH, secret, body, is_clear, keys=keys)

    def key_refused(self, answer: Answer, path: str = "") -> KeyRefusedError:
        """Returns the error of an answer that says that Pendo does not know the integration key, or not its right."""
        # Of a segment a 403 may say this as well (pendo-api.md 5).
        by_hand = " Pendo says so too of a segment that was not made by the API." if "/segment/" in path else ""
        return KeyRefusedError(
            f"Pendo at {host_of(self.settings.api_url)} refused the integration key ({answer.message}).",
            f"Look at {self.settings.require_integration_key().variable}: it takes an integration key with write "
            f"access (Settings > Integrations); and at {self._what_names(self.settings.api_url)}.{by_hand}",
            answer,
        )

    def _secret_refused(self, answer: Answer, secret: Secret) -> KeyRefusedError:
        return KeyRefusedError(
            f"Pendo at {host_of(self.settings.data_url)} refused the Track Event shared secret ({answer.message}).",
            f"Look at {secret.variable}: it takes the app's shared secret (Subscription Settings > your app > App "
            f"Details), not the integration key; and at {self._what_names(self.settings.data_url)}.",
            answer,
        )

    def _what_names(self, host: str) -> str:
        """Says which setting names a host: on another region's, a good key looks like a wrong one."""
        settings = self.settings
        if host in REGIONS[settings.region]:
            others = ", ".join(region for region in REGIONS if region != settings.region)
            return (
                f"PENDO_REGION, which is {settings.region}: a key of another region ({others}) looks like a wrong one"
            )
        variable = advice.host_setting(settings, host)
        return f"{variable}, which names the host in place of PENDO_REGION: a key is good in one region only"

    def _call(
        self,
        method: str,
        host: str,
        path: str,
        secret: Secret,
        body: bytes | None,
        is_clear: IsClear | None = None,
        repeatable: bool = True,
        keys: Sequence[str] = (),
    ) -> Answer:
        """Sends a request until it is answered, its retries are used up, or its time is over."""
        give_up_at: float | None = None
        attempt = 0
        # What is wrong with a proxy no retry mends.
        self._route(host)
        while True:
            outcome = self._attempt(method, host, path, secret, body, attempt + 1, keys)
            if isinstance(outcome, Answer):
                if is_clear is None or not outcome.ok or is_clear(outcome):
                    return outcome
                outcome = _Fault(f"an answer that does not say what was done ({outcome.message})")
            wait = outcome.wait
            if wait is None:
                wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311
            attempt += 1
            now = self._clock()
            # From the first fault on: until then it may have waited for its turn, and that is no retry.
            give_up_at = now + self.settings.retry_time if give_up_at is None else give_up_at
            may_repeat = repeatable or outcome.refused
            if not may_repeat or attempt > self.settings.retries or now + wait > give_up_at:
                if time.monotonic() >= self._ends_at():
                    # It was cut short: whoever waits is told that the run ends.
                    self._wait(0.0)
                asks = ""
                if outcome.wait is not None and outcome.wait > self.settings.retry_time:
                    asks = (
                        f" It wants to be asked again in {outcome.wait:,.0f} seconds, and PENDO_RETRY_TIME is "
                        f"{self.settings.retry_time:,g}."
                    )
                raise UnavailableError(
                    f"Pendo at {host_of(host)} did not take {method} {path} in "
                    f"{number(attempt, 'attempt')}; the last: {outcome.reason}.{asks}",
                    advice.of_fault(outcome.status, host, self._has_proxy(host)),
                )
            self._wait(wait)

    def _attempt(
        self, method: str, host: str, path: str, secret: Secret, body: bytes | None, attempt: int, keys: Sequence[str]
    ) -> Answer | _Fault:
        """Sends a request once, at the pace Pendo takes."""
        asked = self._clock()
        while delay := self._pacer.reserve(self._clock()):
            self._wait(delay)
        self._count(body, retry=attempt > 1)
        at, started = time.time(), self._clock()
        status, content, fault = None, b"", ""
        try:
            request = self._request(method, f"{host}{path}", secret, body)
            # No session, which would follow redirects: the key must not travel to another host.
            with bounded(self.settings.timeout, self._ends_at, LARGEST_ANSWER):
                route = self._route(host)
                response = self._adapter().send(request, verify=route.certificates, proxies=route.proxies)
            status, content = response.status_code, response.content
        except FAULTS as error:
            self._pacer.strained(self._clock())
            fault = describe_fault(error, self._secrets)
            if wants_proxy_login(fault):
                raise self._proxy_refused(host) from None
            if isinstance(cause_of(error), LargeAnswerError):
                raise LargeError(
                    f"Pendo at {host_of(host)} did not answer {method} {path}: {fault}.",
                    advice.of_fault(None, host, self._has_proxy(host)),
                ) from None
            return _Fault(fault)
        finally:
            self._pacer.release()
            now = self._clock()
            if self._watch is not None:
                waited, seconds = started - asked, now - started
                self._watch(
                    Call(at, method, path, body, keys, attempt, waited, seconds, status, content, fault, self._secrets)
                )
        answer = Answer(status, content, self._secrets)
        if answer.status in REFUSED:
            raise self._secret_refused(answer, secret) if path == TRACK_PATH else self.key_refused(answer, path)
        if 200 <= answer.status < 300:
            self._pacer.taken(now, now - started)
            return answer
        if answer.status == PROXY_LOGIN:
            raise self._proxy_refused(host)
        if answer.status < 400:
            where, hint = advice.of_redirect(self.settings, host, path, response.headers.get("Location"))
            raise PendoError(f"{host_of(host)} answers {path} with a redirect {where} (HTTP {answer.status}).", hint)
        refusal = advice.of_refusal(answer.status, self.settings, host, secret)
        if refusal is not None:
            raise PendoError(f"{host_of(host)} does not take {method} {path} ({answer.message}).", refusal)
        if answer.status in RETRIED:
            wait = retry_after(response.headers.get("Retry-After"))
            if answer.status == 429:
                # A pause that is too long for this request is too long for the others.
                is_short = wait is not None and wait <= self.settings.retry_time
                self._pacer.throttled(now, wait if is_short else None)
            else:
                self._pacer.strained(now)
            return _Fault(answer.message, answer.status, wait, refused=answer.status == 429)
        self._pacer.taken(now, now - started)
        return answer

    def _proxy_refused(self, host: str) -> PendoError:
        return PendoError(
            f"The proxy on the way to {host_of(host)} wants a log-in (HTTP 407).", proxy_login_advice(host)
        )

    def _has_proxy(self, host: str) -> bool:
        return bool(requests.utils.select_proxy(host, self._route(host).proxies))

    def _route(self, host: str) -> _Route:
        # Looked up once, for that costs more than a request itself on loopback; and not before one is made, for some
        # commands make none.
        route = self._routes.get(host)
        if route is None:
            route = self._routes[host] = _Route(proxies_for(host), certificates())
        return route

    def _request(self, method: str, url: str, secret: Secret, body: bytes | None) -> requests.PreparedRequest:
        # All but the body is prepared once for thousands of requests, a third of the time that requests takes for one.
        prepared = self._prepared.get((method, url, secret.variable))
        if prepared is None:
            headers = {
                "User-Agent": f"dbt-pendo/{__version__}",
                "Accept": "*/*",
                "x-pendo-integration-key": secret.reveal(),
                "Content-Type": "application/json",
            }
            prepared = requests.Request(method, url, headers).prepare()
            self._prepared[method, url, secret.variable] = prepared
        request = prepared.copy()
        request.prepare_body(body, files=None)
        return request

    def _adapter(self) -> BoundedAdapter:
        # One a thread, so that each has a connection of its own.
        adapter: BoundedAdapter | None = getattr(self._local, "adapter", None)
        if adapter is None:
            adapter = self._local.adapter = BoundedAdapter()
            with self._lock:
                self._adapters.append(adapter)
        return adapter

    def _count(self, body: bytes | None, retry: bool) -> None:
        with self._lock:
            before = self._traffic
            self._traffic = Traffic(before.requests + 1, before.retries + retry, before.bytes + len(body or b""))


def _require_sendable(host: str, variable: str) -> None:
    try:
        requests.Request("GET", host).prepare()
    except FAULTS:
        raise ConfigError(f"{variable} does not name a host that a request can be sent to.") from None
