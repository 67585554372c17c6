"""The standard's rules for documents, as graphql-core has them, at half of the price.

graphql-core asks each of its thirty rules for its methods, by name, for each kind of node of each document. Which rule
has which method does not change: here that is looked up once.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from graphql import (
    BREAK,
    SKIP,
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    ListValueNode,
    Node,
    ObjectValueNode,
    ValidationContext,
    ValidationRule,
    ValueNode,
    Visitor,
    VisitorAction,
    specified_rules,
    validate,
    visit,
)
from graphql.language.visitor import EnterLeaveVisitor

Methods = list[tuple[int, Callable[..., Any]]]


def errors_of(schema: GraphQLSchema, document: DocumentNode, *, most: int) -> list[GraphQLError]:
    """What is wrong with a document by the standard's rules, up to a number of errors and one that says so."""
    return validate(schema, document, [_AllRules], max_errors=most, hide_suggestions=True)


def placed(error: GraphQLError, tree: DocumentNode) -> GraphQLError:
    """The error with the place of its value, if it is of one in an argument, as `input` and `courses.0.courseId`."""
    if error.nodes and isinstance(error.nodes[0], ValueNode):
        finder = _PlaceOf(error.nodes[0])
        visit(tree, finder)
        error.extensions = {**(error.extensions or {}), "place": finder.place}
    return error


class _PlaceOf(Visitor):
    """Looks for a value in the arguments of a document."""

    def __init__(self, node: ValueNode) -> None:
        super().__init__()
        self._node = node
        # The name of the argument, and where in it.
        self.place = ("", "")

    def enter_argument(self, argument: ArgumentNode, *_: Any) -> VisitorAction:
        found = _place_in(argument.value, self._node)
        if found is None:
            return SKIP
        self.place = (argument.name.value, ".".join(found))
        return BREAK


def _place_in(value: Node, wanted: ValueNode) -> list[str] | None:
    """The names and numbers that lead from a value to one inside of it."""
    if value is wanted:
        return []
    inside: list[tuple[str, Node]] = []
    if isinstance(value, ObjectValueNode):
        inside = [(field.name.value, field.value) for field in value.fields]
    elif isinstance(value, ListValueNode):
        inside = [(str(place), item) for place, item in enumerate(value.values)]
    for name, part in inside:
        found = _place_in(part, wanted)
        if found is not None:
            return [name, *found]
    return None


class _AllRules(ValidationRule):
    """All rules as one. A rule may pass over what is inside a node, or end; none changes the document."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._rules = [rule(context) for rule in specified_rules]
        # By rule: the node that it passes over, or BREAK.
        self._passing: list[Any] = [None] * len(self._rules)
        self._known: dict[str, EnterLeaveVisitor] = {}

    def get_enter_leave_for_kind(self, kind: str) -> EnterLeaveVisitor:
        if kind not in self._known:
            self._known[kind] = self._for_kind(kind)
        return self._known[kind]

    def _for_kind(self, kind: str) -> EnterLeaveVisitor:
        entering, leaving = self._methods("enter", kind), self._methods("leave", kind)
        passing = self._passing

        def enter(node: Node, *where: Any) -> None:
            for number, method in entering:
                if passing[number] is None:
                    result = method(node, *where)
                    if result is SKIP or result is False:
                        passing[number] = node
                    elif result is BREAK or result is True:
                        passing[number] = BREAK

        def leave(node: Node, *where: Any) -> None:
            for number, method in leaving:
                if passing[number] is None:
                    result = method(node, *where)
                    if result is BREAK or result is True:
                        passing[number] = BREAK
            for number, _ in entering:
                if passing[number] is node:
                    passing[number] = None

        return EnterLeaveVisitor(enter if entering else None, leave if entering or leaving else None)

    def _methods(self, when: str, kind: str) -> Methods:
        return [(number, getattr(self._rules[number], name)) for number, name in _names(when, kind)]


@cache
def _names(when: str, kind: str) -> list[tuple[int, str]]:
    """The rules that look at a kind of node, by number, and their methods for it."""
    found = []
    for number, rule in enumerate(specified_rules):
        for name in (f"{when}_{kind}", when):
            if hasattr(rule, name):
                found.append((number, name))
                break
    return found
