"""The help of every command, and what is said to those who mistype it."""

import os
import re
import shlex
import subprocess
import sys

import click
import pytest
from harness import expect_in, run_cli

from dbt_pendo.cli import COMMANDS, cli
from dbt_pendo.cli.help import EXAMPLES, STATUSES


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_are_grouped_and_examples_and_statuses_follow(name):
    shown = run_cli(name, "--help").expect(0).stdout
    headings = re.findall(r"^([A-Z]?[a-zA-Z ]+):$", shown, re.MULTILINE)
    assert "Options" in headings
    assert headings[-2:] == ["Examples", "Exit status"]
    assert len(EXAMPLES[name]) == 3
    assert all(f"  dbt-pendo {example}\n" in shown for example in EXAMPLES[name])
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for example in EXAMPLES[name]:
        words = shlex.split(example.partition(" > ")[0])
        assert words[0] == name
        # It is understood, whatever it would do.
        context = click.Context(command)
        context.resilient_parsing = True
        command.parse_args(context, words[1:])
    assert {0, 2} <= {2, *STATUSES[name]}


def test_settings_are_where_they_are_used():
    listed = run_cli("runs", "--help").expect(0).stdout
    assert "--concurrency" not in listed
    assert "--max-attempts" not in listed
    expect_in(run_cli("sync", "--help").expect(0).stdout, "--concurrency N", "PENDO_CONCURRENCY; default: 4]")


def test_who_mistypes_is_told_what_was_meant():
    expect_in(run_cli("snyc").expect(2).stderr, "No such command: snyc. Did you mean `dbt-pendo sync`?")
    said = run_cli("sync", "dim_users", "dim_accounts").expect(2).stderr
    expect_in(said, "Unexpected argument: dim_users dim_accounts.", "`dbt-pendo sync --select dim_users dim_accounts`")
    assert "--select" not in run_cli("runs", "dim_users").expect(2).stderr


def test_a_criterion_that_matches_nothing_is_named(people):
    said = people.run("sync", "--select", "people", "nobody").expect(0).output
    expect_in(said, "The selection criterion 'nobody' does not match any enabled nodes.", "[2 delivered in")
    assert "criterion" not in people.run("plan", "--select", "people").expect(0).output


def test_a_region_in_capitals(people, sandbox):
    people.run("plan", "--region", "EU").expect(0)
    expect_in(people.run("plan", "--region", "Mars").expect(2).output, "is not a Pendo region")


def test_a_shell_completes_commands_and_mapped_models(people):
    def complete(*words):
        typed = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        ended = subprocess.run(
            [sys.executable, "-m", "dbt_pendo"],
            cwd=people.folder,
            env={**os.environ, "_DBT_PENDO_COMPLETE": "bash_complete", **typed},
            check=True,
            capture_output=True,
            text=True,
        )
        return ended.stdout.splitlines()

    assert complete("dbt-pendo", "ver") == ["plain,verify"]
    assert complete("dbt-pendo", "sync", "--select", "pe") == ["plain,people"]
    assert complete("dbt-pendo", "row", "pe") == ["plain,people"]
    people.manifest_path.unlink()
    assert complete("dbt-pendo", "sync", "--select", "pe") == [""]
