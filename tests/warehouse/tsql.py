"""What T-SQL refuses, and sqlglot, which has to read what many dialects say, does not."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import sqlglot

exp, TokenType = sqlglot.expressions, sqlglot.TokenType

# sqlglot's names of the dialects whose rules these are, by dbt's.
TSQL = {"sqlserver": "tsql", "fabric": "fabric"}
MOST_VALUES = 1_000
# The functions that our statements call; what is not among them is not in T-SQL, or has another name there.
FUNCTIONS = frozenset(
    [
        *("cast", "coalesce", "convert", "count", "dateadd", "datalength", "datediff", "hashbytes", "lead", "lower"),
        *("max", "min", "nullif", "replace", "row_number", "rtrim", "substring", "sum", "sysutcdatetime", "trim"),
    ]
)
# Types that T-SQL does not have, or has for something else.
TYPES = frozenset(["BOOLEAN", "ROWVERSION", "TEXT", "TIMESTAMP", "TIMESTAMPTZ"])
NOT_IN_FABRIC = frozenset(
    ["DATETIME", "DATETIMEOFFSET", "DOUBLE", "MONEY", "NCHAR", "NVARCHAR", "SMALLDATETIME", "SMALLMONEY"]
)
WORDS = """
    add all alter and any as asc authorization backup begin between break browse bulk by cascade case check
    checkpoint close clustered coalesce collate column commit compute constraint contains containstable continue
    convert create cross current current_date current_time current_timestamp current_user cursor database dbcc
    deallocate declare default delete deny desc disk distinct distributed double drop dump else end errlvl escape
    except exec execute exists exit external fetch file fillfactor for foreign freetext freetexttable from full
    function goto grant group having holdlock identity identity_insert identitycol if in index inner insert
    intersect into is join key kill left like lineno load merge national nocheck nonclustered not null nullif of off
    offsets on open opendatasource openquery openrowset openxml option or order outer over percent pivot plan
    precision primary print proc procedure public raiserror read readtext reconfigure references replication restore
    restrict return revert revoke right rollback rowcount rowguidcol rule save schema securityaudit select
    semantickeyphrasetable semanticsimilaritydetailstable semanticsimilaritytable session_user set setuser shutdown
    some statistics system_user table tablesample textsize then to top tran transaction trigger truncate try_convert
    tsequal union unique unpivot update updatetext use user values varying view waitfor when where while with within
    writetext
"""
RESERVED = frozenset(WORDS.split())


def refused(sql: str, statement: Any, dialect: str) -> list[str]:
    """Returns why T-SQL refuses a statement, which sqlglot has read."""
    return [*_refused_words(sql, dialect), *_refused_selects(statement, dialect), *_refused_conditions(statement)]


def _refused_words(sql: str, dialect: str) -> Iterator[str]:
    tokens = sqlglot.tokenize(sql, dialect=TSQL[dialect])
    for token, following in pairwise(tokens):
        if token.token_type in (TokenType.LIMIT, TokenType.DPIPE):
            yield f"no {token.text}"
        if (
            token.token_type in (TokenType.DATE, TokenType.TIMESTAMP, TokenType.INTERVAL)
            and "STRING" in following.token_type.name
        ):
            yield f"no literal of the type {token.text}"
        # Names of tables are quoted.
        called = following.token_type is TokenType.L_PAREN and token.token_type in (TokenType.VAR, TokenType.REPLACE)
        if called and token.text.lower() not in FUNCTIONS:
            yield f"no function {token.text}"
        if (token.text.lower(), following.text.lower()) == ("add", "column"):
            yield "no add column"
        if token.text.lower() == "current_timestamp":
            # In the server's zone.
            yield f"no function {token.text}"
        if token.text.lower() in ("leading", "trailing", "both"):
            yield f"no trim of one side: {token.text}"


def _refused_selects(statement: Any, dialect: str) -> Iterator[str]:
    # Where the select of the statement stands.
    outermost = statement.expression if isinstance(statement, exp.Create | exp.Insert) else statement
    if isinstance(statement, exp.Create) and outermost is not None and dialect == "sqlserver":
        yield "no create table as"
    start = outermost if isinstance(statement, exp.Create) else statement
    for found in statement.find_all(exp.With, exp.Into):
        if found.parent is not start:
            yield f"not at the start: {found.sql()}"
    for order in statement.find_all(exp.Order):
        if (
            isinstance(order.parent, exp.Query)
            and order.parent is not outermost
            and not order.parent.args.get("offset")
        ):
            yield f"an order in a subquery: {order.sql()}"
    for offset in statement.find_all(exp.Offset, exp.Fetch):
        if not offset.parent.args.get("order"):
            yield "rows are counted in no order"
    for table in statement.find_all(exp.Subquery, exp.CTE):
        if isinstance(table.parent, exp.From | exp.Join | exp.With):
            columns = [column for column in table.this.selects if not column.is_star]
            names = [column.alias_or_name.lower() for column in columns if isinstance(column, exp.Alias | exp.Column)]
            if len(set(names)) < len(columns):
                yield f"columns without names of their own: {names}"
    for collated in statement.find_all(exp.Collate):
        above = collated.find_ancestor(exp.Collate, exp.Query)
        if isinstance(above, exp.Collate):
            yield f"collated twice: {above.sql()}"
    for values in statement.find_all(exp.Values):
        if len(values.expressions) > MOST_VALUES:
            yield f"{len(values.expressions)} rows of values"
    for name in statement.find_all(exp.Identifier):
        if not name.quoted and name.name.lower() in RESERVED:
            yield f"a reserved word: {name.name}"
        if name.name == "information_schema":
            yield f"a name in small letters, where case may count: {name.name}"
    for kind in statement.find_all(exp.DataType):
        if kind.this.name in TYPES or (dialect == "fabric" and kind.this.name in NOT_IN_FABRIC):
            yield f"the type {kind.sql()}"
    if dialect == "fabric" and statement.find(exp.National):
        yield "a text of another type than the columns'"


def _refused_conditions(statement: Any) -> Iterator[str]:
    """Conditions are no values, and values no conditions: T-SQL has no booleans."""
    if statement.find(exp.Boolean):
        yield "a boolean"
    for node in statement.walk():
        if isinstance(node, exp.Paren) or node.parent is None:
            continue
        place, parent = node, node.parent
        while isinstance(parent, exp.Paren):
            place, parent = parent, parent.parent
        is_condition = isinstance(node, exp.Predicate | exp.Connector | exp.Not)
        if is_condition != _takes_condition(place, parent) and isinstance(node, exp.Expression):
            yield f"{'a condition' if is_condition else 'no condition'}: {node.sql()}"


def _takes_condition(place: Any, parent: Any) -> bool:
    if isinstance(parent, exp.If):
        # `case when` takes one, `case … when` a value.
        return place.arg_key == "this" and not parent.parent.this
    return isinstance(parent, exp.Where | exp.Having | exp.Connector | exp.Not) or (
        isinstance(parent, exp.Join) and place.arg_key == "on"
    )
