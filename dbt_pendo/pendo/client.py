"""The one place a request leaves from: authentication, retries and errors."""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson
import requests

from dbt_pendo import __version__, network
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.network import LARGEST_ANSWER, BoundedAdapter
from dbt_pendo.pendo import advice
from dbt_pendo.pendo.answers import Answer
from dbt_pendo.pendo.pacing import Pacer, Turns
from dbt_pendo.secret import Secret, Secrets
from dbt_pendo.settings import REGIONS, Settings
from dbt_pendo.wording import host_of, number

# Pendo documents 408 for bulk calls, 429 and 5xx (pendo-api.md 2, 3). A 5xx is never a row's fault.
RETRIED = frozenset({408, 429, *range(500, 600)})
REFUSED = frozenset({401, 403})
# Seconds: Pendo wants "a second or more" after a 5xx (pendo-api.md 2). After a 429 the pace is cut as well (pacing.py).
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
# For a host to which no connection comes about, while no sync has begun: somebody waits for an answer.
UNREACHED_TIME = 20.0
TRACK_PATH = "/data/track"


class PendoError(DbtPendoError):
    """Pendo cannot be used for what the sync wants; the sync stops."""


class KeyRefusedError(PendoError):
    """Pendo refused the key or secret, so no request of this kind can succeed."""

    exit_code = 2

    def __init__(self, message: str, hint: str, answer: Answer) -> None:
        super().__init__(message, hint)
        self.answer = answer


class UnavailableError(PendoError):
    """Pendo did not answer, or not usefully, through all retries."""

    # Seconds after which the request may be tried again.
    wait = 0.0


