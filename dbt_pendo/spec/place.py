"""Where in a mapping the parser stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dbt_pendo.spec.annotation import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the annotation of one model; every place inside it shares its list of problems.

    Attributes:
        file: The file that carries the annotation.
        sync: The model (or ``model.name``).
        key: The path of the key.
        column: The column, for column-level ``meta.pendo``.
        problems: All that was found wrong so far.
    """

    file: str
    sync: str
    key: str = ""
    column: str = ""
    problems: list[Problem] = field(default_factory=list)

    def at(self, key: str) -> Place:
        """The place of a key inside this one."""
        return replace(self, key=f"{self.key}.{key}" if self.key else key)

    def wrong(self, message: str) -> None:
        """Notes a problem at this place."""
        self.problems.append(Problem(self.file, self.sync, self.key, message, self.column))

    def __str__(self) -> str:
        return f"column `{self.column}`" if self.column else f"`{self.key}`"
