from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from jsonschema import Draft202012Validator

from dbt_pendo.mapping.keys import json_schema
from dbt_pendo.mapping.parse import parse_syncs
from dbt_pendo.mapping.spec import Annotation, Problem, SyncSpec

Parse: TypeAlias = Callable[..., tuple[list[SyncSpec], list[Problem]]]


SCHEMA = json_schema()
MODEL = Draft202012Validator(SCHEMA)
COLUMN = Draft202012Validator(SCHEMA["$defs"]["column"])
# What no schema of one value can say: what is given twice, what columns might yet bring, and a number that is none.
BEYOND_A_SCHEMA = (
    *("keep one of them", "maps no fields", "another sync of the model", "found the number nan"),
    # What is said of columns; and a line break, which only Python's `$` lets through.
    *("though column", "which sync columns", ", column ", '\n"'),
)


@pytest.fixture(scope="session")
def parse() -> Parse:
    """Parses the annotation of one model, `users`; the JSON Schema has to judge it alike."""

    def parse_one(meta: Any, columns: dict[str, Any] | None = None) -> tuple[list[SyncSpec], list[Problem]]:
        specs, problems = parse_syncs(
            [Annotation("model.shop.users", "users", "models/users.yml", meta, columns or {})]
        )
        told = [str(problem) for problem in problems if not any(words in str(problem) for words in BEYOND_A_SCHEMA)]
        assert MODEL.is_valid(meta) == (not told), told
        bad = {problem.column for problem in problems if "expected the Pendo name" in problem.message}
        assert bad == {name for name, value in (columns or {}).items() if not COLUMN.is_valid(value)}
        return specs, problems

    return parse_one


@pytest.fixture(scope="session")
def complain(parse: Parse) -> Callable[..., list[str]]:
    """Gives `key: message` of each problem of one model, or `column x: message`."""

    def complain_of(meta: Any, columns: dict[str, Any] | None = None) -> list[str]:
        specs, problems = parse(meta, columns)
        assert specs == []
        return [f"{f'column {p.column}' if p.column else p.key}: {p.message}" for p in problems]

    return complain_of
