-- The audit log: who changed what, written by triggers whoever writes and by which way, and sealed into a chain later.

-- What belongs to no community, as who is a super admin, stands under the nil UUID. No foreign key: entries outlive
-- their community and the people in them.
create table public.audit_entries (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    xid xid8 not null default pg_current_xact_id(),
    occurred_at timestamptz not null default clock_timestamp(),
    actor_id uuid,
    acting_as text not null,
    action text collate "C" not null,
    object_type text collate "C" not null,
    object_id uuid not null,
    object_key jsonb,
    before jsonb,
    after jsonb,
    changed text[] not null default '{}',
    reason text,
    request_id text collate "C",
    -- In the order in which they are sealed.
    constraint audit_entries_pkey primary key (community_id, xid, id),
    constraint audit_entries_acting_as_known
    check (acting_as in ('end_user', 'community_admin', 'super_admin', 'service', 'system'))
);
alter table public.audit_entries enable row level security;
alter table public.audit_entries alter column community_id set (n_distinct = 20);
comment on table public.audit_entries is 'One change of one row: append-only, for every role.';
comment on column public.audit_entries.xid is
'The transaction, by which the sealing knows that nothing earlier is still to come.';
comment on column public.audit_entries.actor_id is 'The signed-in person; null for the platform.';
comment on column public.audit_entries.action is
'The object''s type and created, updated, deleted or, when its status changed, the new status.';
comment on column public.audit_entries.object_key is 'What names the row beside community and object_id, if anything.';
comment on column public.audit_entries.before is 'Of an update only what changed; personal data as salted digests.';
comment on column public.audit_entries.after is 'Of an update only what changed; personal data as salted digests.';

create index audit_entries_occurred_at_idx on public.audit_entries (community_id, occurred_at, id);
create index audit_entries_action_idx on public.audit_entries (community_id, action, occurred_at, id);
create index audit_entries_object_type_idx on public.audit_entries (community_id, object_type, occurred_at, id);
create index audit_entries_object_idx on public.audit_entries (community_id, object_id, occurred_at, id);
create index audit_entries_actor_idx on public.audit_entries (community_id, actor_id, occurred_at, id)
where actor_id is not null;
create index audit_entries_request_idx on public.audit_entries (community_id, request_id, occurred_at, id)
where request_id is not null;

-- With it gone, nobody can tell any more whether a digest is that of a name which they know.
create table private.audit_salts (
    community_id uuid not null,
    salt bytea not null,
    constraint audit_salts_pkey primary key (community_id)
);
alter table private.audit_salts enable row level security;
comment on table private.audit_salts is 'What personal data are salted with; deleting a row makes its community''s log anonymous.';

create function private.keep_append_only() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse('403', pg_catalog.format(
        '%s keeps what is in it: nobody changes or removes anything there.', tg_table_name
    ));
    return null;
end
$$;

create trigger audit_entries_append_only before update or delete or truncate on public.audit_entries
for each statement execute function private.keep_append_only();

-- A deletion is recorded row by row; this would pass by that.
create function private.refuse_truncate() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse('403', pg_catalog.format(
        '%s is not truncated: the audit log would not show it. Delete its rows.', tg_table_name
    ));
    return null;
end
$$;

-- The reason of what follows in this transaction, for the audit log; null takes it back.
create function private.note_reason(reason text) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    if pg_catalog.char_length(reason) > 1000 then
        perform private.refuse('400', 'The reason is longer than 1,000 characters. Shorten it.', 'reason');
    end if;
    perform pg_catalog.set_config('gym.reason', coalesce(reason, ''), true);
end
$$;

create function private.has_reason() returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(pg_catalog.current_setting('gym.reason', true), '')
        ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]';
end
$$;

-- As whom somebody acts in a community; asked by the triggers below only.
create function private.acting_as(person uuid, community uuid) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    -- The function that asks runs as its owner; the setting still has the role that the client put on.
    if pg_catalog.current_setting('role') = 'service_role' then
        return 'service';
    elsif person is null then
        return 'system';
    elsif exists (
        select from public.memberships as m
        where m.community_id = community and m.user_id = person and m.status = 'active' and m.role = 'community_admin'
    ) then
        return 'community_admin';
    elsif private.is_super_admin() then
        return 'super_admin';
    end if;
    return 'end_user';
end
$$;

create function private.audit_salt(community uuid) returns bytea
volatile
set search_path = ''
language plpgsql
as $$
declare
    found_salt bytea;
begin
    select s.salt into found_salt from private.audit_salts as s where s.community_id = community;
    if found_salt is null then
        insert into private.audit_salts (community_id, salt)
        select community, pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.concat(pg_catalog.gen_random_uuid(), pg_catalog.gen_random_uuid()), 'UTF8'
        ))
        on conflict on constraint audit_salts_pkey do nothing;
        select s.salt into found_salt from private.audit_salts as s where s.community_id = community;
    end if;
    return found_salt;
