"""Fetches the artifacts of dbt Cloud's runs by its administrative API (dbt-notes.md, dbt Cloud)."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import orjson
import requests

from dbt_pendo import __version__, network
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.network import LARGEST_ANSWER
from dbt_pendo.project.artifacts import BUILDING_COMMANDS, as_mapping, as_mappings
from dbt_pendo.secret import private_folder, replace_private
from dbt_pendo.settings import DBT_CLOUD_ACCOUNT, DBT_CLOUD_HOST, DbtCloudAccount
from dbt_pendo.wording import host_of

SUCCESS = 10
# dbt Cloud's numbers of the other statuses that are final.
ENDED_BADLY = {20: "which failed", 30: "which was cancelled"}

ATTEMPTS = 4
# Seconds.
TIMEOUT, ARTIFACT_TIMEOUT = 60.0, 300.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
# Bytes: the manifest of a large project is larger than other answers.
LARGEST_ARTIFACT = 2**30
# Steps that dbt Cloud does not list are tried by number. The first ones (clone, profile, deps) have no artifacts, so
# only several steps without artifacts mean that there are no more.
EMPTY_STEPS = 8
MOST_STEPS = 100
# Seconds: by then the process that fetched a run has read it.
KEPT = 24 * 3600


class DbtCloudError(DbtPendoError):
    """dbt Cloud cannot be reached, or the run has not ended; later it may work."""


class _Step:
    """A step of a run that has left a ``run_results.json``."""

    def __init__(self, index: int, name: str, run_results: Mapping[str, Any]) -> None:
        # dbt Cloud's number of it, from 1.
        self.index = index
        self.run_results = run_results
        self.results = as_mappings(run_results.get("results"))
        self.command = str(as_mapping(run_results.get("args")).get("which"))
        # The job's command; dbt Cloud may not list it.
        self.name = name or f"dbt {self.command}"
        self.invocation_id = str(as_mapping(run_results.get("metadata")).get("invocation_id") or "")

    def __str__(self) -> str:
        return f"step {self.index}: {self.name}"


class DbtCloud:
    """An account of dbt Cloud."""

    def __init__(self, account: DbtCloudAccount) -> None:
        self._account = account
        self._api = f"{account.url}/api/v2/accounts/{account.account_id}"
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, network.BoundedAdapter())
        # No .netrc, which would replace the token. To another host requests forwards no Authorization header.
        self._session.trust_env = False
        transport = network.transport_options(account.url)
        self._session.proxies, self._session.verify = transport["proxies"], transport["verify"]
        self._session.headers.update({"User-Agent": f"dbt-pendo/{__version__}", "Accept": "application/json"})
        self._session.headers["Authorization"] = f"Bearer {account.token.reveal()}"

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
        runs = as_mappings(self._get("/runs/", wanted).get("data"))
        run_id = runs[0].get("id") if runs else None
        if not isinstance(run_id, int):
            raise ConfigError(
                f"No run of job {job_id} has succeeded in account {self._account.account_id} of dbt Cloud.",
                f"{_WHERE} A run that failed can be named with --dbt-cloud-run-id.",
            )
        return run_id

    def fetch_run(self, run_id: int, target_path: Path) -> tuple[Path, str]:
        """Fetches the artifacts of a run's steps that build or test.

        A job may build in several steps (``dbt seed``, ``dbt run``, ``dbt test``). The manifest is that of the last
        step that builds; ``run_results.json`` has the latest result of each node in any of the steps, so that a test
        of a later step counts for the model of an earlier one.

        Args:
            run_id: dbt Cloud's number of the run.
            target_path: dbt's target folder; the artifacts go into a folder of their own below it.

        Returns:
            That folder; and which run and which of its steps they are of, in the words of a message.

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
        for step in reversed(steps):
            if step.command not in BUILDING_COMMANDS:
                continue
            manifest = self._artifact(run_id, step.index, "manifest.json")
            if as_mapping(manifest.get("metadata")).get("invocation_id") == step.invocation_id:
                # Of each node the latest result, whichever step it is from.
                results = {str(result.get("unique_id")): result for one in steps for result in one.results}
                merged = {**step.run_results, "results": list(results.values())}
                folder = _write(target_path, run_id, {"manifest.json": manifest, "run_results.json": merged})
                return folder, f"run {run_id} of dbt Cloud{how} ({', '.join(map(str, steps))})"
        raise ConfigError(
            f"Run {run_id} of dbt Cloud{how and f'{how},'} has no step that built models and left its artifacts.",
            "It takes a run of a job with a step such as `dbt build`; nothing was sent.",
        )

    def _run(self, run_id: int) -> Mapping[str, Any]:
        path = f"/runs/{run_id}/"
        # Not every dbt Cloud lists the steps: it may ignore the parameter, or refuse it.
        answer = self._get(path, {"include_related": '["run_steps"]'}, absent=(400, 404)) or self._get(path)
        if run := as_mapping(answer.get("data")):
            return run
        raise ConfigError(
            f"There is no run {run_id} in account {self._account.account_id} of dbt Cloud at {self._account.url}.",
            _WHERE,
        )

    def _steps(self, run_id: int, run: Mapping[str, Any]) -> list[_Step]:
        """Returns the steps that build or test, each invocation once, in their order."""
        found: dict[str, _Step] = {}
        listed = _listed_steps(run)
        empty = 0
        for index, name in listed or [(index, "") for index in range(1, MOST_STEPS + 1)]:
            step = _Step(index, name, self._artifact(run_id, index, "run_results.json"))
            empty = 0 if step.run_results else empty + 1
            if not listed and empty == EMPTY_STEPS:
                break
            # A step that writes no results shows those of an earlier step.
            if step.command in BUILDING_COMMANDS | {"test"} and step.invocation_id:
                found.setdefault(step.invocation_id, step)
        return list(found.values())

    def _artifact(self, run_id: int, step: int, name: str) -> dict[str, Any]:
        return self._get(f"/runs/{run_id}/artifacts/{name}", {"step": str(step)}, is_artifact=True)

    def _get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        is_artifact: bool = False,
        absent: Collection[int] = (404,),
    ) -> dict[str, Any]:
        """Returns a JSON object; retries while dbt Cloud does not give one. Empty after a status of ``absent``.

        This is not urllib3's ``Retry``, which judges an answer before its body is read: a proxy's page and a body that
        breaks off are tried again as well, and each attempt has its own time.

        Raises:
            ConfigError: If dbt Cloud refuses the token.
            DbtCloudError: If there is no usable answer.
        """
        fault = ""
        seconds, largest = (ARTIFACT_TIMEOUT, LARGEST_ARTIFACT) if is_artifact else (TIMEOUT, LARGEST_ANSWER)
        for attempt in range(ATTEMPTS):
            wait = FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311
            try:
                with network.bounded(seconds, largest=largest):
                    response = self._session.get(f"{self._api}{path}", params=query)
            except network.FAULTS as error:
                status, fault = 0, network.describe_fault(error, self._account.secrets)
            else:
                status, document = response.status_code, network.read_json(response.content)
                if status in absent:
                    return {}
                if response.ok and isinstance(document, dict):
                    return document
                fault = self._fault(response, document)
                asked = network.retry_after(response.headers.get("Retry-After"))
                wait = wait if asked is None else min(asked, LONGEST_WAIT)
            network.require_no_login(self._account.url, DbtCloudError, status, fault)
            if status in (401, 403):
                raise self._token_refused(response, fault)
            if 400 <= status < 500 and status != 429:
                raise DbtCloudError(f"dbt Cloud at {self._account.url} refused {path} ({fault}).", _WHERE)
            if attempt < ATTEMPTS - 1:
                time.sleep(wait)
        raise DbtCloudError(
            f"dbt Cloud at {self._account.url} did not answer {path} in {ATTEMPTS} attempts; the last: {fault}.",
            f"Look at {DBT_CLOUD_HOST} and the network, then run it again; nothing was sent.",
        )

    def _token_refused(self, response: requests.Response, fault: str) -> ConfigError:
        host, asked = (host_of(url).partition("://")[2] for url in (response.url, self._account.url))
        if host != asked:
            return ConfigError(
                f"dbt Cloud at {self._account.url} answers with a redirect to {host}, where the token was not sent.",
                f"If that is your dbt Cloud, set {DBT_CLOUD_HOST} to it.",
            )
        return ConfigError(
            f"dbt Cloud at {self._account.url} refused the token for account {self._account.account_id} ({fault}).",
            f"Look at {self._account.token.variable}: it takes a token of that account that may read jobs; at "
            f"{DBT_CLOUD_ACCOUNT}; and at {DBT_CLOUD_HOST}, for the host differs by account (Account settings > Access "
            "URL).",
        )

    def _fault(self, response: requests.Response, document: Any) -> str:
        """Returns what is wrong with an answer, in dbt Cloud's own words, as one line."""
        if response.ok:
            text = "an answer that is no JSON object"
        else:
            told = as_mapping(as_mapping(document).get("status")).get("user_message")
            text = str(told or response.content[: network.LOOKED_AT].decode(errors="replace"))
        return f"HTTP {response.status_code}: {self._account.secrets.first_line(text)}".removesuffix(": ")


_WHERE = (
    f"The address of its page has the account ({DBT_CLOUD_ACCOUNT}), the host ({DBT_CLOUD_HOST}) and the number; a "
    "token of too few rights may see nothing there."
)


def _listed_steps(run: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Returns number and command of each step; dbt Cloud calls one "Invoke dbt with `dbt build`"."""
    numbered = {}
    for step in as_mappings(run.get("run_steps")):
        if isinstance(index := step.get("index"), int):
            name = str(step.get("name") or "")
            command = re.search(r"`(.+)`", name)
            numbered[index] = command[1] if command else name
    return sorted(numbered.items())


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
