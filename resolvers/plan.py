"""A plan: the statements of one operation, ready for any values of its variables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from resolvers.arguments import Binder, Bound, Places, first_of
from resolvers.errors import ApiError


@dataclass(frozen=True)
class Statement:
    """One SQL statement with its parameters in text form."""

    sql: str
    parameters: Sequence[str | None]


@dataclass(frozen=True)
class Template:
    """One SQL statement, with the binders of its parameters."""

    sql: str
    binders: Sequence[Binder]

    def bind(self, bound: Bound) -> Statement:
        return Statement(self.sql, [binder(bound) for binder in self.binders])


@dataclass(frozen=True)
class RootField:
    """A field of the answer: its statements, of which the last gives its value; none for a constant."""

    key: str
    nullable: bool
    templates: Sequence[Template] = ()
    constant: bytes | None = None
    python: bool = False
    of_the_caller: bool = False

    def signed_out(self) -> "RootField":
        """The same field for nobody: what is about the caller is null, and is not asked for."""
        return RootField(self.key, self.nullable, constant=b"null") if self.of_the_caller else self


@dataclass(frozen=True)
class Page:
    """A connection in a plan, for counting nodes: the place of its arguments, and the connections inside it."""

    place: int
    inside: Sequence["Page"]

    def nodes(self, bound: Bound) -> int:
        """The most nodes that this connection can come to, with all inside it."""
        first = first_of(bound.arguments[self.place])
        return first * (1 + sum(page.nodes(bound) for page in self.inside))


@dataclass(frozen=True)
class Plan:
    """What an operation comes to: its fields in order, where its arguments stand, and what it may cost."""

    fields: Sequence[RootField]
    places: Places
    pages: Sequence[Page]
    is_mutation: bool

    @cached_property
    def signed_out(self) -> "Plan":
        """The plan for callers who are nobody."""
        return replace(self, fields=[field.signed_out() for field in self.fields])

    @property
    def needs_python(self) -> bool:
        """Whether graphql-core has to run, over the compiled data: for introspection."""
        return any(field.python for field in self.fields)

    @property
    def length(self) -> int:
        """Characters of SQL."""
        return sum(len(template.sql) for field in self.fields for template in field.templates)

    def check_cost(self, bound: Bound, most: int) -> None:
        """Raises LIMIT_EXCEEDED when the `first` arguments multiply to too many nodes."""
        nodes = sum(page.nodes(bound) for page in self.pages)
        if nodes > most:
            raise ApiError(
                "LIMIT_EXCEEDED",
                f"The operation asks for up to {nodes} nodes; {most} are allowed. Lower the `first` arguments.",
            )
