"""What a document asks for: fields by response key, fragments flattened, `@skip` and `@include` decided."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
)
from graphql.language import BooleanValueNode, DirectiveNode, VariableNode

from resolvers.errors import ApiError

Fragments = Mapping[str, FragmentDefinitionNode]
Variables = Mapping[str, Any]


@dataclass
class Selected:
    """One response key of an object: the field, and every node that asks for it (they ask for the same)."""

    key: str
    name: str
    nodes: list[FieldNode]

    @property
    def node(self) -> FieldNode:
        return self.nodes[0]


def select(
    sets: list[SelectionSetNode], type_name: str, fragments: Fragments, variables: Variables
) -> list[Selected]:
    """The fields that the selection sets ask of an object of a type, merged, in the order of first mention."""
    found: dict[str, Selected] = {}
    for selection_set in sets:
        for node in _fields(selection_set, type_name, fragments, variables, set()):
            key = node.alias.value if node.alias else node.name.value
            if key in found:
                found[key].nodes.append(node)
            else:
                found[key] = Selected(key, node.name.value, [node])
    return list(found.values())


def select_below(
    selected: Selected, type_name: str, fragments: Fragments, variables: Variables
) -> list[Selected]:
    """The fields asked of the object that a field leads to."""
    sets = [node.selection_set for node in selected.nodes if node.selection_set]
    return select(sets, type_name, fragments, variables)


def _fields(
    selection_set: SelectionSetNode,
    type_name: str,
    fragments: Fragments,
    variables: Variables,
    seen: set[str],
) -> Iterator[FieldNode]:
    for node in selection_set.selections:
        if not _included(node.directives, variables):
            continue
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            # All our types are objects: a condition is met by the type itself or not at all.
            if node.type_condition is None or node.type_condition.name.value == type_name:
                yield from _fields(node.selection_set, type_name, fragments, variables, seen)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            seen.add(node.name.value)
            fragment = fragments[node.name.value]
            if fragment.type_condition.name.value == type_name:
                yield from _fields(fragment.selection_set, type_name, fragments, variables, seen)


def _included(directives: Any, variables: Variables) -> bool:
    for directive in directives or ():
        if directive.name.value == "skip" and _condition(directive, variables):
            return False
        if directive.name.value == "include" and not _condition(directive, variables):
            return False
    return True


def _condition(directive: DirectiveNode, variables: Variables) -> bool:
    (argument,) = directive.arguments or ()
    value = argument.value
    if isinstance(value, VariableNode):
        given = variables.get(value.name.value)
        # A nullable variable with a default may stand here by the rules of validation, and still be null.
        if not isinstance(given, bool):
            name = value.name.value
            raise ApiError(
                "BAD_USER_INPUT", f"${name} decides @{directive.name.value} and cannot be null.", field=name
            )
        return given
    return isinstance(value, BooleanValueNode) and value.value
