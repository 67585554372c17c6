"""What is published stays as it is, whoever writes and by which way; ids of blocks keep their course."""

import shutil
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from local.cluster import Cluster
from local.migrate import MIGRATIONS, migrate
from tests import cast
from tests.attempts import attempt, refusal
from tests.cast import ALPHA
from tests.course_documents import block, block_id, course, export_it, import_it, section, trying
from tests.databases import Database, fresh_database
from tests.people import Person, put_on, signed_in

VERSION = f"course_id = '{cast.COURSE}' and community_id = '{ALPHA}' and version = 1"
BLOCK = f"id = '{cast.BLOCKS[1]}' and community_id = '{ALPHA}'"
KEYS = "community_id, course_id, version"

# Each would change what learners work through.
CHANGES = {
    "a new title": f"update public.blocks set title = 'New' where {BLOCK}",
    "another place": f"update public.blocks set position = 9 where {BLOCK}",
    "another mode": f"update public.blocks set completion_mode = 'excluded' where {BLOCK}",
    "taken back": f"update public.blocks set published = false where {BLOCK}",
    "moved to another version": f"update public.blocks set version = 2, published = false where {BLOCK}",
    "less": f"delete from public.blocks where {BLOCK}",
    "more": f"""
        insert into public.blocks ({KEYS}, published, id, kind, title, position)
        values ('{ALPHA}', '{cast.COURSE}', 1, true, '{cast.BLOCKS[1]}', 'page', 'New', 9)
    """,
    "the version unpublished": f"""
        update public.course_versions set published = false, published_at = null, tree_hash = null where {VERSION}
    """,
    "the version earlier": f"update public.course_versions set published_at = 'yesterday' where {VERSION}",
    "the version renumbered": f"update public.course_versions set version = 7 where {VERSION}",
    "another digest": f"update public.course_versions set tree_hash = repeat('0', 64) where {VERSION}",
    "the version gone": f"delete from public.course_versions where {VERSION}",
    "the course gone": f"delete from public.courses where id = '{cast.COURSE}' and community_id = '{ALPHA}'",
    "the ids gone": f"delete from public.block_identities where {BLOCK}",
}


