"""The flags that commands share, and `@command`, which makes a click command of a function."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from dbt_pendo.cli.help import Command, Option, grouped
from dbt_pendo.commands.context import Context, Finding, Invocation, open_context
from dbt_pendo.commands.select import Selected, Selection
from dbt_pendo.delivery.results import Ends
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.history.runs import RunLog
from dbt_pendo.output.sync import show_found, show_opened
from dbt_pendo.output.terminal import Terminal
from dbt_pendo.project.artifacts import read_manifest
from dbt_pendo.secret import Secrets
from dbt_pendo.settings import SETTINGS, TARGETS, default_project_dir, load_settings
from dbt_pendo.warehouse.adapter import Connection, named_target, render_jinja
from dbt_pendo.warehouse.session import Session, open_session

Answer = TypeVar("Answer")

PATH = click.Path(path_type=Path)
SELECTION_NAMES = ("select", "exclude", "selector", "defer", "only_built")
SELECTING = ("--select", "-s", "--exclude")
DBT_ARGUMENTS = "dbt_pendo.dbt_arguments"


def option(*names: str, **attributes: Any) -> Option:
    """Returns a flag as a value."""
    return Option(names, **attributes)


def dbt_option(name: str, *others: str, **attributes: Any) -> Option:
    """Returns a flag of dbt's, which dbt's environment variables of that name set as well; the first counts."""
    bare = name.partition("/")[0].strip("-").replace("-", "_").upper()
    return option(name, *others, envvar=[f"{prefix}_{bare}" for prefix in ("DBT_ENGINE", "DBT")], **attributes)


def number_option(name: str, least: int = 1, **attributes: Any) -> Option:
    """Returns a flag that takes a whole number."""
    return option(name, metavar="N", type=click.IntRange(min=least), **attributes)


def file_option(*names: str, dir_okay: bool = True, **attributes: Any) -> Option:
    """Returns a flag that takes the file to write; ``dir_okay`` leaves it to the command to refuse a folder."""
    return option(*names, metavar="FILE", type=click.Path(path_type=Path, dir_okay=dir_okay), **attributes)


_METAVARS: Mapping[type, str] = {int: "N", float: "NUMBER", tuple: "COLUMNS"}


def _setting_flags(*names: str) -> list[Option]:
    options = []
    for name in names:
        setting, flag = SETTINGS[name], name.replace("_", "-")
        flags = f"--{flag}/--no-{flag}" if setting.kind is bool else f"--{flag}"
        metavar = None if setting.kind is bool else _METAVARS.get(setting.kind, "TEXT")
        # load_settings reads the variable, as it knows the order of precedence, and the text.
        attributes = {"default": None, "metavar": metavar, "help": setting.help}
        shown = "the region's" if name in ("api_url", "data_url") else setting.shown_default
        options.append(Option([flags, name], setting.variable, shown, **attributes))
    return grouped("Pendo and settings", options)


def mapped_models(ctx: click.Context, _: click.Parameter, start: str) -> list[str]:
    """Completes the name of a mapped model in a shell, from dbt's manifest."""
    with contextlib.suppress(DbtPendoError):
        project_dir = Path(ctx.params.get("project_dir") or default_project_dir())
        manifest = read_manifest(project_dir / (ctx.params.get("target_path") or "target"))
        return sorted(model.name for model in manifest.models if model.name.startswith(start))
    return []


