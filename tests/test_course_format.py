"""The format course/1: each mistake has its message, the schema for tools says the same, and nothing is lost."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.course_documents import (
    Document,
    block,
    block_id,
    course,
    courses,
    export_it,
    import_it,
    mistake,
    ordered_keys,
    section,
    shortest,
    trying,
)
from tests.databases import Database
from tests.people import Person

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA = json.loads((DOCS / "schemas" / "course.schema.json").read_text())
KEYS = ["id", "parentId", "kind", "title", "weight", "required", "completionMode"]

# Where hypothesis tries many examples in one database, which each leaves as it was.
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


def without(document: Document, key: str) -> Document:
    return {name: value for name, value in document.items() if name != key}


def chain(*parents: int | None) -> Document:
    """Sections numbered from 1, each in the one of that number, and a page in the last."""
    sections = [section(number, parent) for number, parent in enumerate(parents, start=1)]
    return course(*sections, block(99, len(parents)))


B1, B2, B3 = block_id(1), block_id(2), block_id(3)
MISTAKES: dict[str, tuple[Any, str, str]] = {
    "nothing": (None, "course", "A course is an object"),
    "a list": ([], "course", "A course is an object"),
    "a text": ("course/1", "course", "A course is an object"),
    "no format": (
        without(course(), "format"),
        "course.format",
        'format is missing. Write "format": "course/1".',
    ),
    "another version": (
        course(format="course/2"),
        "course.format",
        'The format "course/2" is not known here.',
    ),
    "a number as format": (course(format=1), "course.format", "The format 1 is not known here."),
    "an unknown key": (
        course(titel="x"),
        "course",
        'A course has no key "titel". Its keys are format, title,',
    ),
    "no title": (without(course(), "title"), "course.title", "The title is missing."),
    "a null title": (course(title=None), "course.title", "The title has to be a text, not null."),
    "a number as title": (course(title=5), "course.title", "The title has to be a text, not number."),
    "a blank title": (course(title=" \u200b\n"), "course.title", "The title is blank."),
    "a long title": (course(title="x" * 201), "course.title", "The title is longer than 200 characters."),
    "a list as description": (
        course(description=[]),
        "course.description",
        "The description has to be a text",
    ),
    "a long description": (course(description="x" * 10_001), "course.description", "longer than 10000 char"),
    "no blocks": (without(course(), "blocks"), "course.blocks", "blocks has to be the list"),
    "an object as blocks": (course() | {"blocks": {}}, "course.blocks", "blocks has to be the list"),
    "too many blocks": (course(*[1] * 5001), "course.blocks", "at most 5000 blocks; these are 5001."),
    "a text as block": (
        course(block(1), "x"),
        "course.blocks.1",
        "blocks.1: it has to be an object, not string",
    ),
    "an unknown key of a block": (
        *(course(block(1, parent_id=None)), "course.blocks.0"),
        f'blocks.0 "Block 1" ({B1}): a block has no key "parent_id". Its keys are id, parentId,',
    ),
    "no id": (course(without(block(1), "id")), "course.blocks.0.id", 'blocks.0 "Block 1": id is missing.'),
    "a number as id": (course(block(1, id=7)), "course.blocks.0.id", "id has to be a text, not number."),
    "a blank id": (course(block(1, id="")), "course.blocks.0.id", "id is blank."),
    "a long id": (course(block(1, id=f"{{{B1}}}")), "course.blocks.0.id", "id is longer than 36 characters."),
    "an id that is none": (course(block(1, id="one")), "course.blocks.0.id", "id is not a UUID"),
    "an id twice": (
        *(course(block(1), block(2), block(1)), "course.blocks.2.id"),
        f'blocks.2 "Block 1" ({B1}): blocks.0 has the same id.',
    ),
    "an id twice, written in two ways": (
        *(course(block(1), block(1, id=B1.upper())), "course.blocks.1.id"),
        "blocks.0 has the same id.",
    ),
    "a number as parent": (
        *(course(block(1, parentId=7)), "course.blocks.0.parentId"),
        "parentId has to be a text, not number.",
    ),
    "a parent that is no id": (
        *(course(block(1, parentId="one")), "course.blocks.0.parentId"),
        "parentId is not a UUID",
    ),
    "an orphan": (
        *(course(block(1), block(2, 3)), "course.blocks.1.parentId"),
        f'blocks.1 "Block 2" ({B2}): parentId {B3} is the id of no block here.',
    ),
    "its own parent": (chain(1), "course.blocks.0.parentId", "parentId is its own id."),
    "a circle": (
        *(course(block(1), section(2, 3), section(3, 2)), "course.blocks.1.parentId"),
        f'blocks.1 "Block 2" ({B2}): it is in a circle: from parent to parent, through blocks.2,',
    ),
    "a long circle": (chain(4, 1, 2, 3), "course.blocks.0.parentId", "it is in a circle"),
    "before its parent": (
        *(course(block(1, 2), section(2)), "course.blocks.0.parentId"),
        "it stands before the block that it is in, blocks.1.",
    ),
    "before its parent, which is in a circle": (
        *(course(block(1, 2), section(2, 3), section(3, 2)), "course.blocks.0.parentId"),
        "it stands before the block that it is in, blocks.1.",
    ),
    "apart from its parent": (
        *(course(section(1), block(2, 1), block(3), block(4, 1)), "course.blocks.3.parentId"),
        "it stands apart from the block that it is in, blocks.0.",
    ),
    "in a page": (
        *(course(block(1), block(2, 1)), "course.blocks.1.parentId"),
        "it is in blocks.0, which is completable. Only an aggregator has blocks in it.",
    ),
    "in what is excluded": (
        *(course(block(1, completionMode="excluded"), block(2, 1)), "course.blocks.1.parentId"),
        "it is in blocks.0, which is excluded.",
    ),
    "too deep": (
        *(chain(None, *range(1, 8)), "course.blocks.8.parentId"),
        'blocks.8 "Block 99" (bb000000-0000-4000-8000-000000000099): it is on level 9. Blocks are at most 8',
    ),
    "no kind": (course(without(block(1), "kind")), "course.blocks.0.kind", "kind is missing."),
    "a list as kind": (
        course(block(1, kind=[])),
        "course.blocks.0.kind",
        "kind has to be a text, not array.",
    ),
    "a kind in capitals": (course(block(1, kind="Page")), "course.blocks.0.kind", "kind has to be of a-z"),
    "a kind with a line end": (
        course(block(1, kind="page\n")),
        "course.blocks.0.kind",
        "kind has to be of a-z",
    ),
    "a long kind": (course(block(1, kind="x" * 51)), "course.blocks.0.kind", "kind is longer than 50 char"),
    "no title of a block": (
        *(course(without(block(1), "title")), "course.blocks.0.title"),
        f"blocks.0 ({B1}): title is missing.",
    ),
    "a blank title of a block": (
        course(block(1, title="\u3000")),
        "course.blocks.0.title",
        "title is blank.",
    ),
    "an object as title": (
        course(block(1, title={})),
        "course.blocks.0.title",
        "title has to be a text, not obj",
    ),
    "a long title of a block": (
        course(block(1, title="é" * 201)),
        "course.blocks.0.title",
        "longer than 200",
    ),
    "no weight": (
        course(block(1, weight=None)),
        "course.blocks.0.weight",
        "weight has to be a number, not null.",
    ),
    "a text as weight": (
        course(block(1, weight="1")),
        "course.blocks.0.weight",
        "has to be a number, not string",
    ),
    "a weight of 0": (course(block(1, weight=0)), "course.blocks.0.weight", "weight has to be over 0"),
    "a weight below 0": (course(block(1, weight=-1)), "course.blocks.0.weight", "weight has to be over 0"),
    "a large weight": (course(block(1, weight=100_000.1)), "course.blocks.0.weight", "at most 100000"),
    "a huge weight": (course(block(1, weight=10**400)), "course.blocks.0.weight", "at most 100000"),
    "a fine weight": (
        course(block(1, weight=1.0005)),
        "course.blocks.0.weight",
        "three decimals, and has more",
    ),
    "a text as required": (
        *(course(block(1, required="yes")), "course.blocks.0.required"),
        "required has to be true or false, not string.",
    ),
    "an unknown mode": (
        *(course(block(1, completionMode="COMPLETABLE")), "course.blocks.0.completionMode"),
        'completionMode has to be "completable", "aggregator" or "excluded".',
    ),
    "a null mode": (course(block(1, completionMode=None)), "course.blocks.0.completionMode", "has to be "),
    "an empty aggregator": (
        *(course(section(1), block(2)), "course.blocks.0.completionMode"),
        "it is an aggregator with nothing in it",
    ),
}


@pytest.mark.parametrize(("document", "place", "said"), MISTAKES.values(), ids=MISTAKES)
def test_every_mistake_has_its_message(as_admin: Person, document: Any, place: str, said: str) -> None:
    found = mistake(as_admin, document)

    assert found is not None
    assert found[:2] == ("PT400", place)
    assert said in found[2]


def test_the_first_mistake_of_the_document_is_told(as_admin: Person) -> None:
    document = course(section(1), block(2, 1), block(3, weight=0), block(2), block(4, 9), kind=1)

    for place in ("course", "course.blocks.2.weight", "course.blocks.3.id", "course.blocks.4.parentId"):
        found = mistake(as_admin, document)
        assert found is not None
        assert found[1] == place
        if place == "course":
            del document["kind"]
        else:
            document["blocks"][int(place.split(".")[2])] = block(20 + int(place.split(".")[2]))
    assert mistake(as_admin, document) is None


def test_the_limits_themselves_are_allowed(as_admin: Person) -> None:
    assert mistake(as_admin, chain(None, *range(1, 7))) is None
    for more in ({"weight": 100_000}, {"weight": 0.001}, {"kind": "x" * 50}, {"title": "😀" * 200}):
        assert mistake(as_admin, course(block(1, **more), title="x" * 200, description="x" * 10_000)) is None


@many
@given(document=courses())
def test_what_is_imported_comes_out_again(as_admin: Person, document: Document) -> None:
    with trying(as_admin) as connection:
        course_id, version_id = import_it(connection, document, publish=True)
        text = export_it(connection, course_id)
        assert text is not None
        exported = json.loads(text)
        again = import_it(connection, exported, course_id, publish=True)

        assert exported == shortest(document)
        assert again == (course_id, version_id)
        assert export_it(connection, course_id) == text
        for keys in ordered_keys(text)[:-1]:
            assert keys == [key for key in KEYS if key in keys]
        about = [key for key in ("format", "title", "description", "blocks") if key in exported]
        assert ordered_keys(text)[-1] == about


def valid(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(document))


# The rules that a schema cannot say, each by words of its message.
OF_THE_TREE = re.compile(
    "has the same id|is the id of no block|is its own id|stands before|stands apart|in a circle"
    "|Only an aggregator|levels deep|aggregator with nothing|three decimals"
)

_numbers = st.integers(-5, 200_000) | st.floats(-1, 200_000, allow_nan=False)
_odd_text = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=3)
_odd = st.recursive(
    st.none() | st.booleans() | _numbers | _odd_text | st.sampled_from(["aggregator", B1, "course/1", "\n"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> Document:
    """A course with something else in one place, something more, or something less."""
    document = draw(courses())
    blocks = document["blocks"]
    target = draw(st.sampled_from([document, *blocks]))
    key = draw(st.sampled_from([*target, *KEYS, "description", "more"]))
    if draw(st.booleans()):
        target[key] = draw(_odd)
    else:
        target.pop(key, None)
    return document


@settings(many, max_examples=400)
@given(document=damaged() | _odd)
def test_the_schema_and_the_database_say_the_same(as_admin: Person, document: Any) -> None:
    found = mistake(as_admin, document)

    if valid(document):
        assert found is None or OF_THE_TREE.search(found[2]), found
    else:
        assert found is not None
        assert found[0] == "PT400"


@settings(many, max_examples=400)
@given(title=st.text(st.characters(categories=["Cc", "Cf", "Co", "Cn", "Z", "M"]), min_size=1, max_size=2))
def test_the_schema_and_the_database_see_the_same_titles_as_blank(as_admin: Person, title: str) -> None:
    document = course(title=title.replace("\0", ""))

    assert (mistake(as_admin, document) is None) == valid(document)


def test_the_schema_accepts_what_is_documented() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (DOCS / "course-format.md").read_text(), re.DOTALL)

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert valid(json.loads(example))


def test_the_documented_example_is_imported(as_admin: Person) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (DOCS / "course-format.md").read_text(), re.DOTALL)

    assert mistake(as_admin, json.loads(example)) is None
