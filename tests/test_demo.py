"""The demo: loaded once, with somebody of each kind to sign in as, from a sample that names its source."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import bcrypt
import pytest
from psycopg.types.json import Jsonb

from jobs.oulad import import_oulad
from local.demo import DEMO_PASSWORD, SAMPLE, SIGN_INS, load_demo
from tests.databases import Database, cloned
from tests.oulad_folders import WHOLE, read
from tests.oulad_submissions import expected_percents, stored_percents
from tests.people import Person

IMPORT = partial(import_oulad, with_progress=True)


def load(database: Database) -> bool:
    return load_demo(database.dsn(), database.dsn("supabase_auth_admin"), IMPORT)


@pytest.fixture(scope="module")
def demo(template: Database) -> Iterator[Database]:
    with cloned(template) as database:
        assert load(database)
        yield database


def signed_in(database: Database, email: str) -> Person:
    """With the claims that the access token hook gives to this user."""
    ((user_id, metadata),) = database.run(
        "select id, raw_app_meta_data from auth.users where email = %s", email
    )
    claims = {"sub": str(user_id), "role": "authenticated", "app_metadata": metadata}
    event = Jsonb({"user_id": str(user_id), "claims": claims})
    hook = "select private.custom_access_token_hook(%s)"
    ((answer,),) = database.run_as("supabase_auth_admin", hook, event)
    return Person(database, "authenticated", answer["claims"])


def counts(person: Person) -> tuple[int, ...]:
    """Members, programs and enrolments that this person sees."""
    ((*numbers,),) = person.sql("""
        select
            (select count(*) from public.memberships),
            (select count(*) from public.programs),
            (select count(*) from public.program_enrollments)
    """)
    return tuple(numbers)


def _learners(module: str) -> tuple[int, int]:
    rows = [row for row in read(SAMPLE, "studentRegistration") if row["code_module"] == module]
    return len({row["id_student"] for row in rows}), len(rows)


def test_the_learner_sees_one_program_and_their_own_enrolment(demo: Database) -> None:
    assert counts(signed_in(demo, "learner@demo.test")) == (1, 1, 1)


def test_the_learner_is_in_the_middle_of_it(demo: Database) -> None:
    learner = signed_in(demo, "learner@demo.test")

    ((course, done, total, status, percent),) = learner.sql(
        """
        select c.title, p.done_required, p.total_required, o.status, o.percent
        from public.course_progress as p
        join public.courses as c on c.community_id = p.community_id and c.id = p.course_id
        cross join public.program_progress as o
        """
    )
    assert (course, done, total, status) == ("BBB 2013J", 2, 11, "in_progress")
    assert 0 < percent < 100
    ((scores, halves),) = learner.sql(
        "select count(score), count(*) filter (where value = 0.5) from public.block_completions"
    )
    assert (scores, halves) == (2, 1)


def test_the_others_are_as_far_as_their_submissions(demo: Database) -> None:
    assert stored_percents(demo, SAMPLE) == expected_percents(SAMPLE)


def test_the_admin_sees_everybody_and_programs_of_every_status(demo: Database) -> None:
    admin = signed_in(demo, "admin@demo.test")

    people, enrollments = _learners("BBB")
    assert counts(admin) == (people + 2, 3, enrollments + 1)
    statuses = admin.sql("select status from public.programs order by status")
    assert statuses == [("archived",), ("draft",), ("published",)]


def test_the_other_admin_sees_the_other_community_only(demo: Database) -> None:
    people, enrollments = _learners("DDD")

    assert counts(signed_in(demo, "other-admin@demo.test")) == (people + 1, 1, enrollments)


def test_the_super_admin_acts_in_the_first_community(demo: Database) -> None:
    assert counts(signed_in(demo, "super@demo.test")) == counts(signed_in(demo, "admin@demo.test"))


@pytest.mark.parametrize("email", SIGN_INS)
def test_everybody_has_the_password_that_is_printed(demo: Database, email: str) -> None:
    ((stored,),) = demo.run("select encrypted_password from auth.users where email = %s", email)

    assert bcrypt.checkpw(DEMO_PASSWORD.encode(), stored.encode())


def test_it_is_loaded_once(demo: Database) -> None:
    tables = ("auth.users", "auth.identities", "public.memberships", "public.program_enrollments")
    sizes = " union all ".join(f"select count(*) from {table}" for table in tables)
    before = demo.run(sizes)

    assert not load(demo)

    assert demo.run(sizes) == before


@pytest.mark.parametrize("imported", [False, True])
def test_a_load_that_was_ended_in_the_import_is_completed(database: Database, imported: bool) -> None:
    def import_and_end(dsn: str, folder: Path) -> None:
        if imported:
            IMPORT(dsn, folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_demo(database.dsn(), database.dsn("supabase_auth_admin"), import_and_end)

    assert load(database)
    assert counts(signed_in(database, "super@demo.test"))[1] == 3


def test_a_load_that_was_ended_among_the_users_is_completed(database: Database) -> None:
    assert load(database)
    # What such a load leaves: some of the users, and none of their places.
    database.run("delete from auth.users where email in ('super@demo.test', 'admin@demo.test')")
    database.run("delete from public.memberships where display_name = 'Lena Learner'")

    assert load(database)

    assert counts(signed_in(database, "learner@demo.test")) == (1, 1, 1)
    assert counts(signed_in(database, "super@demo.test"))[1] == 3


def test_the_sample_is_small_and_names_its_source() -> None:
    readme = (SAMPLE / "README.md").read_text()

    assert sum(file.stat().st_size for file in SAMPLE.iterdir()) <= 200_000
    assert "Kuzilek J., Hlosta M., Zdrahal Z. (2017)" in readme
    assert "CC BY 4.0" in readme


def test_the_sample_tells_nothing_personal() -> None:
    columns = read(SAMPLE, "studentInfo")[0].keys()

    assert not columns & {"gender", "region", "highest_education", "imd_band", "age_band", "disability"}


@pytest.mark.skipif(not WHOLE.is_dir(), reason="no OULAD; name its folder in OULAD_DIR")
@pytest.mark.parametrize("file", sorted(path.stem for path in SAMPLE.glob("*.csv")))
def test_the_sample_is_a_part_of_the_whole(file: str) -> None:
    sample = read(SAMPLE, file)
    columns = list(sample[0])
    whole = {tuple(row[column] for column in columns) for row in read(WHOLE, file)}

    assert {tuple(row.values()) for row in sample} <= whole


def test_an_invitation_can_be_tried_without_signing_up(database: Database) -> None:
    """As the README says."""
    assert load(database)
    admin, learner = signed_in(database, "other-admin@demo.test"), signed_in(database, "learner@demo.test")

    admin.sql(
        "select public.invite_member(%s)", Jsonb({"email": "learner@demo.test", "display_name": "Learner"})
    )
    ((invitation,),) = learner.sql("select id from private.viewer_invitations()")
    learner.sql("select public.accept_invitation(%s)", Jsonb({"id": str(invitation)}))

    assert len(learner.sql("select from private.viewer_memberships()")) == 2
