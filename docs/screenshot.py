"""Draw docs/sync.svg: the terminal on the sample project's second day, as it really looks.

    .venv/bin/python docs/screenshot.py

Builds the sample project twice in a scratch folder and syncs it to the sandbox; what is drawn is what the commands
of the second day print. Nothing is edited but the frame: the SVG names no font of another host.
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dbt_pendo.cli.sandbox import DEMO
from dbt_pendo.sandbox import Sandbox, load_subscription

DOCS = Path(__file__).resolve().parent
COLUMNS = 132
PROGRAMS = {"dbt": "from dbt.cli.main import cli; cli()", "dbt-pendo": "from dbt_pendo.cli import main; main()"}
# What a progress bar writes beside text: it moves about and erases itself.
CONTROL = re.compile(r"(\r|\n|\x1b\[1A|\x1b\[2K|\x1b\[\?25[lh])")


def main() -> None:
    """Runs both days and draws the second."""
    with tempfile.TemporaryDirectory() as scratch, Sandbox(switches=DEMO) as sandbox:
        project = Path(scratch) / "sample_project"
        shutil.copytree(DOCS.parent / "sample_project", project, ignore=shutil.ignore_patterns("target", "*.duckdb*"))
        load_subscription(sandbox, project / "pendo_subscription.json")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PENDO_"))},
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm-256color",
            "SAMPLE_DUCKDB_PATH": str(project / "sample.duckdb"),
            "PENDO_API_URL": sandbox.url,
            "PENDO_INTEGRATION_KEY": sandbox.integration_key,
            "PENDO_TRACK_SECRET": sandbox.track_secrets[""],
        }
        _run(project, environment, "dbt", "build", "--quiet")
        _run(project, environment, "dbt-pendo", "sync")
        _run(project, environment, "dbt", "build", "--quiet", "--vars", "demo_day: 2")
        screen = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
        for command in ("plan", "sync"):
            screen.print(Text(f"$ dbt-pendo {command}", style="bold"))
            screen.print(_settled(_at_terminal(project, environment, "dbt-pendo", command)))
    (DOCS / "sync.svg").write_text(_drawn(screen), encoding="utf-8")


def _run(project: Path, environment: dict[str, str], program: str, *arguments: str) -> str:
    """Runs a program in the project and returns what it prints."""
    command = [sys.executable, "-c", PROGRAMS[program], *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, check=False)
    # As bytes first: text mode would turn each carriage return into a new line.
    printed, complaints = done.stdout.decode(), done.stderr.decode()
    if done.returncode:
        sys.exit(f"{program} {arguments[0]} ended with exit status {done.returncode}:\n{printed}{complaints}")
    return printed


def _at_terminal(project: Path, environment: dict[str, str], program: str, *arguments: str) -> str:
    """Runs a program at a terminal of its own and returns what it prints there."""
    ours, theirs = pty.openpty()
    command, printed = [sys.executable, "-c", PROGRAMS[program], *arguments], b""
    with subprocess.Popen(command, cwd=project, env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        with contextlib.suppress(OSError):  # at its end
            while part := os.read(ours, 4096):
                printed += part
    os.close(ours)
    return printed.decode()


def _settled(output: str) -> Text:
    """Returns what is left on the screen once progress bars have come and gone."""
    lines, row = [""], 0
    for piece in CONTROL.split(output):
        if piece == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif piece == "\x1b[1A":
            row -= 1
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif not CONTROL.fullmatch(piece):
            lines[row] += piece
    return Text.from_ansi("\n".join(lines))


def _drawn(screen: Console) -> str:
    """Returns the SVG without what rich adds of its own: a font from another host, and a line about its maker."""
    svg = screen.export_svg(title="dbt-pendo", unique_id="sync")
    svg = re.sub(r"@font-face \{.*?\}\s*|<!-- .*? -->\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace").replace("arial", "sans-serif")
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE).rstrip() + "\n"


if __name__ == "__main__":
    main()
