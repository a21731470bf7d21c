"""What others wrote, on its way to people: no terminal, log or page obeys it.

Of alerts: tests/unit/test_alert_changes.py.
"""

import json

import pytest
from harness import PEOPLE, Ended, SmallProject, run_cli
from report_file import read_report

from dbt_pendo.sandbox import Fault, Sandbox

# Clears the screen, sets the title, rings, turns the text round, forges a line, and speaks to rich and to CI systems.
HOSTILE = "u\x1b[2J\x1b]0;x\x07\u202e1\n::error::forged [red]x[/red] ##[error]no ##vso[task.x]y\r\x9b2J\u2028z"
SHOWN = r"u\x1b[2J\x1b]0;x\x07\u202e1\n::error::forged [red]x[/red] #\x23[error]no #\x23vso[task.x]y\r\x9b2J\u2028z"
# A name that manifest.json can have as it is.
MODEL = "m\u202e\x7f[/red]##[error]"
MODEL_SHOWN = r"m\u202e\x7f[/red]#\x23[error]"
COLUMN = "::error::plan\u202e"
MAPPING = {**PEOPLE, "fields": {HOSTILE: COLUMN, "seats": {"column": "seats", "type": "integer"}}}
ROWS = f"""
    select '{HOSTILE}' || key as id, '{HOSTILE}' || key as "{COLUMN}", seats
    from (values ('known', '1'), ('rejected', '1'), ('missing', '1'), ('invalid', '{HOSTILE}')) rows(key, seats)
"""


@pytest.fixture
def shop(project: SmallProject, sandbox: Sandbox) -> SmallProject:
    """A shop of which every name and every value is hostile, beside a Pendo that is hostile too."""
    sandbox.add_field("visitor", "custom", "plan", "string", display_name=HOSTILE)
    sandbox.add_field("visitor", "custom", "seats", "integer")
    sandbox.add_field("visitor", "custom", "other", "string", display_name=f"{HOSTILE}2")
    sandbox.add_visitors([f"{HOSTILE}known", f"{HOSTILE}rejected", f"{HOSTILE}only"])
    said = f"::error::{HOSTILE}"
    sandbox.fail(Fault(status=400, body=said, path="/custom/value", body_contains="rejected", times=None))
    project.model("people", MAPPING, ROWS)
    project.model(MODEL, MAPPING, ROWS)
    project.model("plain", None, ROWS)
    project.model("broken", {"object": "visitor", "visitor_id": "id", HOSTILE: 1, "fields": {"plan": HOSTILE}}, ROWS)
    return project


def expect_tame(ended: Ended) -> str:
    """Returns what a command printed; its lines are of visible characters, and speak to no CI system."""
    assert "Traceback" not in ended.output
    for line in ended.output.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line.lstrip().startswith("::"), line
        assert "##[" not in line, line
        assert "##vso[" not in line, line
    return ended.output


SOUND = ("--exclude", "broken")
COMMANDS: list[tuple[tuple[str, ...], int, bool]] = [
    (("check", *SOUND), 0, True),
    (("plan", "--show", "9", "--diff", "9", *SOUND), 0, True),
    (("sync", *SOUND), 1, True),
    (("runs",), 0, False),
    (("show",), 0, True),
    (("show", "--requests"), 0, False),
    (("show", "--failed"), 0, False),
    (("show", "--row", f"{HOSTILE}known"), 0, False),
    (("row", "people", f"{HOSTILE}rejected", *SOUND), 0, True),
    (("row", "people", f"{HOSTILE}nobody", *SOUND), 2, True),
    (("row", HOSTILE, "x", *SOUND), 2, True),
    (("fields", *SOUND), 0, True),
    (("verify", *SOUND), 1, True),
    (("exposures",), 2, True),
    (("init", "plain"), 0, False),
    (("init", HOSTILE), 2, True),
    (("report", "--output", f"{HOSTILE}.html".replace("/", "")), 0, False),
    (("unlock", *SOUND), 0, False),
    (("reset", *SOUND), 0, False),
    (("check", "-s", "broken"), 2, True),
    (("sync", "--target-path", HOSTILE), 2, True),
    (("sync", "--project-dir", HOSTILE), 2, True),
    (("sync", "--region", HOSTILE), 2, False),
]


def test_no_command_shows_foreign_text_as_it_is(shop, monkeypatch):
    for (command, *args), status, quotes in COMMANDS:
        shown = expect_tame(run_cli(command, *args).expect(status))
        assert not quotes or SHOWN in shown, (command, args, shown)
        assert command not in ("plan", "sync", "verify", "reset") or MODEL_SHOWN in shown or status == 2, shown
    # Colours change nothing.
    monkeypatch.delenv("NO_COLOR")
    shown = run_cli("sync", *SOUND, "--use-colors").expect(1).stdout
    assert "\x1b[31m" in shown
    # rich's own colours are all that is left.
    for code in ("\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        shown = shown.replace(code, "")
    assert SHOWN in expect_tame(Ended((), 0, shown, ""))


def test_json_and_a_report_are_data_and_tame_as_text(shop, tmp_path):
    shop.sync(*SOUND, status=1)
    ended = run_cli("row", "people", f"{HOSTILE}rejected", *SOUND, "--json").expect(0)
    expect_tame(ended)
    assert ended.json["results"][0]["key"] == f"{HOSTILE}rejected"
    logged = run_cli("row", "people", f"{HOSTILE}rejected", *SOUND, "--log-format", "json").expect(0)
    expect_tame(logged)
    called = next(json.loads(line) for line in logged.stdout.splitlines() if '"CallShown"' in line)
    assert called["data"]["keys"] == [f"{HOSTILE}rejected"]
    # The file of a report holds nothing that would not be seen.
    path = tmp_path / "report.html"
    run_cli("report", "--output", str(path)).expect(0)
    report = read_report(path)
    unseen = {ascii(letter) for letter in report.text if not letter.isprintable() and letter not in "\n\xa0"}
    assert not unseen
    assert f"{HOSTILE}rejected" in {row[1] for row in report.data["rows"]["items"]}


def test_the_summary_of_a_step_has_neither_markdown_nor_html_of_others(shop, sandbox, tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    said = "| a | `b` <img src=x> [link](https://evil.example) www.evil.example ![i](x)\n# Heading"
    sandbox.clear_faults()
    sandbox.fail(Fault(status=400, body=said, body_contains="rejected", times=None))
    shop.sync("-s", "people", status=1)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert all(line.isprintable() for line in lines)
    (note,) = [line for line in lines if "rejected:" in line]
    assert r"\| a \| \`b\` &lt;img src=x&gt; \[link\](https\://evil.example) www\.evil.example !\[i\](x) \# H" in note
    assert sum(line.startswith("#") for line in lines) == 1
