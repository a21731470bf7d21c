"""Runs of dbt Cloud: their artifacts, fetched by its administrative API (dbt-notes.md, dbt Cloud)."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    bounded,
    certificates,
    describe_fault,
    proxies_for,
    proxy_login_advice,
    retry_after,
    wants_proxy_login,
)
from dbt_pendo.private import private_folder, replace_private
from dbt_pendo.project.manifest import as_mapping
from dbt_pendo.project.run_results import BUILDING_COMMANDS
from dbt_pendo.settings import DBT_CLOUD_ACCOUNT, DBT_CLOUD_HOST, DbtCloudAccount
from dbt_pendo.wording import host_of

SUCCESS = 10
# dbt Cloud's numbers of the other statuses in which a run stays.
ENDED_BADLY = {20: "which failed", 30: "which was cancelled"}

ATTEMPTS = 4
# Seconds and bytes of an answer; a large project's manifest takes more.
TIMEOUT, ARTIFACT_TIMEOUT = 60.0, 300.0
LARGEST_ARTIFACT = 2**30
# Seconds.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
SHOWN_BODY = 300
# Where dbt Cloud does not list a run's steps they are tried by number. The first (clone, profile, deps) have no
# artifacts, so it takes several in a row without to say that there are no more.
EMPTY_STEPS = 8
MOST_STEPS = 100
# Seconds: whoever fetched a run has read it by then.
KEPT = 24 * 3600


class DbtCloudError(DbtPendoError):
    """dbt Cloud cannot be reached, or not yet; later it may work."""


@dataclass(frozen=True, slots=True)
class FetchedRun:
    """A run of dbt Cloud, as if it had been run here.

    Attributes:
        folder: Its ``manifest.json`` and ``run_results.json``.
        origin: Which run, and which of its steps, in the words of a message.
    """

    folder: Path
    origin: str


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of a run, with what its command did.

    Attributes:
        index: dbt Cloud's number of it, from 1.
        name: Its command as the job has it; empty where dbt Cloud does not list the steps.
        run_results: Its ``run_results.json``.
    """

    index: int
    name: str
    run_results: Mapping[str, Any]

    def __str__(self) -> str:
        return f"step {self.index}: {self.name or f'dbt {self.command}'}"

    @property
    def command(self) -> str:
        return str(as_mapping(self.run_results.get("args")).get("which"))

    @property
    def invocation_id(self) -> str:
        return str(as_mapping(self.run_results.get("metadata")).get("invocation_id") or "")

    @property
    def results(self) -> list[dict[str, Any]]:
        results = self.run_results.get("results")
        return [one for one in results if isinstance(one, dict)] if isinstance(results, list) else []


