"""Loads dbt's adapter of the user's profile, and has its driver read every value.

It is loaded with dbt-pendo's own small dbt package, so the user's project is never parsed again (design.md 3.3).
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing.dummy
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import dbt_pendo
from dbt_pendo.errors import ConfigError, DbtPendoError
from dbt_pendo.outcomes import UNREADABLE, unreadable
from dbt_pendo.warehouse.cache import compile_lazily, kept_schemas, load_macros

# The macros of our package and of dbt's, by adapter: parsing them takes longer than most commands.
_MACROS: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Connection:
    """Where dbt finds the warehouse, in dbt's own words."""

    # Its `dbt_project.yml` names the profile. There need be none if `profile` does.
    project_dir: Path
    # The folder of `profiles.yml`; None leaves the search to dbt's rule.
    profiles_dir: Path | None = None
    profile: str | None = None
    target: str | None = None
    # As many syncs at once; None for what the profile says.
    threads: int | None = None
    # For profiles that use them.
    vars: Mapping[str, Any] | None = None


def named_target(connection: Connection) -> str:
    """Returns the target that the flags or the user's profile name; connects to nothing.

    Raises:
        ConfigError: If the profile is wrong.
    """
    with readable_errors(ConfigError, f"The profile in {_profiles_dir(connection)} cannot be used"), kept_schemas():
        return str(_load_profile(connection)[1].target_name)


def render_jinja(connection: Connection, text: str) -> str:
    """Returns the target path of `dbt_project.yml` with its Jinja rendered as dbt does; connects to nothing.

    Raises:
        ConfigError: If the profile is wrong, or the Jinja is.
    """
    compile_lazily()
    from dbt.config.renderer import DbtProjectYamlRenderer

    project = connection.project_dir / "dbt_project.yml"
    with readable_errors(ConfigError, f"target-path of {project} cannot be rendered"), kept_schemas():
        args, profile = _load_profile(connection)
        return str(DbtProjectYamlRenderer(profile, args.vars).render_value(text))


@contextlib.contextmanager
def load_adapter(connection: Connection) -> Iterator[tuple[Any, Any]]:
    """Yields the adapter of the user's profile, enough to render SQL, and the profile's credentials.

    Raises:
        ConfigError: If the profile is wrong or its adapter is not installed.
    """
    compile_lazily()
    from dbt.adapters.factory import adapter_management, get_adapter, register_adapter
    from dbt.config.runtime import RuntimeConfig, load_project
    from dbt.parser.manifest import ManifestLoader

    cannot_use = f"The profile in {_profiles_dir(connection)} cannot be used"
    with contextlib.ExitStack() as stack:
        with readable_errors(ConfigError, cannot_use), kept_schemas():
            args, profile = _load_profile(connection)
            project = load_project(args.project_dir, False, profile, args.vars)
            config = RuntimeConfig.from_parts(project, profile, args)
            stack.enter_context(adapter_management())
            # Threads are all we use; locks of processes would start a process to look after them.
            register_adapter(config, multiprocessing.dummy, None)
            adapter = get_adapter(config)
            if (name := adapter.type()) not in _MACROS:
                parse = partial(ManifestLoader.load_macros, config, lambda _: None)
                _MACROS[name] = load_macros(config, name, parse)
            # The first macro would do so, and make their schemas.
            config.load_dependencies()
            adapter.set_macro_resolver(_MACROS[name])
            adapter.set_macro_context_generator(_MacroContexts())
        yield adapter, config.credentials


@contextlib.contextmanager
def readable_errors(kind: type[DbtPendoError], what: str) -> Iterator[None]:
    """Turns any error of dbt or a driver into one of ours, without its traceback."""
    try:
        yield
    except DbtPendoError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        message: str | list[str] = f"{what}: {' '.join(lines)}"
        if kind is ConfigError and len(lines) > 1:
            # dbt says in a few lines what is wrong and where.
            message = [f"{what}:", *(f"  {line}" for line in lines)]
        missing = re.search(r"Could not find adapter type (\w+)", str(error))
        raise kind(message, f"Install it beside dbt-pendo: pip install dbt-{missing[1]}" if missing else "") from None


class _MacroContexts(threading.local):
    """What macros find by name. dbt makes it anew for each macro that is run, which takes longer than most macros."""

    def __init__(self) -> None:
        self._of_package: dict[str | None, dict[str, Any]] = {}

    def __call__(self, macro: Any, config: Any, manifest: Any, package: str | None) -> dict[str, Any]:
        from dbt.context.providers import generate_runtime_macro_context

        if package not in self._of_package:
            self._of_package[package] = generate_runtime_macro_context(macro, config, manifest, package)
        return dict(self._of_package[package])


def _drop_dbt_events() -> None:
    """Drops dbt's log events, several a statement, before dbt makes messages of them.

    Its console log would stand between our lines, and in --json output.
    """
    from dbt_common.events.event_manager import EventManager
    from dbt_common.events.event_manager_client import ctx_set_event_manager

    events = EventManager()
    events.fire_event = lambda *_, **__: None
    ctx_set_event_manager(events)


