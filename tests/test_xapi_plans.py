"""Statements are stored and read by looking at little more than is sent or shown, whoever does, in a large community.

What a function does shows in no plan of the statement that calls it. So its rows are counted, and its pages: an index
may be gone through from end to end without a row being read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest

from resolvers.plan import Statement
from resolvers.xapi.questions import address_of_more, question
from tests import cast, crowd
from tests.api import identity_of
from tests.crowded import Crowded, connection_of, crowded_database
from tests.databases import Database
from tests.people import Person, signed_in
from tests.plans import MODES, Ran, complaints, growth, run
from tests.stating import ADL, Said, statement, voiding

LEARNER, ADMIN = cast.LEARNER, cast.ADMIN
PEOPLE = {"learner": LEARNER, "admin": ADMIN, "super admin": cast.SUPER_ADMIN}

FEW, MANY = 5, 50
# What is shown is looked up, what is sent is written with its indexes and checked; a list is planned each time.
PAGES_SHOWN, PAGES_SENT, PAGES_IN_ANY_CASE = 4, 60, 250
# A learner's list by these may read all that is their own. No index has both: everybody's statements would pay for it.
NO_INDEX_OF_ONES_OWN = {"verb", "activity"}
SECRET = b"a secret of the tests, long enough"

ABOUT_A_BLOCK = f"urn:uuid:{crowd.BEGUN_BLOCK}"
LISTS: Mapping[str, Mapping[str, str]] = {
    "all": {},
    "a usual verb": {"verb": f"{ADL}completed"},
    "a rare verb": {"verb": f"{ADL}passed"},
    "a verb of long ago": {"verb": f"{ADL}attempted"},
    "a verb of admins": {"verb": f"{ADL}voided"},
    "a verb of nobody": {"verb": f"{ADL}juggled"},
    "a block": {"activity": ABOUT_A_BLOCK},
    "an activity of the learner": {"activity": crowd.WATCHED},
    "an activity that is void": {"activity": crowd.BROKEN},
    "an activity of nobody": {"activity": "http://x.example/none"},
    "a usual verb and a block": {"verb": f"{ADL}completed", "activity": ABOUT_A_BLOCK},
    "a rare verb and a block": {"verb": f"{ADL}passed", "activity": ABOUT_A_BLOCK},
    "since lately": {"since": "2026-02-20T00:00:00Z"},
    "since never": {"since": "2099-01-01T00:00:00Z"},
    "until long ago": {"until": "2025-06-03T00:00:00Z"},
    "until what is void": {"until": "2026-02-01T00:33:20Z"},
    "since and until": {"since": "2025-06-10T00:00:00Z", "until": "2025-06-12T00:00:00Z"},
    "a usual verb since lately": {"verb": f"{ADL}completed", "since": "2026-02-20T00:00:00Z"},
}
ORDERS = {"descending": "false", "ascending": "true"}

# What is sent by whom: many at once, but of those that count, which take what `recordProgress` takes.
SENT: Mapping[str, tuple[cast.Character, Sequence[Said]]] = {
    "new": (LEARNER, [statement(LEARNER, "juggled", "http://x.example/ball") for _ in range(MANY)]),
    "new, of a member": (
        ADMIN,
        [statement(LEARNER, "juggled", "http://x.example/ball") for _ in range(MANY)],
    ),
    "there already": (
        LEARNER,
        [statement(LEARNER, "experienced", crowd.WATCHED, id=str(known)) for known in crowd.SAID],
    ),
    "voiding": (LEARNER, [voiding(LEARNER, str(known)) for known in crowd.SAID]),
    "voiding, of a member": (ADMIN, [voiding(ADMIN, str(known)) for known in crowd.SAID]),
    "voiding what is void": (ADMIN, [voiding(ADMIN, str(known)) for known in crowd.VOIDED]),
    "voiding nothing": (ADMIN, [voiding(ADMIN, str(uuid4())) for _ in range(MANY)]),
    "that counts": (LEARNER, [statement(LEARNER, block=ABOUT_A_BLOCK)]),
}
# As in `test_plans.py`: the learner's enrolments are gone through, and in each one course is looked up.
NOTHING: Mapping[str, int] = {}
FOLLOWED: Mapping[str, int] = dict.fromkeys(("program_enrollments", "program_course_assignments"), 3 * 60)


@pytest.fixture(scope="module")
def crowded(template: Database) -> Iterator[Crowded]:
    with crowded_database(template) as crowded:
        yield crowded


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", LISTS)
def test_a_list_reads_what_it_shows(crowded: Crowded, name: str, order: str, who: str) -> None:
    assert _wrong(crowded, name, order, who) == []


def _wrong(crowded: Crowded, name: str, order: str, who: str) -> list[str]:
    """What is wrong with how somebody's first page of a list is read, and the one behind it."""
    person = signed_in(crowded.database, PEOPLE[who])
    asked = {**LISTS[name], "ascending": ORDERS[order]}
    own = crowd.WATCHED_TIMES if who == "learner" and asked.keys() & NO_INDEX_OF_ONES_OWN else 0
    few, many = (_read(crowded, person, {**asked, "limit": str(limit)}) for limit in (FEW, MANY))
    found = [*_too_much(many, MANY, PAGES_SHOWN, own), *growth(few, many, crowded.questions, {})]
    if more := _more(person, asked, many):
        next_page = _read(crowded, person, more)
        found += [f"{words} (more)" for words in _too_much(next_page, MANY, PAGES_SHOWN, own)]
    return found


