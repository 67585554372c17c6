"""What must hold for every object of ours, as questions to the catalog. Each answers with what breaks the rule."""

_OURS = "('public'::regnamespace, 'private'::regnamespace)"
_CLIENTS = "('anon', 'authenticated', 'service_role', 'gym_api', 'gym_worker', 'supabase_auth_admin')"
_TENANT_TABLES = f"""
    select c.oid, c.relname, a.attnum as community, a.attnotnull
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attname = 'community_id' and not a.attisdropped
    where c.relnamespace in {_OURS} and c.relkind in ('r', 'p')
"""

RULES = {
    "every table belongs to a community": f"""
        select relname from pg_class
        where relnamespace in {_OURS} and relkind in ('r', 'p')
            and oid not in (select oid from ({_TENANT_TABLES}) as t)
    """,
    "community_id is never null": f"select relname from ({_TENANT_TABLES}) as t where not attnotnull",
    "indexes of tenant tables begin with community_id": f"""
        select i.indexrelid::regclass from pg_index as i join ({_TENANT_TABLES}) as t on t.oid = i.indrelid
        where i.indkey[0] <> t.community
    """,
    "an index begins with community_id": f"""
        select relname from ({_TENANT_TABLES}) as t
        where not exists (select from pg_index as i where i.indrelid = t.oid and i.indkey[0] = t.community)
    """,
    "references between tenant tables carry community_id": f"""
        select f.conname
        from pg_constraint as f
        join ({_TENANT_TABLES}) as t on t.oid = f.conrelid
        join ({_TENANT_TABLES}) as u on u.oid = f.confrelid
        where f.contype = 'f' and not exists (
            select from unnest(f.conkey, f.confkey) as pair (here, there)
            where here = t.community and there = u.community
        )
    """,
    "references are indexed": f"""
        select f.conname from pg_constraint as f
        where f.contype = 'f' and f.connamespace in {_OURS} and not exists (
            select from pg_index as i
            where i.indrelid = f.conrelid and i.indpred is null
                and f.conkey::int[] <@ (i.indkey::int[])[0 : cardinality(f.conkey) - 1]
        )
    """,
    "constraints are named after their table": f"""
        select conname from pg_constraint where connamespace in {_OURS} and conrelid <> 0
            and not starts_with(conname, (select relname from pg_class where oid = conrelid) || '_')
    """,
    "policies ask their questions once a query": """
        select policyname from pg_policies
        where concat(qual, ' ', with_check) ~ '(?<!SELECT )(\\m(auth|private)\\.\\w+|\\mcurrent_setting)\\('
    """,
    "rules say whom they are for": f"""
        select polname from pg_policy join pg_class as c on c.oid = polrelid
        where c.relnamespace in {_OURS} and polpermissive and 0 = any (polroles)
    """,
    "grants are for reading and writing rows": f"""
        select format('%s: %s to %s', c.oid::regclass, privilege_type, grantee::regrole)
        from pg_class as c, aclexplode(coalesce(relacl, acldefault('r', relowner)))
        where c.relnamespace in {_OURS} and grantee <> relowner
            and (relkind not in ('r', 'p') or privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
    """,
    "partitions and views are no side doors": f"""
        select c.oid::regclass from pg_class as c
        where c.relnamespace in {_OURS} and (
            relkind in ('m', 'f') or relispartition
            or relkind = 'v' and not coalesce('security_invoker=true' = any (reloptions), false)
        ) and exists (select from unnest(relacl) as item where item::text !~ '^postgres=')
    """,
    "clients make nothing": f"""
        select format('%s in schema %s', r.rolname, n.nspname) from pg_roles as r, pg_namespace as n
        where r.rolname in {_CLIENTS} and n.oid in {_OURS} and has_schema_privilege(r.oid, n.oid, 'create')
        union all
        select format('%s in temporary schemas', rolname) from pg_roles
        where rolname in {_CLIENTS} and has_database_privilege(oid, current_database(), 'temporary')
    """,
    "functions that read settings are stable": f"""
        select oid::regprocedure from pg_proc
        where pronamespace in {_OURS} and (provolatile = 'i' or proleakproof)
    """,
    "functions have an empty search path": f"""
        select oid::regprocedure from pg_proc
        where pronamespace in {_OURS} and not coalesce('search_path=""' = any (proconfig), false)
    """,
    "functions are for nobody unless granted": f"""
        select p.oid::regprocedure from pg_proc as p, aclexplode(coalesce(proacl, acldefault('f', proowner)))
        where pronamespace in {_OURS} and grantee = 0
    """,
    "signed out, one may only ask who one is": f"""
        select oid::regprocedure from pg_proc
        where pronamespace in {_OURS} and has_function_privilege('anon', oid, 'execute')
    """,
    "definer functions that a signed-in client may call": f"""
        select oid::regprocedure from pg_proc
        where pronamespace in {_OURS} and prosecdef and has_function_privilege('authenticated', oid, 'execute')
    """,
    # From Postgres 16 on, who makes a role may grant it to others: postgres, who made ours, is left out.
    "our roles act as few, and nobody as them": """
        select format('%s as %s', m.member::regrole, m.roleid::regrole) from pg_auth_members as m
        where m.member::regrole::text in ('gym_api', 'gym_worker', 'anon', 'authenticated', 'service_role')
            or m.roleid::regrole::text in ('gym_api', 'gym_worker') and m.member <> 'postgres'::regrole
    """,
    "our roles have no attributes": """
        select rolname from pg_roles
        where rolname in ('gym_api', 'gym_worker') and (
            rolinherit or rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls
        )
    """,
}

DEFINER_FUNCTIONS = f"""
    select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc
    where pronamespace in {_OURS} and prosecdef
"""
