"""Courses in the format course/1: some to begin with, random ones, and what becomes of one that is imported."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import strategies as st
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from tests.people import Person

Document = dict[str, Any]
Connection = psycopg.Connection[TupleRow]

DEEPEST = 8


def block_id(number: int) -> str:
    return f"bb000000-0000-4000-8000-{number:012}"


def block(number: int, parent: int | None = None, **more: Any) -> Document:
    inside = {} if parent is None else {"parentId": block_id(parent)}
    return {"id": block_id(number), **inside, "kind": "page", "title": f"Block {number}", **more}


def section(number: int, parent: int | None = None, **more: Any) -> Document:
    return block(number, parent, kind="section", completionMode="aggregator", **more)


def course(*blocks: Any, **more: Any) -> Document:
    return {"format": "course/1", "title": "Imported", "blocks": list(blocks), **more}


def import_it(
    connection: Connection, document: Any, course_id: UUID | str | None = None, *, publish: bool = False
) -> tuple[str, str]:
    """The ids of the course and of the version."""
    given = {"course": document, "course_id": course_id and str(course_id), "publish": publish}
    row = connection.execute("select public.import_course(%s)", [Jsonb(given)]).fetchone()
    assert row is not None
    return row[0]["course_id"], row[0]["version_id"]


def export_it(connection: Connection, course_id: UUID | str, version: int | None = None) -> str | None:
    """The JSON as text, for the order of its keys."""
    asked = Jsonb({"id": str(course_id), "version": version})
    ((text,),) = connection.execute("select private.export_course(%s)::text", [asked]).fetchall()
    return None if text is None else str(text)


@contextmanager
def trying(person: Person) -> Iterator[Connection]:
    """Somebody at work, of which nothing stays."""
    with person.transaction() as connection, connection.transaction(force_rollback=True):
        yield connection


def mistake(person: Person, document: Any) -> tuple[str, str, str] | None:
    """SQLSTATE, place and message of the refusal; nothing when the document is imported."""
    try:
        with trying(person) as connection:
            import_it(connection, document)
    except psycopg.Error as error:
        diag = error.diag
        return error.sqlstate or "", diag.column_name or "", diag.message_primary or ""
    return None


def shortest(document: Document) -> Document:
    """The same course as an export writes it: nothing that is as by default, and ids in lower case."""
    defaults = {"weight": 1, "required": True, "completionMode": "completable", "parentId": None}
    blocks = [
        {
            key: value.lower() if key in ("id", "parentId") else value
            for key, value in block.items()
            if key not in defaults or value != defaults[key]
        }
        for block in document["blocks"]
    ]
    course = {key: value for key, value in document.items() if key != "description" or value is not None}
    return {**course, "blocks": blocks}


def ordered_keys(text: str) -> list[list[str]]:
    """The keys of each object in a JSON text, in their order there."""
    found: list[list[str]] = []
    json.loads(text, object_pairs_hook=lambda pairs: found.append([key for key, _ in pairs]))
    return found


_any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=100)
titles = _any_text.map(lambda text: f"{text}x")
kinds = st.from_regex(r"[a-z][a-z0-9_]{0,49}", fullmatch=True)
weights = st.one_of(st.just(1), st.integers(1, 100_000_000).map(lambda thousandths: thousandths / 1000))


@st.composite
def courses(draw: st.DrawFn) -> Document:
    """Random trees, with and without what may be left out."""
    depths: list[int] = []
    for _ in range(draw(st.integers(0, 12))):
        depths.append(draw(st.integers(1, min(DEEPEST, depths[-1] + 1 if depths else 1))))
    ids = draw(st.lists(st.uuids(), min_size=len(depths), max_size=len(depths), unique=True))
    blocks = [_block(draw, ids, depths, place) for place in range(len(depths))]
    about = draw(st.fixed_dictionaries({}, optional={"description": st.none() | _any_text}))
    return {"format": "course/1", "title": draw(titles), **about, "blocks": blocks}


def _block(draw: st.DrawFn, ids: Sequence[UUID], depths: Sequence[int], place: int) -> Document:
    written = st.sampled_from([str.lower, str.upper])
    above = [p for p in range(place) if depths[p] == depths[place] - 1]
    has_children = place + 1 < len(depths) and depths[place + 1] == depths[place] + 1
    modes = ["aggregator"] if has_children else ["completable", "excluded"]
    parent = {"parentId": draw(written)(str(ids[above[-1]]))} if depths[place] > 1 else {}
    if not parent and draw(st.booleans()):
        parent = {"parentId": None}  # type: ignore[dict-item]
    optional = {"weight": weights, "required": st.booleans()}
    if has_children:
        fixed = {"completionMode": "aggregator"}
    else:
        fixed, optional["completionMode"] = {}, st.sampled_from(modes)
    return {
        "id": draw(written)(str(ids[place])),
        **parent,
        "kind": draw(kinds),
        "title": draw(titles),
        **draw(st.fixed_dictionaries({}, optional=optional)),
        **fixed,
    }