# dbt's flags of project and profile.
PROFILE = grouped(
    "dbt",
    [
        dbt_option("--project-dir", type=PATH, help="The dbt project. Default: the nearest, from this folder upwards."),
        dbt_option(
            "--profiles-dir", type=PATH, help="The folder of profiles.yml. Default: this, the project's, ~/.dbt."
        ),
        dbt_option("--profile", help="A profile other than the project's."),
        dbt_option("--target", "-t", help="A target of the profile."),
        dbt_option("--target-path", type=PATH, help="dbt's target folder."),
        option("--vars", "dbt_vars", help="dbt variables, as YAML."),
    ],
)
SELECTION = grouped(
    "Selection",
    [
        option(
            "--select",
            "-s",
            multiple=True,
            shell_complete=mapped_models,
            help="Models to sync, in dbt's selection syntax.",
        ),
        option("--exclude", multiple=True, shell_complete=mapped_models, help="Models to leave out."),
        option("--selector", help="A selector of selectors.yml."),
        dbt_option("--state", type=PATH, help="The folder of an earlier manifest: for `state:modified`, and --defer."),
        dbt_option(
            "--defer/--no-defer", default=False, help="Take tables that dbt deferred from where --state has them."
        ),
        dbt_option("--defer-state", type=PATH, help="The folder of another manifest than --state's, for --defer."),
    ],
)
# What decides which ledger is meant, and with more at each step: how Pendo is asked, what is planned, how a run goes.
LEDGER_FLAGS = _setting_flags("region", "api_url", "data_url", "schema")
PENDO_FLAGS = [
    *LEDGER_FLAGS,
    *_setting_flags(
        *("concurrency", "requests_per_second", "timeout", "retries", "retry_time", "segment_timeout", "allow_http")
    ),
]
PLAN_FLAGS = [*PENDO_FLAGS, *_setting_flags("max_attempts", "missing_retry", "mask")]
RUN_FLAGS = [*PLAN_FLAGS, *_setting_flags("max_error_share", "keep_runs", "lock_interval")]
REPORT_FLAGS = [*LEDGER_FLAGS, *_setting_flags("mask")]
LINEAGE_FLAGS = _setting_flags("region", "api_url", "owner")
REQUIRE_TESTS = grouped("Selection", _setting_flags("require_tests"))
# Where the syncs of `sync` and `plan` come from, and which of them are held back by what dbt did last.
SOURCES = grouped(
    "Selection",
    [
        option("--only-built", is_flag=True, help="Leave out models that the last dbt command did not build."),
        *REQUIRE_TESTS,
        number_option("--dbt-cloud-run-id", help="Sync what this run of dbt Cloud built."),
        number_option("--dbt-cloud-job-id", help="The same of the job's latest good run."),
        option(
            "--published",
            is_flag=True,
            help="Sync what dbt published in the warehouse (dbt_pendo.publish), each build once; needs no manifest.",
        ),
    ],
)
OUTPUT = grouped(
    "Output",
    [
        option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else."),
        dbt_option("--quiet", "-q", is_flag=True, help="Print errors only."),
        dbt_option(
            "--log-format",
            # dbt's third format has its text format's content.
            type=click.Choice(["text", "debug", "default", "json"]),
            default="text",
            help="`json` prints each line as a JSON object.",
        ),
        dbt_option(
            "--use-colors/--no-use-colors", default=None, help="Colours, or none. Default: colours on a terminal."
        ),
    ],
)
# Of commands whose answer is one small table.
TABLE_OUTPUT = option(
    "--output",
    "table_format",
    type=click.Choice(["text", "csv", "json"]),
    default="text",
    help="`csv` or `json` prints nothing but the table, for other programs.",
)
THREADS = number_option("--threads", help="So many syncs at a time. Default: the profile's `threads`.")
WARN_ERROR = dbt_option("--warn-error", is_flag=True, help="Warnings exit 1.")


class DbtCommand(Command):
    """A command whose ``--select`` and ``--exclude`` take several values in a row, as dbt's do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Writes ``-s a b`` as ``-s a -s b`` before click reads it.

        Raises:
            click.UsageError: If an argument is too much.
        """
        spread: list[str] = []
        flag = None
        for arg in args:
            if arg.startswith("-"):
                flag = arg if arg in SELECTING else None
            elif flag is not None and spread[-1] != flag:
                spread.append(flag)
            spread.append(arg)
        may_have_more = ctx.allow_extra_args
        ctx.allow_extra_args = True
        if (left := super().parse_args(ctx, spread)) and not may_have_more:
            names = " ".join(left)
            selects = any(param.name == "select" for param in self.params)
            hint = f" Did you mean `{ctx.command_path} --select {names}`?" if selects else ""
            ctx.fail(f"Unexpected argument: {names}.{hint}")
        return left


class BuildCommand(DbtCommand):
    """A command that takes every argument of ``dbt build``, beside flags of ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps for dbt all arguments but our own flags, as they were written."""
        ours = {
            flag: param.is_flag
            for param in self.params
            if isinstance(param, click.Option) and (param.name in SETTINGS or param.name == "as_json")
            for flag in (*param.opts, *param.secondary_opts)
        }
        ctx.meta[DBT_ARGUMENTS] = []
        left = iter(args)
        for arg in left:
            name = arg.partition("=")[0]
            if name not in ours or (ours[name] and name != arg):
                ctx.meta[DBT_ARGUMENTS].append(arg)
            elif name == arg and not ours[name]:
                # The next argument is the flag's value.
                next(left, None)
        return super().parse_args(ctx, args)


