"""What a database looks like, as lines of text that can be compared: its dump, its roles, its grants."""

import difflib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg.rows import TupleRow

from tests.databases import Database

# The history itself is not part of what it leads to.
_DUMP = ("--schema-only", "--exclude-schema=supabase_migrations")

_ROLES = """
select format('%s login=%s inherit=%s bypassrls=%s createrole=%s createdb=%s superuser=%s',
    rolname, rolcanlogin, rolinherit, rolbypassrls, rolcreaterole, rolcreatedb, rolsuper)
from pg_roles where rolname !~ '^pg_'
union all
select format('%s is a member of %s by %s with %s', member::regrole, roleid::regrole, grantor::regrole,
    to_jsonb(m) - '{oid,member,roleid,grantor}'::text[])
from pg_auth_members as m
where (select rolname !~ '^pg_' from pg_roles where oid = m.roleid)
union all
select format('%s set %s', setrole::regrole, setconfig) from pg_db_role_setting where setdatabase = 0
union all
select format('database: %s', datacl) from pg_database where datname = current_database()
order by 1
"""

_GRANTS = """
with objects (name, owner, acl) as (
    select format('schema %s', oid::regnamespace), nspowner, coalesce(nspacl, acldefault('n', nspowner))
    from pg_namespace where nspname in ('public', 'private')
    union all
    select format('relation %s', oid::regclass), relowner, coalesce(relacl, acldefault('r', relowner))
    from pg_class
    where relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relkind not in ('i', 'I', 'c')
    union all
    select format('column %s.%s', attrelid::regclass, attname), null, attacl
    from pg_attribute join pg_class as c on c.oid = attrelid
    where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
    union all
    select format('function %s', oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner))
    from pg_proc where pronamespace in ('public'::regnamespace, 'private'::regnamespace)
)
select format('%s: %s to %s', name, privilege_type,
    case when grantee = 0 then 'public' else grantee::regrole::text end)
from objects, aclexplode(acl)
where grantee is distinct from owner
order by 1
"""

_POLICIES = """
select format('%s on %s.%s %s for %s to %s using (%s) check (%s)',
    policyname, schemaname, tablename, permissive, cmd, roles, qual, with_check)
from pg_policies order by 1
"""


def dump(database: Database) -> list[str]:
    command: list[str | Path] = [
        database.cluster.binaries / "pg_dump",
        *_DUMP,
        database.dsn("supabase_admin"),
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Since August 2025 every dump carries a random word in these two lines.
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def roles(database: Database) -> list[str]:
    return _lines(database.run_as("supabase_admin", _ROLES))


def grants(database: Database) -> list[str]:
    return _lines(database.run(_GRANTS))


def policies(database: Database) -> list[str]:
    return _lines(database.run(_POLICIES))


def difference(before: Sequence[str], after: Sequence[str]) -> str:
    """Empty when they are equal; else the lines that differ, with those around them to say where."""
    return "\n".join(difflib.unified_diff(before, after, lineterm="", n=1))


def _lines(rows: list[TupleRow]) -> list[str]:
    return [line for (line,) in rows]
