-- What clients see of progress. A function that is asked for each row of a list does not go through the policies of every
-- table that it reads: it asks once whether the caller may see this person's progress, as those policies have it.

create function private.may_see_progress(community uuid, person uuid) returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(
        community = private.get_community_id()
        and (person = private.signed_in_user_id() or private.is_community_admin()),
        false
    );
end
$$;

create type private.course_progress_state as (
    user_id uuid,
    course_id uuid,
    version integer,
    attempt integer,
    status text,
    done_required integer,
    total_required integer,
    earned numeric,
    possible numeric,
    percent integer,
    started_at timestamptz,
    completed_at timestamptz,
    -- In a list.
    place integer,
    legacy_percent numeric
);

-- Percent is floored, and 100 is shown for what is complete and nothing else. It is no less than what legacy progress says.
create function private.course_state_of(progress public.course_progress) returns private.course_progress_state
stable
set search_path = ''
language plpgsql
as $$
begin
    return row(
        progress.user_id, progress.course_id, progress.version, progress.attempt,
        case
            when progress.completed_at is not null then 'completed'
            when progress.total_required = 0 then 'not_applicable'
            when progress.started_at is not null or progress.legacy_percent > 0 then 'in_progress'
            else 'not_started'
        end,
        progress.done_required, progress.total_required, progress.earned, progress.possible,
        case
            when progress.completed_at is not null then 100
            else least(pg_catalog.floor(greatest(
                100 * progress.earned / nullif(progress.possible, 0), progress.legacy_percent, 0
            )), 99)
        end,
        progress.started_at, progress.completed_at, null, progress.legacy_percent
    )::private.course_progress_state;
end
$$;

-- Where somebody stands with a version of a course in their current attempt. Counted when no sums are kept yet.
create function private.course_state(community uuid, person uuid, course uuid, in_version integer)
returns private.course_progress_state
stable
set search_path = ''
language plpgsql
as $$
declare
    current_attempt integer := private.current_attempt(community, person, course);
    progress public.course_progress;
begin
    select p.* into progress
    from public.course_progress as p
    where p.community_id = community and p.user_id = person and p.course_id = course
        and p.version = in_version and p.attempt = current_attempt;
    if not found then
        progress := private.counted_course_progress(community, person, course, in_version, current_attempt);
    end if;
    return private.course_state_of(progress);
end
$$;

create function private.course_progress(arguments jsonb) returns setof private.course_progress_state
stable
rows 1
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    person uuid := coalesce((arguments ->> 'user_id')::uuid, private.signed_in_user_id());
    course uuid := (arguments ->> 'course_id')::uuid;
    in_version integer;
begin
    if not private.may_see_progress(community, person) or not exists (
        select from public.memberships as m where m.community_id = community and m.user_id = person
    ) then
        return;
    end if;
    -- Null for a course of another community, or one that is a draft.
    in_version := private.version_shown(community, person, course);
    if in_version is not null then
        return next private.course_state(community, person, course, in_version);
    end if;
end
$$;

create function private.program_progress(arguments jsonb) returns setof public.program_progress
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    program uuid := (arguments ->> 'program_id')::uuid;
    person uuid := coalesce((arguments ->> 'user_id')::uuid, private.signed_in_user_id());
begin
    return query
    select p.*
    from public.program_progress as p
    where p.community_id = community and p.program_id = program and p.user_id = person
    order by p.enrollment_attempt desc
    limit 1;
end
$$;

create function private.courses_of_progress(progress public.program_progress)
returns setof private.course_progress_state
stable
rows 10
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
begin
    if not private.may_see_progress(progress.community_id, progress.user_id) then
        return;
    end if;
    return query
    select
        s.user_id, s.course_id, s.version, s.attempt, s.status, s.done_required, s.total_required, s.earned, s.possible,
        s.percent, s.started_at, s.completed_at, a.sequence_order, s.legacy_percent
    from public.program_enrollments as e
    join public.program_course_assignments as a
        on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
    cross join lateral private.course_state(e.community_id, e.user_id, a.course_id, a.course_version) as s
    where e.community_id = progress.community_id and e.id = progress.enrollment_id
        and e.user_id = progress.user_id;
end
$$;

-- The courses that a mutation was about.
create function private.courses_told(told jsonb) returns setof private.course_progress_state
stable
rows 5
set search_path = ''
language plpgsql
as $$
begin
    return query
    select
        s.user_id, s.course_id, s.version, s.attempt, s.status, s.done_required, s.total_required, s.earned, s.possible,
        s.percent, s.started_at, s.completed_at, c.place::integer, s.legacy_percent
    from pg_catalog.jsonb_array_elements(told -> 'courses') with ordinality as c (course, place)
    cross join lateral private.course_progress(c.course) as s;
end
$$;

-- The results of recording as rows.
create function private.progress_results(told jsonb) returns table (
    place bigint, event_id uuid, status text, reason text
)
stable
rows 100
set search_path = ''
language plpgsql
as $$
begin
    return query
    select r.place, (r.result ->> 'event_id')::uuid, r.result ->> 'status', r.result ->> 'reason'
    from pg_catalog.jsonb_array_elements(told -> 'results') with ordinality as r (result, place);
end
$$;