@pytest.mark.parametrize("role", ["postgres", "service_role"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_published_changes_for_nobody(shared_database: Database, change: str, role: str) -> None:
    with shared_database.connect() as connection:
        put_on(connection, role, "{}")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(change)

    no_grant = role == "service_role" and "block_identities" in change
    assert refused.value.sqlstate == ("42501" if no_grant else "PT412")


def test_an_unpublished_block_does_not_slip_into_a_published_version(shared_database: Database) -> None:
    begin = f"""
        insert into public.course_versions ({KEYS}) values ('{ALPHA}', '{cast.COURSE}', 2);
        insert into public.blocks ({KEYS}, id, kind, title, position)
        values ('{ALPHA}', '{cast.COURSE}', 2, '{cast.BLOCKS[0]}', 'page', 'New', 9);
        insert into public.block_identities (community_id, course_id, id)
        values ('{ALPHA}', '{cast.COURSE}', '{block_id(1)}');
    """
    slip = f"update public.blocks set version = 1, published = true, id = '{block_id(1)}' where version = 2"

    with shared_database.connect() as connection:
        connection.execute(begin)
        with pytest.raises(psycopg.Error, match="blocks of a published version do not change"):
            connection.execute(slip)


def test_a_community_still_goes_whole(shared_database: Database) -> None:
    with shared_database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("delete from public.communities where id = %s", (ALPHA,))

        left = "select distinct community_id from public.{}"
        for table in ("courses", "course_versions", "block_identities", "blocks"):
            assert connection.execute(left.format(table)).fetchall() == [(cast.BETA,)]


def test_a_draft_goes_whole_by_sql_too(shared_database: Database) -> None:
    with shared_database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "delete from public.program_course_assignments where course_id = %s", (cast.DRAFT_COURSE,)
        )
        deleted = connection.execute("delete from public.courses where id = %s", (cast.DRAFT_COURSE,))

        assert deleted.rowcount == 1
        left = "select from public.block_identities where course_id = %s"
        assert connection.execute(left, (cast.DRAFT_COURSE,)).fetchall() == []


# Trees that somebody wrote by SQL, and why they cannot be published.
TREES = {
    "only aggregators contain": ("completable", 1, 2, "Only an aggregator has blocks in it"),
    "in reading order": ("aggregator", 2, 1, "stands before the block that it is in"),
}


@pytest.mark.parametrize(("mode", "parents", "childs", "reason"), TREES.values(), ids=TREES)
def test_a_tree_that_sql_wrote_is_checked_when_it_is_published(
    shared_database: Database, mode: str, parents: int, childs: int, reason: str
) -> None:
    insert = f"""
        insert into public.blocks ({KEYS}, kind, title, id, parent_id, position, completion_mode)
        values (%s, %s, 1, 'page', 'Written', %s, %s, %s, %s)
    """
    parent, child = block_id(1), block_id(2)
    key = (ALPHA, cast.DRAFT_COURSE)
    with shared_database.connect() as connection, connection.transaction(force_rollback=True):
        put_on(connection, "service_role", "{}")
        connection.execute("delete from public.blocks where course_id = %s", (cast.DRAFT_COURSE,))
        for one in (parent, child):
            connection.execute(
                "insert into public.block_identities (community_id, course_id, id) values (%s, %s, %s)",
                (*key, one),
            )
        connection.execute(insert, (*key, parent, None, parents, mode))
        connection.execute(insert, (*key, child, parent, childs, "completable"))

        publish = "update public.course_versions set published = true where course_id = %s"
        with pytest.raises(psycopg.Error, match=reason):
            connection.execute(publish, (cast.DRAFT_COURSE,))


@pytest.mark.parametrize(
    "change",
    [
        f"update public.courses set status = 'published' where id = '{cast.DRAFT_COURSE}'",
        f"update public.course_versions set published = true where course_id = '{cast.DRAFT_COURSE}'",
        "insert into public.courses (community_id, id, title, status) "
        f"values ('{ALPHA}', '{block_id(1)}', 'New', 'published'); "
        f"insert into public.course_versions ({KEYS}) values ('{ALPHA}', '{block_id(1)}', 1)",
        f"insert into public.course_versions ({KEYS}) values ('{ALPHA}', '{cast.COURSE}', 2); "
        f"update public.courses set version = 2 where id = '{cast.COURSE}' and community_id = '{ALPHA}'",
    ],
)
def test_a_course_and_its_version_are_published_together(shared_database: Database, change: str) -> None:
    with shared_database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(change)
        with pytest.raises(psycopg.errors.ForeignKeyViolation, match="courses_version_exists"):
            connection.execute("set constraints all immediate")


def test_one_version_is_written_at_a_time(shared_database: Database) -> None:
    insert = f"insert into public.course_versions ({KEYS}) values ('{ALPHA}', '{cast.DRAFT_COURSE}', 2)"

    with pytest.raises(psycopg.errors.UniqueViolation, match="course_versions_one_unpublished"):
        shared_database.run(insert)


@pytest.mark.parametrize("after", ["draft", "published", "archived"])
@pytest.mark.parametrize("before", ["draft", "published", "archived"])
def test_courses_move_as_they_may(shared_database: Database, before: str, after: str) -> None:
    course_id = cast.DRAFT_COURSE if before == "draft" else cast.COURSE
    move = "update public.courses set status = %s where id = %s and community_id = %s"
    allowed = {("draft", "published"), ("published", "archived"), ("archived", "published")}
    with shared_database.connect() as connection, connection.transaction(force_rollback=True):
        if before == "archived":
            connection.execute(move, (before, course_id, ALPHA))

        if before == after or (before, after) in allowed:
            assert connection.execute(move, (after, course_id, ALPHA)).rowcount == 1
        else:
            with pytest.raises(psycopg.Error, match=f"A course cannot go from {before} to {after}."):
                connection.execute(move, (after, course_id, ALPHA))


def test_nothing_is_published_in_an_archived_course(shared_database: Database) -> None:
    with shared_database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("update public.courses set status = 'archived' where id = %s", (cast.COURSE,))
        with pytest.raises(psycopg.Error, match="Restore it before you publish"):
            connection.execute(
                f"insert into public.course_versions ({KEYS}, published) values (%s, %s, 2, true)",
                (ALPHA, cast.COURSE),
            )


def test_clients_write_courses_through_functions_only(as_admin: Person) -> None:
    for statement in (
        "insert into public.courses (title) values ('New')",
        "update public.courses set title = 'New'",
        "delete from public.courses",
        f"insert into public.course_versions (course_id, version) values ('{cast.COURSE}', 2)",
        "update public.blocks set title = 'New'",
        f"insert into public.block_identities (course_id, id) values ('{cast.COURSE}', gen_random_uuid())",
        f"select private.write_next_version(c, '[]') from public.courses as c where id = '{cast.COURSE}'",
        f"select private.publish_next_version(c) from public.courses as c where id = '{cast.DRAFT_COURSE}'",
    ):
        assert refusal(as_admin, statement) == "42501"


def test_an_id_belongs_to_one_course_for_ever(as_admin: Person, as_other_community: Person) -> None:
    with trying(as_admin) as connection:
        course_id, _ = import_it(connection, course(block(1), block(2)), publish=True)
        import_it(connection, course(block(2)), course_id, publish=True)

        for taken in (1, 2):  # 1 is in no current version any more
            with pytest.raises(psycopg.Error) as refused, connection.transaction():
                import_it(connection, course(block(3), block(taken)))
            assert refused.value.sqlstate == "PT409"
            assert refused.value.diag.column_name == "course.blocks.1.id"
            assert f'blocks.1 "Block {taken}"' in str(refused.value)
        assert import_it(connection, course(block(1), block(2)), course_id)[0] == course_id

    # What one community has, the other can have too, and does not learn about.
    theirs = Jsonb({"course": course(block(1, id=str(cast.DRAFT_BLOCK)))})
    assert attempt(as_other_community, "select public.import_course(%s)", theirs) == "1 rows"


def test_equal_content_is_recognised(as_admin: Person) -> None:
    first = course(section(1), block(2, 1, weight=1.0, required=True), title="One")
    same = course(section(1), block(2, 1), title="Another")
    other = course(section(1), block(2, 1, weight=1.001))
    with trying(as_admin) as connection:

        def published() -> list[tuple[object, ...]]:
            return connection.execute(
                "select version, tree_hash from public.course_versions where course_id = %s order by version",
                (course_id,),
            ).fetchall()

        course_id, version_id = import_it(connection, first, publish=True)
        ((_, digest),) = published()
        assert import_it(connection, same, course_id, publish=True) == (course_id, version_id)
        assert published() == [(1, digest)]
        import_it(connection, other, course_id, publish=True)
        import_it(connection, first, course_id, publish=True)

        assert [(version, found == digest) for version, found in published()] == [
            (1, True),
            (2, False),
            (3, True),
        ]
        assert export_it(connection, course_id, 1) == export_it(connection, course_id)


def test_two_admins_import_into_one_course_at_once(database: Database, as_admin: Person) -> None:
    """One waits for the other; each import is whole, and the later one stands."""
    documents = [course(*(block(100 * n + i) for i in range(40)), title=f"By {n}") for n in range(4)]
    barrier = threading.Barrier(len(documents))
    found: list[tuple[str, str]] = []

    def import_one(document: dict[str, object]) -> None:
        person = signed_in(database, cast.SUPER_ADMIN if document["title"] == "By 0" else cast.ADMIN)
        barrier.wait()
        with person.transaction() as connection:
            found.append(import_it(connection, document, cast.COURSE))

    threads = [threading.Thread(target=import_one, args=[document]) for document in documents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert len(found) == len(documents)
    ((title, version),) = as_admin.sql(
        "select c.title, v.version from public.courses as c join public.course_versions as v on v.course_id = c.id "
        "where c.id = %s and not v.published",
        cast.COURSE,
    )
    written = as_admin.sql("select id from public.blocks where course_id = %s and version = 2", cast.COURSE)
    assert version == 2
    assert {str(one) for (one,) in written} == {
        b["id"] for d in documents if d["title"] == title for b in d["blocks"]
    }


def test_two_courses_that_take_one_id_at_once(database: Database) -> None:
    documents = [course(block(8), block(9)), course(block(9), block(8))]
    barrier = threading.Barrier(len(documents))
    outcomes: list[str] = []

    def import_one(document: dict[str, object]) -> None:
        barrier.wait()
        try:
            with signed_in(database, cast.ADMIN).transaction() as connection:
                import_it(connection, document)
                outcomes.append("imported")
        except psycopg.Error as error:
            outcomes.append(str(error.sqlstate))

    threads = [threading.Thread(target=import_one, args=[document]) for document in documents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert sorted(outcomes) == ["PT409", "imported"]


BEFORE_VERSIONS = f"""
    insert into public.communities (id, slug, name) values ('{ALPHA}', 'alpha', 'Alpha');
    insert into public.courses (community_id, id, title, status)
    values ('{ALPHA}', '{cast.COURSE}', 'First', 'published'), ('{ALPHA}', '{cast.DRAFT_COURSE}', 'Last', 'draft');
    insert into public.course_versions (community_id, course_id, version, published, published_at)
    select community_id, id, 1, status = 'published', case status when 'published' then now() end from public.courses;
    insert into public.blocks (community_id, course_id, version, published, kind, title, position)
    select community_id, id, 1, status = 'published', 'page', 'Page ' || n, n
    from public.courses, generate_series(1, 5) as n;
"""


def test_courses_that_were_there_before_are_taken_over(cluster: Cluster, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        if path.name < "20261122120000":
            shutil.copy(path, tmp_path)
    with fresh_database(cluster) as database:
        migrate(database.dsn(), tmp_path)
        database.run(BEFORE_VERSIONS)

        migrate(database.dsn())

        assert database.run(
            """
            select v.published, v.tree_hash is not distinct from case when v.published then private.tree_hash(v) end,
                (select count(*) from public.block_identities as i where i.course_id = v.course_id)
            from public.course_versions as v
            order by v.published
            """
        ) == [(False, True, 5), (True, True, 5)]


def test_the_time_of_an_import_grows_with_the_number_of_blocks_only(as_admin: Person) -> None:
    """Alone on a machine half a second; looking up each block among all others takes more than ten."""
    sections = [[section(n), *(block(n + i, n) for i in range(1, 50))] for n in range(0, 5000, 50)]
    document = course(*(one for inside in sections for one in inside))

    with trying(as_admin) as connection:
        connection.execute("set local statement_timeout = '5s'")
        course_id, version_id = import_it(connection, document, publish=True)
        assert import_it(connection, document, course_id, publish=True) == (course_id, version_id)
