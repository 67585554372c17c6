"""The audit log: admins read that of their community, and nobody changes what is in it."""

from typing import Any

import psycopg
import pytest
from structlog.contextvars import bound_contextvars

from tests import cast
from tests.api import Api
from tests.auditing import UPDATE
from tests.cast import ALPHA, BETA
from tests.databases import Database
from tests.people import Person

LOG = """query ($filter: AuditFilter, $first: Int, $after: String) {
    auditLog(filter: $filter, first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor } nodes {
        id occurredAt actorId actor { userId displayName } actingAs action objectType objectId objectKey before after
        changed reason requestId sealed } } }"""


async def test_signed_out_is_told_to_sign_in(api: Api, as_anon: Person) -> None:
    assert (await api.ask(as_anon, LOG)).code == "UNAUTHENTICATED"


async def test_learners_find_nothing_admins_their_own_community(
    api: Api, as_learner: Person, as_suspended: Person, as_admin: Person, as_other_community: Person
) -> None:
    seen = {
        person: (await api.ask(person_, LOG, first=100)).data["auditLog"]
        for person, person_ in (("learner", as_learner), ("suspended", as_suspended), ("admin", as_admin))
    }
    elsewhere = (await api.ask(as_other_community, LOG, first=100)).data["auditLog"]

    assert (seen["learner"]["totalCount"], seen["suspended"]["totalCount"]) == (0, 0)
    assert seen["admin"]["totalCount"] == len(seen["admin"]["nodes"]) > 0
    ids = {node["objectId"] for node in seen["admin"]["nodes"]}
    assert {str(cast.DRAFT), str(ALPHA)} <= ids
    assert not ids & {str(BETA), str(cast.OTHER_DRAFT)}
    assert {str(BETA), str(cast.OTHER_DRAFT)} <= {node["objectId"] for node in elsewhere["nodes"]}


async def test_a_change_says_who_what_when_and_by_which_request(api: Api, as_admin: Person) -> None:
    with bound_contextvars(request_id="the-request"):
        await api.ask(as_admin, UPDATE, input={"id": cast.DRAFT, "title": "Late autumn", "durationWeeks": 6})

    node = (await api.ask(as_admin, LOG, first=1)).data["auditLog"]["nodes"][0]
    assert node.pop("id")
    assert node.pop("occurredAt")
    assert node == {
        "actorId": str(cast.ADMIN.id),
        "actor": {"userId": str(cast.ADMIN.id), "displayName": "Ada"},
        "actingAs": "COMMUNITY_ADMIN",
        "action": "program.updated",
        "objectType": "program",
        "objectId": str(cast.DRAFT),
        "objectKey": None,
        "before": {"title": "Autumn", "duration_weeks": None},
        "after": {"title": "Late autumn", "duration_weeks": 6},
        "changed": ["title", "duration_weeks"],
        "reason": None,
        "requestId": "the-request",
        "sealed": False,
    }


@pytest.mark.parametrize("role", ["postgres", "service_role", "authenticated"])
@pytest.mark.parametrize("table", ["public.audit_entries", "private.audit_seals", "private.audit_heads"])
@pytest.mark.parametrize(
    "statement", ["update {} set community_id = community_id", "delete from {}", "truncate {}"]
)
def test_nobody_changes_the_log(
    database: Database, as_admin: Person, role: str, table: str, statement: str
) -> None:
    with database.connect() as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [as_admin.claims_text])
        connection.execute(f"set local role {role}")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(statement.format(table))

    assert refused.value.sqlstate == ("PT403" if role == "postgres" else "42501")


@pytest.mark.parametrize("role", ["service_role", "authenticated"])
def test_nobody_writes_it_by_hand(database: Database, as_admin: Person, role: str) -> None:
    with database.connect() as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [as_admin.claims_text])
        connection.execute(f"set local role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "insert into public.audit_entries (community_id, acting_as, action, object_type, object_id)"
                " values (%s, 'system', 'x', 'x', %s)",
                [ALPHA, ALPHA],
            )


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"actorId": str(cast.ADMIN.id)}, {"by Ada"}),
        ({"actorId": str(cast.LEARNER.id)}, set()),
        ({"action": "program.published"}, set()),
        ({"action": "course.updated"}, {"a course"}),
        ({"objectType": "program"}, {"by Ada", "by Sue"}),
        ({"objectId": str(cast.COURSE)}, {"a course"}),
        ({"requestId": "of Sue"}, {"by Sue"}),
        ({"from": "2020-01-01T00:00:00Z"}, {"by Ada", "by Sue", "a course"}),
        ({"from": "2099-01-01T00:00:00Z"}, set()),
        ({"until": "2020-01-01T00:00:00Z"}, set()),
        ({"objectType": "program", "actorId": str(cast.SUPER_ADMIN.id)}, {"by Sue"}),
    ],
)
async def test_filters_find_exactly_what_they_say(
    database: Database,
    api: Api,
    as_admin: Person,
    as_super_admin: Person,
    condition: dict[str, str],
    found: set[str],
) -> None:
    await api.ask(as_admin, UPDATE, input={"id": cast.DRAFT, "title": "by Ada"})
    with bound_contextvars(request_id="of Sue"):
        await api.ask(as_super_admin, UPDATE, input={"id": cast.DRAFT, "title": "by Sue"})
    database.run("update public.courses set title = 'a course' where id = %s", cast.COURSE)

    nodes = (await api.ask(as_admin, LOG, filter=condition, first=100)).data["auditLog"]["nodes"]

    titles = {
        n["after"]["title"] for n in nodes if n["action"].endswith(".updated") and "title" in n["after"]
    }
    assert titles == found


async def test_pages_are_newest_first_and_complete(api: Api, as_admin: Person) -> None:
    whole = (await api.ask(as_admin, LOG, first=100)).data["auditLog"]["nodes"]

    paged: list[Any] = []
    after = None
    while True:
        page = (await api.ask(as_admin, LOG, first=7, after=after)).data["auditLog"]
        paged += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    assert paged == whole
    times = [node["occurredAt"] for node in whole]
    assert times == sorted(times, reverse=True)
