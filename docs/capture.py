"""Write into the pages of docs/ what their commands print.

    .venv/bin/python docs/capture.py [PAGE …]

A page that has ``<!-- stage sample -->`` (the sample project) or ``<!-- stage acme -->`` (an empty project) near its
top is a script. Its steps run in order, in a folder of the page's own, against a sandbox of the page's own:

- a block ``text`` that begins with ``$ command`` gets that command's output;
- so does a block ``text`` that follows a block ``sh``: the output of those commands;
- a block with ``title="models/dim_users.yml"`` is written to that file of the project;
- ``<!-- file models/dim_users.sql …text… -->`` writes a file that is not shown;
- ``<!-- $ dbt build --quiet -->`` runs a command that is not shown;
- ``<!-- pendo {"fail": {…}} -->`` makes the sandbox misbehave (``Fault``), ``load`` fills it as a file of ``sandbox
  --load`` does, ``set`` changes a value by itself, ``clear`` ends the faults;
- ``<!-- short -->`` before a block leaves out the first lines, which name target, schema and Pendo;
  ``<!-- from TEXT -->`` leaves out what is above the first line with the text, ``<!-- lines 5 -->`` what is below so
  many lines.

The JSON behind the stage may hold ``env``, variables of the environment; the rest are switches of the sandbox.

tests/functional/test_doc_pages.py compares all but what differs from run to run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import requests

from dbt_pendo.cli.sandbox import DEMO
from dbt_pendo.sandbox import Fault, Sandbox, Switches, load_subscription

DOCS = Path(__file__).resolve().parent
PROGRAMS = {"dbt": "from dbt.cli.main import cli; cli()", "dbt-pendo": "from dbt_pendo.cli import main; main()"}
STAGE = re.compile(r"<!-- stage (sample|acme)(?: (\{.+?\}))? -->")
# The project of `<!-- stage acme -->`, beside the files that the page itself gives.
ACME = {
    "dbt_project.yml": "name: acme\nversion: '1.0.0'\nprofile: acme\nmodels:\n  +materialized: table\n",
    "profiles.yml": (
        "acme:\n  target: dev\n  outputs:\n    dev: "
        "{type: duckdb, path: \"{{ env_var('SAMPLE_DUCKDB_PATH') }}\", schema: analytics, threads: 1}\n"
    ),
}
STEP = re.compile(
    r"<!-- \$ (?P<hidden>.+?) -->"
    r"|<!-- pendo (?P<pendo>\{.+?\}) -->"
    r"|<!-- file (?P<path>\S+)\n(?P<text>.*?)-->"
    r'|^(?P<indent> *)```\w+ title="(?P<title>[^"]+)"\n(?P<shown_text>.*?)^ *```$'
    r"|(?P<short><!-- (?:short|from (?P<from>[^\n]+?)) -->\n+)?(?:<!-- lines (?P<lines>\d+) -->\n+)?"
    r"^(?P<inner> *)(?:```sh\n(?P<sh>[^`]+?)\n *```\n+ *)?```text\n"
    r"(?:\$ (?P<command>[^\n]+)\n)?(?P<output>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
# The lines above the first sync's.
HEAD = re.compile(r"\A.*?^\d\d:\d\d:\d\d  Pendo: [^\n]*\n[^\n]*\n", re.DOTALL | re.MULTILINE)
CHANGING = (
    (re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}"), "20260101T090000000000Z-abcdef"),
    (re.compile(r"(?<=show )[0-9a-f]{6}(?= --rows)"), "abcdef"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "2026-01-01T09:00:00.000Z"),
    (re.compile(r"\d{4}-\d\d-\d\d (?=\d\d:\d\d:\d\d)"), "2026-01-01 "),
    (re.compile(r"\d\d:\d\d:\d\d(\.\d+)?"), "09:00:00"),
    (re.compile(r"\d+\.\d+s\b"), "0.00s"),
    (re.compile(r"(?<=^slowest: ).*", re.MULTILINE), "#1 1 ms"),
    (re.compile(r"\b\d+ ms\b"), "1 ms"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:8090"),
    # Not of every version of dbt.
    (re.compile(r" NO-OP=\d+"), ""),
    (re.compile(r"^Previewing inline node:\n", re.MULTILINE), ""),
    (re.compile(r"(?<=probe[-_])[0-9a-f]{8}"), "abcdef01"),
)
# The sample project moves its dates to the day of its first build.
MOVED_DATE = re.compile(r"\b\d{4}-\d\d-\d\d(?=\b|T)")


class Stage:
    """A project and a sandbox, for commands to run in; ``python`` runs them."""

    def __init__(
        self, python: str, switches: Switches, project: str = "sample", env: Mapping[str, str] | None = None
    ) -> None:
        self._python = python
        self._given = env or {}
        self._sandbox = Sandbox(switches=switches)
        self._kind = project

    def __enter__(self) -> Stage:
        self._scratch = tempfile.TemporaryDirectory()
        self._project = Path(self._scratch.name) / self._kind
        if self._kind == "sample":
            unwanted = shutil.ignore_patterns("target", "logs", "*.duckdb*", ".user.yml")
            shutil.copytree(DOCS.parent / "sample_project", self._project, ignore=unwanted)
        else:
            for path, text in ACME.items():
                self.write(path, text)
        self._sandbox.start()
        if self._kind == "sample":
            load_subscription(self._sandbox, self._project / "pendo_subscription.json")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_", "GITHUB_"))},
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "SAMPLE_DUCKDB_PATH": str(self._project / f"{self._kind}.duckdb"),
            "PENDO_API_URL": self._sandbox.url,
            "PENDO_INTEGRATION_KEY": self._sandbox.integration_key,
            "PENDO_TRACK_SECRET": self._sandbox.track_secrets[""],
            # One after the other, so that the calls have an order.
            **({"PENDO_CONCURRENCY": "1"} if self._kind == "sample" else {}),
            # Of the dbt package, for `packages.yml`.
            "DBT_PENDO_REPOSITORY": str(DOCS.parent),
            "PATH": os.pathsep.join([str(self._programs()), os.environ["PATH"]]),
            **self._given,
        }
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sandbox.stop()
        self._scratch.cleanup()

    def _programs(self) -> Path:
        """Makes a folder with dbt, for `dbt-pendo build`, which looks for it on the PATH."""
        folder = Path(self._scratch.name) / "bin"
        folder.mkdir()
        (folder / "dbt").write_text(f"#!/bin/sh\nexec {self._python} -c '{PROGRAMS['dbt']}' \"$@\"\n", encoding="utf-8")
        (folder / "dbt").chmod(0o755)
        return folder

    def write(self, path: str, text: str) -> None:
        """Writes a file of the project."""
        file = self._project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, command: str) -> str:
        """Runs a command, and returns what it prints."""
        program, *arguments = shlex.split(command, comments=True)
        done = subprocess.run(
            [self._python, "-c", PROGRAMS[program], *arguments],
            cwd=self._project,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # The port that `dbt-pendo sandbox` takes; here each page has one of its own.
        printed = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace(self._sandbox.url, "http://127.0.0.1:8090")
        return "".join(f"{line.rstrip()}\n" for line in printed.splitlines()).strip("\n")

    def pendo(self, what: dict[str, dict[str, object]]) -> None:
        """Lets something happen in Pendo: ``fail`` takes the fields of a fault, ``set`` a path and a value."""
        if loaded := what.get("load"):
            path = Path(self._scratch.name) / "subscription.json"
            path.write_text(json.dumps(loaded), encoding="utf-8")
            load_subscription(self._sandbox, path)
        if fault := what.get("fail"):
            self._sandbox.fail(Fault(**fault))  # type: ignore[arg-type]
        if change := what.get("set"):
            headers = {"x-pendo-integration-key": self._sandbox.integration_key}
            url = f"{self._sandbox.url}/api/v1/metadata/{change['path']}"
            requests.put(url, json=change["value"], headers=headers, timeout=10).raise_for_status()
        if "clear" in what:
            self._sandbox.clear_faults()


def captured(page: str, python: str = sys.executable, switches: Switches = DEMO) -> str:
    """Returns the page with what its commands print now."""
    staged = STAGE.search(page)
    assert staged
    changes = json.loads(staged[2] or "{}")
    env = changes.pop("env", {})
    with Stage(python, switches.with_changes(changes), staged[1], env) as stage:

        def step(found: re.Match[str]) -> str:
            if command := found["hidden"]:
                stage.run(command)
            elif what := found["pendo"]:
                stage.pendo(json.loads(what))
            elif path := found["path"]:
                stage.write(path, found["text"])
            elif title := found["title"]:
                stage.write(title, _without(found["indent"], found["shown_text"]))
            elif found["sh"] or found["command"]:
                return _with_output(found, stage)
            return found[0]

        return STEP.sub(step, page)


def _with_output(found: re.Match[str], stage: Stage) -> str:
    """Runs the commands of a block, and returns it with their output."""
    indent = found["inner"]
    commands = [found["command"]] if found["command"] else _without(indent, f"{found['sh']}\n").splitlines()
    output = "\n".join(filter(None, (stage.run(command) for command in commands)))
    if start := found["from"]:
        at = output.find(start)
        output = output[output.rfind("\n", 0, at) + 1 :] if at >= 0 else output
    elif found["short"]:
        output = HEAD.sub("", output)
    if found["lines"]:
        output = "\n".join(output.splitlines()[: int(found["lines"])])
    shown = f"$ {found['command']}\n{output}" if found["command"] else output
    before = found[0][: found.start("output") - found.start()]
    before = before[: before.rindex("```text\n") + len("```text\n")]
    return before + "".join(f"{indent}{line}".rstrip() + "\n" for line in shown.splitlines()) + f"{indent}```"


def _without(indent: str, text: str) -> str:
    return re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def pages() -> list[Path]:
    """The pages that are scripts."""
    return [page for page in sorted(DOCS.rglob("*.md")) if STAGE.search(page.read_text(encoding="utf-8"))]


def comparable(page: str) -> str:
    """Returns a page without what differs from run to run; columns may then be of other widths."""
    for pattern, instead in CHANGING:
        page = pattern.sub(instead, page)
    if (staged := STAGE.search(page)) and staged[1] == "sample":
        page = MOVED_DATE.sub("2026-01-01", page)
    return re.sub(r" {2,}", "  ", page)


if __name__ == "__main__":
    for one in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        one.write_text(captured(one.read_text(encoding="utf-8")), encoding="utf-8")
