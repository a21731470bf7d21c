"""The flags every command shares: dbt's own, and the settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import yaml

from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.secret import Secrets
from dbt_pendo.settings import SETTINGS, Settings, default_project_dir, environment_secrets, load_settings

if TYPE_CHECKING:
    from dbt_pendo.commands.select import Gates, Selection
    from dbt_pendo.output.terminal import Terminal
    from dbt_pendo.warehouse.session import Connection

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

SELECTING = ("--select", "-s", "--exclude")
# Settings whose flags belong to some commands only.
GATES = ("require_tests",)
LINEAGE = ("region", "api_url", "owner")


class DbtCommand(click.Command):
    """A command whose ``--select`` and ``--exclude`` take several values in a row, as dbt's do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Writes ``-s a b`` as ``-s a -s b`` before click reads it."""
        spread: list[str] = []
        flag = None
        for arg in args:
            if arg.startswith("-"):
                flag = arg if arg in SELECTING else None
                spread.append(arg)
            elif flag is not None and spread[-1] != flag:
                spread += [flag, arg]
            else:
                spread.append(arg)
        return super().parse_args(ctx, spread)


@dataclass(frozen=True, slots=True)
class Invocation:
    """Where a command works, from its flags.

    Attributes:
        project_dir: The dbt project.
        target_path: dbt's target folder, where the manifest is and our results go.
        models_path: The first folder in which dbt looks for models.
        selection: Which models.
        gates: What dbt's last command must have done to them.
        connection: Where the warehouse is.
        settings: How to reach Pendo.
    """

    project_dir: Path
    target_path: Path
    models_path: Path
    selection: Selection
    gates: Gates
    connection: Connection
    settings: Settings


def dbt_options(command: Decorated) -> Decorated:
    """Adds dbt's flags: project, profile, selection."""
    return connection_options(
        _apply(
            command,
            click.option("--select", "-s", multiple=True, help="Models to sync, in dbt's selection syntax."),
            click.option("--exclude", multiple=True, help="Models to leave out."),
            click.option("--selector", help="A selector of selectors.yml."),
        )
    )


def connection_options(command: Decorated) -> Decorated:
    """Adds dbt's flags of project and profile."""
    return _apply(
        command,
        click.option(
            "--project-dir",
            envvar="DBT_PROJECT_DIR",
            show_envvar=True,
            type=click.Path(path_type=Path),
            help="The dbt project. Default: this folder or the nearest one above that is a project.",
        ),
        click.option(
            "--profiles-dir",
            envvar="DBT_PROFILES_DIR",
            show_envvar=True,
            type=click.Path(path_type=Path),
            help="The folder of profiles.yml. Default: this folder, the project, ~/.dbt.",
        ),
        click.option("--profile", envvar="DBT_PROFILE", show_envvar=True, help="A profile other than the project's."),
        click.option("--target", "-t", envvar="DBT_TARGET", show_envvar=True, help="A target of the profile."),
        click.option(
            "--target-path",
            envvar="DBT_TARGET_PATH",
            show_envvar=True,
            type=click.Path(path_type=Path),
            help="dbt's target folder.",
        ),
        click.option("--vars", "dbt_vars", help="dbt variables, as YAML."),
    )


def settings_options(command: Decorated) -> Decorated:
    """Adds a flag for each setting."""
    return _apply(command, *_settings(name for name in SETTINGS if name not in (*GATES, "owner")))


def lineage_options(command: Decorated) -> Decorated:
    """Adds the flags of settings that exposures tell of."""
    return _apply(command, *_settings(LINEAGE))


def gate_options(command: Decorated) -> Decorated:
    """Adds the flags that hold syncs back by what dbt's last command did."""
    return _apply(
        command,
        click.option("--only-built", is_flag=True, help="Leave out models that the last dbt command did not build."),
        *_settings(GATES),
    )


def tests_option(command: Decorated) -> Decorated:
    """Adds the one flag of ``gate_options`` that is a setting."""
    return _apply(command, *_settings(GATES))


