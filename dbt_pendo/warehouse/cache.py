"""What dbt works out anew at every start, kept on this machine's disk: its parsed macros and its JSON Schemas.

It is never needed. Whatever goes wrong with it is no error and no warning: dbt then works it out, as without it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

import dbt_pendo
from dbt_pendo.secret import FOLDER, private_folder, replace_private

# The folder; `false` for none. No setting of the project's: it is read before dbt is there to say which target counts.
VARIABLE = "DBT_PENDO_CACHE"
_OFF = ("false", "0", "no")
# What decides how dbt reads macros and makes schemas.
_DBT = ("dbt-core", "dbt-adapters", "dbt-common", "mashumaro")
_MACRO_FIELDS = ("name", "unique_id", "package_name", "path", "original_file_path", "macro_sql")
# Seconds after which the file of an environment that is perhaps no more is removed.
_KEPT = 30 * 24 * 3600


def compile_lazily() -> None:
    """Has dbt's classes make their conversions when they are used, not when they are imported; most never are."""
    with contextlib.suppress(Exception):
        from mashumaro.config import BaseConfig

        BaseConfig.lazy_compilation = True


def load_macros(config: Any, adapter_type: str, parse: Callable[[], Any]) -> Any:
    """Returns the macros of dbt, of the adapter and of our package.

    Args:
        config: Of our package, as dbt has it.
        adapter_type: The adapter.
        parse: Has dbt parse them.
    """
    kept = None
    with contextlib.suppress(Exception):
        # Of the files before they are read: one that is changed meanwhile is not taken for the one that was read.
        kept = _Kept(f"macros-{adapter_type}", [*_versions(*_DBT, f"dbt-{adapter_type}"), *_macro_files(config)])
        if (found := kept.read()) is not None:
            return _resolver(found)
    macros = parse()
    if kept is not None:
        with contextlib.suppress(Exception):
            kept.write([{name: getattr(one, name) for name in _MACRO_FIELDS} for one in macros.macros.values()])
    return macros


@contextlib.contextmanager
def kept_schemas() -> Iterator[None]:
    """Spares dbt to make the JSON Schemas by which it validates its flags, the profile and the project."""
    try:
        from dbt_common.dataclass_schema import dbtClassMixin

        own = dbtClassMixin.__dict__["json_schema"]
        kept = _Kept("schemas", _versions(*_DBT))
        schemas: dict[str, Any] = dict(kept.read() or {})
    except Exception:
        yield
        return
    made: dict[str, Any] = {}

    def json_schema(cls: type) -> Any:
        name, schema = f"{cls.__module__}:{cls.__qualname__}", None
        with contextlib.suppress(Exception):
            # Of an adapter no version is asked for.
            source = _state(sys.modules[cls.__module__].__file__ or "")
            if name in schemas and schemas[name][0] == source:
                return schemas[name][1]
            schema = own.__func__(cls)
            made[name] = [source, schema]
        return own.__func__(cls) if schema is None else schema

    dbtClassMixin.json_schema = classmethod(json_schema)
    try:
        yield
    finally:
        dbtClassMixin.json_schema = own
    with contextlib.suppress(Exception):
        # What JSON does not give back as it was is made anew each time.
        if plain := {name: one for name, one in made.items() if orjson.loads(orjson.dumps(one)) == one}:
            kept.write({**schemas, **plain})


class _Kept:
    """A file of this environment, which is good for one state of versions and files: JSON, below its own hash.

    Raises:
        LookupError: If nothing is to be kept.
    """

    def __init__(self, what: str, state: Any) -> None:
        named = os.environ.get(VARIABLE, "").strip()
        if named.lower() in _OFF:
            raise LookupError(named)
        self._base = Path(named) if named else _user_cache()
        self._state = state
        place = _hash(orjson.dumps([sys.prefix, dbt_pendo.__file__]))[:16]
        self._path = self._base / FOLDER / f"{what}-{place}.json"

    def read(self) -> Any:
        """Returns what it holds; None if it is not there, of another state, or not to be trusted."""
        with contextlib.suppress(Exception):
            if _is_ours(self._path.parent.stat()):
                with self._path.open("rb") as file:
                    if _is_ours(os.fstat(file.fileno())):
                        digest, _, content = file.read().partition(b"\n")
                        state, value = orjson.loads(content) if digest.decode() == _hash(content) else (None, None)
                        return value if state == self._state else None
        return None

    def write(self, value: Any) -> None:
        """Writes it, and removes what no run has written for long.

        Raises:
            OSError: If it cannot be written.
        """
        folder = private_folder(self._base)
        if not _is_ours(folder.stat()):
            return
        content = orjson.dumps([self._state, value])
        replace_private(self._path, _hash(content).encode() + b"\n" + content)
        for pattern in ("macros-*.json*", "schemas-*.json*"):
            for old in folder.glob(pattern):
                # Another run may have removed it.
                with contextlib.suppress(OSError):
                    if old.stat().st_mtime < time.time() - _KEPT:
                        old.unlink()


def _is_ours(status: os.stat_result) -> bool:
    """Returns whether nobody else can have written it: macros are run, with all rights that we have."""
    return os.name != "posix" or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _user_cache() -> Path:
    import platformdirs

    return platformdirs.user_cache_path()


@functools.cache
def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _versions(*packages: str) -> list[str]:
    return [sys.version, dbt_pendo.__version__, *map(_version, packages)]


def _state(path: str) -> list[Any]:
    status = os.stat(path)  # noqa: PTH116 - thrice as fast, of hundreds of files
    return [path, status.st_mtime_ns, status.st_size]


def _macro_files(config: Any) -> list[Any]:
    """Returns the state of each file in which dbt looks for macros, and of those that say where to look."""
    from dbt.adapters.factory import get_include_paths

    root = Path(config.project_root)
    folders = [root / path for path in (*config.macro_paths, config.packages_install_path)]
    folders += get_include_paths(config.credentials.type)
    found = [str(root / "dbt_project.yml")]
    for folder in folders:
        for parent, _, names in os.walk(folder, followlinks=True):
            found += [f"{parent}{os.sep}{name}" for name in names if name.endswith((".sql", "dbt_project.yml"))]
    return [_state(path) for path in sorted(found)]


def _resolver(kept: Any) -> Any:
    """Makes dbt's own objects of macros that were kept."""
    from dbt.contracts.graph.manifest import MacroManifest
    from dbt.contracts.graph.nodes import Macro
    from dbt.node_types import NodeType

    macros = [Macro(resource_type=NodeType.Macro, **{name: one[name] for name in _MACRO_FIELDS}) for one in kept]
    return MacroManifest({macro.unique_id: macro for macro in macros})
