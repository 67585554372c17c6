-- Completion criteria are data: all, any or at least n of courses, groups and milestones. What they may look like is
-- said here and in docs/schemas/criteria.schema.json, which a test compares.

-- The nodes of criteria in reading order, down to the first level that is too deep, each with its place as clients
-- write it. `kind` is null for what is none.
create function private.criteria_nodes(criteria jsonb) returns table (
    field text, place integer[], level integer, node jsonb, kind text, parts jsonb
)
stable
set search_path = ''
language plpgsql
as $$
begin
    return query
    with recursive nodes as (
        select 'completionCriteria' as field, array[]::integer[] as place, 1 as level, criteria as node
        union all
        select pg_catalog.concat_ws('.', n.field, l.list, p.nth - 1),
            n.place || p.nth::integer, n.level + 1, p.part
        from nodes as n
        cross join lateral (
            select k as list, n.node -> k as parts
            from pg_catalog.unnest(array['all', 'any', 'of']) as k
            where n.level <= 5 and pg_catalog.jsonb_typeof(n.node) = 'object'
                and pg_catalog.jsonb_typeof(n.node -> k) = 'array'
        ) as l
        cross join lateral pg_catalog.jsonb_array_elements(l.parts) with ordinality as p (part, nth)
    )
    select n.field, n.place, n.level, n.node, k.kind,
        case k.kind when 'atLeast' then n.node -> 'of' when 'all' then n.node -> 'all' when 'any' then n.node -> 'any' end
    from nodes as n
    left join lateral (
        select case
            when keys.found in ('{all}', '{any}', '{course}', '{group}', '{milestone}') then keys.found[1]
            when keys.found = '{atLeast,of}' then 'atLeast'
        end as kind
        from (
            select array(
                select o.key
                from pg_catalog.jsonb_object_keys(
                    case pg_catalog.jsonb_typeof(n.node) when 'object' then n.node else '{}' end
                ) as o (key)
                order by o.key collate "C"
            ) as found
        ) as keys
    ) as k on true
    order by n.place;
end
$$;

-- What is wrong with the form of criteria: the first place and why; no row when nothing is.
create function private.criteria_form_problem(criteria jsonb) returns table (field text, message text)
stable
rows 1
set search_path = ''
language plpgsql
as $$
begin
    -- Before anything looks into them: 200 courses take a third of it.
    if pg_catalog.octet_length(criteria::text) > 32768 then
        return query select
            'completionCriteria',
            'The criteria are longer than 32 KiB. Ask for fewer courses and groups, or put courses into groups.';
        return;
    end if;
    return query
    select problem.field, problem.message
    from (
        select n.place,
            pg_catalog.concat_ws('.', n.field, case
                when n.level > 5 then null
                when n.kind = 'atLeast' and pg_catalog.jsonb_typeof(n.parts) = 'array'
                    and pg_catalog.jsonb_array_length(n.parts) between 1 and 200 then 'atLeast'
                when n.kind = 'atLeast' then 'of'
                else n.kind
            end) as field,
            case
                when n.level > 5 then 'Criteria are at most 5 levels deep.'
                when n.kind is null then
                    'Give an object: {"all": […]}, {"any": […]}, {"atLeast": n, "of": […]}, {"course": id}, '
                    '{"group": name} or {"milestone": id}.'
                when n.kind in ('all', 'any', 'atLeast') and (
                    pg_catalog.jsonb_typeof(n.parts) <> 'array'
                    or pg_catalog.jsonb_array_length(n.parts) not between 1 and 200
                ) then 'Give a list of 1 to 200 criteria.'
                when n.kind = 'atLeast' and not private.is_count(n.node -> 'atLeast')
                    then 'Give a whole number from 1 to 200.'
                when n.kind in ('course', 'milestone') and (
                    pg_catalog.jsonb_typeof(n.node -> n.kind) <> 'string'
                    or (n.node ->> n.kind) !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
                ) then 'Give an id.'
                when n.kind = 'group' and (
                    pg_catalog.jsonb_typeof(n.node -> 'group') <> 'string'
                    or pg_catalog.char_length(n.node ->> 'group') not between 1 and 100
                ) then 'Give the name of a group, 1 to 100 characters.'
            end as message
        from private.criteria_nodes(criteria) as n
    ) as problem
    where problem.message is not null
    order by problem.place
    limit 1;
end
$$;

create function private.is_count(value jsonb) returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.jsonb_typeof(value) = 'number' and value::numeric between 1 and 200
        and value::numeric = pg_catalog.trunc(value::numeric);
end
$$;

-- What is wrong with well-formed criteria for these courses and groups: the first place and why, or no row.
create function private.criteria_problem(criteria jsonb, courses uuid[], groups text[])
returns table (field text, message text)
stable
rows 1
set search_path = ''
language plpgsql
as $$
begin
    return query select f.field, f.message from private.criteria_form_problem(criteria) as f;
    if found then
        return;
    end if;
    return query
    select problem.field, problem.message
    from (
        select n.place, pg_catalog.concat_ws('.', n.field, n.kind) as field,
            case
                when n.kind = 'course' and (n.node ->> 'course')::uuid <> all (courses)
                    then 'The course is not in the program. Add it to the list, or take it out of the criteria.'
                when n.kind = 'group' and (n.node ->> 'group') <> all (groups)
                    then 'The program has no group of this name. Name it in a course, or take it out of the criteria.'
                when n.kind = 'milestone' then 'There is no milestone with this id in the program.'
                when n.kind = 'atLeast' and (n.node ->> 'atLeast')::numeric > pg_catalog.jsonb_array_length(n.parts)
                    then pg_catalog.format(
                        'At least %s of %s can never be met. Ask for fewer.',
                        (n.node ->> 'atLeast')::numeric::integer, pg_catalog.jsonb_array_length(n.parts)
                    )
                when n.parts is null and pg_catalog.sum((n.parts is null)::integer) over (order by n.place) > 200
                    then 'Criteria have at most 200 courses, groups and milestones in all.'
            end as message
        from private.criteria_nodes(criteria) as n
    ) as problem
    where problem.message is not null
    order by problem.place
    limit 1;
end
$$;
