"""Where the fields of the schema come from: the words that `schema/` declares its types with.

A type names its table, a field names its source, and the compiler reads nothing else. What is not said here is a
column of the same name in snake case.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args

import strawberry

Cls = TypeVar("Cls", bound=type)

DEFAULT_FIRST = 25
MOST_FIRST = 100
# Arguments of connections whose shape, or values, go into the SQL. All others are parameters of it.
SHAPING_ARGUMENTS = frozenset({"filter", "orderBy", "after"})

# What a field costs, in simple columns: most of the time of the worst documents went into these.
LONG_TEXT_WEIGHT = 40
COMPUTED_WEIGHT = 20
COUNT_WEIGHT = 20
COMPUTED_ROW_WEIGHT = 150

METADATA_KEY = "source"
TABLE_ATTRIBUTE = "__source_table__"


@dataclass(frozen=True)
class Table:
    """What the fields of a type are columns of; `tenant` when it has a `community_id`."""

    name: str
    tenant: bool


@dataclass(frozen=True)
class Column:
    """A column of the row; `long` when it may hold thousands of characters."""

    name: str
    long: bool = False


@dataclass(frozen=True)
class Computed:
    """A scalar that the SQL function `function` computes from the whole row."""

    function: str


@dataclass(frozen=True)
class ComputedRow:
    """An object that the SQL function `function` computes from the whole row, in one row or none."""

    function: str


@dataclass(frozen=True)
class ComputedRows:
    """Objects that the SQL function `function` computes from the whole row, ordered by their `place`."""

    function: str


@dataclass(frozen=True)
class ToOne:
    """The row of another table whose columns (keys) equal columns of this one (values)."""

    keys: Mapping[str, str]
    where: str | None = None
    order_by: str | None = None


@dataclass(frozen=True)
class ToMany:
    """All rows of another table, or of a function, whose columns (keys) equal columns of this one (values)."""

    keys: Mapping[str, str]
    order_by: str
    function: str | None = None
    where: str | None = None


@dataclass(frozen=True)
class Paged:
    """A Relay connection over a table; without keys, over all of it that the caller may see."""

    keys: Mapping[str, str]
    order_by: str


@dataclass(frozen=True)
class ById:
    """A root field: the row with the argument `id`."""


@dataclass(frozen=True)
class FromFunction:
    """A root field that an SQL function answers, from the field's arguments as jsonb where it has any.

    The field's type says what the function gives: one row or none, rows with a `place`, or a scalar. Without
    arguments it is about the caller: null when signed out.
    """

    function: str
    takes_arguments: bool


@dataclass(frozen=True)
class Watched:
    """A subscription: what an SQL function answers, and answers again when what it tells of has changed.

    It hears of the topics of the outbox that are about the person in its argument `userId`, or else the caller; and of
    what their community offers.
    """

    function: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """A subscription: rows of its type's table, each as often as the outbox tells of it under the topic.

    `where` is a condition with `{row}`, and `{name}` for an argument, which is null when it is not given.
    """

    topic: str
    where: str


@dataclass(frozen=True)
class Call:
    """A mutation: the SQL function that does it, taking the input as jsonb.

    It gives the id of what it changed, or, where there is more to tell, a JSON object, whose members the fields of
    the payload name as their `part`.
    """

    function: str


@dataclass(frozen=True)
class Changed:
    """A field of a payload: the row that the mutation changed, in its state afterwards."""

    part: str | None


@dataclass(frozen=True)
class ChangedId:
    """A field of a payload: the id of the row that the mutation changed."""

    part: str | None


@dataclass(frozen=True)
class ChangedValue:
    """A field of a payload: a scalar among what the mutation told."""

    part: str


@dataclass(frozen=True)
class ChangedRows:
    """A field of a payload: the rows that `function(what the mutation told)` gives, ordered by their `place`."""

    function: str


Source = (
    Column
    | Computed
    | ComputedRow
    | ComputedRows
    | ToOne
    | ToMany
    | Paged
    | ById
    | FromFunction
    | Watched
    | Told
    | Call
    | Changed
    | ChangedId
    | ChangedValue
    | ChangedRows
)


@dataclass(frozen=True)
class Condition:
    """A field of a filter: SQL in which `{row}` is the row's alias and `{value}` a parameter of type `sql_type`.

    Without a type it has no value: it is what `sql` says, or the opposite. A parameter would hide from the planner
    which of the two is asked for, and with it every index.
    """

    sql: str
    sql_type: str | None
    to_text: Callable[[Any], str] = field(default=str)


def table(name: str, *, tenant: bool = True) -> Callable[[Cls], Cls]:
    """Says which table, or which function's result, the fields of a type are columns of.

    Joins between two tenant tables are always on `community_id` as well.
    """

    def mark(cls: Cls) -> Cls:
        setattr(cls, TABLE_ATTRIBUTE, Table(name, tenant))
        return cls

    return mark


def _field(source: Source, description: str | None, **arguments: tuple[Any, Any, str]) -> Any:
    """A Strawberry field with a source; arguments are (annotation, default, description) by name."""
    metadata = {METADATA_KEY: source}
    if not arguments:
        return strawberry.field(description=description, metadata=metadata)

    def never_called(**_: Any) -> None:
        raise NotImplementedError("the compiler answers this field")

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[annotation, strawberry.argument(description=text)],
            default=default,
        )
        for name, (annotation, default, text) in arguments.items()
    ]
    never_called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    never_called.__annotations__ = {p.name: p.annotation for p in parameters}
    return strawberry.field(resolver=never_called, description=description, metadata=metadata)


def column(name: str, description: str | None = None, *, long: bool = False) -> Any:
    """A field that is a column of another name, or a long one."""
    return _field(Column(name, long), description)


def computed(function: str, description: str | None = None) -> Any:
    """A scalar field that `function(row)` computes."""
    return _field(Computed(function), description)


def computed_row(function: str, description: str | None = None) -> Any:
    """An object field that `function(row)` computes; null when the function gives no row."""
    return _field(ComputedRow(function), description)


def computed_rows(function: str, description: str | None = None) -> Any:
    """A list of objects that `function(row)` computes, ordered by their column `place`."""
    return _field(ComputedRows(function), description)


def to_one(
    description: str | None = None, *, where: str | None = None, latest_by: str | None = None, **keys: str
) -> Any:
    """The row whose columns equal columns of this one: `to_one(user_id="created_by")`.

    `where` is a further condition, with `{row}` for the row looked for; `latest_by` takes the greatest of several.
    """
    return _field(ToOne(keys, where, f"{latest_by} desc" if latest_by else None), description)


def to_many(
    description: str | None = None,
    *,
    order_by: str,
    function: str | None = None,
    where: str | None = None,
    **keys: str,
) -> Any:
    """All rows whose columns equal columns of this one, or that `function()` gives, in one order.

    `where` is a further condition, with `{row}` for the rows looked for and `{owner}` for this one.
    """
    return _field(ToMany(keys, order_by, function, where), description)


def connection(
    description: str | None = None,
    *,
    order_by: str,
    filters: type | None = None,
    orders: type | None = None,
    **keys: str,
) -> Any:
    """A Relay connection: `filters` and `orders` are the input types of its arguments `filter` and `orderBy`."""
    arguments: dict[str, tuple[Any, Any, str]] = {}
    if filters is not None:
        arguments["filter"] = (filters | None, strawberry.UNSET, "Which ones. All conditions hold together.")
    if orders is not None:
        arguments["order_by"] = (orders | None, strawberry.UNSET, f"In which order. Default: {order_by}.")
    arguments["first"] = (int | None, DEFAULT_FIRST, f"How many at the most, 0 to {MOST_FIRST}.")
    arguments["after"] = (
        str | None,
        strawberry.UNSET,
        "Continue after this cursor, with the same other arguments.",
    )
    return _field(Paged(keys, order_by), description, **arguments)


def by_id(id_type: type, description: str | None = None) -> Any:
    """A root field that takes an `id`; null when there is no such row, or none that the caller may see."""
    return _field(ById(), description, id=(id_type, inspect.Parameter.empty, "The id."))


def from_function(function: str, description: str | None = None, **arguments: tuple[Any, str]) -> Any:
    """A root field that `function` answers; arguments are (annotation, description) by name, null by default.

    Without arguments it is about the caller, and not asked when signed out.
    """
    named = {name: (kind, _default(kind), text) for name, (kind, text) in arguments.items()}
    return _field(FromFunction(function, bool(arguments)), description, **named)


def _default(annotation: Any) -> Any:
    """Nothing, for an argument that must be given."""
    return strawberry.UNSET if type(None) in get_args(annotation) else inspect.Parameter.empty


def watched(function: str, description: str, *, topics: tuple[str, ...], **arguments: tuple[Any, str]) -> Any:
    """A subscription that `function` answers; see `Watched`. Arguments as of `from_function`."""
    named = {name: (kind, _default(kind), text) for name, (kind, text) in arguments.items()}
    return _field(Watched(function, topics), description, **named)


def told(description: str, *, topic: str, where: str, **arguments: tuple[Any, str]) -> Any:
    """A subscription to rows that change; see `Told`. Arguments as of `from_function`."""
    named = {name: (kind, _default(kind), text) for name, (kind, text) in arguments.items()}
    return _field(Told(topic, where), description, **named)


def mutation(function: str, input_type: type, description: str | None = None) -> Any:
    """A mutation that `function(input jsonb)` carries out; see `Call`."""
    return _field(Call(function), description, input=(input_type, inspect.Parameter.empty, "What to do."))


def changed(description: str | None = None, *, part: str | None = None) -> Any:
    """The row that the mutation changed."""
    return _field(Changed(part), description)


def changed_id(description: str | None = None, *, part: str | None = None) -> Any:
    """The id of the row that the mutation changed, which may be gone by then."""
    return _field(ChangedId(part), description)


def changed_value(part: str, description: str | None = None) -> Any:
    """A scalar among what the mutation told."""
    return _field(ChangedValue(part), description)


def changed_rows(function: str, description: str | None = None) -> Any:
    """The rows that `function(what the mutation told)` gives, ordered by their column `place`."""
    return _field(ChangedRows(function), description)


def one_of(column_name: str, description: str | None = None) -> Any:
    """A filter over a list: the column is one of the values. Names and ids only, which need no escaping."""
    return _condition(Condition(f"{{row}}.{column_name} = any({{value}})", "text[]", _array), description)


def equals(column_name: str, sql_type: str, description: str | None = None) -> Any:
    """A filter: the column has the value."""
    return _condition(Condition(f"{{row}}.{column_name} = {{value}}", sql_type), description)


def contains(column_name: str, description: str | None = None) -> Any:
    """A filter: the column contains the text, upper and lower case alike."""
    return _condition(Condition(f"{{row}}.{column_name} ilike {{value}}", "text", _pattern), description)


def at_least(
    column_name: str, sql_type: str, description: str | None = None, *, name: str | None = None
) -> Any:
    """A filter: the column is the value or later, or more. `name` is its GraphQL name, where Python has no such."""
    return _condition(Condition(f"{{row}}.{column_name} >= {{value}}", sql_type), description, name)


def before(column_name: str, sql_type: str, description: str | None = None) -> Any:
    """A filter: the column is earlier than the value, or less."""
    return _condition(Condition(f"{{row}}.{column_name} < {{value}}", sql_type), description)


def condition(sql: str, sql_type: str, description: str | None = None) -> Any:
    """A filter: whether what `sql` says of `{row}` and of `{value}`, which has this type, holds."""
    return _condition(Condition(sql, sql_type), description)


def flag(sql: str, description: str | None = None) -> Any:
    """A filter by true or false: whether what `sql` says of `{row}` holds. It must never be null."""
    return _condition(Condition(sql, None), description)


def _condition(condition: Condition, description: str | None, name: str | None = None) -> Any:
    return strawberry.field(
        name=name, default=strawberry.UNSET, description=description, metadata={METADATA_KEY: condition}
    )


def _array(values: list[Any]) -> str:
    # Each once: a client may repeat a value thousands of times, and every row is compared with each.
    return "{" + ",".join(f'"{getattr(value, "value", value)}"' for value in dict.fromkeys(values)) + "}"


def _pattern(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"