end
$$;

-- The columns of a row, the personal ones as digests.
create function private.audit_redacted(content jsonb, personal text[], community uuid) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    named text;
    salt bytea;
begin
    foreach named in array personal loop
        if content ->> named is not null then
            salt := coalesce(salt, private.audit_salt(community));
            content := pg_catalog.jsonb_set(content, array[named], pg_catalog.to_jsonb('sha256:' || pg_catalog.encode(
                pg_catalog.sha256(salt || pg_catalog.convert_to(content ->> named, 'UTF8')), 'hex'
            )));
        end if;
    end loop;
    return content;
end
$$;

-- Records what a statement did. Arguments of the trigger: the object's type, the columns of its key, those of
-- personal data. Transactions set gym.request_id and, for an act that has one, gym.reason.
-- Nearly all statements change one row, or none. For these a query over all rows would cost more to begin than to run:
-- they are looked at in variables. Both ways write the same entries.
create function private.record_changes() returns trigger
volatile
security definer -- nobody may write entries but this
set search_path = ''
set timezone = 'UTC'
language plpgsql
as $$
declare
    key_columns text[] := tg_argv[1];
    personal text[] := tg_argv[2];
    -- What holds for all rows.
    instant timestamptz;
    actor uuid;
    acting_everywhere text;
    nowhere uuid;
    reason text;
    request_id text;
    -- The first row, and whether there are more.
    before jsonb;
    after jsonb;
    more boolean;
    content jsonb;
    community uuid;
    acting text;
    became text;
    rest_of_key jsonb;
    changed text[] := '{}';