class DbtCloud:
    """An account of dbt Cloud.

    Args:
        account: Where it is, and the token for it.
    """

    def __init__(self, account: DbtCloudAccount) -> None:
        self._account = account
        self._api = f"{account.url}/api/v2/accounts/{account.account_id}"
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, BoundedAdapter())
        # No .netrc, which would replace the token. To another host requests forwards no Authorization header.
        self._session.trust_env = False
        self._session.proxies.update(proxies_for(account.url))
        self._session.verify = certificates()
        self._session.headers["User-Agent"] = f"dbt-pendo/{__version__}"

    def __enter__(self) -> DbtCloud:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def latest_good_run(self, job_id: int) -> int:
        """Returns the id of a job's latest run that succeeded.

        Raises:
            ConfigError: If there is none.
            DbtCloudError: If dbt Cloud does not answer.
        """
        wanted = {"job_definition_id": str(job_id), "status": str(SUCCESS), "order_by": "-finished_at", "limit": "1"}
        answer = self._get("/runs/", wanted)
        runs = answer.get("data") if answer else None
        run_id = as_mapping(runs[0]).get("id") if isinstance(runs, list) and runs else None
        if not isinstance(run_id, int):
            raise ConfigError(
                f"No run of job {job_id} has succeeded in account {self._account.account_id} of dbt Cloud.",
                f"{_WHERE} A run that failed can be named with --dbt-cloud-run-id.",
            )
        return run_id

    def fetch_run(self, run_id: int, target_path: Path) -> FetchedRun:
        """Fetches the artifacts of a run's steps that build or test.

        A job may build in several steps (``dbt seed``, ``dbt run``, ``dbt test``). The manifest is that of the last
        step that builds; ``run_results.json`` has the latest result of each node in any of the steps, so that a test
        of a later step counts for the model of an earlier one.

        Args:
            run_id: dbt Cloud's number of the run.
            target_path: dbt's target folder; the artifacts go into a folder of their own below it.

        Raises:
            ConfigError: If there is no such run, or it has built nothing.
            DbtCloudError: If the run has not ended, or dbt Cloud does not answer.
        """
        run = self._run(run_id)
        status = run.get("status")
        if status != SUCCESS and status not in ENDED_BADLY:
            told = self._account.secrets.hidden_in(str(run.get("status_humanized") or f"status {status}"))
            raise DbtCloudError(
                f"Run {run_id} of dbt Cloud has not ended ({told}).", "Sync it when it has; nothing was sent."
            )
        how = f", {ENDED_BADLY[status]}" if status in ENDED_BADLY else ""
        steps = self._steps(run_id, run)
        for step in reversed([step for step in steps if step.command in BUILDING_COMMANDS]):
            manifest = self._artifact(run_id, step.index, "manifest.json")
            if manifest and as_mapping(manifest.get("metadata")).get("invocation_id") == step.invocation_id:
                merged = _merged(step, steps)
                folder = _write(target_path, run_id, {"manifest.json": manifest, "run_results.json": merged})
                return FetchedRun(folder, f"run {run_id} of dbt Cloud{how} ({', '.join(map(str, steps))})")
        raise ConfigError(
            f"Run {run_id} of dbt Cloud{how and f'{how},'} has no step that built models and left its artifacts.",
            "It takes a run of a job with a step such as `dbt build`; nothing was sent.",
        )

    def _run(self, run_id: int) -> Mapping[str, Any]:
        path = f"/runs/{run_id}/"
        # Not every dbt Cloud lists the steps; one that does not may ignore the wish, or refuse it.
        answer = self._get(path, {"include_related": '["run_steps"]'}, absent=(400, 404)) or self._get(path)
        run = as_mapping(answer.get("data")) if answer else {}
        if not run:
            raise ConfigError(
                f"There is no run {run_id} in account {self._account.account_id} of dbt Cloud at {self._account.url}.",
                _WHERE,
            )
        return run

    def _steps(self, run_id: int, run: Mapping[str, Any]) -> list[_Step]:
        """Returns the steps that build or test, each invocation once, in their order."""
        found: dict[str, _Step] = {}
        listed = _listed_steps(run)
        numbered = listed or [(index, "") for index in range(1, MOST_STEPS + 1)]
        empty = 0
        for index, name in numbered:
            run_results = self._artifact(run_id, index, "run_results.json")
            if run_results is None:
                empty += 1
                if not listed and empty == EMPTY_STEPS:
                    break
                continue
            empty = 0
            step = _Step(index, name, run_results)
            # A step that writes none of its own shows the one that a step before has left.
            if step.command in BUILDING_COMMANDS | {"test"} and step.invocation_id:
                found.setdefault(step.invocation_id, step)
        return list(found.values())

    def _artifact(self, run_id: int, step: int, name: str) -> dict[str, Any] | None:
        """Returns an artifact of a step; None if the step has none."""
        return self._get(f"/runs/{run_id}/artifacts/{name}", {"step": str(step)}, is_artifact=True)

    def _get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        absent: Iterable[int] = (404,),
        is_artifact: bool = False,
    ) -> dict[str, Any] | None:
        """Asks until there is an answer, or the attempts are used up.

        Returns:
            The JSON object; None if the status says that there is none (``absent``).

        Raises:
            ConfigError: If dbt Cloud refuses the token.
            DbtCloudError: If there is no usable answer.
        """
        token, fault = self._account.token, ""
        seconds, largest = (ARTIFACT_TIMEOUT, LARGEST_ARTIFACT) if is_artifact else (TIMEOUT, LARGEST_ANSWER)
        for attempt in range(1, ATTEMPTS + 1):
            wait = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311
            try:
                with bounded(seconds, largest=largest):
                    response = self._session.get(
                        f"{self._api}{path}",
                        params=query,
                        headers={"Authorization": f"Bearer {token.reveal()}", "Accept": "application/json"},
                    )
            except FAULTS as error:
                fault = describe_fault(error, self._account.secrets)
                if wants_proxy_login(fault):
                    raise self._proxy_refused() from None
            else:
                if response.status_code in absent:
                    return None
                if response.ok and isinstance(document := _json(response.content), dict):
                    return document
                fault = self._message(response)
                if response.status_code in (401, 403):
                    raise self._refused(response, fault)
                if response.status_code == PROXY_LOGIN:
                    raise self._proxy_refused()
                if not response.ok and response.status_code != 429 and response.status_code < 500:
                    raise DbtCloudError(f"dbt Cloud at {self._account.url} refused {path} ({fault}).", _WHERE)
                asked = retry_after(response.headers.get("Retry-After"))
                wait = wait if asked is None else min(asked, LONGEST_WAIT)
            if attempt < ATTEMPTS:
                time.sleep(wait)
        raise DbtCloudError(
            f"dbt Cloud at {self._account.url} did not answer {path} in {ATTEMPTS} attempts; the last: {fault}.",
            f"Look at {DBT_CLOUD_HOST} and the network, then run it again; nothing was sent.",
        )

    def _proxy_refused(self) -> DbtCloudError:
        return DbtCloudError(
            f"The proxy on the way to dbt Cloud at {self._account.url} wants a log-in (HTTP 407).",
            proxy_login_advice(self._account.url),
        )

    def _refused(self, response: requests.Response, told: str) -> ConfigError:
        host, asked = (host_of(url).partition("://")[2] for url in (response.url, self._account.url))
        if host != asked:
            return ConfigError(
                f"dbt Cloud at {self._account.url} answers with a redirect to {host}, where the token was not sent.",
                f"If that is your dbt Cloud, set {DBT_CLOUD_HOST} to it.",
            )
        return ConfigError(
            f"dbt Cloud at {self._account.url} refused the token for account {self._account.account_id} ({told}).",
            f"Look at {self._account.token.variable}: it takes a token of that account that may read jobs; at "
            f"{DBT_CLOUD_ACCOUNT}; and at {DBT_CLOUD_HOST}, for the host differs by account (Account settings > Access "
            "URL).",
        )

    def _message(self, response: requests.Response) -> str:
        """Returns dbt Cloud's own words, in one line."""
        document = as_mapping(_json(response.content))
        told = as_mapping(document.get("status")).get("user_message")
        if response.ok:
            told = "an answer that is no JSON object"
        text = str(told or response.content[:LOOKED_AT].decode(errors="replace"))
        text = " ".join(self._account.secrets.hidden_in(text).split())[:SHOWN_BODY]
        return f"HTTP {response.status_code}: {text}" if text else f"HTTP {response.status_code}"


