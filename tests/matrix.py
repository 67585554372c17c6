"""The matrix in `policies/README.md`, and the same matrix as the catalog of a database has it."""

from collections.abc import Iterator

from tests.databases import Database
from tests.reviewed import ROOT

README = ROOT / "policies/README.md"
COMMANDS = ("select", "insert", "update", "delete")
ROLES = ("anon", "authenticated", "service_role", "gym_api", "gym_worker")
NOTHING = "–"  # noqa: RUF001 (a dash, as tables have it)

Cells = dict[tuple[str, ...], str]

_GRANTS = """
with rights as (
    select n.nspname || '.' || c.relname as relation, c.oid as relation_id, command,
        r.oid as role_id, r.rolname, r.rolbypassrls, has_table_privilege(r.oid, c.oid, command) as whole,
        case command when 'select' then 'r' when 'insert' then 'a' when 'update' then 'w' else 'd' end as kind,
        array(
            select a.attname::text
            from pg_attribute as a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                and command <> 'delete' and has_column_privilege(r.oid, c.oid, a.attnum, command)
            order by a.attnum
        ) as columns
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    cross join pg_roles as r
    cross join unnest(%(commands)s::text[]) as command
    where n.nspname in ('public', 'private') and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and r.rolname = any(%(roles)s)
)
select relation, rolname, command, whole, columns, rolbypassrls, array(
    select p.polname::text
    from pg_policy as p
    where p.polrelid = relation_id and p.polpermissive and p.polroles && array[role_id, 0::oid]
        and p.polcmd::text in ('*', kind)
    order by p.polname
)
from rights
"""

_WALLS = """
select format('%s.%s', n.nspname, c.relname), c.relrowsecurity and c.relforcerowsecurity, exists (
    select from pg_policies as p
    where (p.schemaname, p.tablename, p.policyname) = (n.nspname, c.relname, 'client_isolation_' || c.relname)
        and p.permissive = 'RESTRICTIVE' and p.cmd = 'ALL' and p.roles = '{public}' and p.qual = p.with_check
        and regexp_replace(p.qual, '(auth|private)\\.', '')
            = '(community_id = ( SELECT get_community_id() AS get_community_id))'
)
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'private') and c.relkind in ('r', 'p')
order by 1
"""


def written_grants() -> Cells:
    """What each role may do to each table, by which policies, as the README says it."""
    return {
        (row["table"], role, command): row[command]
        for row in _table("Grants and policies")
        for role in row["role"].split(", ")
        for command in COMMANDS
    }


def granted(database: Database) -> Cells:
    parameters = {"commands": list(COMMANDS), "roles": list(ROLES)}
    with database.connect() as connection:
        return {tuple(row[:3]): _cell(*row[3:]) for row in connection.execute(_GRANTS, parameters)}


def written_reach() -> Cells:
    """What each kind of person can do to each kind of row, as the README says it."""
    return {
        (row["table"], row["row"], persona): cell
        for row in _table("Who reaches what")
        for persona, cell in row.items()
        if persona not in ("table", "row")
    }


def without_wall() -> set[str]:
    return {row["table"] for row in _table("Tables without the wall")}


def unprotected(database: Database) -> list[str]:
    """Sentences about tables that are not behind policies, or that lack the wall without a reason written."""
    return list(_unprotected(database))


def differences(written: Cells, found: Cells) -> list[str]:
    """Sentences about cells that are not as written; empty when the README tells the truth."""
    return [
        f"{', '.join(key)}: README says {written.get(key)!r}, the database {found.get(key)!r}"
        for key in sorted(written.keys() | found.keys())
        if written.get(key) != found.get(key)
    ]


def _cell(whole: bool, columns: list[str], bypasses_policies: bool, policies: list[str]) -> str:
    if not (whole or columns):
        return NOTHING
    rows = "every row" if bypasses_policies else ", ".join(f"`{name}`" for name in policies) or "no row"
    return rows if whole else f"{rows}: {', '.join(columns)}"


def _unprotected(database: Database) -> Iterator[str]:
    exempt = without_wall()
    for table, protected, walled in database.run(_WALLS):
        if not protected:
            yield f"{table}: row level security is not enabled and forced"
        if walled == (table in exempt):
            yield f"{table}: {'has' if walled else 'lacks'} the wall, and the README says otherwise"


def _table(heading: str) -> Iterator[dict[str, str]]:
    section = README.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    head, _, *body = (_cells(line) for line in section.splitlines() if line.startswith("|"))
    for cells in body:
        yield dict(zip(head, cells, strict=True))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
