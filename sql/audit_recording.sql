-- The trigger that writes the entries.

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
