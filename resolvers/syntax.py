"""What a syntax tree costs to keep."""

from graphql import Node
from graphql.language.ast import QUERY_DOCUMENT_KEYS

# Measured: a node without its place in the text, and what reads it on each request.
_BYTES_A_NODE = 500


def weight_of(node: Node) -> int:
    """Bytes of memory, about, of a node and everything in it."""
    waiting, number = [node], 0
    while waiting:
        node = waiting.pop()
        number += 1
        for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()):
            child = getattr(node, key, None)
            if isinstance(child, Node):
                waiting.append(child)
            elif child:
                waiting.extend(child)
    return number * _BYTES_A_NODE