-- The first required block in reading order that is not complete; none when the course is.
create function private.next_block(progress private.course_progress_state) returns setof public.blocks
stable
rows 1
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
begin
    if progress.completed_at is not null or not private.may_see_progress(community, progress.user_id) then
        return;
    end if;
    return query
    select b.*
    from public.blocks as b
    -- For itself, so that each block is looked up: joined, all completions would be gone through for each block.
    left join lateral (
        select o.value
        from public.block_completions as o
        where o.community_id = b.community_id and o.user_id = progress.user_id and o.course_id = b.course_id
            and o.attempt = progress.attempt and o.block_id = b.id
        offset 0
    ) as c on true
    where b.community_id = community and b.course_id = progress.course_id and b.version = progress.version
        and b.published and b.required and b.completion_mode = 'completable' and (c.value = 1) is not true
    order by b.position
    limit 1;
end
$$;

-- All blocks of the version in reading order. An aggregator is as far as the required blocks below it are, by weight.
create function private.blocks_of_progress(progress private.course_progress_state) returns table (
    place integer, block_id uuid, course_id uuid, version integer, status text, value numeric, score numeric,
    started_at timestamptz, completed_at timestamptz, overridden boolean
)
stable
rows 100
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
begin
    if not private.may_see_progress(community, progress.user_id) then
        return;
    end if;
    return query
    with recursive standing as (
        select
            b.id, b.parent_id, b.position, b.weight, b.completion_mode,
            b.required and b.completion_mode = 'completable' as counts,
            case when b.completion_mode = 'completable' then coalesce(c.value, 0) end as value,
            c.score, c.started_at, c.completed_at, c.override_value is not null as overridden
        from public.blocks as b
        left join lateral (
            select o.value, o.score, o.started_at, o.completed_at, o.override_value
            from public.block_completions as o
            where o.community_id = b.community_id and o.user_id = progress.user_id and o.course_id = b.course_id
                and o.attempt = progress.attempt and o.block_id = b.id
            offset 0
        ) as c on true
        where b.community_id = community and b.course_id = progress.course_id and b.version = progress.version
            and b.published
    ),
    inside as (
        select s.parent_id as holder, s.weight, s.value, s.started_at, s.completed_at, s.counts
        from standing as s
        where s.parent_id is not null and s.completion_mode = 'completable'
        union all
        select s.parent_id, i.weight, i.value, i.started_at, i.completed_at, i.counts
        from inside as i
        join standing as s on s.id = i.holder
        where s.parent_id is not null
    ),
    holders as (
        select
            i.holder,
            pg_catalog.sum(i.weight * i.value) filter (where i.counts) / pg_catalog.sum(i.weight) filter (where i.counts) as value,
            min(i.started_at) as started_at,
            case when pg_catalog.bool_and(i.value = 1) filter (where i.counts) then max(i.completed_at) filter (where i.counts) end
                as completed_at
        from inside as i
        group by i.holder
    )
    select
        s.position, s.id, progress.course_id, progress.version,
        case
            when a.value is null then 'not_applicable'
            when a.value = 1 then 'completed'
            when a.started_at is not null then 'in_progress'
            else 'not_started'
        end,
        pg_catalog.trunc(coalesce(a.value, 0), 6), s.score, a.started_at, a.completed_at, s.overridden
    from standing as s
    left join holders as h on h.holder = s.id and s.completion_mode = 'aggregator'
    cross join lateral (
        select
            coalesce(h.value, s.value) as value, coalesce(h.started_at, s.started_at) as started_at,
            coalesce(h.completed_at, s.completed_at) as completed_at
    ) as a;
end
$$;

-- Why a program is not complete: what of it is not met, in reading order. Of what is met, nothing; and no "all of these",
-- of which each part stands for itself.
create function private.missing_requirements(progress public.program_progress) returns table (
    place integer, kind text, course_id uuid, group_name text, needed integer, done integer, percent integer,
    description text
)
stable
rows 5
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    enrollment public.program_enrollments;
begin
    if progress.status = 'completed' or not private.may_see_progress(progress.community_id, progress.user_id) then
        return;
    end if;
    select e.* into enrollment
    from public.program_enrollments as e
    where e.community_id = progress.community_id and e.id = progress.enrollment_id and e.user_id = progress.user_id;
    return query
    with states as (
        select s.* from private.requirement_states(array[enrollment]) as s
    )
    select
        s.node, s.kind, s.course_id, s.group_name, s.needed,
        case s.kind when 'course' then 0 else b.met end, least(pg_catalog.floor(s.share * 100), 99)::integer,
        case s.kind
            when 'course' then pg_catalog.format(
                'Complete the course "%s": %s of its %s required blocks are done.%s', c.title,
                (c.state).done_required, (c.state).total_required, case
                    when (c.state).legacy_percent > 0 then pg_catalog.format(
                        ' An earlier system had it at %s percent.', pg_catalog.trim_scale((c.state).legacy_percent)
                    )
                end
            )
            when 'group' then pg_catalog.format(
                'Complete at least %s of the courses in the group "%s": %s so far.', s.needed, s.group_name, b.met
            )
            else pg_catalog.format('Do at least %s of the following: %s so far.', s.needed, b.met)
        end
    from states as s
    cross join lateral (
        select count(*) filter (where o.met)::integer as met from states as o where o.parent = s.node and o.needed > 0
    ) as b
    -- For itself: what is met is not looked up.
    left join lateral (
        select
            o.title,
            private.course_state(enrollment.community_id, enrollment.user_id, o.id, r.course_version) as state
        from public.program_requirements as r
        join public.courses as o on o.community_id = r.community_id and o.id = r.course_id
        where r.community_id = enrollment.community_id and r.program_id = enrollment.program_id
            and r.version = enrollment.program_version and r.node = s.node and s.kind = 'course'
        offset 0
    ) as c on true
    where not s.met and s.kind <> 'all' and not exists (
        select from states as o where o.node = s.parent and o.met
    );
end
$$;