class CommandLine:
    """One call of a command: its flags, where it prints, and the way to its syncs."""

    def __init__(self, flags: Mapping[str, Any], secrets: Secrets, needs_project: bool = True) -> None:
        self._flags = flags
        self._needs_project = needs_project
        # The syncs of the command, once they are known.
        self.selected: Selected | None = None
        table_format = flags.get("table_format", "text")
        if table_format != "text" and flags["as_json"]:
            raise click.UsageError("--output and --json exclude each other.")
        self.lines = Terminal(
            as_json=flags["as_json"],
            table_format=table_format,
            quiet=flags["quiet"],
            json_lines=flags["log_format"] == "json",
            colors=flags["use_colors"],
            secrets=secrets,
        )

    @functools.cached_property
    def invocation(self) -> Invocation:
        """The flags of dbt and of settings, resolved against the project.

        Raises:
            ConfigError: If there is no project, or a flag or setting makes no sense.
        """
        flags = self._flags
        project_dir = Path(flags["project_dir"] or default_project_dir()).absolute()
        # Commands that select no models need no manifest; nor do those that take them from what was published.
        works_without_project = flags.get("published", "select" not in flags)
        may_be_missing = (works_without_project and flags["profile"]) or not self._needs_project
        if may_be_missing and not (project_dir / "dbt_project.yml").exists():
            project = {}
        else:
            project = _read_project(
                project_dir, " Or name the profile, with --profile." if works_without_project else ""
            )
        cli_vars = _read_vars(flags["dbt_vars"])
        ours = {**_section(project.get("vars"), "vars"), **_section(cli_vars, "--vars")}
        connection = Connection(
            project_dir, flags["profiles_dir"], flags["profile"], flags["target"], flags.get("threads"), cli_vars
        )
        target = flags["target"]
        if target is None and isinstance(ours.get(TARGETS), dict):
            # A command that needs the profile meets the same error where it opens the warehouse.
            with contextlib.suppress(ConfigError):
                target = named_target(connection)
        settings = load_settings(flags, ours, target=target)
        # A key of the target's own may be in any variable.
        self.lines.hide(settings.secrets)
        named = str(project.get("target-path") or "target")
        target_path = flags["target_path"] or (render_jinja(connection, named) if "{{" in named else named)
        return Invocation(
            project_dir,
            # dbt, too, takes a relative target path from the project's folder.
            target_path=project_dir / target_path,
            models_path=project_dir / _first_model_path(project),
            connection=connection,
            settings=settings,
            selection=Selection(
                **{name: flags[name] for name in SELECTION_NAMES if name in flags},
                # dbt, too, takes relative folders from the project's.
                **{name: project_dir / flags[name] for name in ("state", "defer_state") if flags.get(name)},
                require_tests=settings.require_tests,
                refuse_tags=settings.refuse_tags,
                needs_evidence=bool(flags.get("only_built") or flags.get("require_tests")),
            ),
            published=flags.get("published", False),
            dbt_cloud_run_id=flags.get("dbt_cloud_run_id") or 0,
            dbt_cloud_job_id=flags.get("dbt_cloud_job_id") or 0,
        )

    def answer(self, found: Sequence[Finding], rows: Iterable[Mapping[str, Any]] = (), **more: Any) -> int:
        """Prints what ``--json`` or ``--output`` asks for, and returns the worst exit status of the errors."""
        self.lines.answer([one.to_dict() for one in found], rows, **more)
        return max((one.error.exit_code for one in found if one.error), default=0)

    @contextlib.contextmanager
    def open_context(self, announced: bool = True, prepares: bool = False) -> Iterator[tuple[Selected, Context | None]]:
        """Opens the warehouse and Pendo for the selected syncs, and prints them if ``announced``.

        Args:
            announced: Whether to print them.
            prepares: Whether the command prepares each sync that may run.
        """

        def announce(selected: Selected) -> None:
            self.selected = selected
            if announced:
                show_found(self.lines, selected, self.invocation.published)

        with open_context(self.invocation, announce, self.lines.aside, prepares) as (selected, context):
            if context is not None:
                self.lines.metadata |= context.ends.to_dict()
                if announced:
                    show_opened(self.lines, context)
            yield selected, context

    @contextlib.contextmanager
    def open_warehouse(self) -> Iterator[tuple[Session, Ends]]:
        """Opens the warehouse alone, and says where our tables are."""
        settings = self.invocation.settings
        with open_session(self.invocation.connection) as session:
            schema = session.own_schema(settings.schema, settings.pendo.sandbox)
            ends = Ends(session.target, schema, settings.pendo)
            self.lines.metadata |= ends.to_dict()
            yield session, ends

    @contextlib.contextmanager
    def open_run_log(self) -> Iterator[RunLog]:
        """Opens the warehouse for a look at past runs."""
        with self.open_warehouse() as (session, ends):
            yield RunLog(session, ends, self.invocation.target_path)

    def each_sync(
        self, work: Callable[[Context], Iterable[Answer]], announced: bool = True, prepares: bool = False
    ) -> list[Answer]:
        """Returns what a function says of each selected sync; the flags are those of ``open_context``."""
        with self.open_context(announced, prepares) as (_, context):
            return [] if context is None else list(work(context))


