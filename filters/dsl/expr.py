"""`col(...)` and what can be built on it: small frozen nodes over scores, and comparisons that keep their limit apart.

A node never touches a row of the pool. It names scores (or statistics that become scores), so that a limit can be
moved later from what is stored. Values are Arrow arrays; null and NaN are "unknown" and never keep a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.dsl.env import SCORE, Env
from poolsieve.filters.dsl.limits import listed, nan_to_null, typed_limit
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short


class Node(Config):
    """A number (or string) for each row, computed from scores."""

    def names(self) -> tuple[str, ...]:
        """The scores or pool columns that the node reads."""
        raise NotImplementedError

    def values(self, env: Env) -> pa.Array:
        """The node's value for each row, null where unknown."""
        raise NotImplementedError

    def __le__(self, limit: Any) -> Compare:
        return compare("less_equal", self, limit)

    def __lt__(self, limit: Any) -> Compare:
        return compare("less", self, limit)

    def __ge__(self, limit: Any) -> Compare:
        return compare("greater_equal", self, limit)

    def __gt__(self, limit: Any) -> Compare:
        return compare("greater", self, limit)

    def __eq__(self, limit: Any) -> Compare:  # type: ignore[override]
        return compare("equal", self, limit)

    def __ne__(self, limit: Any) -> Compare:  # type: ignore[override]
        return compare("not_equal", self, limit)

    def __hash__(self) -> int:
        return Config.__hash__(self)

    def __bool__(self) -> NoReturn:
        raise PlanError(
            "a column has no truth value; write `all_of(Keep(col('x') >= 1), Keep(col('x') <= 5), reason=...)` or two "
            "stages instead of `1 <= col('x') <= 5` or `and`"
        )

    def __add__(self, other: Any) -> Arithmetic:
        return Arithmetic("add", self, as_node(other))

    def __sub__(self, other: Any) -> Arithmetic:
        return Arithmetic("subtract", self, as_node(other))

    def __mul__(self, other: Any) -> Arithmetic:
        return Arithmetic("multiply", self, as_node(other))

    def __truediv__(self, other: Any) -> Arithmetic:
        return Arithmetic("divide", self, as_node(other))

    def is_in(self, values: Iterable[Any]) -> IsIn:
        """True where the value is one of `values`.

        Raises:
            PlanError: for anything but a list (or other collection) of numbers, strings or booleans.
        """
        return IsIn(self, listed(values, _show(self)))

    def __invert__(self) -> Compare:
        return compare("equal", self, False)

    def __and__(self, other: Any) -> AllOf:
        return AllOf((as_predicate(self), as_predicate(other)))

    def __or__(self, other: Any) -> AnyOf:
        return AnyOf((as_predicate(self), as_predicate(other)))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)  # Python asks for these by itself, to copy or to print
        shown = f"col({vars(self)['name']!r})" if "name" in vars(self) else type(self).__name__.lower()
        hint = "For anything else write a function and wrap it with scorer(...)."
        raise NoSuchMethod(str(unknown_name(f"{shown} has no {name!r}", name, _METHODS, hint)))


class NoSuchMethod(PlanError, AttributeError):
    """A column was asked for what it can't do. An `AttributeError` too, as `hasattr` wants it."""


_METHODS = ("word_count", "char_count", "byte_count", "is_in")


@dataclass(frozen=True, eq=False)
class Column(Node):
    """A score by its name, or else a pool column (or role), which is then stored as a score."""

    name: str = field(metadata=SCORE)

    def names(self) -> tuple[str, ...]:
        """The name itself."""
        return (self.name,)

    def values(self, env: Env) -> pa.Array:
        """The stored score."""
        return env.scores[self.name]

    def word_count(self) -> Column:
        """Whitespace words, `len(text.split())`; stored as `<role>.word_count`."""
        return Column(f"{self.name}.word_count")

    def char_count(self) -> Column:
        """Code points, `len(text)`; stored as `<role>.char_count`."""
        return Column(f"{self.name}.char_count")

    def byte_count(self) -> Column:
        """Bytes of the value (UTF-8 for text); stored as `<role>.byte_count`."""
        return Column(f"{self.name}.byte_count")


