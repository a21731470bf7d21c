"""What dbt's manifest says about Pendo, as the user wrote it, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Annotation:
    """The raw ``meta.pendo`` of one model and of its columns.

    Attributes:
        unique_id: dbt's id of the model, ``model.shop.pendo_visitors``.
        model: The model's name; for a versioned model with its version, ``dim_users_v2``.
        file: The YAML or SQL file that carries the annotation.
        meta: What stands under ``meta.pendo`` of the model; None when only columns carry it.
        columns: What stands under ``meta.pendo`` of each annotated column, by the column's name.
    """

    unique_id: str
    model: str
    file: str
    meta: Any
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a mapping.

    Attributes:
        file: The file to open.
        sync: The model (or ``model.name``) it is about.
        key: The path of the key at fault, ``fields.mrr.type``; empty for the mapping as a whole.
        message: What is wrong and what to write instead.
        column: The column whose own ``meta.pendo`` it is about; empty for the model's.
    """

    file: str
    sync: str
    key: str
    message: str
    column: str = ""

    def __str__(self) -> str:
        owner = f"{self.sync}, column {self.column}" if self.column else self.sync
        key = f".{self.key}" if self.key and not self.key.startswith("[") else self.key
        return f"{self.file}: {owner}: meta.pendo{key}: {self.message}"
