"""What the server keeps of documents: enough to answer them again, and no more than it has room for."""

import itertools

import pytest

from resolvers.documents import MOST_BYTES, MOST_VARIANTS, Document, Documents, Operation
from resolvers.errors import ApiError
from resolvers.plan import Plan
from resolvers.variables import Given
from schema import model
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
