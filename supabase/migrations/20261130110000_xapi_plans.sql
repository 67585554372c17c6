-- Statements are stored and read by looking at little more than is sent or shown, in a large community too: lists by verb,
-- those of learners, and what is there already of what is sent.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- squawk-ignore require-concurrent-index-deletion
drop index public.xapi_statements_stored_at_idx;
-- squawk-ignore require-concurrent-index-deletion
drop index public.xapi_statements_activity_idx;

-- For lists, in their order; what is void is in none, so that no page goes past it. That of verbs costs a statement 220 bytes
-- of index and a list of a hundred 4 percent more time. Without it, who asks for a rare verb waits until all that the
-- community has said is gone through.
-- squawk-ignore require-concurrent-index-creation
create index xapi_statements_stored_at_idx on public.xapi_statements (community_id, stored_at, id, user_id)
where voided_at is null;
-- squawk-ignore require-concurrent-index-creation
create index xapi_statements_activity_idx on public.xapi_statements (community_id, activity, stored_at, id, user_id)
where voided_at is null;
-- squawk-ignore require-concurrent-index-creation
create index xapi_statements_verb_idx on public.xapi_statements (community_id, verb, stored_at, id, user_id)
where voided_at is null;

-- Those that are not stored yet, each with what has voided it already. Refuses all of them when one is another statement
-- than the one that has its id.
create or replace function private.new_statements(community uuid, entries private.xapi_entry[], as_admin boolean)
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

-- A page of statements as the policies show them to the caller: until when storing is consistent, the keys of the last one
-- if there are more, or null, and the statements, a line each.
create or replace function private.read_statements(asked jsonb) returns text
stable
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    direction text := case when (asked ->> 'ascending')::boolean then 'asc' else 'desc' end;
    most integer := asked ->> 'limit';
    page public.xapi_statements[];
begin
    if community is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    -- Only with the conditions that there are, so that each finds its index; none of them is a client's text. Who asks
    -- comes as a value: behind the policies, auth.uid() finds no index and would be asked of all that the community has.
    execute pg_catalog.concat(
        'select array(select s from public.xapi_statements as s where s.community_id = $1 and s.voided_at is null',
        case when not private.is_community_admin() then ' and s.user_id = $4' end,
        case when asked ? 'verb' then ' and s.verb = $2 ->> ''verb''' end,
        case when asked ? 'activity' then ' and s.activity = $2 ->> ''activity''' end,
        case when asked ? 'since' then ' and s.stored_at > ($2 ->> ''since'')::timestamptz' end,
        case when asked ? 'until' then ' and s.stored_at <= ($2 ->> ''until'')::timestamptz' end,
        case
            when asked ? 'after' then pg_catalog.format(
                ' and (s.stored_at, s.id, s.user_id) %s '
                '(($2 -> ''after'' ->> 0)::timestamptz, ($2 -> ''after'' ->> 1)::uuid, ($2 -> ''after'' ->> 2)::uuid)',
                case direction when 'asc' then '>' else '<' end
            )
        end,
        pg_catalog.format(' order by s.stored_at %1$s, s.id %1$s, s.user_id %1$s limit $3 + 1)', direction)
    )
    into page
    using community, asked, most, auth.uid();
    return pg_catalog.concat_ws(e'\n',
        private.consistent_through(),
        case
            when pg_catalog.cardinality(page) > most then pg_catalog.jsonb_build_array(
                private.xapi_time(page[most].stored_at), page[most].id, page[most].user_id
            )::text
            else 'null'
        end,
        (
            select coalesce(pg_catalog.jsonb_agg(private.statement_shown(page[place]) order by place), '[]')::text
            from pg_catalog.generate_series(1, least(most, pg_catalog.cardinality(page))) as place
        )
    );
end
$$;
