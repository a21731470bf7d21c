from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, Problem, SyncSpec

Parse: TypeAlias = Callable[..., tuple[list[SyncSpec], list[Problem]]]


@pytest.fixture(scope="session")
def parse() -> Parse:
    """Parses the annotation of one model, `users`."""

    def parse_one(meta: Any, columns: dict[str, Any] | None = None) -> tuple[list[SyncSpec], list[Problem]]:
        return parse_syncs([Annotation("model.shop.users", "users", "models/users.yml", meta, columns or {})])

    return parse_one


@pytest.fixture(scope="session")
def complain(parse: Parse) -> Callable[..., list[str]]:
    """Gives `key: message` of each problem of one model, or `column x: message`."""

    def complain_of(meta: Any, columns: dict[str, Any] | None = None) -> list[str]:
        specs, problems = parse(meta, columns)
        assert specs == []
        return [f"{f'column {p.column}' if p.column else p.key}: {p.message}" for p in problems]

    return complain_of
