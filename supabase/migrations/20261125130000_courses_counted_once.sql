-- Whoever's progress in a program is looked at again has the courses counted that have no sums yet, and no others.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- The rows of course_progress that an enrolment counts by, made where somebody has done something in the course and
-- none is there yet. After a move that carries over, a course stays complete that was complete in an earlier version.
create or replace function private.begin_course_progress(enrollment public.program_enrollments) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    insert into public.course_progress
    select counted.*
    -- For itself, so that only those courses are counted that have no row yet: most of them are done with by then.
    from (
        select r.course_id, r.course_version, a.attempt
        from (
            select distinct r.course_id, r.course_version
            from public.program_requirements as r
            where r.community_id = enrollment.community_id and r.program_id = enrollment.program_id
                and r.version = enrollment.program_version and r.kind = 'course'
        ) as r
        cross join lateral private.current_attempt(
            enrollment.community_id, enrollment.user_id, r.course_id
        ) as a (attempt)
        where exists (
            select from public.block_completions as c
            where c.community_id = enrollment.community_id and c.user_id = enrollment.user_id
                and c.course_id = r.course_id and c.attempt = a.attempt
        ) and not exists (
            select from public.course_progress as p
            where p.community_id = enrollment.community_id and p.user_id = enrollment.user_id
                and p.course_id = r.course_id and p.version = r.course_version and p.attempt = a.attempt
        )
        offset 0
    ) as r
    cross join lateral private.counted_course_progress(
        enrollment.community_id, enrollment.user_id, r.course_id, r.course_version, r.attempt
    ) as counted
    order by r.course_id
    on conflict on constraint course_progress_pkey do nothing;

    if not exists (
        select from public.enrollment_moves as m
        where m.community_id = enrollment.community_id and m.enrollment_id = enrollment.id
            and m.to_version = enrollment.program_version and m.mode = 'carry_over'
    ) then
        return;
    end if;
    update public.course_progress as p
    set completed_at = earlier.completed_at
    from public.program_requirements as r
    cross join lateral (
        select o.attempt, min(o.completed_at) as completed_at
        from public.course_progress as o
        where o.community_id = enrollment.community_id and o.user_id = enrollment.user_id
            and o.course_id = r.course_id and o.version < r.course_version and o.completed_at is not null
        group by o.attempt
        order by o.attempt desc
        limit 1
    ) as earlier
    where r.community_id = enrollment.community_id and r.program_id = enrollment.program_id
        and r.version = enrollment.program_version and r.kind = 'course'
        and p.community_id = enrollment.community_id and p.user_id = enrollment.user_id
        and p.course_id = r.course_id and p.version = r.course_version and p.attempt = earlier.attempt
        and p.completed_at is null;
end
$$;
