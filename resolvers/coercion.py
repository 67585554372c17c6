"""Input values, coerced as graphql-core coerces them, at a fraction of the price.

What is not certainly valid is Unsure: graphql-core then decides, and words the error. So a coercer here can only err
towards asking, and the tests compare the two.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    ListValueNode,
    Node,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    is_required_input_field,
    specified_scalar_types,
)
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal

Coerce = Callable[[Any], Any]
# From the coerced values of variables to the value of a literal that they stand in.
Read = Callable[[Mapping[str, Any]], Any]

_LARGEST_INT = 2**31 - 1
_LARGEST_EXACT = 2**53  # a float holds every integer up to here


class UnsureError(Exception):
    """This value may be wrong: ask graphql-core."""


def unsure(_: Any) -> Any:
    raise UnsureError


def _int(value: Any) -> int:
    if type(value) is int and -_LARGEST_INT <= value <= _LARGEST_INT:
        return value
    raise UnsureError


def _float(value: Any) -> float:
    if (type(value) is float and math.isfinite(value)) or (
        type(value) is int and -_LARGEST_EXACT <= value <= _LARGEST_EXACT
    ):
        return float(value)
    raise UnsureError


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise UnsureError


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise UnsureError


_SCALARS: dict[str, Coerce] = {
    "Int": _int,
    "Float": _float,
    "String": _string,
    "Boolean": _boolean,
    "ID": _string,
}


class Coercers:
    """The coercers of one schema's input types, made when first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Coerce] = {}

    def of(self, type_: GraphQLInputType) -> Coerce:
        """A function from a JSON value to its coerced value. It raises UnsureError and nothing else."""
        name = str(type_)
        if name not in self._known:
            self._known[name] = unsure  # what a type that contains itself finds
            self._known[name] = self._make(type_)
        return self._known[name]

    def _make(self, type_: GraphQLInputType) -> Coerce:
        if isinstance(type_, GraphQLNonNull):
            return self._not_null(type_.of_type)

        inner = self._make(GraphQLNonNull(type_))
        return lambda value: None if value is None else inner(value)

    def _not_null(self, type_: Any) -> Coerce:
        if isinstance(type_, GraphQLList):
            return _list(self.of(type_.of_type))
        if isinstance(type_, GraphQLInputObjectType):
            return self._object(type_)
        if isinstance(type_, GraphQLEnumType):
            return _enum(type_)
        if type_ in specified_scalar_types.values():
            return _SCALARS[type_.name]
        return _custom(type_.coerce_input_value)

    def _object(self, type_: GraphQLInputObjectType) -> Coerce:
        fields = [
            (
                name,
                field.out_name or name,
                self.of(field.type),
                default_of(field, required=is_required_input_field(field)),
            )
            for name, field in type_.fields.items()
        ]
        finish = _finisher(type_)

        def coerce(value: Any) -> Any:
            if type(value) is not dict:
                raise UnsureError
            found: dict[str, Any] = {}
            given = 0
            for name, out_name, coerce_field, default in fields:
                if name in value:
                    given += 1
                    found[out_name] = coerce_field(value[name])
                elif default is REQUIRED:
                    raise UnsureError
                elif default is not Undefined:
                    found[out_name] = default
            if given != len(value):
                raise UnsureError
            return finish(found)

        # A "one of" has a rule more, and errors of its own.
        return unsure if type_.is_one_of else coerce


REQUIRED = object()


def default_of(definition: Any, *, required: bool) -> Any:
    """What stands for a value that was left out: REQUIRED when it may not be, Undefined when nothing does."""
    return REQUIRED if required else coerce_default_value(definition)


def _list(coerce_item: Coerce) -> Coerce:
    def coerce(value: Any) -> Any:
        if type(value) is list:
            return [coerce_item(item) for item in value]
        if value is None or type(value) is dict:
            raise UnsureError
        return [coerce_item(value)]  # a single value is a list of one

    return coerce


def _finisher(type_: GraphQLInputObjectType) -> Coerce:
    """What makes the object of its fields, where a type has its own way."""
    is_usual = type_.out_type is GraphQLInputObjectType.out_type
    return _as_it_is if is_usual else type_.out_type


def _as_it_is(value: Any) -> Any:
    return value


def _enum(type_: GraphQLEnumType) -> Coerce:
    members = {name: type_.coerce_input_value(name) for name in type_.values}

    def coerce(value: Any) -> Any:
        if type(value) is str and value in members:
            return members[value]
        raise UnsureError

    return coerce


def _custom(parse: Coerce) -> Coerce:
    def coerce(value: Any) -> Any:
        if value is None:
            raise UnsureError
        try:
            return parse(value)
        except Exception:  # a scalar's own rules may raise anything
            raise UnsureError from None

    return coerce


def has_variables(node: Node) -> bool:
    """Whether a value contains a variable."""
    if isinstance(node, VariableNode):
        return True
    if isinstance(node, ListValueNode):
        return any(has_variables(item) for item in node.values)
    return isinstance(node, ObjectValueNode) and any(has_variables(field.value) for field in node.fields)


def literal(node: ValueNode, type_: GraphQLInputType) -> Read:
    """Reads a value that stands in the document; without variables in it, it is coerced here and now."""
    if not has_variables(node):
        value = coerce_input_literal(node, type_)
        return unsure if value is Undefined else lambda _: value
    if isinstance(node, VariableNode):
        return _variable(node.name.value, not_null=isinstance(type_, GraphQLNonNull))
    if isinstance(type_, GraphQLNonNull):
        return literal(node, type_.of_type)
    if isinstance(type_, GraphQLList):
        return _list_literal(node, type_.of_type)
    if isinstance(type_, GraphQLInputObjectType) and isinstance(node, ObjectValueNode):
        return _object_literal(node, type_)
    return unsure


def _variable(name: str, *, not_null: bool) -> Read:
    def read(values: Mapping[str, Any]) -> Any:
        value = values.get(name, Undefined)
        if value is Undefined or (value is None and not_null):
            raise UnsureError
        return value

    return read


def _list_literal(node: ValueNode, item_type: GraphQLInputType) -> Read:
    items = [
        literal(item, item_type) for item in (node.values if isinstance(node, ListValueNode) else (node,))
    ]
    return lambda values: [read(values) for read in items]


def _object_literal(node: ObjectValueNode, type_: GraphQLInputObjectType) -> Read:
    given = {field.name.value: field.value for field in node.fields}
    if type_.is_one_of or not given.keys() <= type_.fields.keys():
        return unsure
    members = [
        member(
            field.out_name or name,
            field.type,
            given.get(name),
            default_of(field, required=is_required_input_field(field)),
        )
        for name, field in type_.fields.items()
    ]
    finish = _finisher(type_)
    return lambda values: finish(read_members(members, values))


# An argument or an input field: its name, the variable that may be absent, how it is read, what stands for it when
# it was left out.
Member = tuple[str, str | None, Read, Any]


def member(name: str, type_: GraphQLInputType, node: ValueNode | None, default: Any) -> Member:
    """How to read an argument or an input field, which may stand in the document as a value or a variable."""
    if node is None:
        return name, None, unsure if default is REQUIRED else lambda _: default, default
    variable = node.name.value if isinstance(node, VariableNode) and default is not REQUIRED else None
    return name, variable, literal(node, type_), default


def read_members(members: Iterable[Member], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have a value. A variable that was not given is as good as nothing."""
    found: dict[str, Any] = {}
    for name, variable, read, default in members:
        value = default if variable is not None and variable not in values else read(values)
        if value is not Undefined:
            found[name] = value
    return found
