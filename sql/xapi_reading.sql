-- Reading statements, one or a page of them, as the policies show them to the caller.

-- A statement as it is read: with what the server knows of it.
create function private.statement_shown(statement public.xapi_statements) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    stored text := private.xapi_time(statement.stored_at);
begin
    return pg_catalog.jsonb_build_object('timestamp', stored, 'version', '1.0.0')
        || statement.content
        || pg_catalog.jsonb_build_object(
            'id', statement.id,
            'stored', stored,
            'authority', pg_catalog.jsonb_build_object(
                'objectType', 'Agent',
                'account', pg_catalog.jsonb_build_object(
                    -- All tokens here are of the one issuer.
                    'homePage', coalesce(auth.jwt() ->> 'iss', 'http://localhost'), 'name', statement.sent_by
                )
            )
        );
end
$$;

-- One statement by its id, as the policies show it to the caller: until when storing is consistent, when it was stored, and
-- the statement, a line each; only the first line when there is none. Of several people's with one id, the one that came first.
create function private.read_statement(statement_id uuid, is_voided boolean) returns text
stable
set search_path = ''
language plpgsql
as $$
declare
    found_statement public.xapi_statements;
begin
    if private.get_community_id() is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    select s.* into found_statement
    from public.xapi_statements as s
    where s.community_id = private.get_community_id() and s.id = statement_id
        and (s.voided_at is not null) = is_voided
    order by s.stored_at, s.user_id
    limit 1;
    return pg_catalog.concat_ws(e'\n',
        private.consistent_through(), private.xapi_time(found_statement.stored_at),
        case when found_statement.id is not null then private.statement_shown(found_statement)::text end
    );
end
$$;

-- A page of statements as the policies show them to the caller: until when storing is consistent, the keys of the last one
-- if there are more, or null, and the statements, a line each.
create function private.read_statements(asked jsonb) returns text
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
