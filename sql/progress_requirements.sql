-- What a version of a program asks for, as a tree that is written down once, when the version is closed; and how much of
-- it somebody has done.

-- In reading order: a node comes after the one that it is in. Without criteria the root asks for every required course
-- that is in no group, and for every group.
create table public.program_requirements (
    community_id uuid not null,
    program_id uuid not null,
    version integer not null,
    node integer not null,
    parent integer,
    kind text not null,
    needed integer not null,
    course_id uuid,
    course_version integer,
    group_name text,
    constraint program_requirements_pkey primary key (community_id, program_id, version, node),
    constraint program_requirements_version_exists foreign key (community_id, program_id, version)
    references public.program_versions (community_id, program_id, version) on delete cascade,
    constraint program_requirements_kind_known check (kind in ('all', 'any', 'at_least', 'group', 'course')),
    constraint program_requirements_parent_before check (parent < node),
    constraint program_requirements_course_known check ((kind = 'course') = (course_id is not null))
);
alter table public.program_requirements enable row level security;
alter table public.program_requirements alter column community_id set (n_distinct = 20);
comment on table public.program_requirements is 'When a version of a program is complete, as a tree: its criteria, spelt out.';
comment on column public.program_requirements.needed is
'How many of its parts make it met, of those that ask for something; 0 of what asks for nothing.';

-- The nodes of a version's criteria, as the table has them but for their courses.
create function private.requirement_nodes(version public.program_versions)
returns table (node integer, parent integer, kind text, needed integer, course_id uuid, group_name text)
stable
set search_path = ''
language plpgsql
as $$
begin
    if version.completion_criteria is null then
        return query
        select 0, null::integer, 'all', 0, null::uuid, null::text
        union all
        (
            select pg_catalog.row_number() over (order by p.place)::integer, 0, p.kind, p.needed, p.course_id, p.group_name
            from (
                select a.sequence_order as place, 'course' as kind, 1 as needed, a.course_id, null as group_name
                from public.program_course_assignments as a
                where a.community_id = version.community_id and a.program_id = version.program_id
                    and a.version = version.version and a.required and a.group_name is null
                union all
                select min(a.sequence_order), 'group', g.at_least, null, g.name
                from public.program_course_groups as g
                join public.program_course_assignments as a
                    on a.community_id = g.community_id and a.program_id = g.program_id and a.version = g.version
                    and a.group_name = g.name
                where g.community_id = version.community_id and g.program_id = version.program_id
                    and g.version = version.version
                group by g.name, g.at_least
            ) as p
        );
        return;
    end if;
    return query
    with nodes as (
        select (pg_catalog.row_number() over (order by n.place))::integer - 1 as nth, n.*
        from private.criteria_nodes(version.completion_criteria) as n
    )
    select
        n.nth, p.nth, case n.kind when 'atLeast' then 'at_least' else n.kind end,
        case n.kind
            when 'atLeast' then (n.node ->> 'atLeast')::numeric::integer
            when 'all' then pg_catalog.jsonb_array_length(n.parts)
            when 'group' then coalesce(g.at_least, 1)
            else 1
        end,
        case n.kind when 'course' then (n.node ->> 'course')::uuid end,
        case n.kind when 'group' then n.node ->> 'group' end
    from nodes as n
    left join nodes as p on p.place = n.place[:pg_catalog.cardinality(n.place) - 1] and n.nth > 0
    left join public.program_course_groups as g
        on g.community_id = version.community_id and g.program_id = version.program_id
        and g.version = version.version and g.name = n.node ->> 'group' and n.kind = 'group';
end
$$;

-- Writes down what a version asks for. Behind the criteria's own nodes come the courses of its groups.
create function private.write_requirements(version public.program_versions) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    inner_node integer;
begin
    insert into public.program_requirements (
        community_id, program_id, version, node, parent, kind, needed, course_id, course_version, group_name
    )
    with nodes as (
        select n.* from private.requirement_nodes(version) as n
    ),
    with_courses as (
        select n.* from nodes as n
        union all
        select
            (
                (select max(n.node) from nodes as n)
                + pg_catalog.row_number() over (order by n.node, a.sequence_order)
            )::integer,
            n.node, 'course', 1, a.course_id, null
        from nodes as n
        join public.program_course_assignments as a
            on a.community_id = version.community_id and a.program_id = version.program_id
            and a.version = version.version and a.group_name = n.group_name
        where n.kind = 'group'
    )
    select
        version.community_id, version.program_id, version.version, n.node, n.parent, n.kind,
        case
            when n.kind = 'all' then (select count(*) from nodes as below where below.parent = n.node)
            -- Not "not exists": that would look through all blocks of the community at once.
            when n.kind = 'course' and (
                select true
                from public.blocks as b
                where b.community_id = version.community_id and b.course_id = n.course_id
                    and b.version = a.course_version and b.required and b.completion_mode = 'completable'
                limit 1
            ) is null then 0
            else n.needed
        end,
        n.course_id, a.course_version, n.group_name
    from with_courses as n
    left join public.program_course_assignments as a
        on a.community_id = version.community_id and a.program_id = version.program_id
        and a.version = version.version and a.course_id = n.course_id;
    -- What asks for nothing is no part of anything: of two courses of which one has nothing to do, "two of these" asks for
    -- the other one. From the last to the first, for parts come behind what they are parts of.
    for inner_node in
        select r.node
        from public.program_requirements as r
        where r.community_id = version.community_id and r.program_id = version.program_id
            and r.version = version.version and r.kind <> 'course'
        order by r.node desc
    loop
        update public.program_requirements as r
        set needed = least(r.needed, (
            select count(*)
            from public.program_requirements as p
            where p.community_id = r.community_id and p.program_id = r.program_id and p.version = r.version
                and p.parent = r.node and p.needed > 0
        ))
        where r.community_id = version.community_id and r.program_id = version.program_id
            and r.version = version.version and r.node = inner_node;
    end loop;
