-- Storing statements, all or none, each once: with their events, and with what they void or is voided already.

-- Those that are not stored yet, each with what has voided it already. Refuses all of them when one is another statement
-- than the one that has its id.
create function private.new_statements(community uuid, entries private.xapi_entry[], as_admin boolean)
returns private.xapi_entry[]
stable
set search_path = ''
language plpgsql
as $$
declare
    wrong private.xapi_entry;
begin
    -- Looked up by id: `is not distinct from` goes by no index. With `=` the planner takes the one of a person's statements,
    -- too, for one that leads to a single row, and goes through all of theirs for each.
    select e.* into wrong
    from pg_catalog.unnest(entries) as e
    join public.xapi_statements as s on s.community_id = community and s.id = e.id and s.user_id is not distinct from e.user_id
    where not private.is_same_statement(s.content, e.content)
    order by e.place
    limit 1;
    if found then
        perform private.refuse('409', pg_catalog.concat(
            wrong.shown_place || ': ', 'Another statement has the id ', wrong.id, ' already. Give this one an id of its own.'
        ), pg_catalog.concat_ws('.', wrong.shown_place, 'id'));
    end if;
    return array(
        select row(
            e.place, e.shown_place, e.user_id, e.id, e.verb, e.activity, e.voids, e.content, e.stored_at,
            case when e.voids is null then coalesce(
                (
                    select v.id
                    from public.xapi_statements as v
                    where v.community_id = community and v.voids = e.id and (v.sent_by_admin or v.user_id = e.user_id)
                    order by v.stored_at, v.id
                    limit 1
                ),
                (
                    select v.id
                    from pg_catalog.unnest(entries) as v
                    where v.voids = e.id and (as_admin or v.user_id = e.user_id)
                    order by v.place
                    limit 1
                )
            ) end
        )::private.xapi_entry
        from pg_catalog.unnest(entries) as e
        where not exists (
            select from public.xapi_statements as s
            where s.community_id = community and s.id = e.id and s.user_id is not distinct from e.user_id
        )
        order by e.place
    );
end
$$;

-- Writes new statements, and what follows from them: their events first, so that what became of these stands beside.
create function private.write_statements(community uuid, entries private.xapi_entry[], as_admin boolean) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    -- By place, what became of each that was mapped.
    mapped jsonb := (
        select coalesce(pg_catalog.jsonb_object_agg(e.place, pg_catalog.to_jsonb(m)), '{}')
        from pg_catalog.unnest(entries) as e
        cross join lateral private.event_of_statement(e, as_admin) as m
    );
    events jsonb := (
        select pg_catalog.jsonb_agg(m.value -> 'event' order by m.key::integer)
        from pg_catalog.jsonb_each(mapped) as m
        where m.value ->> 'reason' is null
    );
begin
    if events is not null then
        mapped := mapped || (
            select pg_catalog.jsonb_object_agg(m.key, r.result)
            from (
                select m.key, pg_catalog.row_number() over (order by m.key::integer) as nth
                from pg_catalog.jsonb_each(mapped) as m
                where m.value ->> 'reason' is null
            ) as m
            join pg_catalog.jsonb_array_elements(private.record_events(community, events) -> 'results')
                with ordinality as r (result, nth) using (nth)
        );
    end if;
    insert into public.xapi_statements (
        community_id, user_id, id, verb, activity, voids, sent_by, sent_by_admin, content, stored_at, event_status, reason,
        voided_at, voided_by
    )
    select
        community, e.user_id, e.id, e.verb, e.activity, e.voids, auth.uid(), as_admin, e.content, e.stored_at,
        mapped -> e.place::text ->> 'status', mapped -> e.place::text ->> 'reason',
        case when e.voided_by is not null then e.stored_at end, e.voided_by
    from pg_catalog.unnest(entries) as e
    order by e.place;

    update public.xapi_statements as s
    set voided_at = v.stored_at, voided_by = v.id
    from (
        select distinct on (v.voids, v.user_id) v.voids, v.user_id, v.id, v.stored_at
        from pg_catalog.unnest(entries) as v
        where v.voids is not null
        order by v.voids, v.user_id, v.place
    ) as v
    where s.community_id = community and s.id = v.voids and (as_admin or s.user_id = v.user_id)
        and s.voids is null and s.voided_at is null;
end
$$;

-- Stores statements of the caller or, from an admin, of members: all of them or, when one cannot be, none. Gives until
-- when storing is consistent and, in the next line, their ids as JSON.
create function private.store_statements(given jsonb, given_id uuid default null) returns text
volatile
security definer -- writes statements and progress, which clients may not; the caller's own, or for admins, in their community only
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    as_admin boolean := private.is_community_admin();
    entries private.xapi_entry[];
    new_entries private.xapi_entry[];
begin
    if community is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    if pg_catalog.jsonb_typeof(given) = 'array' and pg_catalog.jsonb_array_length(given) > 500 then
        perform private.refuse('400', 'Send up to 500 statements at once.');
    end if;
    entries := private.xapi_entries_in(community, given, given_id);
    perform private.check_statements(entries, as_admin);
    -- A person's statements are stored one after the other, as their progress is. What an admin voids may be of somebody
    -- else, and just being stored: such a request is alone in its community.
    if as_admin and exists (select from pg_catalog.unnest(entries) as e where e.voids is not null) then
        perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('xapi ' || community::text, 0));
    else
        perform pg_catalog.pg_advisory_xact_lock_shared(pg_catalog.hashtextextended('xapi ' || community::text, 0));
    end if;
    perform private.lock_learners(community, array(select e.user_id from pg_catalog.unnest(entries) as e));
    new_entries := private.new_statements(community, entries, as_admin);
    if pg_catalog.cardinality(new_entries) > 0 then
        perform private.write_statements(community, new_entries, as_admin);
    end if;
    return private.consistent_through() || e'\n' || (
        select coalesce(pg_catalog.jsonb_agg(e.id order by e.place), '[]')::text from pg_catalog.unnest(entries) as e
    );
end
$$;
