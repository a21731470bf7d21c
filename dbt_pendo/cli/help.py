"""The help of each command: its flags under headings, three examples, and what its exit status means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

UNREACHED = "the warehouse cannot be reached, or refuses it"
# What any command ends with that found out before it did anything.
REFUSED = "the command line, the project, a mapping or a setting is wrong"

EXAMPLES: Mapping[str, Sequence[str]] = {
    "init": ("init dim_users", "init dim_users --object account", "init dim_users -o models/dim_users_pendo.yml"),
    "ls": ("ls", "ls --select tag:crm+", "ls --json"),
    "debug": ("debug", "debug --target prod", "debug --json"),
    "check": ("check", "check --offline", "check --select dim_users --warn-error"),
    "plan": ("plan", "plan --select dim_users --show 3", "plan --diff 5 --json"),
    "sync": ("sync", "sync --select dim_users --limit 100", "sync --only-built --target prod"),
    "build": ("build", "build --select tag:crm+", "build --target prod --fail-fast"),
    "fields": ("fields", "fields --create --select dim_users", "fields --unused --output csv"),
    "verify": ("verify", "verify --select dim_users --repair", "verify --since 2d"),
    "reset": ("reset --select dim_users", "reset --all --adopt", "reset --select dim_users --from-pendo --yes"),
    "runs": ("runs", "runs --limit 100", "runs --output csv"),
    "show": ("show", "show 3f2a --failed", "show last --row usr-017"),
    "row": ("row dim_users usr-017", "row dim_accounts acme --json", "row dim_users usr-017 --target prod"),
    "report": ("report", "report --runs 200", "report --output public/pendo.html"),
    "unlock": ("unlock --select dim_users", "unlock", "unlock --select dim_users --force"),
    "prune": ("prune", "prune --yes", "prune --target dev"),
    "exposures": ("exposures", "exposures --check", "exposures -o models/pendo.yml"),
    "probe": ("probe", "probe --yes", "probe --output pendo_probe.json"),
    "schema": ("schema", "schema > pendo.schema.json", "schema --json"),
    "sandbox": ("sandbox", "sandbox --port 0", "sandbox --like pendo_probe.json"),
    "demo": ("demo", "demo --keep sample", "demo --keep ../sample"),
}
# What the statuses of a command mean; 2 is REFUSED where it is not here.
STATUSES: Mapping[str, Mapping[int, str]] = {
    "init": {0: "the mapping was printed or written", 1: UNREACHED},
    "ls": {0: "the syncs were listed"},
    "debug": {0: "all works", 1: "something does not"},
    "check": {0: "all mappings hold", 1: "there are warnings (--warn-error)", 2: "a mapping is wrong"},
    "plan": {0: "the plan was made", 1: "a sync cannot be planned"},
    "sync": {0: "all was delivered, or skipped with a warning", 1: "a row was rejected, or a sync failed"},
    "build": {0: "all was built and delivered", 1: "dbt failed, a row was rejected, or a sync failed"},
    "fields": {0: "done", 1: "Pendo refused it, or you said no"},
    "verify": {0: "Pendo holds what the warehouse says", 1: "something differs"},
    "reset": {0: "the ledgers were reset", 1: "one was not, or you said no"},
    "runs": {0: "the runs were listed", 1: UNREACHED},
    "show": {0: "the run was shown", 1: UNREACHED},
    "row": {0: "the row was shown", 1: UNREACHED},
    "report": {0: "the page was written", 1: UNREACHED},
    "unlock": {0: "no lock is left", 1: "a run that seems alive keeps its lock"},
    "prune": {0: "nothing is left to drop", 1: "you said no, or the warehouse did"},
    "exposures": {0: "the file is up to date", 1: "it is not (--check)"},
    "probe": {0: "the file was written", 1: "something of the probe's is left in Pendo"},
    "schema": {0: "the schema was printed"},
    "sandbox": {0: "it was stopped", 2: "a switch or a file is wrong"},
    "demo": {0: "both days were synced", 1: "something went wrong"},
}


def statuses_of(command: str) -> dict[int, str]:
    """Returns what each exit status of a command means."""
    return dict(sorted({2: REFUSED, **STATUSES[command]}.items()))


class Option(click.Option):
    """A flag whose help ends with a variable that sets it as well, and with its default.

    Args:
        names: As for ``click.Option``.
        variable: The variable, where it is not click that reads it.
        shown: The default in words, where click has none.
        attributes: Others of ``click.Option``.
    """

    # The heading in the help under which it is listed.
    group = "Options"

    def __init__(self, names: Sequence[str], variable: str = "", shown: str = "", **attributes: Any) -> None:
        super().__init__(names, **attributes)
        # Of dbt's two names the one that everybody knows.
        variables = [self.envvar] if isinstance(self.envvar, str) else list(self.envvar or [variable])
        if isinstance(self.type, click.Choice) and isinstance(self.default, str):
            shown = self.default
        noted = {"env var": variables[-1], "default": shown}
        self._notes = "; ".join(f"{what}: {value}" for what, value in noted.items() if value)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Returns how it is written, and its help."""
        record = super().get_help_record(ctx)
        return record and (record[0], f"{self.help}  [{self._notes}]" if self._notes else str(self.help))


def grouped(group: str, options: Sequence[Option]) -> list[Option]:
    """Puts flags under a heading of the help."""
    for one in options:
        one.group = group
    return list(options)


class Command(click.Command):
    """A command whose help lists the flags under headings, and ends with examples and the exit statuses."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the flags under their headings."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                groups.setdefault(getattr(param, "group", Option.group), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples and the exit statuses."""
        name = str(self.name)
        with formatter.section("Examples"):
            for example in EXAMPLES[name]:
                formatter.write_text(f"dbt-pendo {example}")
        with formatter.section("Exit status"):
            formatter.write_dl([(str(status), what) for status, what in statuses_of(name).items()])
