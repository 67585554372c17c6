-- Where enrolments stand: how far they are, and that they complete when what their version asks for is done.

-- A course and somebody whose it is.
create type private.learner_course as (
    user_id uuid,
    course_id uuid
);

-- The rows of course_progress that enrolments count by, made where somebody has done something in the course and none
-- is there yet.
create function private.begin_course_progress(enrollments public.program_enrollments[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    insert into public.course_progress
    select counted.*
    -- For itself, so that only those courses are counted that have no row yet: most of them are done with by then.
    from (
        select distinct e.community_id, e.user_id, r.course_id, r.course_version, a.attempt
        from pg_catalog.unnest(enrollments) as e
        join public.program_requirements as r
            on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
            and r.kind = 'course'
        cross join lateral (
            select coalesce(max(o.attempt), 1) as attempt
            from public.course_attempts as o
            where o.community_id = e.community_id and o.user_id = e.user_id and o.course_id = r.course_id
        ) as a
        where not exists (
            select from public.course_progress as p
            where p.community_id = e.community_id and p.user_id = e.user_id and p.course_id = r.course_id
                and p.version = r.course_version and p.attempt = a.attempt
            offset 0
        ) and (
            exists (
                select from public.block_completions as c
                where c.community_id = e.community_id and c.user_id = e.user_id and c.course_id = r.course_id
                    and c.attempt = a.attempt
                offset 0
            ) or exists (
                select from public.legacy_progress as l
                where l.community_id = e.community_id and l.user_id = e.user_id and l.course_id = r.course_id
                    and l.attempt = a.attempt and (l.percent > 0 or l.completed_at is not null)
                offset 0
            )
        )
        -- For itself, as the others: joined, each would be counted before it is asked whether it is there, and all that
        -- the person has done be read for that.
        offset 0
    ) as e
    cross join lateral private.counted_course_progress(
        e.community_id, e.user_id, e.course_id, e.course_version, e.attempt
    ) as counted
    order by e.user_id, e.course_id, e.course_version
    on conflict on constraint course_progress_pkey do nothing;
end
$$;

-- After a move that carries over: a course that was complete by then, in an earlier version, is complete in this one.
create function private.carry_over_completions(enrollment public.program_enrollments) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    update public.course_progress as p
    set completed_at = earlier.completed_at
    from public.program_requirements as r
    cross join lateral (
        select max(m.moved_at) as moved_at
        from public.enrollment_moves as m
        where m.community_id = enrollment.community_id and m.enrollment_id = enrollment.id
            and m.to_version = enrollment.program_version and m.mode = 'carry_over'
    ) as m
    cross join lateral (
        select min(o.completed_at) as completed_at
        from public.course_progress as o
        where o.community_id = enrollment.community_id and o.user_id = enrollment.user_id
            and o.course_id = r.course_id and o.version < r.course_version and o.completed_at <= m.moved_at
            and o.attempt = private.current_attempt(enrollment.community_id, enrollment.user_id, r.course_id)
    ) as earlier
    where r.community_id = enrollment.community_id and r.program_id = enrollment.program_id
        and r.version = enrollment.program_version and r.kind = 'course'
        and p.community_id = enrollment.community_id and p.user_id = enrollment.user_id
        and p.course_id = r.course_id and p.version = r.course_version
        and p.attempt = private.current_attempt(enrollment.community_id, enrollment.user_id, r.course_id)
        and p.completed_at is null and earlier.completed_at is not null;
end
$$;

-- Enrolments whose progress is to be looked at again, because something around them has changed: their version, or what
-- held them up. The worker does it, one at a time; until then they show what they showed before.
create table private.progress_queue (
    community_id uuid not null,
    enrollment_id uuid not null,
    queued_at timestamptz not null default now(),
    constraint progress_queue_pkey primary key (community_id, enrollment_id),
    constraint progress_queue_enrollment_exists foreign key (community_id, enrollment_id)
    references public.program_enrollments (community_id, id) on delete cascade
);
alter table private.progress_queue enable row level security;
alter table private.progress_queue alter column community_id set (n_distinct = 20);
comment on table private.progress_queue is 'Enrolments whose progress is to be looked at again, each once.';

create index progress_queue_queued_at_idx on private.progress_queue (community_id, queued_at);

create function private.queue_progress(community uuid, enrollments uuid[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    insert into private.progress_queue (community_id, enrollment_id)
    select community, e from pg_catalog.unnest(enrollments) as e
    order by e
    on conflict on constraint progress_queue_pkey do nothing;
end
$$;

create function private.queue_moved_enrollments() returns trigger
volatile
security definer -- clients have no rights on the queue; of the enrolments that were moved only
set search_path = ''
language plpgsql
as $$
begin
    insert into private.progress_queue (community_id, enrollment_id)
    select n.community_id, n.id
    from new_rows as n
    join old_rows as o on o.community_id = n.community_id and o.id = n.id
    where o.program_version <> n.program_version
        -- Nothing completes one that has lapsed; extended in time, it may be complete already.
        or n.status = 'active' and o.expires_at is distinct from n.expires_at
    order by n.id
    on conflict on constraint progress_queue_pkey do nothing;
    return null;
end
$$;

create trigger program_enrollments_queue_moved after update on public.program_enrollments
referencing old table as old_rows new table as new_rows
for each statement execute function private.queue_moved_enrollments();

-- Looks at the oldest of a community's queue, if there is one; says whether there was. Harmless at any moment, and beside
-- another one. One at a time, so that whoever records for the same person waits for a few milliseconds at the most.
create function private.advance_progress(community uuid) returns boolean
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    queued private.progress_queue;
    enrollment public.program_enrollments;
begin
    select q.* into queued
    from private.progress_queue as q
    where q.community_id = community
    order by q.queued_at
    limit 1;
    if not found then
        return false;
    end if;
    -- First the learner, as everybody does who writes progress; whoever was faster has taken it out meanwhile.
    select e.* into enrollment
    from public.program_enrollments as e
    where e.community_id = queued.community_id and e.id = queued.enrollment_id;
    perform private.lock_learners(queued.community_id, array[enrollment.user_id]);
    delete from private.progress_queue as q
    where q.community_id = queued.community_id and q.enrollment_id = queued.enrollment_id;
    if found then
        select e.* into enrollment
        from public.program_enrollments as e
        where e.community_id = queued.community_id and e.id = queued.enrollment_id;
        perform private.begin_course_progress(array[enrollment]);
        perform private.carry_over_completions(enrollment);
        perform private.evaluate_enrollments(array[enrollment]);
    end if;
    return true;
end
$$;

-- Writes down how far enrolments are, and completes those that are active and whose version asks for nothing more.
create function private.evaluate_enrollments(enrollments public.program_enrollments[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    roots private.requirement_state[] := array(
        select s from private.requirement_states(enrollments) as s where s.node = 0
    );
    done private.requirement_state[];
begin
    update public.program_progress as p
    set status = now_at.status, percent = now_at.percent, updated_at = pg_catalog.now()
    from (
        select
            e.community_id, e.id,
            case
                when r.needed is null or r.needed = 0 then 'not_applicable'
                when r.started then 'in_progress'
                else 'not_started'
            end as status,
            least(pg_catalog.floor(coalesce(r.share, 0) * 100), 99) as percent
        from pg_catalog.unnest(enrollments) as e
        left join pg_catalog.unnest(roots) as r on r.enrollment_id = e.id
    ) as now_at
    where p.community_id = now_at.community_id and p.enrollment_id = now_at.id and p.status <> 'completed'
        and (p.status, p.percent) is distinct from (now_at.status, now_at.percent);
    -- With no course completed there is nothing to complete: a program that asks for nothing stays open.
    done := array(
        select r
        from pg_catalog.unnest(roots) as r
        join pg_catalog.unnest(enrollments) as e on e.id = r.enrollment_id
        where r.met and r.completed_at is not null and e.status = 'active'
    );
    if done <> '{}' then
        perform private.complete_enrollments(enrollments, done);
    end if;
end
$$;

-- However an enrolment is completed, it is at 100 percent.
create function private.follow_completion() returns trigger
volatile
security definer -- writes progress, which no client may; of this enrolment only
set search_path = ''
language plpgsql
as $$
begin
    update public.program_progress as p
    set status = 'completed', percent = 100, completed_at = new.completed_at, updated_at = pg_catalog.now()
    where p.community_id = new.community_id and p.enrollment_id = new.id;
    return null;
end
$$;

create trigger program_enrollments_follow_completion after update of status on public.program_enrollments
for each row when (old.status <> 'completed' and new.status = 'completed') execute function private.follow_completion();

-- Completes those whose roots are met, of one community. The reason is for the audit log, in which whoever sent the last
-- event stands as the actor.
create function private.complete_enrollments(
    enrollments public.program_enrollments[], done private.requirement_state[]
) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    community constant uuid := enrollments[1].community_id;
    noted text := pg_catalog.current_setting('gym.reason', true);
    free uuid[];
begin
    -- Whoever changes an enrolment right now may be waiting for this learner: then it is left to the worker.
    free := array(
        select e.id
        from public.program_enrollments as e
        where e.community_id = community and e.id in (select d.enrollment_id from pg_catalog.unnest(done) as d)
        order by e.id
        for no key update skip locked
    );
    perform private.queue_progress(community, array(
        select d.enrollment_id from pg_catalog.unnest(done) as d where d.enrollment_id <> all (free)
    ));
    perform private.note_reason('What the program asks for is done.');
    update public.program_enrollments as e
    set status = 'completed', completed_at = greatest(d.completed_at, e.enrolled_at)
    from pg_catalog.unnest(done) as d
    join pg_catalog.unnest(enrollments) as seen on seen.id = d.enrollment_id
    where e.community_id = community and e.id = d.enrollment_id and e.id = any (free) and e.status = 'active'
        -- One that was moved meanwhile is looked at again, in its new version.
        and e.program_version = seen.program_version
        -- Of one that has lapsed only the clock has not spoken yet.
        and (e.expires_at > pg_catalog.now()) is not false;
    perform private.note_reason(noted);
end
$$;

-- The open enrolments that ask for courses of their people.
create function private.enrollments_with_courses(community uuid, touched private.learner_course[])
returns setof public.program_enrollments
stable
rows 2
set search_path = ''
language plpgsql
as $$
begin
    return query
    select e.*
    from (
        select t.user_id, pg_catalog.array_agg(t.course_id) as courses
        from pg_catalog.unnest(touched) as t
        group by t.user_id
    ) as t
    join public.program_enrollments as e
        on e.community_id = community and e.user_id = t.user_id and e.status in ('pending', 'active', 'paused')
    -- For itself, so that it begins with the person.
    cross join lateral (
        select
        from public.program_course_assignments as a
        where a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
            and a.course_id = any (t.courses)
        limit 1
    ) as a
    order by e.id;
end
$$;

create function private.begin_program_progress(enrollment public.program_enrollments) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    insert into public.program_progress (
        community_id, enrollment_id, program_id, user_id, enrollment_attempt, status, percent, completed_at
    )
    values (
        enrollment.community_id, enrollment.id, enrollment.program_id, enrollment.user_id, enrollment.attempt,
        case
            when enrollment.status = 'completed' then 'completed'
            when exists (
                select from public.program_requirements as r
                where r.community_id = enrollment.community_id and r.program_id = enrollment.program_id
                    and r.version = enrollment.program_version and r.kind = 'course' and r.needed > 0
            ) then 'not_started'
            else 'not_applicable'
        end,
        case when enrollment.status = 'completed' then 100 else 0 end,
        case when enrollment.status = 'completed' then enrollment.completed_at end
    );
end
$$;

-- Who enrols may have done some of it already, and who resumes all of it. Whoever has completed the program before
-- begins anew: further attempts at its courses, but for those that another open enrolment asks for.
create function private.follow_enrollment() returns trigger
volatile
security definer -- writes progress, which no client may; of this enrolment only
set search_path = ''
language plpgsql
as $$
begin
    -- What somebody records at the same moment is seen here, or this enrolment there.
    perform private.lock_learners(new.community_id, array[new.user_id]);
    if tg_op = 'INSERT' then
        perform private.begin_program_progress(new);
    end if;
    if tg_op = 'INSERT' and new.attempt > 1 and exists (
        select from public.program_enrollments as e
        where e.community_id = new.community_id and e.program_id = new.program_id and e.user_id = new.user_id
            and e.attempt = new.attempt - 1 and e.status = 'completed'
    ) then
        perform private.open_attempts(new.community_id, new.user_id, array(
            select a.course_id
            from public.program_course_assignments as a
            where a.community_id = new.community_id and a.program_id = new.program_id
                and a.version = new.program_version
                and not exists (
                    select
                    from private.enrollments_with_courses(
                        new.community_id, array[row(new.user_id, a.course_id)::private.learner_course]
                    ) as e
                    where e.id <> new.id
                )
        ), 'Enrolled again after completing the program.');
    end if;
    if exists (
        select from public.block_completions as c where c.community_id = new.community_id and c.user_id = new.user_id
    ) or exists (
        select from public.legacy_progress as l where l.community_id = new.community_id and l.user_id = new.user_id
    ) then
        perform private.begin_course_progress(array[new]);
        perform private.evaluate_enrollments(array[new]);
    end if;
    return null;
end
$$;

create trigger program_enrollments_follow_insert after insert on public.program_enrollments
for each row execute function private.follow_enrollment();
create trigger program_enrollments_follow_start after update of status on public.program_enrollments
for each row when (old.status <> 'active' and new.status = 'active') execute function private.follow_enrollment();

-- Opens the next attempt at courses in which somebody has done something, and says which. What they did before stays in
-- its attempt.
create function private.open_attempts(community uuid, person uuid, courses uuid[], reason text) returns uuid[]
volatile
set search_path = ''
language plpgsql
as $$
declare
    opened uuid[];
begin
    with latest as (
        select c.course_id, c.attempt
        from (
            select distinct c as course_id, private.current_attempt(community, person, c) as attempt
            from pg_catalog.unnest(courses) as c
        ) as c
        where exists (
            select from public.block_completions as b
            where b.community_id = community and b.user_id = person and b.course_id = c.course_id
                and b.attempt = c.attempt
        ) or exists (
            select from public.legacy_progress as l
            where l.community_id = community and l.user_id = person and l.course_id = c.course_id
                and l.attempt = c.attempt and (l.percent > 0 or l.completed_at is not null)
        )
        order by c.course_id
    ),
    begun as (
        insert into public.course_attempts (community_id, user_id, course_id, attempt, reason)
        select community, person, l.course_id, l.attempt + 1, reason
        from latest as l
        returning course_id
    )
    select coalesce(pg_catalog.array_agg(b.course_id), '{}') into opened from begun as b;
    insert into public.course_progress
    select counted.*
    from (
        select distinct p.course_id, p.version
        from public.course_progress as p
        where p.community_id = community and p.user_id = person and p.course_id = any (opened)
    ) as p
    cross join lateral private.counted_course_progress(
        community, person, p.course_id, p.version, private.current_attempt(community, person, p.course_id)
    ) as counted
    order by p.course_id, p.version;
    return opened;
end
$$;
