-- What admins do to somebody's progress, each with a reason: override a completion, release it, begin a new attempt. And
-- counting everything anew, which must find that nothing is different.

create function private.learner_for_change(community uuid, person uuid, reason text) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.require_community_admin();
    if pg_catalog.cardinality(private.lock_learners(community, array[person])) = 0 then
        perform private.refuse('404', 'There is no active member with this id in your community.', 'userId');
    end if;
    perform private.note_reason(reason);
    if not private.has_reason() then
        perform private.refuse('400', 'The reason is blank. Say why, for those who ask later.', 'reason');
    end if;
end
$$;

-- Counts the sums of an attempt at a course anew; gives how many were different.
create function private.recount_course(community uuid, person uuid, course uuid, in_attempt integer) returns integer
volatile
set search_path = ''
language plpgsql
as $$
declare
    different integer;
begin
    update public.course_progress as p
    set
        done_required = counted.done_required, total_required = counted.total_required,
        earned = counted.earned, possible = counted.possible, started_at = counted.started_at,
        legacy_percent = counted.legacy_percent, updated_at = pg_catalog.now()
    from public.course_progress as o
    cross join lateral private.counted_course_progress(o.community_id, o.user_id, o.course_id, o.version, o.attempt) as counted
    where o.community_id = community and o.user_id = person and o.course_id = course and o.attempt = in_attempt
        and p.community_id = o.community_id and p.user_id = o.user_id and p.course_id = o.course_id
        and p.version = o.version and p.attempt = o.attempt
        and (p.done_required, p.total_required, p.earned, p.possible, p.started_at, p.legacy_percent)
            is distinct from (
                counted.done_required, counted.total_required, counted.earned, counted.possible, counted.started_at,
                counted.legacy_percent
            );
    get diagnostics different = row_count;
    return different;
end
$$;

-- Counts what somebody has done anew, from the events and the overrides up; gives how many rows were different.
create function private.recompute_progress(community uuid, person uuid) returns integer
volatile
security definer -- writes progress, which no client may; called by the worker, and by the platform
set search_path = ''
language plpgsql
as $$
declare
    different integer;
    recounted integer;
    course record;
begin
    perform private.lock_learners(community, array[person]);
    insert into public.block_completions as c (
        community_id, user_id, course_id, block_id, attempt, earned_value, earned_at, override_value, overridden_at,
        score, correct, event_count, started_at
    )
    select
        community, person, coalesce(e.course_id, o.course_id), coalesce(e.block_id, o.block_id),
        coalesce(e.attempt, o.attempt), coalesce(e.earned_value, 0), e.earned_at, o.value, o.set_at,
        e.score, e.correct, coalesce(e.event_count, 0), least(e.started_at, o.first_set_at)
    from (
        select
            e.course_id, e.attempt, e.block_id, max(e.value) as earned_value,
            min(e.counted_at) filter (where e.value = 1) as earned_at, max(e.score) as score,
            pg_catalog.bool_or(e.correct) as correct, count(*) as event_count, min(e.counted_at) as started_at
        from public.progress_events as e
        where e.community_id = community and e.user_id = person
        group by e.course_id, e.attempt, e.block_id
    ) as e
    full join (
        select
            o.course_id, o.attempt, o.block_id, min(o.set_at) as first_set_at,
            max(o.value) filter (where o.released_at is null) as value,
            max(o.set_at) filter (where o.released_at is null) as set_at
        from public.completion_overrides as o
        where o.community_id = community and o.user_id = person
        group by o.course_id, o.attempt, o.block_id
    ) as o on o.course_id = e.course_id and o.attempt = e.attempt and o.block_id = e.block_id
    order by 3, 5, 4
    on conflict on constraint block_completions_pkey do update set
        earned_value = excluded.earned_value, earned_at = excluded.earned_at, override_value = excluded.override_value,
        overridden_at = excluded.overridden_at, score = excluded.score, correct = excluded.correct,
        event_count = excluded.event_count, started_at = excluded.started_at
    where (c.earned_value, c.earned_at, c.override_value, c.overridden_at, c.score, c.correct, c.event_count, c.started_at)
        is distinct from (
            excluded.earned_value, excluded.earned_at, excluded.override_value, excluded.overridden_at, excluded.score,
            excluded.correct, excluded.event_count, excluded.started_at
        );
    get diagnostics different = row_count;
    delete from public.block_completions as c
    where c.community_id = community and c.user_id = person and not exists (
        select from public.progress_events as e
        where e.community_id = c.community_id and e.user_id = c.user_id and e.block_id = c.block_id
            and e.attempt = c.attempt
    ) and not exists (
        select from public.completion_overrides as o
        where o.community_id = c.community_id and o.user_id = c.user_id and o.block_id = c.block_id
            and o.attempt = c.attempt
    );
    get diagnostics recounted = row_count;
    different := different + recounted;
    for course in
        select distinct p.course_id, p.attempt
        from public.course_progress as p
        where p.community_id = community and p.user_id = person
        order by p.course_id, p.attempt
    loop
        recounted := private.recount_course(community, person, course.course_id, course.attempt);
        different := different + recounted;
    end loop;
    perform private.follow_progress(community, array(
        select distinct row(person, c.course_id)::private.learner_course
        from public.block_completions as c
        where c.community_id = community and c.user_id = person
    ));
    return different;
