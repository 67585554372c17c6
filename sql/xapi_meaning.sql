-- Two statements are the same by what they mean (xAPI 1.0.3, part 2, 2.3.1): these leave out what is not part of a
-- statement, and put in order what has none.

create function private.agent_meaning(agent jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    mbox text := agent ->> 'mbox';
begin
    if mbox is not null then
        agent := pg_catalog.jsonb_set(agent, '{mbox}', pg_catalog.to_jsonb(
            pg_catalog.left(mbox, pg_catalog.strpos(mbox, '@'))
            || pg_catalog.lower(pg_catalog.substr(mbox, pg_catalog.strpos(mbox, '@') + 1))
        ));
    end if;
    if agent ? 'member' then
        agent := pg_catalog.jsonb_set(agent, '{member}', (
            select coalesce(pg_catalog.jsonb_agg(m.meaning order by m.meaning), '[]')
            from (
                select private.agent_meaning(a) as meaning from pg_catalog.jsonb_array_elements(agent -> 'member') as a
            ) as m
        ));
    end if;
    return agent;
end
$$;

create function private.object_meaning(object jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return case coalesce(object ->> 'objectType', 'Activity')
        when 'Activity' then object - 'definition'
        when 'StatementRef' then pg_catalog.jsonb_set(object, '{id}', pg_catalog.to_jsonb(pg_catalog.lower(object ->> 'id')))
        when 'SubStatement' then private.statement_meaning(object)
        else private.agent_meaning(object)
    end;
end
$$;

create function private.context_meaning(context jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return context || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'registration', pg_catalog.lower(context ->> 'registration'),
        'instructor', private.agent_meaning(context -> 'instructor'),
        'team', private.agent_meaning(context -> 'team'),
        'statement', private.object_meaning(context -> 'statement'),
        'contextActivities', (
            select pg_catalog.jsonb_object_agg(c.key, (
                select pg_catalog.jsonb_agg(a - 'definition' order by a - 'definition')
                from pg_catalog.jsonb_array_elements(
                    -- One may stand without its list.
                    case pg_catalog.jsonb_typeof(c.value) when 'array' then c.value else pg_catalog.jsonb_build_array(c.value) end
                ) as a
            ))
            from pg_catalog.jsonb_each(context -> 'contextActivities') as c
        )
    ));
end
$$;

create function private.statement_meaning(statement jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return (statement - '{id,stored,authority,version}'::text[]) || pg_catalog.jsonb_strip_nulls(
        pg_catalog.jsonb_build_object('timestamp', (statement ->> 'timestamp')::timestamptz)
    ) || pg_catalog.jsonb_build_object(
        'actor', private.agent_meaning(statement -> 'actor'),
        'verb', (statement -> 'verb') - 'display',
        'object', private.object_meaning(statement -> 'object')
    ) || case
        when statement ? 'context'
            then pg_catalog.jsonb_build_object('context', private.context_meaning(statement -> 'context'))
        else '{}'
    end;
end
$$;

-- Without a timestamp, a statement has the one of its storing, which a repetition cannot know.
create function private.is_same_statement(one jsonb, other jsonb) returns boolean
stable
set search_path = ''
language plpgsql
as $$
declare
    both_timed boolean := one ? 'timestamp' and other ? 'timestamp';
begin
    one := private.statement_meaning(one);
    other := private.statement_meaning(other);
    return case when both_timed then one = other else one - 'timestamp' = other - 'timestamp' end;
end
$$;
