"""What a terminal shows: lines that break at its width, and colours; a log and a pipe have a line for each message."""

import re

import pytest
from harness import PEOPLE, SmallProject, refuse, select
from harness.warm import at_terminal
from rich.cells import cell_len

LONG_ID = "株式会社さくら@例え.jp/" * 2
# Of a progress bar, which moves about and erases itself.
BAR = re.compile(r"^.*━.*?(?=\x1b\[2K)|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TIME = re.compile(r"\d\d:\d\d:\d\d  ")


@pytest.fixture
def people(people: SmallProject, sandbox, monkeypatch) -> SmallProject:
    monkeypatch.delenv("NO_COLOR")
    rows = (("a", "pro"), (LONG_ID, "pro"), (LONG_ID, "free"), (None, "pro"), ("", "pro"), ("_PENDO_T_1", "pro"))
    people.model("people", PEOPLE, select("id, plan", *rows, ("nobody", "pro"), ("r", "pro")))
    people.model("sound", PEOPLE, select("id, plan", ("a", "pro")))
    sandbox.add_visitors(["r"])
    refuse(sandbox, "r", "the plan is none of those that this subscription allows, which are several")
    return people


def lines_at(columns: int, *args: str) -> list[str]:
    """The lines of a terminal, with colours and without bars."""
    told = at_terminal(*args, columns=columns).stdout.replace("\r\n", "\n").replace("\r", "")
    return BAR.sub("", told).splitlines()


def plain(lines: list[str]) -> list[str]:
    return [COLOUR.sub("", line) for line in lines]


def messages(lines: list[str]) -> list[str]:
    """Each message on one line, without what differs from run to run, dots and double spaces."""
    whole: list[str] = []
    for line in lines:
        if whole and line.startswith("  ") and not TIME.match(line):
            whole[-1] += f" {line.strip()}"
        else:
            whole.append(line)
    return [re.sub(r"[\d:]{8} |\d+\.\d+s|\.{2,}|show \w{6}|127\S+", "", re.sub(r" +", " ", line)) for line in whole]


@pytest.mark.parametrize("columns", [80, 120, 160])
@pytest.mark.parametrize("command", ["plan", "check", "sync"])
def test_messages_break_at_the_width_of_a_terminal_and_nowhere_else(people, columns, command):
    shown = plain(lines_at(columns, command))
    piped = people.run(command).stdout.splitlines()
    assert all(TIME.match(line) for line in piped)
    if command != "sync":  # The second of two syncs has less to do.
        squeezed = [[re.sub(r"\s", "", line) for line in messages(lines)] for lines in (shown, piped)]
        assert squeezed[0] == squeezed[1]
    assert max(map(cell_len, shown)) <= columns < max(map(cell_len, piped))
    # What goes on, goes on below its message; and no id is cut.
    assert all(line.startswith(" " * 10) for line in shown if not TIME.match(line))
    assert any(LONG_ID in line for line in shown)


def test_a_very_wide_or_narrow_terminal_has_lines_that_can_be_read(people):
    widest = {columns: max(map(cell_len, plain(lines_at(columns, "plan")))) for columns in (40, 80, 160, 400)}
    assert widest[40] == widest[80] <= 80
    assert 120 < widest[400] == widest[160] <= 160


def test_the_number_that_matters_is_the_one_in_colour(people):
    planned = "\n".join(lines_at(160, "plan"))
    assert re.search(r"PLAN visitor sound \.+ \[\x1b\[32m1 added\x1b\[0m\]", planned)
    assert re.search(r"PLAN visitor people \.+ \[3 added, \x1b\[33m5 invalid\x1b\[0m\]", planned)
    assert re.search(r"\x1b\[33m +5 of 8 rows would be invalid\x1b\[0m: ", planned)
    synced = "\n".join(lines_at(160, "sync"))
    assert re.search(r"START sync visitor sound \.+ \[RUN\]\n", synced)
    assert re.search(r"OK synced visitor sound \.+ \[\x1b\[32m1 delivered\x1b\[0m in", synced)
    counts = r"\[1 delivered, \x1b\[33m1 missing\x1b\[0m, \x1b\[31m1 rejected\x1b\[0m, \x1b\[33m5 invalid\x1b\[0m in"
    assert re.search(rf"ERROR syncing visitor people \.+ {counts}", synced)
    for below in (r"\x1b\[31m +1 rejected", r"\x1b\[33m +5 invalid", r"\x1b\[33m +1 missing"):
        assert re.search(rf"{below}\x1b\[0m: ", synced)
    assert "Done. OK=1 WARN=0 \x1b[31mERROR=1\x1b[0m SKIP=0 TOTAL=2" in synced
    assert not [line for line in people.run("sync").stdout.splitlines() if "\x1b" in line]


def test_errors_break_as_well(people):
    folder = "nowhere/" * 20
    shown = plain(lines_at(80, "sync", "--project-dir", folder))
    assert any(folder.rstrip("/") in line for line in shown)
    # A path and a link stay whole.
    assert all(cell_len(line) <= 80 or "nowhere/" in line or line.startswith("More: ") for line in shown)
    assert shown[0].startswith("Error: ")
    assert shown[1].startswith("  ")


def test_a_long_cell_goes_on_below_itself(people):
    people.run("sync")
    shown = plain(lines_at(120, "show"))
    at = next(at for at, line in enumerate(shown) if re.search(r"  r +rejected", line))
    assert max(map(cell_len, shown)) <= 120
    assert shown[at + 1].startswith("    ")


def test_a_past_run_has_the_colour_of_its_end(people):
    people.model("waiting", PEOPLE, select("id, plan", ("nobody", "pro")))
    for sync, colour in (("sound", None), ("waiting", "33"), ("people", "31")):
        people.run("sync", "-s", sync)
        _, latest, *_ = lines_at(160, "runs")
        assert re.findall(r"\x1b\[(3\d)m", latest) == ([colour] if colour else []), sync