begin
    if tg_op = 'INSERT' then
        select pg_catalog.to_jsonb(n.*), exists (select from new_rows offset 1) into after, more
        from new_rows as n limit 1;
    elsif tg_op = 'DELETE' then
        select pg_catalog.to_jsonb(o.*), exists (select from old_rows offset 1) into before, more
        from old_rows as o limit 1;
    else
        select pg_catalog.to_jsonb(o.*), pg_catalog.to_jsonb(n.*), exists (select from old_rows offset 1)
        into before, after, more
        from old_rows as o left join new_rows as n on true limit 1;
    end if;
    if more is null then
        return null;
    end if;

    actor := auth.uid();
    reason := nullif(pg_catalog.current_setting('gym.reason', true), '');
    request_id := coalesce(
        nullif(pg_catalog.current_setting('gym.request_id', true), ''),
        -- PostgREST's; the client may have made it up.
        pg_catalog.left(
            nullif(pg_catalog.current_setting('request.headers', true), '')::jsonb ->> 'x-request-id', 100
        )
    );
    -- Where somebody has chosen to act is theirs, and tells admins nothing: a community is in it, and has no part in it.
    if tg_table_name in ('super_admins', 'active_communities') then
        nowhere := '00000000-0000-0000-0000-000000000000';
    end if;
    content := coalesce(after, before);
    community := coalesce(nowhere, (content ->> 'community_id')::uuid, (content ->> 'id')::uuid);
    if tg_table_name = 'invitations' and tg_op = 'DELETE' and not more and private.is_declining(actor, content) then
        actor := null;
        acting_everywhere := 'end_user';
    elsif actor is null then
        acting_everywhere := private.acting_as(null, null);
    -- Admins who leave, or step down, did so as what they were.
    elsif tg_table_name = 'memberships' and tg_op <> 'INSERT' then
        if exists (
            select from old_rows as o
            where pg_catalog.to_jsonb(o.*) @> pg_catalog.jsonb_build_object(
                'user_id', actor, 'role', 'community_admin', 'status', 'active'
            )
        ) then
            acting_everywhere := 'community_admin';
        end if;
    end if;
    acting := coalesce(acting_everywhere, private.acting_as(actor, community));

    if not more then
        if before is null then
            became := 'created';
        elsif after is null then
            became := 'deleted';
        else
            -- That the time of the last change has changed says nothing.
            select
                pg_catalog.array_agg(n.key),
                pg_catalog.jsonb_object_agg(n.key, before -> n.key),
                pg_catalog.jsonb_object_agg(n.key, n.value)
            into changed, before, after
            from pg_catalog.jsonb_each(after) as n
            where n.value is distinct from before -> n.key and n.key <> 'updated_at';
            if changed is null then
                return null;
            end if;
            became := coalesce(after ->> 'status', 'updated');
            -- A row whose key has changed makes two entries, below.
            more := changed && key_columns or nowhere is null and 'community_id' = any (changed);
        end if;
    end if;
    if not more then
        if pg_catalog.cardinality(key_columns) > 1 then
            select pg_catalog.jsonb_object_agg(k, content -> k) into rest_of_key
            from pg_catalog.unnest(key_columns[2:]) as k;
        end if;
        if pg_catalog.cardinality(personal) > 0 then
            before := private.audit_redacted(before, personal, community);
            after := private.audit_redacted(after, personal, community);
        end if;
        insert into public.audit_entries (
            community_id, actor_id, acting_as, action, object_type, object_id, object_key, before, after, changed,
            reason, request_id
        )
        values (
            community, actor, acting, tg_argv[0] || '.' || became, tg_argv[0], (content ->> key_columns[1])::uuid,
            rest_of_key, before, after, changed, reason, request_id
        );
        return null;
    end if;

    -- Several rows, at one moment. `offset 0` keeps the planner from writing to_jsonb() wherever its value is used.
    instant := pg_catalog.clock_timestamp();
    if tg_op = 'UPDATE' then
        insert into public.audit_entries (
            community_id, occurred_at, actor_id, acting_as, action, object_type, object_id, object_key, before, after,
            changed, reason, request_id
        )
        select
            r.community_id, instant, actor,
            case
                when acting_everywhere is not null or r.community_id = community then acting
                else private.acting_as(actor, r.community_id)
            end,
            tg_argv[0] || '.' || r.became, tg_argv[0], (r.content ->> key_columns[1])::uuid,
            case when pg_catalog.cardinality(key_columns) > 1 then (
                select pg_catalog.jsonb_object_agg(k, r.content -> k) from pg_catalog.unnest(key_columns[2:]) as k
            ) end,
            case when personal = '{}' then r.before else private.audit_redacted(r.before, personal, r.community_id) end,
            case when personal = '{}' then r.after else private.audit_redacted(r.after, personal, r.community_id) end,
            coalesce(r.changed, '{}'), reason, request_id
        from (
            select
                p.content,
                coalesce(nowhere, (p.content ->> 'community_id')::uuid, (p.content ->> 'id')::uuid) as community_id,
                case
                    when p.before is null then 'created'
                    when p.after is null then 'deleted'
                    else coalesce(d.after ->> 'status', 'updated')
                end as became,
                coalesce(d.before, p.before) as before, coalesce(d.after, p.after) as after, d.changed
            from (
                -- Row by row, by the key. One whose key has changed is recorded as deleted and created.
                select o.content as before, n.content as after, coalesce(n.content, o.content) as content
                from (select pg_catalog.to_jsonb(r.*) as content from old_rows as r offset 0) as o
                full join (select pg_catalog.to_jsonb(r.*) as content from new_rows as r offset 0) as n on array[
                    case when nowhere is null then n.content ->> 'community_id' end, n.content ->> key_columns[1],
                    n.content ->> key_columns[2], n.content ->> key_columns[3], n.content ->> key_columns[4]
                ] collate "C" = array[
                    case when nowhere is null then o.content ->> 'community_id' end, o.content ->> key_columns[1],
                    o.content ->> key_columns[2], o.content ->> key_columns[3], o.content ->> key_columns[4]
                ]
                offset 0
            ) as p
            cross join lateral (
                select
                    pg_catalog.array_agg(n.key) as changed,
                    pg_catalog.jsonb_object_agg(n.key, p.before -> n.key) as before,
                    pg_catalog.jsonb_object_agg(n.key, n.value) as after
                from pg_catalog.jsonb_each(p.after) as n
                where p.before is not null
                    and n.value is distinct from p.before -> n.key and n.key <> 'updated_at'
            ) as d
            where p.before is null or p.after is null or d.changed is not null
            offset 0
        ) as r;
    elsif tg_op = 'INSERT' then
        insert into public.audit_entries (
            community_id, occurred_at, actor_id, acting_as, action, object_type, object_id, object_key, after, reason,
            request_id
        )
        select
            r.community_id, instant, actor,
            case
                when acting_everywhere is not null or r.community_id = community then acting
                else private.acting_as(actor, r.community_id)
            end,
            tg_argv[0] || '.created', tg_argv[0], (r.content ->> key_columns[1])::uuid,
            case when pg_catalog.cardinality(key_columns) > 1 then (
                select pg_catalog.jsonb_object_agg(k, r.content -> k) from pg_catalog.unnest(key_columns[2:]) as k
            ) end,
            case
                when personal = '{}' then r.content
                else private.audit_redacted(r.content, personal, r.community_id)
            end,
            reason, request_id
        from (
            select
                c.content,
                coalesce(nowhere, (c.content ->> 'community_id')::uuid, (c.content ->> 'id')::uuid) as community_id
            from (select pg_catalog.to_jsonb(n.*) as content from new_rows as n offset 0) as c
            offset 0
        ) as r;
    else
        insert into public.audit_entries (
            community_id, occurred_at, actor_id, acting_as, action, object_type, object_id, object_key, before, reason,
            request_id
        )
        select
            r.community_id, instant, actor,
            case
                when acting_everywhere is not null or r.community_id = community then acting
                else private.acting_as(actor, r.community_id)
            end,
            tg_argv[0] || '.deleted', tg_argv[0], (r.content ->> key_columns[1])::uuid,
            case when pg_catalog.cardinality(key_columns) > 1 then (
                select pg_catalog.jsonb_object_agg(k, r.content -> k) from pg_catalog.unnest(key_columns[2:]) as k
            ) end,
            case
                when personal = '{}' then r.content
                else private.audit_redacted(r.content, personal, r.community_id)
            end,
            reason, request_id
        from (
            select
                c.content,
                coalesce(nowhere, (c.content ->> 'community_id')::uuid, (c.content ->> 'id')::uuid) as community_id
            from (select pg_catalog.to_jsonb(o.*) as content from old_rows as o offset 0) as c
            offset 0
        ) as r;
    end if;
    return null;