class LargeError(UnavailableError):
    """Pendo's answer is too large to be read, and would be again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to Pendo, as a value: it is sent, previewed and logged."""

    method: str
    # Below the host, with its query.
    path: str
    body: bytes | None = None
    # The records in the body, by their keys.
    keys: Sequence[str] = ()
    # Of a track call: the app whose shared secret it carries; None for the only one.
    app: str | None = None
    # Returns something true if a 2xx says what was done. One that does not, such as a proxy's page, is a fault that may
    # pass. None where the caller judges every answer.
    is_clear: Callable[[Answer], object] | None = None
    # Returns something true if an answer says what was done, whatever its status: then it is not a fault that may pass.
    is_verdict: Callable[[Answer], object] | None = None
    # Whether it may be sent again if Pendo may have carried it out already.
    idempotent: bool = True
    # Whether Pendo may work on it for minutes: up to five on a bulk call (pendo-api.md 3, 6).
    is_long: bool = False
    # Whether it is about one segment: a 403 says that the API did not make it (pendo-api.md 5), and nothing of the key.
    is_of_segment: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    # The path with `{id}` in place of a record's id; empty for a path without one.
    pattern: str = ""
    # Takes the body of a 2xx that is too large for memory.
    sink: network.Sink | None = None

    @property
    def document(self) -> Any:
        """The body as JSON; None when there is none."""
        return orjson.loads(self.body or b"null")


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at a request, for the log."""

    # Seconds since 1970.
    at: float
    request: Request
    # From 1.
    attempt: int
    # Seconds before it was sent, at the pace Pendo takes.
    waited: float
    # Seconds until it was answered, or failed.
    seconds: float
    # None when there was no answer; then ``fault`` says why.
    status: int | None
    answer: bytes
    fault: str
    # What either body may hold, to be hidden.
    secrets: Secrets
    # The names of the answer's headers.
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why an attempt has to be made again."""

    reason: str
    # None when there was no answer.
    status: int | None = None
    # Seconds that Pendo wants us to wait.
    wait: float | None = None
    # Whether the answer is too large, and would be again.
    is_large: bool = False
    # Whether there was not even a connection.
    is_unreached: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was sent: requests (retries among them), retries, and bytes of bodies."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Answering:
    """How some requests were answered: how many, in how many seconds and of how many bytes together; and faults."""

    requests: int = 0
    seconds: float = 0.0
    bytes: int = 0
    # Those that were not answered with a 2xx.
    faults: int = 0


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a request goes, the key that it carries, and how it gets there."""

    host: str
    secret: Secret
    transport: dict[str, Any]


@dataclass(eq=False)
class PendoClient:
    """Sends requests to Pendo; may be used from several threads at once.

    Attributes:
        settings: Hosts, secrets, timeout.
        wait: Waits some seconds.
        clock: Monotonic seconds, which ``wait`` moves on.
        watch: Gets each attempt at a request.
        ends_at: The end of requests in flight, by ``time.monotonic``; asked again and again.
        tell: Says something to whoever waits for an answer.
        is_patient: Whether a host that cannot be reached is tried as long as after any other fault.

    Raises:
        ConfigError: If no request can be made to the hosts.
    """

    settings: Settings
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    # Gets each attempt from the thread that made it, before that thread makes another.
    watch: Callable[[Call], None] | None = None
    ends_at: Callable[[], float] = network.never
    tell: Callable[[str], None] = lambda _: None
    is_patient: bool = False
    # Bytes.
    largest_answer: ClassVar[int] = LARGEST_ANSWER

    def __post_init__(self) -> None:
        settings = self.settings
        self._secrets = settings.secrets
        for host, variable in ((settings.api_url, "PENDO_API_URL"), (settings.data_url, "PENDO_DATA_URL")):
            try:
                requests.Request("GET", host).prepare()
            except network.FAULTS:
                raise ConfigError(f"{variable} does not name a host that a request can be sent to.") from None
        self._transports: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        # No session, which would follow redirects: the key must not travel to another host.
        self._adapter = BoundedAdapter(pool_maxsize=settings.concurrency)
        self._prepared: dict[tuple[str, str, str], requests.PreparedRequest] = {}
        self._traffic = Traffic()
        self._answering = Answering()
        # Pendo loads one segment of a subscription at a time (pendo-api.md 5), so the syncs of a run take turns.
        self.segment_writes = threading.Lock()
        # So do their deletions.
        self.deletion_turns = Turns()
        # The hosts that cannot be reached: since when, and in how many attempts.
        self._unreached: dict[str, tuple[float, int]] = {}
        self._pacer = Pacer(settings.concurrency, settings.requests_per_second)

    def take_answering(self) -> Answering:
        """Returns how the requests since the last call of this were answered."""
        with self._lock:
            answering, self._answering = self._answering, Answering()
        return answering

    def __enter__(self) -> PendoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._adapter.close()

    def part(self, **changes: Any) -> PendoClient:
        """Returns a client with the same connections and the same pace, which counts its own traffic.

        Args:
            changes: Attributes that are others.
        """
        part = copy.copy(self)
        part._traffic, part._answering = Traffic(), Answering()
        for name, value in changes.items():
            setattr(part, name, value)
        return part

    @property
    def traffic(self) -> Traffic:
        """What this client has sent so far."""
        with self._lock:
            return self._traffic

    @property
    def in_flight(self) -> int:
        """How many requests wait for their answers."""
        return self._pacer.in_flight

    def send(self, request: Request) -> Answer:
        """Sends a request until it is answered, its retries are used up, or its time is over.

        Raises:
            ConfigError: If the key or secret that it carries is not set, or its proxy cannot be used.
            KeyRefusedError: On 401; and on 403, unless it is about one segment.
            PendoError: On another status that no row is to blame for.
            LargeError: If the answer is too large.
            UnavailableError: If retries did not help.
        """
        route = self._route(request)
        give_up_at: float | None = None
        attempt = 0
        while True:
            outcome = self._attempt(request, route, attempt + 1)
            if isinstance(outcome, Answer):
                if request.is_clear is None or not outcome.ok or request.is_clear(outcome):
                    return outcome
                outcome = _Fault(f"an answer that does not say what was done ({outcome.message})")
            if outcome.wait is None:
                wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT / 2) * random.uniform(1.0, 2.0)  # noqa: S311
            else:
                wait = max(outcome.wait, FIRST_WAIT)
            attempt += 1
            now = self.clock()
            # From the first fault on: until then it may have waited for its turn, and that is no retry.
            give_up_at = now + self.settings.retry_time if give_up_at is None else give_up_at
            if outcome.is_unreached and not self.is_patient:
                # Of two hosts the first that could not be reached, as a command asks one after the other.
                with self._lock:
                    unreached_since = min((since for since, _ in self._unreached.values()), default=now)
                give_up_at = min(give_up_at, unreached_since + UNREACHED_TIME)
            # After a 429, and no other fault, it is certain that Pendo has not carried the request out.
            may_repeat = not outcome.is_large and (request.idempotent or outcome.status == 429)
            if not may_repeat or attempt > self.settings.retries or now + wait > give_up_at:
                if time.monotonic() >= self.ends_at():
                    # The request was cut short because the run ends; ``wait`` raises what says so.
                    self.wait(0.0)
                error = self._unavailable(request, route, attempt, outcome)
                error.wait = wait
                raise error
            self.wait(wait)

    def ask(self, request: Request, what: str, hint: str = "", allowed: Collection[int] = ()) -> Answer:
        """Sends a request that is about no row.

        Args:
            request: The request.
            what: What Pendo does not do if it refuses, as in "list its segments".
            hint: What to do about that.
            allowed: Statuses that are answers, too.

        Raises:
            PendoError: If Pendo refuses; and all that ``send`` raises.
        """
        answer = self.send(request)
        if not answer.ok and answer.status not in allowed:
            raise PendoError(f"Pendo does not {what} ({answer.message}).", hint)
        return answer

    def _note_unreached(self, host: str, since: float, attempt: int, fault: str) -> None:
        """Notes that no connection to a host comes about, and tells of each attempt once, however many threads try."""
        with self._lock:
            since, told = self._unreached.get(host, (since, 0))
            self._unreached[host] = since, max(told, attempt)
        if attempt > told:
            self.tell(f"Pendo at {host_of(host)} cannot be reached (attempt {attempt}): {fault}.")

    def _unavailable(self, request: Request, route: _Route, attempts: int, last: _Fault) -> UnavailableError:
        wait, most = last.wait or 0.0, self.settings.retry_time
        needs = f" It wants to be asked again in {wait:,.0f} seconds, and PENDO_RETRY_TIME is {most:,g}."
        asks = needs if wait > most else ""
        has_proxy = requests.utils.select_proxy(route.host, route.transport["proxies"]) is not None
        return (LargeError if last.is_large else UnavailableError)(
            f"Pendo at {host_of(route.host)} did not take {request.method} {request.path} in "
            f"{number(attempts, 'attempt')}; the last: {last.reason}.{asks}",
            advice.of_fault(last.status, self.settings, route.host, has_proxy),
        )

    def key_refused(self, answer: Answer, secret: Secret, path: str = "") -> KeyRefusedError:
        """Returns the error of an answer that says that Pendo does not know a key or secret, or not its right."""
        settings = self.settings
        host, name, takes = settings.api_url, "integration key", advice.INTEGRATION_KEY
        if path == TRACK_PATH:
            host, name, takes = settings.data_url, "Track Event shared secret", advice.TRACK_SECRET
        variable = f"{advice.host_variable(settings, host)}, which names the host in place of PENDO_REGION"
        if host in REGIONS[settings.region]:
            variable = f"PENDO_REGION, which is {settings.region} (the regions are {', '.join(REGIONS)})"
        return KeyRefusedError(
            f"Pendo at {host_of(host)} refused the {name} ({answer.message}).",
            f"Look at {secret.variable}: it takes {takes}; and at {variable}: a key is good in one region only.",
            answer,
        )

    def _attempt(self, request: Request, route: _Route, attempt: int) -> Answer | _Fault:
        """Sends a request once, at the pace Pendo takes."""
        asked = self.clock()
        while delay := self._pacer.reserve(self.clock()):
            self.wait(delay)
        with self._lock:
            before, size = self._traffic, len(request.body or b"")
            self._traffic = Traffic(before.requests + 1, before.retries + (attempt > 1), before.bytes + size)
        at, started = time.time(), self.clock()
        status, content, fault = None, b"", ""
        headers: tuple[str, ...] = ()
        try:
            prepared = self._prepare(request, route)
            largest = self.largest_answer if request.sink is None else network.LARGEST_FILE
            seconds = self.settings.seconds_for(request.is_long)
            with network.bounded(seconds, self.ends_at, largest, request.sink):
                response = self._adapter.send(prepared, **route.transport)
            status, content = response.status_code, response.content
            with self._lock:
                self._unreached.pop(route.host, None)
            headers = tuple(response.headers)
        except network.FAULTS as error:
            self._pacer.strained(self.clock())
            fault = network.describe_fault(error, self._secrets)
            network.require_no_login(route.host, PendoError, None, fault)
            if is_unreached := network.is_unreached(error):
                self._note_unreached(route.host, started, attempt, fault)
            is_large = isinstance(network.cause_of(error), network.LargeAnswerError)
            return _Fault(fault, is_large=is_large, is_unreached=is_unreached)
        finally:
            self._pacer.release()
            now = self.clock()
            with self._lock:
                so_far, is_fault = self._answering, status is None or not 200 <= status < 300
                self._answering = Answering(
                    so_far.requests + 1, so_far.seconds + now - started, so_far.bytes + size, so_far.faults + is_fault
                )
            if self.watch is not None:
                waited, seconds = started - asked, now - started
                self.watch(Call(at, request, attempt, waited, seconds, status, content, fault, self._secrets, headers))
        answer = Answer(status, content, self._secrets)
        self._require_usable(request, answer, route, response.headers.get("Location"))
        if answer.status not in RETRIED or (request.is_verdict is not None and request.is_verdict(answer)):
            self._pacer.taken(now, now - started)
            return answer
        wait = network.retry_after(response.headers.get("Retry-After"))
        if answer.status == 429:
            # A pause that is too long for this request is too long for the others.
            is_short = wait is not None and wait <= self.settings.retry_time
            self._pacer.throttled(now, wait if is_short else None)
        else:
            self._pacer.strained(now)
        return _Fault(answer.message, answer.status, wait)

    def _require_usable(self, request: Request, answer: Answer, route: _Route, location: str | None) -> None:
        """Raises the error of an answer that is not about the body of the request, and ends the sync."""
        if answer.ok or (answer.status == 403 and request.is_of_segment):
            return
        host = route.host
        network.require_no_login(host, PendoError, answer.status)
        if answer.status in REFUSED:
            raise self.key_refused(answer, route.secret, request.path)
        if answer.status < 400:
            where, hint = advice.of_redirect(self.settings, host, request.path, location)
            raise PendoError(
                f"{host_of(host)} answers {request.path} with a redirect {where} (HTTP {answer.status}).", hint
            )
        if refusal := advice.of_refusal(answer.status, self.settings, host, route.secret):
            raise PendoError(
                f"{host_of(host)} does not take {request.method} {request.path} ({answer.message}).", refusal
            )

    def _route(self, request: Request) -> _Route:
        if request.path == TRACK_PATH:
            host, secret = self.settings.data_url, self.settings.require_track_secret(request.app)
        else:
            host, secret = self.settings.api_url, self.settings.require_integration_key()
        # Looked up once, as that costs more than a request on loopback; and only when a request is made, as some
        # commands make none.
        if host not in self._transports:
            self._transports[host] = network.transport_options(host)
        return _Route(host, secret, self._transports[host])

    def _prepare(self, request: Request, route: _Route) -> requests.PreparedRequest:
        # All but the body is prepared once for thousands of requests, a third of the time that requests takes for one.
        known = (request.method, url := f"{route.host}{request.path}", route.secret.variable)
        prepared = self._prepared.get(known)
        if prepared is None:
            headers = {
                "User-Agent": f"dbt-pendo/{__version__}",
                "Accept": "*/*",
                "x-pendo-integration-key": route.secret.reveal(),
                "Content-Type": "application/json",
                **request.headers,
            }
            prepared = requests.Request(request.method, url, headers).prepare()
            # The path of one record is not met again.
            if not request.pattern:
                self._prepared[known] = prepared
        prepared = prepared.copy()
        prepared.prepare_body(request.body, files=None)
        return prepared