def _load_profile(connection: Connection) -> tuple[argparse.Namespace, Any]:
    """Loads the user's profile as dbt does, and returns dbt's flags with it: those of a command on our own package."""
    from dbt.config.runtime import load_profile
    from dbt.flags import set_from_args
    from dbt_common.clients.system import get_env
    from dbt_common.context import set_invocation_context

    args = argparse.Namespace(
        project_dir=str(_dbt_package()),
        profiles_dir=str(_profiles_dir(connection)),
        profile=connection.profile,
        target=connection.target,
        vars=dict(connection.vars or {}),
        threads=connection.threads,
        which="dbt-pendo",
    )
    _drop_dbt_events()
    set_invocation_context(get_env())
    set_from_args(args, None)
    project_dir = connection.project_dir.resolve()
    named_by = str(project_dir) if (project_dir / "dbt_project.yml").exists() else args.project_dir
    return args, load_profile(named_by, args.vars, args.profile, args.target, args.threads)


def _profiles_dir(connection: Connection) -> Path:
    """Returns where dbt would look: here, then ``~/.dbt``; the project's own folder comes between."""
    folders = (folder for folder in (Path.cwd(), connection.project_dir) if (folder / "profiles.yml").exists())
    return (connection.profiles_dir or next(folders, Path.home() / ".dbt")).resolve()


def _dbt_package() -> Path:
    """Returns the folder of our dbt package: inside the wheel, or the repository itself in a checkout."""
    module = Path(dbt_pendo.__file__).resolve().parent
    shipped = module / "dbt_package"
    return shipped if shipped.is_dir() else module.parent


# Makes a value of PostgreSQL's text for it, which is None for null.
Read: TypeAlias = Callable[[Any, Any], Any]

_CLOCKS = ("time", "timetz")
# The types of which psycopg2 cannot read some values, and what is wrong with those.
_GUARDED = {
    **dict.fromkeys(("date", "timestamp", "timestamptz"), "is outside the years 1 to 9999"),
    **dict.fromkeys(("interval", "json", "jsonb"), "cannot be read"),
}
# Arrays of boxes have semicolons between them, which psycopg2 does not know.
_BOXES = {UNREADABLE: "an array of boxes cannot be sent"}
_TYPES = "select oid, typname, typtype, typbasetype, typarray, typdelim from pg_catalog.pg_type"


def read_every_type(connection: Any) -> None:
    """Registers how values are read on a connection of psycopg2's; does nothing with one of another driver's.

    Args:
        connection: The driver's own connection.
    """
    psycopg2 = sys.modules.get("psycopg2")
    if psycopg2 is None or not isinstance(connection, psycopg2.extensions.connection):
        return
    extensions = psycopg2.extensions
    try:
        with connection.cursor() as cursor:
            cursor.execute(_TYPES)
            types = cursor.fetchall()
    except psycopg2.Error:
        # A server that is merely like PostgreSQL.
        types = []
    # dbt begins its transactions itself.
    connection.rollback()
    # The types that domains are made of; 0 for any other type.
    bases = {oid: base for oid, _, _, base, _, _ in types}
    readers: dict[int, Any] = dict(extensions.string_types)
    for oid, name, kind, *_ in types:
        if (read := _reader(name, kind, readers.get(oid))) is not None:
            readers[oid] = extensions.new_type((oid,), name, read)
            extensions.register_type(readers[oid], connection)
    for oid, name, _, _, array, delimiter in types:
        # psycopg2 reads arrays of the commonest types as fast as it can.
        if array and not (array in extensions.string_types and readers.get(oid) is extensions.string_types.get(oid)):
            while bases.get(oid):
                oid = bases[oid]
            if delimiter == ",":
                made = extensions.new_array_type((array,), f"{name}[]", readers.get(oid, extensions.UNICODE))
            else:
                made = extensions.new_type((array,), f"{name}[]", lambda text, _: text and _BOXES)
            extensions.register_type(made, connection)


def _reader(name: str, kind: str, usual: Read | None) -> Read | None:
    """Returns how values of a type are read; None when psycopg2 needs no help."""
    if name == "bpchar":
        return lambda text, _: text and text.rstrip(" ")
    if usual is None:
        return None
    if name in _CLOCKS:
        # The end of a day, which Python takes for its beginning.
        return lambda text, cursor: text if text and text.startswith("24:") else usual(text, cursor)
    if kind == "r":
        return lambda text, _: text and unreadable(text, "is a range")
    return _guarded(usual, _GUARDED[name]) if name in _GUARDED else None


def _guarded(usual: Read, what: str) -> Read:
    def read(text: Any, cursor: Any) -> Any:
        if text in ("infinity", "-infinity"):
            return {UNREADABLE: "infinite"}
        try:
            value = usual(text, cursor)
            if isinstance(value, str):
                # A text in JSON may be half a character, which cannot be written.
                value.encode()
            return value
        except Exception:
            return unreadable(text, what)

    return read