end
$$;

-- Begins to record the changes of a table; again, after its key or its personal columns have changed. Personal is what
-- the comment on a column begins with saying so, and what has one of the usual names for it.
create function private.record_changes_of(relation regclass) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    table_name text;
    key_columns text[];
    personal text[];
    event text;
begin
    select c.relname into table_name from pg_catalog.pg_class as c where c.oid = relation;
    select
        coalesce(pg_catalog.array_agg(
            a.attname order by a.attname <> 'id', a.atttypid <> 'uuid'::pg_catalog.regtype, k.place
        ), '{community_id}')
    into key_columns
    from pg_catalog.pg_index as i
    cross join lateral pg_catalog.unnest(i.indkey::smallint[]) with ordinality as k (number, place)
    join pg_catalog.pg_attribute as a on a.attrelid = relation and a.attnum = k.number
    where i.indrelid = relation and i.indisprimary and a.attname <> 'community_id';
    select coalesce(pg_catalog.array_agg(a.attname order by a.attname), '{}') into personal
    from pg_catalog.pg_attribute as a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and (
        pg_catalog.col_description(relation, a.attnum) like 'Personal data%'
        or a.attname ~ '(^|_)(e_?mail|phone|display_name|full_name|first_name|last_name)$'
    );

    if pg_catalog.cardinality(key_columns) > 4 then
        raise exception 'the key of % has more columns than the audit log tells rows apart by', relation;
    end if;

    foreach event in array '{insert,update,delete}'::text[] loop
        execute pg_catalog.format('drop trigger if exists %I on %s', table_name || '_audit_' || event, relation);
        execute pg_catalog.format(
            'create trigger %I after %s on %s referencing %s for each statement '
            'execute function private.record_changes(%L, %L, %L)',
            table_name || '_audit_' || event, event, relation,
            case event
                when 'insert' then 'new table as new_rows'
                when 'delete' then 'old table as old_rows'
                else 'old table as old_rows new table as new_rows'
            end,
            pg_catalog.regexp_replace(pg_catalog.regexp_replace(table_name, 'ies$', 'y'), 's$', ''),
            key_columns, personal
        );
    end loop;
    execute pg_catalog.format('drop trigger if exists %I on %s', table_name || '_audit_truncate', relation);
    execute pg_catalog.format(
        'create trigger %I before truncate on %s for each statement execute function private.refuse_truncate()',
        table_name || '_audit_truncate', relation
    );
end
$$;

-- All tables; a migration that adds one says: select private.record_changes_of('public.its_name'). Left out are logs
-- of their own, which nobody changes, and what follows from them.
do $$
declare
    relation regclass;
begin
    for relation in
        select c.oid
        from pg_catalog.pg_class as c
        where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
            and c.relkind in ('r', 'p')
            and not c.relispartition
            and c.relname not in (
                'audit_entries', 'audit_salts', 'audit_seals', 'audit_heads', 'progress_events', 'block_completions',
                'course_progress', 'program_progress', 'program_requirements', 'progress_queue',
                'job_runs', 'learning_sessions', 'xapi_statements', 'legacy_progress'
            )
        order by c.relname
    loop
        perform private.record_changes_of(relation);
    end loop;
end
$$;

-- The community that the caller is acting in as an admin. As an index condition it keeps everybody else from reading
-- past a log that they see nothing of.
create function private.administered_community_id() returns uuid
stable
set search_path = ''
language plpgsql
as $$
begin
    if private.is_community_admin() then
        return private.claimed_community_id();
    end if;
    return null;
end
$$;
