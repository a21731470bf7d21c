"""The webhook recipe on a real WSGI server, called as dbt Cloud would."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from cloud_server import Run, Step
from harness import REPOSITORY, custom, expect_in, writes

SECRET = "the-webhook's-secret"
SERVE = """\
import socketserver, sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
import webhook
class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
class Handler(WSGIRequestHandler):
    def address_string(self):
        return "somebody"
server = make_server("127.0.0.1", 0, webhook.app, Server, Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
SYNCED = {"a": {"plan": "pro"}, "b": {"plan": "free"}, "c": {}, "d": {"plan": "pro"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DBT_CLOUD_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("WEBHOOK_FOLDER", str(tmp_path / "webhook"))
    monkeypatch.setenv("WEBHOOK_PAUSE", "0")
    paths = [str(REPOSITORY / "docs" / "deploy"), str(REPOSITORY)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
    return tmp_path / "webhook"


@contextmanager
def receiver() -> Iterator[str]:
    """The recipe as a process of its own, which may have several for the syncs."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.kill()


def event(run_id: Any = "123", event_id: Any = "wev_1", kind: str = "job.run.completed") -> dict[str, Any]:
    """An event as dbt Cloud describes it."""
    data = {"jobId": "1", "jobName": "daily", "runId": run_id, "environmentId": "1", "runStatus": "Success"}
    about = {"accountId": 4711, "webhookId": "wsu_1", "webhookName": "dbt-pendo", "timestamp": "2026-11-24T10:00:05Z"}
    return {**about, "eventId": event_id, "eventType": kind, "data": data}


def post(url: str, body: Any, signature: str | None = None) -> int:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    if signature is None:
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return requests.post(url, data=body, headers={"Authorization": signature}, timeout=10).status_code


def events(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in ("log", "lock")]


def wait_for(folder: Path, *sizes: int) -> None:
    """Waits until events are done, or forgotten."""
    end = time.monotonic() + 60
    while sorted(path.stat().st_size for path in events(folder)) != list(sizes):
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.05)


def test_what_is_not_signed_or_no_event_changes_nothing(in_cloud, dbt_cloud, sandbox, folder):
    good = json.dumps(event()).encode()
    of_another = hmac.new(b"another secret", good, hashlib.sha256).hexdigest()
    of_another_body = hmac.new(SECRET.encode(), good + b" ", hashlib.sha256).hexdigest()
    with receiver() as url:
        for signature in ("", "x", "ä".encode().decode("latin-1"), of_another, of_another_body, f"Bearer {SECRET}"):
            assert post(url, good, signature) == 401
        assert (requests.get(url, timeout=10).status_code, post(url, b" " * 100_001)) == (400, 413)
        for body in (
            *(b"", b"{", b"\xff", b"[]", b"1", b"null", b"[" * 50_000),
            *({}, {**event(), "data": None}, {**event(), "data": {}}),
            *map(event, ["", "1; true", "--force", "12\n", "-1", "0", "1.5", 1.5, True, None, [1], "٣", "1" * 20]),
            *(event(event_id=event_id) for event_id in (None, 1, "", ["a"])),
        ):
            assert post(url, body) == 400, body
        assert post(url, event(kind="job.run.started")) == 200
        assert post(url, event(kind="job.run.errored")) == 200
    assert (events(folder), dbt_cloud.calls, sandbox.requests) == ([], [], [])


def test_an_event_syncs_once_however_often_it_comes(in_cloud, dbt_cloud, sandbox, folder, built_in_cloud):
    steps, done = [Step("Invoke dbt with `dbt run`", built_in_cloud / "steps" / "run")], len("done")
    with receiver() as url:
        # One whose sync failed is taken again.
        assert post(url, event()) == 202
        wait_for(folder)
        assert (folder / "log").read_text().count("There is no run 123") == 2
        assert writes(sandbox.requests) == []
        dbt_cloud.calls.clear()
        dbt_cloud.runs.append(Run(123, steps))
        with ThreadPoolExecutor(8) as pool:
            started = time.monotonic()
            assert list(pool.map(lambda _: post(url, event()), range(8))) == [202] * 8
            assert time.monotonic() - started < 8
        wait_for(folder, done)
        assert post(url, event(run_id=123)) == 202
    assert custom(sandbox.visitors) == SYNCED
    # Another process, and so after a restart; it does what was cut off as well.
    dbt_cloud.runs.append(Run(125, steps))
    (folder / "125-of_a_receiver_that_was_killed").touch()
    with receiver() as url:
        assert post(url, event()) == 202
        # Whoever comes last holds the lock last: when another event is done, nothing is left to wait for.
        assert post(url, event(event_id="wev_2", run_id="124")) == 202
        wait_for(folder, done, done)
    asked = Counter(call.path.rstrip("/").rpartition("/")[2] for call in dbt_cloud.calls)
    assert (asked["123"], asked["125"]) == (1, 1)
    assert len(in_cloud.sql("select distinct run_id from main_pendo.pendo_runs")) == 2
    expect_in(
        (folder / "log").read_text(),
        *("Found 3 syncs in run 123 of dbt Cloud (step 4: dbt run)", "There is no run 124", "Found 3 syncs in run 125"),
    )


def test_without_a_secret_it_does_not_start(folder, monkeypatch):
    monkeypatch.setenv("DBT_CLOUD_WEBHOOK_SECRET", "")
    ended = subprocess.run([sys.executable, "-c", "import webhook"], stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, folder.exists()) == (1, False)
    assert "DBT_CLOUD_WEBHOOK_SECRET is empty" in ended.stderr
