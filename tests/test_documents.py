"""What the server keeps of documents: enough to answer them again, and no more than it has room for."""

import gc
import itertools
import tracemalloc

import pytest

from resolvers.documents import MOST_BYTES, MOST_VARIANTS, Document, Documents, Operation
from resolvers.errors import ApiError
from resolvers.plan import Plan
from resolvers.variables import Given
from schema import model
from tests import cast
from tests.api import POLICY

SWITCHES = "abcde"
MANY_VARIANTS = (
    f"query ({', '.join(f'${name}: Boolean!' for name in SWITCHES)}) {{ viewer {{ id "
    + " ".join(f"{name}: displayName @include(if: ${name})" for name in SWITCHES)
    + " } }"
)


@pytest.fixture
def documents() -> Documents:
    return Documents(model(), POLICY.limits, POLICY.max_tokens)


def planned(documents: Documents, text: str, **variables: object) -> tuple[Document, Operation, Plan]:
    document = documents.read(text)
    operation = document.operation(None)
    return document, operation, documents.plan(document, operation, Given(operation.variables, variables))


def test_a_plan_is_made_once(documents: Documents) -> None:
    query = (
        "query ($first: Int, $id: UUID!) { program(id: $id) { id } programs(first: $first) { totalCount } }"
    )
    one = "123e4567-e89b-12d3-a456-426614174000"

    plans = [planned(documents, query, first=n, id=one.replace("1", str(n)))[2] for n in range(3)]

    assert plans[0] is plans[1] is plans[2]
    assert planned(documents, query, id=one)[2] is plans[0], "how many rows is a parameter, given or not"


def test_each_set_of_fields_has_a_plan_of_its_own_up_to_a_number(documents: Documents) -> None:
    other = planned(documents, "{ viewer { id } }")[2]

    for values in itertools.product([True, False], repeat=len(SWITCHES)):
        chosen = dict(zip(SWITCHES, values, strict=True))
        _, operation, plan = planned(documents, MANY_VARIANTS, **chosen)
        (field,) = plan.fields
        (template,) = field.templates
        assert [f'"{name}":' in template.sql for name in SWITCHES] == list(values)

    assert len(operation.plans) == MOST_VARIANTS < 2 ** len(SWITCHES)
    assert planned(documents, "{ viewer { id } }")[2] is other, "one document pushes no other out"


def test_all_documents_together_have_an_end(documents: Documents) -> None:
    for number in range(400):
        planned(documents, f"query Q{number} {{ viewer {{ id }} }} # " + "x" * 100_000)

    assert len(documents) < 400
    assert documents.weight <= MOST_BYTES


def test_operations_of_one_document_are_told_apart(documents: Documents) -> None:
    document = documents.read("query A { viewer { id } } query B { viewer { email } }")

    assert [document.operation(name).name for name in "AB"] == ["A", "B"]
    for missing in (None, "C"):
        with pytest.raises(ApiError, match="operationName"):
            document.operation(missing)


_DRAFTS = "DRAFT " * 1_800
_PUT = '{courseId: "d0000000-0000-4000-8000-000000000001"} ' * 300
_ALL_OF_IT = "nodes { id title status createdAt courseAssignments { course { id blocks { id title } } } }"


@pytest.mark.parametrize(
    "text",
    [
        "query Q%d { viewer { id } }",
        "query Q%d { " + f"programs(first: 1) {{ {_ALL_OF_IT} }} " * 10 + "}",
        f"query Q%d {{ programs(filter: {{status: [{_DRAFTS}]}}) {{ totalCount }} }}",
        f"query Q%d ($a: ProgramFilter = {{status: [{_DRAFTS}]}}) {{ programs(filter: $a) {{ totalCount }} }}",
        f"query Q%d ($a: ProgramStatus = DRAFT) {{ programs(filter: {{status: [$a {_DRAFTS}]}}) {{ totalCount }} }}",
        f'mutation Q%d {{ assignCourses(input: {{programId: "{cast.DRAFT}", courses: [{_PUT}]}}) {{ __typename }} }}',
        " ".join(f"query Q%d_{n} ($a: Int) {{ programs(first: $a) {{ totalCount }} }}" for n in range(90)),
    ],
    ids=["small", "wide", "literals", "defaults", "literals with a variable", "objects", "operations"],
)
def test_what_is_kept_takes_no_more_memory_than_it_is_counted_for(documents: Documents, text: str) -> None:
    def read(numbers: range) -> None:
        for number in numbers:
            document = documents.read(text.replace("%d", str(number)))
            operation = document._operations[0]
            documents.plan(document, operation, Given(operation.variables, {}))

    read(range(1))  # what all documents share
    gc.collect()
    tracemalloc.start()
    try:
        before, counted = tracemalloc.get_traced_memory()[0], documents.weight
        read(range(1, 10))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert len(documents) == 10
    assert taken < 1.5 * (documents.weight - counted)