end
$$;

-- Sets what a block counts for, until it is released; an input without a value releases it.
create function public.override_completion(input jsonb) returns jsonb
volatile
security definer -- writes progress, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    person uuid := (input ->> 'user_id')::uuid;
    entry private.progress_entry;
    wanted numeric := (input ->> 'value')::numeric;
    completion_id uuid;
begin
    perform private.learner_for_change(community, person, input ->> 'reason');
    if wanted not between 0 and 1 then
        perform private.refuse('400', 'value can be 0 to 1; null releases the override.', 'value');
    end if;
    entry.user_id := person;
    entry.block_id := (input ->> 'block_id')::uuid;
    entry.attempt := private.current_attempt(community, person, (
        select i.course_id from public.block_identities as i where i.community_id = community and i.id = entry.block_id
    ));
    entry.occurred_at := pg_catalog.now();
    entry := (private.located_entries(community, array[person], array[entry]))[1];
    if entry.status = 'rejected' then
        perform private.refuse(case when entry.course_id is null then '404' else '412' end, entry.reason, 'blockId');
    end if;

    update public.completion_overrides as o
    set released_at = pg_catalog.now()
    where o.community_id = community and o.user_id = person and o.course_id = entry.course_id
        and o.attempt = entry.attempt and o.block_id = entry.block_id and o.released_at is null;
    if not found and wanted is null then
        perform private.refuse('412', 'Nothing holds this completion: there is no override to release.');
    end if;
    if wanted is not null then
        insert into public.completion_overrides (community_id, user_id, course_id, block_id, attempt, value, reason)
        values (
            community, person, entry.course_id, entry.block_id, entry.attempt, pg_catalog.trunc(wanted, 6),
            input ->> 'reason'
        );
    end if;
    perform private.begin_courses(community, array[entry]);
    insert into public.block_completions as c (
        community_id, user_id, course_id, block_id, attempt, earned_value, override_value, overridden_at, started_at
    )
    values (
        community, person, entry.course_id, entry.block_id, entry.attempt, 0, pg_catalog.trunc(wanted, 6),
        case when wanted is not null then pg_catalog.now() end, pg_catalog.now()
    )
    on conflict on constraint block_completions_pkey do update
    set
        override_value = excluded.override_value, overridden_at = excluded.overridden_at,
        started_at = least(c.started_at, excluded.started_at)
    returning c.id into completion_id;
    perform private.recount_course(community, person, entry.course_id, entry.attempt);
    perform private.follow_progress(community, array[row(person, entry.course_id)::private.learner_course]);
    perform private.note_reason(null);
    return pg_catalog.jsonb_build_object('completion_id', completion_id, 'courses', pg_catalog.jsonb_build_array(
        pg_catalog.jsonb_build_object('user_id', person, 'course_id', entry.course_id)
    ));
end
$$;

-- Begins a new attempt at a course, or at all courses of a program that somebody is enrolled in. What was done before
-- is kept, and counts for nothing any more that is still open.
create function public.reset_progress(input jsonb) returns jsonb
volatile
security definer -- writes progress, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    person uuid := (input ->> 'user_id')::uuid;
    courses uuid[];
    begun uuid[];
begin
    perform private.learner_for_change(community, person, input ->> 'reason');
    if pg_catalog.num_nonnulls(input ->> 'course_id', input ->> 'program_id') <> 1 then
        perform private.refuse('400', 'Name a course or a program, one of the two.', 'courseId');
    end if;
    if input ->> 'course_id' is not null then
        select array[c.id] into courses
        from public.courses as c
        where c.community_id = community and c.id = (input ->> 'course_id')::uuid;
        if not found then
            perform private.refuse('404', 'There is no course with this id in your community.', 'courseId');
        end if;
    else
        courses := array(
            select a.course_id
            from public.program_enrollments as e
            join public.program_course_assignments as a
                on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
            where e.community_id = community and e.user_id = person
                and e.program_id = (input ->> 'program_id')::uuid and e.status in ('pending', 'active', 'paused')
        );
        if courses = '{}' then
            perform private.refuse(
                '404', 'This person has no open enrolment in a program with this id in your community.', 'programId'
            );
        end if;
    end if;
    begun := private.open_attempts(community, person, courses, input ->> 'reason');
    if begun = '{}' then
        perform private.refuse('412', 'Nothing has been done in the current attempt: there is nothing to reset.');
    end if;
    perform private.follow_progress(community, array(
        select row(person, c)::private.learner_course from pg_catalog.unnest(begun) as c
    ));
    perform private.note_reason(null);
    return pg_catalog.jsonb_build_object('courses', (
        select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('user_id', person, 'course_id', c))
        from pg_catalog.unnest(begun) as c
    ));
end
$$;
