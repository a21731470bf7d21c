"""The list of commands, which imports none of them; a process that ends at once: test_lost_output.py."""

import subprocess
import sys

import click

from dbt_pendo.cli import COMMANDS, cli


def test_the_group_lists_its_commands_without_importing_them(tmp_path):
    program = (
        "import sys\nimport dbt_pendo.__main__\nfrom dbt_pendo.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.startswith(('dbt_pendo.cli.', 'dbt_pendo.commands', 'dbt.'))])"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert ended.stdout.endswith("\n[]\n")
    assert all(f"  {name} " in ended.stdout for name in COMMANDS)


def test_the_list_has_the_short_help_of_each_command() -> None:
    commands = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS}
    assert {name: command and command.name for name, command in commands.items()} == {name: name for name in COMMANDS}
    assert {name: command and command.get_short_help_str(limit=200) for name, command in commands.items()} == COMMANDS
