"""What the prelude of a run does to it: `shrink` sets limits of modules and classes, so that small data has many pages.

`sabotage` lets something happen to the warehouse just before a certain call of a method of `SyncTables`.
"""

import itertools
import pkgutil
from typing import Any


def shrink(constants: dict[str, Any]) -> None:
    for where, value in constants.items():
        holder, _, name = where.rpartition(".")
        setattr(pkgutil.resolve_name(holder), name, value)


def sabotage(method: str, call: int, statements: list[str]) -> None:
    """Runs statements before a call of a method; the statement `close` closes the connection."""
    from dbt.adapters.factory import FACTORY

    from dbt_pendo.warehouse.tables import SyncTables

    calls = itertools.count(1)
    original = getattr(SyncTables, method)

    def sabotaged(self: SyncTables, *args: Any, **options: Any) -> Any:
        if next(calls) == call:
            for statement in statements:
                if statement == "close":
                    next(iter(FACTORY.adapters.values())).connections.get_thread_connection().handle.close()
                else:
                    self._session.run(statement)
        return original(self, *args, **options)

    setattr(SyncTables, method, sabotaged)