end
$$;

create function private.hold_requirements() returns trigger
volatile
security definer -- writes what no client may, from the version that was closed
set search_path = ''
language plpgsql
as $$
begin
    perform private.write_requirements(new);
    -- An import makes a program and its enrolments in one transaction, before it is known what the version asks for. Nobody
    -- is in a later version before it is closed.
    if new.version = 1 then
        update public.program_progress as p
        set status = 'not_started'
        from public.program_enrollments as e
        where e.community_id = new.community_id and e.program_id = new.program_id and e.program_version = new.version
            and p.community_id = e.community_id and p.enrollment_id = e.id and p.status = 'not_applicable'
            and exists (
                select from public.program_requirements as r
                where r.community_id = new.community_id and r.program_id = new.program_id and r.version = new.version
                    and r.kind = 'course' and r.needed > 0
            );
    end if;
    return null;
end
$$;

create trigger program_versions_write_requirements after update of published_at on public.program_versions
for each row when (old.published_at is null and new.published_at is not null)
execute function private.hold_requirements();

create type private.requirement_state as (
    enrollment_id uuid,
    node integer,
    parent integer,
    kind text,
    needed integer,
    course_id uuid,
    group_name text,
    met boolean,
    share numeric,
    started boolean,
    completed_at timestamptz
);

-- Each node of what the versions of enrolments ask for, and how much of it is done: of a course its share, of others the
-- mean of the best parts, as many as are needed. Of courses the current attempt counts, and no earlier one.
create function private.requirement_states(enrollments public.program_enrollments[])
returns setof private.requirement_state
stable
rows 10
set search_path = ''
language plpgsql
as $$
declare
    states private.requirement_state[];
    inner_nodes private.requirement_state[];
begin
    states := array(
        select row(
            e.id, r.node, r.parent, r.kind, r.needed, r.course_id, r.group_name,
            p.completed_at is not null or r.needed = 0,
            case
                when p.completed_at is not null or r.needed = 0 then 1
                when p.possible > 0 then greatest(p.earned / p.possible, p.legacy_percent / 100)
                else 0
            end,
            p.started_at is not null or p.legacy_percent > 0, p.completed_at
        )::private.requirement_state
        from pg_catalog.unnest(enrollments) as e
        join public.program_requirements as r
            on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
            and r.kind = 'course'
        left join lateral (
            select s.*
            from public.course_progress as s
            where s.community_id = e.community_id and s.user_id = e.user_id and s.course_id = r.course_id
                and s.version = r.course_version and s.attempt = (
                    select coalesce(max(o.attempt), 1)
                    from public.course_attempts as o
                    where o.community_id = e.community_id and o.user_id = e.user_id and o.course_id = r.course_id
                )
            -- For itself, so that it is looked up: joined, all courses of the person would be gone through.
            offset 0
        ) as p on true
    );
    -- From the last to the first, of all enrolments at once: parts come before what they are parts of.
    for inner_nodes in
        select pg_catalog.array_agg(row(
            n.enrollment_id, n.node, n.parent, n.kind, n.needed, null, n.group_name, null, null, null, null
        )::private.requirement_state)
        from (
            select e.id as enrollment_id, r.*, pg_catalog.row_number() over (partition by e.id order by r.node desc) as nth
            from pg_catalog.unnest(enrollments) as e
            join public.program_requirements as r
                on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
                and r.kind <> 'course'
        ) as n
        group by n.nth
        order by n.nth
    loop
        states := states || array(
            select row(
                n.enrollment_id, n.node, n.parent, n.kind, n.needed, null, n.group_name,
                count(*) filter (where n.part_met and n.place <= n.needed) >= n.needed,
                coalesce(pg_catalog.sum(n.part_share) filter (where n.place <= n.needed), 0) / greatest(n.needed, 1),
                coalesce(pg_catalog.bool_or(n.part_started), false),
                max(n.part_completed_at) filter (where n.place <= n.needed)
            )::private.requirement_state
            from (
                select
                    i.*, s.met as part_met, s.share as part_share, s.started as part_started,
                    s.completed_at as part_completed_at,
                    pg_catalog.row_number() over (
                        partition by i.enrollment_id order by s.met desc nulls last, s.share desc, s.completed_at
                    ) as place
                from pg_catalog.unnest(inner_nodes) as i
                left join pg_catalog.unnest(states) as s
                    on s.enrollment_id = i.enrollment_id and s.parent = i.node and s.needed > 0
            ) as n
            group by n.enrollment_id, n.node, n.parent, n.kind, n.needed, n.group_name
        );
    end loop;
    return query select s.* from pg_catalog.unnest(states) as s;
end
$$;
