"""Receives dbt Cloud's webhook for finished runs, and syncs them. See webhook.md."""

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

SECRET = os.environ["DBT_CLOUD_WEBHOOK_SECRET"].encode() or sys.exit("DBT_CLOUD_WEBHOOK_SECRET is empty.")
FOLDER = Path(os.environ.get("WEBHOOK_FOLDER", "webhook")).absolute()
PAUSE = float(os.environ.get("WEBHOOK_PAUSE", "60"))  # seconds before the retry
LONGEST_BODY, REMEMBERED = 100_000, 30 * 24 * 3600  # bytes; seconds


def app(environ, start_response):
    """Answers a WSGI request at once, because dbt Cloud waits for ten seconds and then sends again."""
    start_response(receive(environ), [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []


def receive(environ):
    """Stores an event in the folder, and returns the answer's status."""
    length = environ.get("CONTENT_LENGTH") or ""
    if environ["REQUEST_METHOD"] != "POST" or not re.fullmatch("[0-9]{1,9}", length):
        return "400 Bad Request"
    if int(length) > LONGEST_BODY:
        return "413 Content Too Large"
    body = environ["wsgi.input"].read(int(length))
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.encode(), environ.get("HTTP_AUTHORIZATION", "").encode()):
        return "401 Unauthorized"
    try:
        event = json.loads(body)
        kind, event_id = event["eventType"], event["eventId"]
        run_id = str(event["data"]["runId"]) if kind == "job.run.completed" else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return "400 Bad Request"
    if kind != "job.run.completed":
        return "200 OK"
    if not (re.fullmatch("[1-9][0-9]{0,18}", run_id) and isinstance(event_id, str) and event_id):
        return "400 Bad Request"
    with contextlib.suppress(FileExistsError):  # a repeat
        (FOLDER / f"{run_id}-{hashlib.sha256(event_id.encode(errors='replace')).hexdigest()}").touch(exist_ok=False)
    start()
    return "202 Accepted"


def start():
    """Starts a process that syncs the waiting events and outlives this process."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "log").open("ab") as log:
        command = [sys.executable, str(Path(__file__).resolve())]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def drain():
    """Syncs the waiting events (empty files) one after another; only one process at a time does so."""
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for event in sorted(FOLDER.glob("[0-9]*-*"), key=lambda path: path.stat().st_mtime):
            if event.stat().st_size == 0:
                sync(event)
            elif event.stat().st_mtime < time.time() - REMEMBERED:
                event.unlink()


def sync(event):
    """Syncs an event's run. Deletes the event after two failures, so that dbt Cloud can send it again."""
    command = [sys.executable, "-m", "dbt_pendo", "sync", "--dbt-cloud-run-id", event.name.partition("-")[0]]
    for pause in (0, PAUSE):
        time.sleep(pause)
        if subprocess.run(command).returncode == 0:
            event.write_text("done")
            return
    event.unlink()


if __name__ == "__main__":
    drain()
else:
    start()  # events left waiting by a restart