def command(
    *parameters: click.Parameter,
    selects: bool = True,
    needs_project: bool = True,
    settings: Sequence[click.Option] = (),
    cls: type[click.Command] = DbtCommand,
    **attributes: Any,
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Makes a click command of a function: it takes a ``CommandLine`` first, and returns the exit status if not 0.

    Flags that the function has no argument for are the ``CommandLine``'s. An error of ours is printed, and its exit
    status returned.

    Args:
        parameters: Those of the command, beside those that all commands have.
        selects: Whether the command has dbt's selection flags.
        needs_project: Whether it needs a dbt project, or a profile in place of one.
        settings: Flags of settings.
        cls: How the arguments are read.
        attributes: Others of ``click.Command``.
    """

    def decorate(function: Callable[..., int | None]) -> click.Command:
        _, *own = inspect.signature(function).parameters

        def run(**flags: Any) -> int:
            arguments = {name: flags.pop(name) for name in own}
            cli = CommandLine(flags, click.get_current_context().obj, needs_project)
            try:
                return function(cli, **arguments) or 0
            except DbtPendoError as error:
                cli.lines.failed(error)
                return error.exit_code

        selection = [one for one in parameters if getattr(one, "group", "") == SELECTION[0].group]
        of_command = [one for one in parameters if one not in selection]
        params = [*of_command, *(SELECTION if selects else ()), *selection, *PROFILE, *settings, *OUTPUT]
        return cls(function.__name__, callback=run, params=params, help=inspect.getdoc(function), **attributes)

    return decorate


def _read_project(project_dir: Path, other_way: str) -> dict[str, Any]:
    path = project_dir / "dbt_project.yml"
    try:
        project = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(
            f"There is no dbt_project.yml in {project_dir}.",
            f"Run this in a dbt project, or name one with --project-dir.{other_way}",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {_yaml_fault(error)}") from None
    if not isinstance(project, dict):
        raise ConfigError(f"{path} is not a dbt project.")
    return project


def _yaml_fault(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Says what is wrong and where, without the line itself, which may hold a key."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    return f"{what}, line {mark.line + 1}, column {mark.column + 1}." if mark is not None else f"{what}."


def _first_model_path(project: Mapping[str, Any]) -> str:
    paths = project.get("model-paths")
    first = paths[0] if isinstance(paths, list) and paths else None
    # Jinja in it is dbt's to read.
    return first if isinstance(first, str) and "{{" not in first else "models"


def _read_vars(text: str | None) -> dict[str, Any]:
    try:
        cli_vars = yaml.safe_load(text) if text else {}
    except yaml.YAMLError:
        cli_vars = None
    if not isinstance(cli_vars, dict):
        raise ConfigError("--vars is not a YAML mapping.", "Write it like --vars 'my_var: 1'.")
    return cli_vars


def _section(variables: Any, where: str) -> Mapping[str, Any]:
    section = (variables.get("dbt_pendo") if isinstance(variables, dict) else None) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{where}: dbt_pendo is not a mapping of settings.")
    return section
