"""The expressions of an aggregation: comparisons, ``&&``, ``||``, ``!``, parentheses and a few functions."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from dbt_pendo.sandbox.exchange import RefusedError

Lookup: TypeAlias = Callable[["tuple[str, ...]"], Any]
"""Returns what a row holds at a dotted path, by its parts; None for nothing."""

_TOKEN = re.compile(
    r"""\s* (?:
        (?P<literal> "(?:[^"\\]|\\.)*" | -?\d+(?:\.\d+)?(?:[eE][+-]?\d+)? | (?:true|false|null)\b )
      | (?P<path> [A-Za-z_]\w* (?:\.\w+(?:-\d+)?)* )
      | (?P<symbol> && | \|\| | == | != | >= | <= | [><!(),] )
    ) \s*""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "len": (1, lambda value: len(value) if isinstance(value, (str, list, dict)) else 0),
    "isNull": (1, lambda value: value is None),
    "contains": (2, lambda value, part: isinstance(value, (str, list)) and _contains(value, part)),
}


@dataclass(frozen=True)
class Literal:
    """A text, a number, true, false or null."""

    of: Any

    def value(self, _: Lookup) -> Any:
        """The literal itself."""
        return self.of


@dataclass(frozen=True)
class Path:
    """A dotted path, as ``metadata.auto__5.lastvisit``."""

    parts: tuple[str, ...]

    def value(self, lookup: Lookup) -> Any:
        """What a row holds there."""
        return lookup(self.parts)


@dataclass(frozen=True)
class Comparison:
    """Two values and what is asked of them."""

    compare: Callable[[Any, Any], Any]
    left: Expression
    right: Expression

    def value(self, lookup: Lookup) -> bool:
        """Whether it is so; values of two kinds are not equal, and neither is above or below the other."""
        left, right = self.left.value(lookup), self.right.value(lookup)
        if _kind(left) is _kind(right):
            try:
                return bool(self.compare(left, right))
            except TypeError:
                return False
        return self.compare is operator.ne


@dataclass(frozen=True)
class Call:
    """A function of values; ``&&``, ``||`` and ``!`` are such too."""

    function: Callable[..., Any]
    arguments: Sequence[Expression]

    def value(self, lookup: Lookup) -> Any:
        """What the function makes of its arguments."""
        return self.function(*(argument.value(lookup) for argument in self.arguments))


Expression: TypeAlias = Literal | Path | Comparison | Call


def parse(text: str) -> Expression:
    """Reads an expression.

    Raises:
        RefusedError: 400, it is none, or holds what the sandbox does not do.
    """
    parser = _Parser(text)
    expression = parser.any_of()
    if parser.token:
        raise parser.refusal()
    return expression


class _Parser:
    """Reads one token ahead, from the loosest operator down."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self.token = ""
        self._kind: str | None = None
        self._next()

    def any_of(self) -> Expression:
        return self._chain("||", self._all_of, lambda *values: any(value is True for value in values))

    def refusal(self) -> RefusedError:
        return RefusedError(400, f"expression {self._text!r} is not understood from {self.token!r} on")

    def _all_of(self) -> Expression:
        return self._chain("&&", self._comparison, lambda *values: all(value is True for value in values))

    def _chain(self, symbol: str, part: Callable[[], Expression], function: Callable[..., Any]) -> Expression:
        parts = [part()]
        while self._takes(symbol):
            parts.append(part())
        return Call(function, parts) if len(parts) > 1 else parts[0]

    def _comparison(self) -> Expression:
        left = self._single()
        if self.token not in _COMPARISONS:
            return left
        return Comparison(_COMPARISONS[self._next()], left, self._single())

    def _single(self) -> Expression:
        if self._takes("!"):
            return Call(lambda value: value is not True, [self._single()])
        if self._takes("("):
            inner = self.any_of()
            self._require(")")
            return inner
        kind = self._kind
        if kind not in ("literal", "path"):
            raise self.refusal()
        token = self._next()
        if kind == "literal":
            try:
                return Literal(orjson.loads(token))
            except orjson.JSONDecodeError:
                raise RefusedError(400, f"expression {self._text!r}: {token} is no literal") from None
        return self._call(token) if self._takes("(") else Path(tuple(token.split(".")))

    def _call(self, name: str) -> Expression:
        if name not in _FUNCTIONS:
            raise RefusedError(400, f"expression {self._text!r}: the sandbox has no function {name}")
        count, function = _FUNCTIONS[name]
        arguments = [self.any_of()]
        while self._takes(","):
            arguments.append(self.any_of())
        self._require(")")
        if len(arguments) != count:
            raise RefusedError(400, f"expression {self._text!r}: {name} takes {count} arguments")
        return Call(function, arguments)

    def _takes(self, symbol: str) -> bool:
        if self._kind == "symbol" and self.token == symbol:
            self._next()
            return True
        return False

    def _require(self, symbol: str) -> None:
        if not self._takes(symbol):
            raise self.refusal()

    def _next(self) -> str:
        """Moves on by a token, and returns the one before."""
        before = self.token
        found = _TOKEN.match(self._text, self._end)
        if found is not None:
            self._end, self._kind = found.end(), found.lastgroup
            self.token = found[self._kind or 0]
        else:
            # What is left is no token: nothing takes it.
            self.token, self._kind = self._text[self._end :].strip(), None
        return before


def _contains(value: str | list[Any], part: Any) -> bool:
    return isinstance(part, str) and part in value if isinstance(value, str) else part in value


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)