_WHERE = (
    f"The address of its page has the account ({DBT_CLOUD_ACCOUNT}), the host ({DBT_CLOUD_HOST}) and the number; a "
    "token of too few rights may see nothing there."
)


def _listed_steps(run: Mapping[str, Any]) -> list[tuple[int, str]]:
    steps = run.get("run_steps")
    numbered = {
        step["index"]: _command(str(step.get("name") or ""))
        for step in (steps if isinstance(steps, list) else ())
        if isinstance(step, dict) and isinstance(step.get("index"), int)
    }
    return sorted(numbered.items())


def _command(name: str) -> str:
    """Returns the command in dbt Cloud's name of a step, which is such as: Invoke dbt with `dbt build`."""
    quoted = re.search(r"`(.+)`", name)
    return quoted[1] if quoted else name


def _merged(last: _Step, steps: Iterable[_Step]) -> dict[str, Any]:
    """Returns the run results of the last step that builds, with the latest result of each node in any step."""
    results = {str(result.get("unique_id")): result for step in steps for result in step.results}
    return {**last.run_results, "results": list(results.values())}


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _write(target_path: Path, run_id: int, artifacts: Mapping[str, Mapping[str, Any]]) -> Path:
    """Writes a run's artifacts, never half: another process may sync the same run; returns their folder."""
    try:
        folder = private_folder(target_path, "dbt_cloud", str(run_id))
        for name, artifact in artifacts.items():
            replace_private(folder / name, orjson.dumps(artifact))
        for other in folder.parent.iterdir():
            if other.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"{target_path} cannot be written: {error.strerror}.", "Name another --target-path."
        ) from None
    return folder
