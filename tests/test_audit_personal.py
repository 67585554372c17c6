"""Personal data stand in the log as digests."""

from tests import cast
from tests.auditing import entries
from tests.cast import ALPHA
from tests.databases import Database


def test_names_are_digests_that_only_their_community_can_compare(database: Database) -> None:
    toni = "object_type = 'membership' and after ->> 'user_id' = %s"
    rename = "update public.memberships set display_name = %s where user_id = %s"
    database.run(rename, "Quirinius", cast.PEER.id)
    database.run(rename, "Quirinius", cast.LEARNER.id)

    first, second = (entry["after"]["display_name"] for entry in entries(database)[:2])
    in_alpha, in_beta = (
        entry["after"]["display_name"] for entry in entries(database, toni, str(cast.TRAVELLER.id))
    )
    database.run("delete from private.audit_salts where community_id = %s", ALPHA)
    database.run(rename, "Somebody", cast.PEER.id)
    database.run(rename, "Quirinius", cast.PEER.id)

    assert first == second
    assert first.startswith("sha256:")
    assert in_alpha != in_beta
    assert entries(database)[0]["after"]["display_name"] not in (first, in_alpha)
    for name in ("Quirinius", "Toni", "Somebody"):
        assert database.run("select from public.audit_entries as e where e::text like %s", f"%{name}%") == []


def test_a_column_is_personal_when_its_comment_says_so(database: Database) -> None:
    database.run(
        """
        create table public.notes (community_id uuid, id uuid, who text, email text, primary key (community_id, id));
        comment on column public.notes.who is 'Personal data: whoever it is about.';
        select private.record_changes_of('public.notes');
        """
    )
    database.run("insert into public.notes values (%s, %s, 'Ada', 'a@b.test')", ALPHA, cast.DRAFT)

    after = entries(database)[0]["after"]
    assert {name for name, text in after.items() if text.startswith("sha256:")} == {"who", "email"}
