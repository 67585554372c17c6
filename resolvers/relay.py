"""The types that every list shares: Relay's connections, and the direction of an order."""

from enum import Enum
from typing import Generic, TypeVar

import strawberry

Node = TypeVar("Node")


@strawberry.enum(description="Up or down.")
class OrderDirection(Enum):
    ASC = "asc"
    DESC = "desc"


@strawberry.type(description="Where a page begins and ends, and whether there is more.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follow after `endCursor`.")
    has_previous_page: bool = strawberry.field(description="Whether this page began after a cursor.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first one on this page.")
    end_cursor: str | None = strawberry.field(description="Cursor of the last one; pass it as `after`.")


@strawberry.type(description="One of a connection, with its cursor.")
class Edge(Generic[Node]):
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this one.")
    node: Node = strawberry.field(description="The thing itself.")


@strawberry.type(description="A page of a list, in a stable order.")
class Connection(Generic[Node]):
    edges: list[Edge[Node]] = strawberry.field(description="With cursors.")
    nodes: list[Node] = strawberry.field(description="Without cursors.")
    page_info: PageInfo = strawberry.field(description="For the next page.")
    total_count: int = strawberry.field(
        description="How many there are in all pages, as far as the caller may see. Counted only when selected."
    )