@dataclass(frozen=True, eq=False)
class Literal(Node):
    """A constant."""

    value: float | int | str

    def names(self) -> tuple[str, ...]:
        """Reads nothing."""
        return ()

    def values(self, env: Env) -> pa.Array:
        """The constant, once a row."""
        return pa.repeat(pa.scalar(self.value), len(env.rows))


@dataclass(frozen=True, eq=False)
class Arithmetic(Node):
    """`left op right`. Division is in float64, so that x/0 is infinite and 0/0 unknown, as in NumPy."""

    op: str
    left: Node
    right: Node

    def names(self) -> tuple[str, ...]:
        """Those of both sides."""
        return self.left.names() + self.right.names()

    def values(self, env: Env) -> pa.Array:
        """Null where either side is."""
        left, right = self.left.values(env), self.right.values(env)
        if self.op in ("min", "max"):
            kernel = pc.min_element_wise if self.op == "min" else pc.max_element_wise
            return kernel(left, right, skip_nulls=False)
        if self.op == "divide":
            left, right = left.cast(pa.float64()), right.cast(pa.float64())
        return pc.call_function(self.op, [left, right])


def col(name: str) -> Column:
    """A score or pool column by name: `Keep(col("text").word_count() <= 64)`, `Keep(col("dfn") >= 0.2)`.

    >>> col("text").word_count()
    Column(name='text.word_count')
    >>> (col("width") / col("height") <= 3).names()
    ('width', 'height')
    >>> (col("lang").is_in(["en", "de"]) & (col("edu") >= 2.5)).names()
    ('lang', 'edu')

    Raises:
        PlanError: if the name is no string, or empty.
    """
    if not isinstance(name, str) or not name:
        raise PlanError(f"col() takes the name of a score or column, not {short(name)}")
    return Column(name)


def as_node(value: Any) -> Node:
    """A node as it is; a number or string as a `Literal`."""
    if isinstance(value, Node):
        return value
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return Literal(value)
    raise PlanError(f"can't compute with {short(value)}: expected a column, a number or a string")


def smaller(left: Any, right: Any) -> Arithmetic:
    """The smaller of two columns, row by row."""
    return Arithmetic("min", as_node(left), as_node(right))


def larger(left: Any, right: Any) -> Arithmetic:
    """The larger of two columns, row by row."""
    return Arithmetic("max", as_node(left), as_node(right))


class Predicate(Config):
    """True, false or unknown (null) for each row."""

    def names(self) -> tuple[str, ...]:
        """The scores or pool columns that it reads."""
        raise NotImplementedError

    def truth(self, env: Env) -> pa.Array:
        """Boolean array of length n; null where a null or NaN leaves it open (Kleene's logic)."""
        raise NotImplementedError

    def check(self) -> None:
        """Looks at what the predicate needs beside scores, before any work starts.

        Raises:
            PlanError: if it is not there, such as a list.
        """

    def parts(self) -> tuple[Predicate, ...]:
        """The predicates that it is made of, itself included."""
        return (self,)

    def default_reason(self) -> str | None:
        """A reason made from the predicate, if it is simple enough to have one."""
        return None

    def __bool__(self) -> NoReturn:
        raise PlanError(
            "a comparison of columns has no truth value: write all_of(a, b, reason=...) for `a and b` and for "
            "`1 <= col('x') <= 5`, any_of(a, b, reason=...) for `a or b`, ~a for `not a`"
        )

    def __and__(self, other: Predicate | Node) -> AllOf:
        return AllOf((self, as_predicate(other)))

    def __or__(self, other: Predicate | Node) -> AnyOf:
        return AnyOf((self, as_predicate(other)))

    def __invert__(self) -> Predicate:
        return Not(self)


def as_predicate(value: Any) -> Predicate:
    """A predicate as it is; a column as "it is true", which a boolean column alone can be.

    Raises:
        PlanError: for anything else.
    """
    if isinstance(value, Predicate):
        return value
    if isinstance(value, Node):
        return compare("equal", value, True)
    raise PlanError(f"expected a comparison such as col('x') >= 1, or a boolean column, not {short(value)}")


_SIDES = {
    "less_equal": "above_limit",
    "less": "above_limit",
    "greater_equal": "below_limit",
    "greater": "below_limit",
    "equal": "other_value",
    "not_equal": "unwanted_value",
}


