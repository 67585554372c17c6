"""A plan: the statements of one operation, ready for any values of its variables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from resolvers.arguments import Binder, Bound, Place, first_of
from resolvers.errors import ApiError
from resolvers.identity import ANONYMOUS

# Measured; a binder comes with an argument and what reads it.
_BYTES_A_PLAN = 3_000
_BYTES_A_BINDER = 1_000


@dataclass(slots=True)
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


# How many rows a list without pages is taken to have.
USUAL_ROWS = 20


@dataclass
class Repeated:
    """Fields that come once a row: of a connection, whose arguments stand at a place, or of a list of so many rows."""

    place: int | None = None
    rows: int = USUAL_ROWS
    weight: int = 0
    shows_rows: bool = True
    inside: list["Repeated"] = field(default_factory=list)

    def nodes(self, bound: Bound) -> int:
        """The most nodes of connections that this can come to."""
        inside = sum(part.nodes(bound) for part in self.inside)
        if self.place is None:
            return inside
        first = first_of(bound.arguments[self.place])
        return first * (1 + inside) if self.shows_rows else 0

    def cost(self, bound: Bound) -> int:
        """The most that this can cost, in simple columns."""
        rows = self.rows if self.place is None else first_of(bound.arguments[self.place])
        return rows * (self.weight + sum(part.cost(bound) for part in self.inside))


@dataclass(frozen=True)
class Hearing:
    """What a subscription hears of: topics of the outbox, about the person in its arguments, or else the caller.

    Without rows, it answers again; of rows, it tells each one that has changed.
    """

    topics: tuple[str, ...]
    place: int
    of_rows: bool


# Between rows that are told one by one: no JSON text has it in it as it is.
BETWEEN_ROWS = "\x1e"


@dataclass(frozen=True)
class Plan:
    """What an operation comes to: its fields in order, where its arguments stand, and what it may cost."""

    fields: Sequence[RootField]
    places: Sequence[Place]
    repeated: Sequence[Repeated]
    checks: Sequence[Callable[[Bound], object]]
    is_mutation: bool
    hearing: Hearing | None = None

    @cached_property
    def signed_out(self) -> "Plan":
        """The plan for callers who are nobody."""
        return replace(self, fields=[root.signed_out() for root in self.fields])

    @cached_property
    def needs_python(self) -> bool:
        """Whether graphql-core has to run, over the compiled data: for introspection."""
        return any(root.python for root in self.fields)

    @cached_property
    def weight(self) -> int:
        """Bytes of memory, about."""
        templates = [template for root in self.fields for template in root.templates]
        statements = sum(
            len(template.sql) + _BYTES_A_BINDER * len(template.binders) for template in templates
        )
        return _BYTES_A_PLAN + statements + sum(place.weight for place in self.places)

    def bind(self, bound: Bound) -> list[Statement]:
        """The statements with the values of one request."""
        return [template.bind(bound) for root in self.fields for template in root.templates]

    def check(self, bound: Bound, most_nodes: int, most_cost: int) -> None:
        """Raises BAD_USER_INPUT for arguments, and LIMIT_EXCEEDED when the operation could come to too much."""
        for check in self.checks:
            check(bound)
        nodes, cost = self._constant_size or self._size(bound)
        if nodes > most_nodes:
            message = f"The operation asks for up to {nodes} nodes; {most_nodes} are allowed. Lower `first`."
            raise ApiError("LIMIT_EXCEEDED", message)
        if cost > most_cost:
            message = (
                f"The operation could cost {cost}; {most_cost} is allowed. Ask for less, or lower `first`."
            )
            raise ApiError("LIMIT_EXCEEDED", message)

    def _size(self, bound: Bound) -> tuple[int, int]:
        return sum(part.nodes(bound) for part in self.repeated), sum(
            part.cost(bound) for part in self.repeated
        )

    @cached_property
    def _constant_size(self) -> tuple[int, int] | None:
        """Nodes and cost, where no variable says how many."""
        constants = [place.constant for place in self.places if place.constant is not None]
        if len(constants) < len(self.places):
            return None
        return self._size(Bound(constants, ANONYMOUS, b""))

    def written(self, values: Sequence[bytes]) -> bytes:
        """The answer, from the JSON of each field."""
        members = [
            b'"%b":%b' % (root.key.encode(), value) for root, value in zip(self.fields, values, strict=True)
        ]
        return b'{"data":{' + b",".join(members) + b"}}"
