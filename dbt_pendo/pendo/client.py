"""The one place a request leaves from: authentication, retries, errors."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import requests

from dbt_pendo import __version__
from dbt_pendo.errors import DbtPendoError
from dbt_pendo.network import certificates, describe_fault, retry_after
from dbt_pendo.pendo.call import Call, Watcher
from dbt_pendo.pendo.pacing import Pacer
from dbt_pendo.secret import Secret, Secrets, without
from dbt_pendo.settings import REGIONS, Settings, host_of

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
        """The body as JSON, or None when it is none: errors may be empty or plain text (pendo-api.md 7)."""
        try:
            document = orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return None
        # Some answer quotes what it was sent: what it says of rows ends up in the ledger.
        if self.secret is None or self.secret.hidden_in(text := self.content.decode(errors="replace")) == text:
            return document
        return without(self.secret, document)

    @property
    def message(self) -> str:
        """Pendo's own words, in one line."""
        text = self.content.decode(errors="replace")
        if self.secret is not None:
            text = self.secret.hidden_in(text)
        text = " ".join(text.split())[:SHOWN_BODY]
        return f"HTTP {self.status}: {text}" if text else f"HTTP {self.status}"


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why an attempt has to be made again.

    Attributes:
        reason: What went wrong.
        wait: How many seconds Pendo wants us to wait; None if it does not say.
        refused: Whether Pendo has surely not done what was asked.
    """

    reason: str
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


class PendoClient:
    """Sends requests to Pendo; may be used from several threads at once.

    Args:
        settings: Hosts, secrets, timeout.
        wait: How to wait some seconds.
        clock: The seconds of a clock that never goes back, which ``wait`` moves on.
        watch: Is told of each attempt at a request.
    """

    def __init__(
        self,
        settings: Settings,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        watch: Watcher | None = None,
    ) -> None:
        self.settings = settings
        self._wait = wait
        self._clock = clock
        self._watch = watch
        self._secrets = settings.secrets
        # Looked up once instead of at each request, which costs more than the request itself on loopback.
        hosts = (settings.api_url, settings.data_url)
        self._proxies = {host: requests.utils.get_environ_proxies(host) for host in hosts}
        self._certificates = certificates()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self._prepared: dict[tuple[str, str, str], requests.PreparedRequest] = {}
        self._traffic = Traffic()
        self._pacer = Pacer(settings.concurrency, settings.requests_per_second)

    def __enter__(self) -> PendoClient:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

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
        readable: bool = False,
        repeatable: bool = True,
        keys: Sequence[str] = (),
    ) -> Answer:
        """Calls the Engage API with the integration key.

        Args:
            method: GET, POST, ...
            path: Below ``/api/v1/``.
            body: What to send.
            readable: Whether a 2xx whose body is no JSON object, a proxy's page say, is a fault that may pass.
            repeatable: Whether it may be sent again when nobody can tell whether Pendo has done it.
            keys: The records in the body, by their keys.

        Raises:
            ConfigError: If no integration key is set.
            KeyRefusedError: On 401 and 403.
            UnavailableError: If retries did not help.
        """
        key = self.settings.require_integration_key()
        return self._call(method, self.settings.api_url, f"/api/v1/{path}", key, body, readable, repeatable, keys)

    def track(self, app: str | None, body: bytes, keys: Sequence[str] = ()) -> Answer:
        """Posts events with the Track Event shared secret of an app.

        Args:
            app: The app; None for the only one.
            body: What to send.
            keys: The events in it, by their keys.

        Raises:
            ConfigError: If the app's secret is not set.
            KeyRefusedError: On 401 and 403.
            UnavailableError: If retries did not help.
        """
        secret = self.settings.require_track_secret(app)
        return self._call("POST", self.settings.data_url, TRACK_PATH, secret, body, keys=keys)

    def key_refused(self, answer: Answer) -> KeyRefusedError:
        """Returns the error of an answer that says that Pendo does not know the integration key."""
        return KeyRefusedError(
            f"Pendo at {host_of(self.settings.api_url)} refused the integration key ({answer.message}).",
            f"Look at {self.settings.require_integration_key().variable}: it takes an integration key with write "
            f"access (Settings > Integrations); and at {self._what_names(self.settings.api_url)}.",
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
        # Events follow PENDO_API_URL, unless they have a host of their own.
        variable = "PENDO_API_URL" if host == settings.api_url else "PENDO_DATA_URL"
        return f"{variable}, which names the host in place of PENDO_REGION: a key is good in one region only"

    def _call(
        self,
        method: str,
        host: str,
        path: str,
        secret: Secret,
        body: bytes | None,
        readable: bool = False,
        repeatable: bool = True,
        keys: Sequence[str] = (),
    ) -> Answer:
        """Sends a request until it is answered, its retries are used up, or its time is over."""
        give_up_at: float | None = None
        attempt = 0
        while True:
            outcome = self._attempt(method, host, path, secret, body, attempt + 1, keys)
            if isinstance(outcome, Answer):
                if not readable or not outcome.ok or isinstance(outcome.json, dict):
                    return outcome
                outcome = _Fault(f"an answer that cannot be read ({outcome.message})")
            wait = outcome.wait
            if wait is None:
                wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311
            attempt += 1
            now = self._clock()
            # From the first fault on: until then it may have waited for its turn, and that is no retry.
            give_up_at = now + self.settings.retry_time if give_up_at is None else give_up_at
            may_repeat = repeatable or outcome.refused
            if not may_repeat or attempt > self.settings.retries or now + wait > give_up_at:
                raise UnavailableError(
                    f"Pendo at {host_of(host)} did not take {method} {path} in {attempt} "
                    f"attempt{'s' if attempt > 1 else ''}; the last: {outcome.reason}.",
                    "What was delivered is kept. Look at PENDO_API_URL, PENDO_DATA_URL and the network, then run it "
                    "again.",
                )
            self._wait(wait)

    def _attempt(
        self,
        method: str,
        host: str,
        path: str,
        secret: Secret,
        body: bytes | None,
        attempt: int,
        keys: Sequence[str],
    ) -> Answer | _Fault:
        """Sends a request once, at the pace Pendo takes."""
        asked = self._clock()
        while delay := self._pacer.reserve(self._clock()):
            self._wait(delay)
        self._count(body, retry=attempt > 1)
        at, started = time.time(), self._clock()
        status, content, fault = None, b"", ""
        try:
            response = self._session().send(
                self._request(method, f"{host}{path}", secret, body),
                timeout=self.settings.timeout,
                proxies=self._proxies[host],
                verify=self._certificates,
                allow_redirects=False,  # the key must not travel to another host
            )
            status, content = response.status_code, response.content
        except requests.RequestException as error:
            self._pacer.strained(self._clock())
            fault = self._secrets.hidden_in(describe_fault(error))
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
            raise self._secret_refused(answer, secret) if path == TRACK_PATH else self.key_refused(answer)
        if 300 <= answer.status < 400:
            variable = "PENDO_API_URL" if host == self.settings.api_url else "PENDO_DATA_URL"
            raise PendoError(
                f"{host_of(host)} answers {path} with a redirect.", f"Set {variable} to the host it points to."
            )
        if answer.status == 429:
            wait = retry_after(response.headers.get("Retry-After"))
            self._pacer.throttled(now, wait)
            return _Fault(answer.message, wait, refused=True)
        if answer.status in RETRIED:
            self._pacer.strained(now)
            return _Fault(answer.message, retry_after(response.headers.get("Retry-After")))
        self._pacer.taken(now, now - started)
        return answer

    def _request(self, method: str, url: str, secret: Secret, body: bytes | None) -> requests.PreparedRequest:
        # All but the body is prepared once for thousands of requests, a third of the time that requests takes for one.
        prepared = self._prepared.get((method, url, secret.variable))
        if prepared is None:
            headers = {"x-pendo-integration-key": secret.reveal(), "Content-Type": "application/json"}
            prepared = self._session().prepare_request(requests.Request(method, url, headers))
            self._prepared[method, url, secret.variable] = prepared
        request = prepared.copy()
        request.prepare_body(body, files=None)
        return request

    def _session(self) -> requests.Session:
        # A session a thread: requests' sessions are not made to be shared.
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers["User-Agent"] = f"dbt-pendo/{__version__}"
            session.trust_env = False
            with self._lock:
                self._sessions.append(session)
        return session

    def _count(self, body: bytes | None, retry: bool) -> None:
        with self._lock:
            before = self._traffic
            self._traffic = Traffic(before.requests + 1, before.retries + retry, before.bytes + len(body or b""))