def _read(crowded: Crowded, person: Person, parameters: Mapping[str, str]) -> Ran:
    """How a list is planned does not depend on the mode: always for its values."""
    asked = question(parameters, identity_of(person), SECRET)
    return _ran(crowded, person, asked.statement(), MODES[0])


def _more(person: Person, parameters: Mapping[str, str], ran: Ran) -> Mapping[str, str] | None:
    """What the address of the next page asks for."""
    asked = question(parameters, identity_of(person), SECRET).asked
    _, keys, _ = (ran.value or "").encode().split(b"\n")
    if keys == b"null":
        return None
    address = address_of_more({**asked, "limit": MANY}, keys, identity_of(person), SECRET)
    return dict(parse_qsl(urlsplit(address).query))


def _ran(crowded: Crowded, person: Person, statement: Statement, mode: str) -> Ran:
    """The second time, for the first time a connection looks up what it knows afterwards."""
    run(crowded.connection, person, [statement], mode)
    (ran,) = run(crowded.connection, person, [statement], mode)
    return ran


def _too_much(
    ran: Ran, count: int, pages_for_each: int, own: int = 0, once_through: Mapping[str, int] = NOTHING
) -> list[str]:
    once = {"xapi_statements": own, **once_through}
    found = complaints(ran, page=count, once_through=once, looked_up=())
    most = pages_for_each * count + PAGES_IN_ANY_CASE + own
    return [*found, *([f"looks at {ran.pages} pages"] if ran.pages > most else [])]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("void", ["false", "true"])
def test_one_is_read_by_its_id(crowded: Crowded, void: str, who: str, mode: str) -> None:
    person = signed_in(crowded.database, PEOPLE[who])
    for known in (crowd.SAID[0], crowd.VOIDED[0], uuid4()):
        statement = Statement("select private.read_statement($1::uuid, $2::boolean)", [str(known), void])
        assert _too_much(_ran(crowded, person, statement, mode), 1, PAGES_SHOWN) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SENT)
def test_storing_reads_little(crowded: Crowded, name: str, mode: str) -> None:
    assert _wrongly_stored(crowded, name, mode) == []


def _wrongly_stored(crowded: Crowded, name: str, mode: str) -> list[str]:
    sender, statements = SENT[name]
    person = signed_in(crowded.database, sender)
    sending = Statement("select private.store_statements($1::jsonb)", [json.dumps(statements)])
    ran = _ran(crowded, person, sending, mode)
    once = FOLLOWED if name == "that counts" else NOTHING
    return _too_much(ran, len(statements), PAGES_SENT, once_through=once)


_WRITTEN_OTHERWISE = """
do $$ begin execute replace(pg_get_functiondef('private.{}'::regproc), '{}', '{}'); end $$
"""
# What goes wrong; in which list it is noticed, and by whom.
BREAKAGES = {
    "no index leads to a verb": ("drop index public.xapi_statements_verb_idx", "a rare verb", "admin"),
    "no index leads to an activity": ("drop index public.xapi_statements_activity_idx", "a block", "admin"),
    "no index has the order": ("drop index public.xapi_statements_stored_at_idx", "all", "admin"),
    "what is void is passed by": (
        "drop index public.xapi_statements_stored_at_idx; create index xapi_statements_stored_at_idx"
        " on public.xapi_statements (community_id, stored_at, id, user_id)",
        *("until what is void", "admin"),
    ),
    "who asks is asked for every row": (
        _WRITTEN_OTHERWISE.format("read_statements", "s.user_id = $4", "s.user_id = auth.uid()"),
        *("all", "learner"),
    ),
}


@pytest.mark.parametrize(("breakage", "name", "who"), BREAKAGES.values(), ids=BREAKAGES)
def test_a_wrong_list_shows(crowded: Crowded, breakage: str, name: str, who: str) -> None:
    with _broken(crowded, breakage) as broken:
        assert _wrong(broken, name, "descending", who) != []


def test_a_wrong_look_up_shows(crowded: Crowded) -> None:
    breakage = _WRITTEN_OTHERWISE.format("new_statements", "user_id is not distinct from", "user_id =")
    with _broken(crowded, breakage) as broken:
        assert _wrongly_stored(broken, "new", "force_generic_plan") != []


@contextmanager
def _broken(crowded: Crowded, breakage: str) -> Iterator[Crowded]:
    with (
        connection_of(crowded.database, "supabase_admin") as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute("set local random_page_cost = 1.1; set local track_functions = 'all'")
        connection.execute(breakage)
        yield replace(crowded, connection=connection)