@dataclass(frozen=True, eq=False)
class Compare(Predicate):
    """`left op limit`, made in the type of the left side: float32 0.7 >= 0.7 holds."""

    op: str
    left: Node
    limit: Any

    def names(self) -> tuple[str, ...]:
        """Those of the left side."""
        return self.left.names()

    def truth(self, env: Env) -> pa.Array:
        """Null where the left side is null or NaN."""
        left = self.left.values(env)
        return pc.call_function(self.op, [nan_to_null(left), typed_limit(self.limit, left.type)])

    def default_reason(self) -> str | None:
        """`<score>.above_limit` and its like, for a single column."""
        return f"{self.left.name}.{_SIDES[self.op]}" if isinstance(self.left, Column) else None


@dataclass(frozen=True, eq=False)
class IsIn(Predicate):
    """Whether the value is one of a few."""

    left: Node
    values: tuple[Any, ...]

    def names(self) -> tuple[str, ...]:
        """Those of the left side."""
        return self.left.names()

    def truth(self, env: Env) -> pa.Array:
        """Null where the left side is null or NaN."""
        left = nan_to_null(self.left.values(env))
        found = pc.is_in(left, value_set=pa.array(self.values, type=left.type))
        return pc.if_else(left.is_valid(), found, pa.scalar(None, pa.bool_()))

    def default_reason(self) -> str | None:
        """`<score>.other_value`, for a single column."""
        return f"{self.left.name}.other_value" if isinstance(self.left, Column) else None


@dataclass(frozen=True, eq=False)
class _Many(Predicate):
    members: tuple[Predicate, ...]

    def names(self) -> tuple[str, ...]:
        """Those of all members."""
        return tuple(name for member in self.members for name in member.names())

    def parts(self) -> tuple[Predicate, ...]:
        """Itself and everything below."""
        return (self, *(part for member in self.members for part in member.parts()))


@dataclass(frozen=True, eq=False)
class AllOf(_Many):
    """True where every member is."""

    def truth(self, env: Env) -> pa.Array:
        """Kleene's and."""
        out = self.members[0].truth(env)
        for member in self.members[1:]:
            out = pc.and_kleene(out, member.truth(env))
        return out


@dataclass(frozen=True, eq=False)
class AnyOf(_Many):
    """True where some member is."""

    def truth(self, env: Env) -> pa.Array:
        """Kleene's or."""
        out = self.members[0].truth(env)
        for member in self.members[1:]:
            out = pc.or_kleene(out, member.truth(env))
        return out


@dataclass(frozen=True, eq=False)
class Not(Predicate):
    """True where the member is false; unknown stays unknown, so a null is never kept by negation."""

    member: Predicate

    def names(self) -> tuple[str, ...]:
        """Those of the member."""
        return self.member.names()

    def truth(self, env: Env) -> pa.Array:
        """The member's truth, inverted."""
        return pc.invert(self.member.truth(env))

    def parts(self) -> tuple[Predicate, ...]:
        """Itself and everything below."""
        return (self, *self.member.parts())


def compare(op: str, left: Node, limit: Any) -> Compare:
    """A comparison with a constant limit, checked."""
    if isinstance(limit, Node):
        return Compare(op, Arithmetic("subtract", left, limit), 0)
    if limit is None or (isinstance(limit, float) and math.isnan(limit)):
        raise PlanError(f"can't compare {_show(left)} with {limit!r}: rows with null or NaN are dropped by any rule")
    if not isinstance(limit, (bool, int, float, str)):
        raise PlanError(f"can't compare {_show(left)} with {short(limit)} ({type(limit).__name__})")
    return Compare(op, left, limit)


def _show(node: Node) -> str:
    return f"col({node.name!r})" if isinstance(node, Column) else type(node).__name__.lower()


def renamed(part: Any, names: Mapping[str, str]) -> Any:
    """A predicate (or node) with other names for the scores that it reads."""
    if isinstance(part, tuple):
        return tuple(renamed(item, names) for item in part)
    if not names or not is_dataclass(part) or isinstance(part, type):
        return part
    found = {item.name: getattr(part, item.name) for item in fields(part) if item.init}
    scores = {item.name for item in fields(part) if item.metadata.get("score")}
    changed = {k: names.get(v, v) if k in scores else renamed(v, names) for k, v in found.items()}
    return replace(part, **changed)
