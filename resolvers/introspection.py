"""What a question about the schema itself may cost: graphql-core answers it in Python, while everybody waits."""

from typing import TYPE_CHECKING

from graphql import get_named_type, is_object_type

from resolvers.selection import Selected

if TYPE_CHECKING:
    from resolvers.compiler import Writer

# How many there are for each, about. Types are more by now: GraphiQL's own question has to fit, whatever their number.
_USUAL = {
    "types": 60,
    "fields": 7,
    "args": 2,
    "inputFields": 3,
    "enumValues": 4,
    "directives": 6,
    "interfaces": 1,
    "possibleTypes": 1,
}


def weigh(writer: "Writer", selected: Selected) -> None:
    """Adds to what the operation costs what `__schema` or `__type` asks for."""
    _weigh(writer, selected, "__Schema" if selected.name == "__schema" else "__Type")


def _weigh(writer: "Writer", selected: Selected, type_name: str) -> None:
    meta = writer.model.schema.get_type(type_name)
    if not is_object_type(meta):
        return
    for child in writer.below(selected, type_name):
        writer.weigh(1)
        known = meta.fields.get(child.name)
        if known is None:  # __typename
            continue
        inner = get_named_type(known.type).name
        rows = _USUAL.get(child.name)
        if rows is None:
            _weigh(writer, child, inner)
        else:
            with writer.repeated(rows=rows):
                _weigh(writer, child, inner)