def dbt_cloud_options(command: Decorated) -> Decorated:
    """Adds the flags that name a run of dbt Cloud, in place of dbt's last run here."""
    number = click.IntRange(min=1)
    return _apply(
        command,
        click.option("--dbt-cloud-run-id", metavar="N", type=number, help="Sync what this run of dbt Cloud built."),
        click.option("--dbt-cloud-job-id", metavar="N", type=number, help="The same of the job's latest good run."),
    )


def published_option(command: Decorated) -> Decorated:
    """Adds the flag that takes the syncs from the warehouse."""
    return _apply(
        command,
        click.option(
            "--published",
            is_flag=True,
            help="Sync what dbt published in the warehouse (dbt_pendo.publish), each build once; needs no manifest.",
        ),
    )


def output_options(command: Decorated) -> Decorated:
    """Adds the flags that say what is printed."""
    return _apply(
        command,
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else."),
        click.option("--quiet", "-q", envvar="DBT_QUIET", show_envvar=True, is_flag=True, help="Print errors only."),
        click.option(
            "--log-format",
            envvar="DBT_LOG_FORMAT",
            show_envvar=True,
            # dbt's third format has its text format's content.
            type=click.Choice(["text", "debug", "default", "json"]),
            default="text",
            help="`json` prints each line as a JSON object.",
        ),
        click.option(
            "--use-colors/--no-use-colors",
            envvar="DBT_USE_COLORS",
            show_envvar=True,
            default=None,
            help="Colours, or none. Default: colours on a terminal.",
        ),
    )


def read_invocation(flags: Mapping[str, Any]) -> Invocation:
    """Resolves the flags of ``dbt_options`` and ``settings_options`` against the project.

    Raises:
        ConfigError: If there is no project, or a flag or setting makes no sense.
    """
    from dbt_pendo.commands.select import Gates, Selection
    from dbt_pendo.warehouse.session import Connection

    project_dir = Path(flags["project_dir"] or default_project_dir()).absolute()
    # Commands that select no models need no manifest; nor do those that take them from what was published.
    needs_profile_alone = flags.get("published", "select" not in flags)
    if needs_profile_alone and flags["profile"] and not (project_dir / "dbt_project.yml").exists():
        project = {}
    else:
        project = _read_project(project_dir, " Or name the profile, with --profile." if needs_profile_alone else "")
    cli_vars = _read_vars(flags["dbt_vars"])
    ours = {**_section(project.get("vars"), "vars"), **_section(cli_vars, "--vars")}
    # dbt, too, takes a relative target path from the project's folder.
    target_path = project_dir / (flags["target_path"] or project.get("target-path") or "target")
    settings = load_settings(flags, ours)
    return Invocation(
        project_dir=project_dir,
        target_path=target_path,
        models_path=project_dir / _first_model_path(project),
        selection=Selection(flags.get("select", ()), flags.get("exclude", ()), flags.get("selector")),
        gates=Gates(flags.get("only_built", False), settings.require_tests),
        connection=Connection(project_dir, flags["profiles_dir"], flags["profile"], flags["target"], cli_vars),
        settings=settings,
    )


def run_with_lines(run: Callable[[Terminal], int], flags: dict[str, Any]) -> NoReturn:
    """Runs a command with lines for its output, and ends the process with its exit status."""
    from dbt_pendo.output.terminal import Terminal

    lines = Terminal(
        as_json=flags.pop("as_json"),
        quiet=flags.pop("quiet"),
        json_lines=flags.pop("log_format") == "json",
        colors=flags.pop("use_colors"),
        secrets=Secrets(environment_secrets(os.environ)),
    )
    try:
        status = run(lines)
    except DbtPendoError as error:
        lines.failed(error)
        status = error.exit_code
    sys.exit(status)


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


def _settings(names: Iterable[str]) -> list[Callable[[Decorated], Decorated]]:
    # The environment is read by load_settings, which knows the order of precedence.
    options = []
    for name in names:
        setting, flag = SETTINGS[name], name.replace("_", "-")
        flags = f"--{flag}/--no-{flag}" if setting.kind is bool else f"--{flag}"
        help_ = f"{setting.help}  [env var: {setting.variable}]"
        options.append(click.option(flags, name, default=None, help=help_))
    return options


def _apply(command: Decorated, *decorators: Callable[[Decorated], Decorated]) -> Decorated:
    # Decorators apply from the inside out; this way --help lists them as written.
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
