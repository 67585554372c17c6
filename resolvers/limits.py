"""What a document may cost, found in one pass over it, before the standard rules run.

Linear in the document, however its fragments nest: each fragment is measured once. Strawberry's own limiters and
graphql-core's overlapping-fields rule take exponential and quadratic time on hostile documents.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from resolvers.errors import ApiError

# Generous for documents that people write; what stays below is validated in milliseconds.
MOST_SPREADS = 50
MOST_DIRECTIVES = 50
MOST_REPEATED_NAMES = 100
# The schema describes itself in nested lists, and GraphiQL's own question about it is this deep.
INTROSPECTION_DEPTH = 20


@dataclass(frozen=True)
class Limits:
    """The most that one operation may have; the fields are the settings of the same names."""

    max_depth: int
    max_aliases: int
    max_root_fields: int
    max_fields: int


@dataclass(frozen=True)
class _Size:
    """The size of a selection set with its fragments written out."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    own_fields: int = 0
    names: Counter[str] = field(default_factory=Counter)


class _Measure:
    def __init__(self, document: DocumentNode) -> None:
        self.fragments: Mapping[str, FragmentDefinitionNode] = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        self.known: dict[str, _Size] = {}
        self.spreads = 0
        self.directives = 0
        self.repeated_names = 0

    def selection_set(self, selection_set: SelectionSetNode | None) -> _Size:
        if selection_set is None:
            return _Size()
        if not selection_set.selections:
            raise ApiError("BAD_USER_INPUT", "A selection `{}` is empty. Name at least one field in it.")
        depth = aliases = fields = own_fields = 0
        names: Counter[str] = Counter()
        for node in selection_set.selections:
            self.directives += len(node.directives or ())
            size = self._node(node)
            depth, aliases = max(depth, size.depth), aliases + size.aliases
            fields, own_fields = fields + size.fields, own_fields + size.own_fields
            names.update(size.names)
        return _Size(depth, aliases, fields, own_fields, names)

    def _whole(self, selection_set: SelectionSetNode | None) -> _Size:
        """The size of all that is asked of one object, whose fields are merged by name, fragments or not."""
        size = self.selection_set(selection_set)
        self.repeated_names += sum(count - 1 for count in size.names.values())
        return size

    def _node(self, node: object) -> _Size:
        if isinstance(node, FieldNode):
            return self._field(node)
        if isinstance(node, InlineFragmentNode):
            return self.selection_set(node.selection_set)
        if isinstance(node, FragmentSpreadNode):
            self.spreads += 1
            return self._fragment(node.name.value)
        return _Size()

    def _field(self, node: FieldNode) -> _Size:
        below = self._whole(node.selection_set)
        depth = below.depth + 1
        if node.name.value in ("__schema", "__type"):
            depth = 1 if depth <= INTROSPECTION_DEPTH else depth
        name = node.alias.value if node.alias else node.name.value
        return _Size(depth, below.aliases + (node.alias is not None), below.fields + 1, 1, Counter({name: 1}))

    def _fragment(self, name: str) -> _Size:
        if name not in self.known:
            self.known[name] = _Size()  # what a cycle comes back to; the standard rules refuse it
            fragment = self.fragments.get(name)
            if fragment is not None:
                self.directives += len(fragment.directives or ())
                self.known[name] = self.selection_set(fragment.selection_set)
        return self.known[name]


def check(document: DocumentNode, limits: Limits) -> None:
    """Raises LIMIT_EXCEEDED, naming the limit, when any operation of the document is over one."""
    measure = _Measure(document)
    for name in measure.fragments:
        measure._fragment(name)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            size = measure._whole(definition.selection_set)
            measure.directives += len(definition.directives or ())
            _refuse_over("fields deep", size.depth, limits.max_depth)
            _refuse_over("aliases, fragments written out", size.aliases, limits.max_aliases)
            _refuse_over("root fields", size.own_fields, limits.max_root_fields)
            _refuse_over("fields, fragments written out", size.fields, limits.max_fields)
    _refuse_over("fragment spreads", measure.spreads, MOST_SPREADS)
    _refuse_over("directives", measure.directives, MOST_DIRECTIVES)
    _refuse_over("repeated field names", measure.repeated_names, MOST_REPEATED_NAMES)


def _refuse_over(what: str, found: int, most: int) -> None:
    if found > most:
        shown = str(found) if found < 1_000_000 else "over a million"
        raise ApiError(
            "LIMIT_EXCEEDED", f"The document has {shown} {what}; {most} are allowed. Ask for less at once."
        )
