-- Two hundred communities, the first with 30 in 100 of everything: what learners have done in programs of five courses
-- with fifty blocks each, 120 completions a learner, as recording them one after the other would have left it. How many
-- completions the setting bench.completions says. By a superuser: what recording writes is written past the triggers.

set role postgres;

create function pg_temp.id_of(kind text, community integer, number integer) returns uuid
immutable
language sql
as $$ select md5(kind || '/' || community || '/' || number)::uuid $$;

create temporary table size as
select
    c as community, pg_temp.id_of('community', c, 0) as community_id,
    -- A learner has done 1 to 240 blocks.
    greatest(case when c = 1 then 0.3 else 0.7 / 199 end * current_setting('bench.completions')::integer / 120.5, 4)::integer
        as learners,
    case c when 1 then 40 else 1 end as programs,
    case c when 1 then 100 else 5 end as courses
from generate_series(1, 200) as c;

insert into public.communities (id, slug, name)
select community_id, 'community-' || community, 'Community ' || community
from size;

-- The first of each community is its admin.
create temporary table people as
select s.*, n, pg_temp.id_of('person', s.community, n) as user_id
from size as s, generate_series(0, s.learners) as n;

insert into auth.users (id, email, aud, role, created_at, updated_at)
select user_id, format('person-%s-%s@bench.test', community, n), 'authenticated', 'authenticated',
    timestamptz '2025-01-01 00:00+00', timestamptz '2025-01-01 00:00+00'
from people;

insert into public.memberships (id, community_id, user_id, role, display_name, joined_at)
select pg_temp.id_of('membership', community, n), community_id, user_id,
    case n when 0 then 'community_admin' else 'end_user' end, format('Person %s of %s', n, community),
    timestamptz '2025-01-01 00:00+00' + make_interval(secs => n)
from people;

-- A course and its first version refer to each other: the constraint is deferred to the end of the transaction.
insert into public.courses (id, community_id, title, status)
select pg_temp.id_of('course', community, n), community_id, 'Course ' || n, 'published'
from size, generate_series(1, courses) as n;

insert into public.course_versions (community_id, course_id, version)
select community_id, pg_temp.id_of('course', community, n), 1
from size, generate_series(1, courses) as n;

-- Two chapters with 24 blocks each, of which every tenth is not required.
create temporary table course_blocks as
select
    s.community, s.community_id, n as course, pg_temp.id_of('course', s.community, n) as course_id, b as position,
    pg_temp.id_of('block', s.community, n * 100 + b) as block_id, b in (1, 26) as is_chapter,
    pg_temp.id_of('block', s.community, n * 100 + case when b < 26 then 1 else 26 end) as chapter_id,
    case when b < 26 then b - 1 else b - 2 end as nth
from size as s, generate_series(1, s.courses) as n, generate_series(1, 50) as b;

insert into public.block_identities (community_id, course_id, id)
select community_id, course_id, block_id from course_blocks;

insert into public.blocks (
    id, community_id, course_id, version, kind, title, position, parent_id, weight, required, completion_mode
)
select block_id, community_id, course_id, 1, case when is_chapter then 'chapter' else (array['page', 'video', 'quiz'])[1 + position % 3] end,
    'Block ' || position, position, case when not is_chapter then chapter_id end, case when is_chapter then 1 else 1 + position % 4 end,
    position % 10 <> 0, case when is_chapter then 'aggregator' else 'completable' end
from course_blocks
order by community_id, course_id, position;

-- The triggers look up what they need by an index when there are statistics.
analyze;

update public.course_versions set published = true, published_at = timestamptz '2025-01-01 00:00+00'
where not published;

insert into public.programs (id, community_id, title, duration_weeks, status, created_at)
select pg_temp.id_of('program', community, n), community_id, 'Program ' || n, 20, 'draft', timestamptz '2025-01-01 00:00+00'
from size, generate_series(1, programs) as n;

create temporary table program_courses as
select s.community, s.community_id, n as program, place, 1 + (n * 5 + place) % s.courses as course
from size as s, generate_series(1, s.programs) as n, generate_series(0, 4) as place;

insert into public.program_course_assignments (community_id, program_id, course_id, sequence_order)
select community_id, pg_temp.id_of('program', community, program), pg_temp.id_of('course', community, course), place + 1
from program_courses;

analyze;

update public.programs set status = 'published';

-- How far each learner is: the first `done` blocks of the five courses, the last three of them by half unless that is
-- the whole program. One every twelve hours since the enrolment.
create temporary table learners as
select
    p.community, p.community_id, p.user_id, p.n, 1 + p.n % p.programs as program, 1 + (p.n * 97) % 240 as done,
    pg_temp.id_of('enrollment', p.community, p.n) as enrollment_id,
    timestamptz '2025-02-01 00:00+00' + make_interval(mins => (p.n * 7919) % 500000) as enrolled_at
from people as p
where p.n > 0;

create temporary table done_blocks as
select
    l.community, l.community_id, l.user_id, l.n, b.course_id, b.block_id, i,
    case when i > l.done - 3 and l.done < 240 then 0.5 else 1 end as value,
    case when b.position % 3 = 2 then (l.n * 31 + i * 17) % 101 end as score,
    l.enrolled_at + make_interval(hours => i * 12, secs => l.n % 40000) as occurred_at
from learners as l
join generate_series(1, 240) as i on i <= l.done
join program_courses as c on c.community = l.community and c.program = l.program and c.place = (i - 1) / 48
join course_blocks as b
    on b.community = l.community and b.course = c.course and not b.is_chapter and b.nth = 1 + (i - 1) % 48;
analyze learners, done_blocks;

reset role;
set session_replication_role = replica;
set work_mem = '256MB';
set maintenance_work_mem = '512MB';

insert into public.program_enrollments (
    id, community_id, program_id, user_id, status, attempt, enrolled_at, completed_at, program_version
)
select l.enrollment_id, l.community_id, pg_temp.id_of('program', l.community, l.program), l.user_id,
    case when l.done = 240 then 'completed' else 'active' end, 1, l.enrolled_at,
    case when l.done = 240 then l.enrolled_at + make_interval(hours => 240 * 12, secs => l.n % 40000) end, 1
from learners as l;

-- In the order in which it happened. Every tenth block was begun an hour before.
insert into public.progress_events (
    community_id, user_id, event_id, course_id, block_id, attempt, value, score, correct, data, occurred_at, counted_at,
    received_at, recorded_by
)
select d.community_id, d.user_id, md5(d.user_id::text || '/' || d.i || '/' || e)::uuid, d.course_id, d.block_id, 1,
    case e when 1 then d.value else 0.25 end, case e when 1 then d.score end, case e when 1 then d.score > 50 end, null,
    d.at, d.at, d.at, d.user_id
from (
    select d.*, e, d.occurred_at - make_interval(hours => e - 1) as at
    from done_blocks as d, generate_series(1, 2) as e
    where e = 1 or d.i % 10 = 0
) as d
order by d.at;

insert into public.block_completions (
    id, community_id, user_id, course_id, block_id, attempt, earned_value, earned_at, score, correct, event_count,
    started_at, created_at
)
select md5(d.block_id::text || d.user_id)::uuid, d.community_id, d.user_id, d.course_id, d.block_id, 1, d.value,
    case when d.value = 1 then d.occurred_at end, d.score, d.score > 50, case when d.i % 10 = 0 then 2 else 1 end,
    d.occurred_at - make_interval(hours => (d.i % 10 = 0)::integer), d.occurred_at
from done_blocks as d
order by d.occurred_at;

insert into public.course_progress (
    community_id, user_id, course_id, version, attempt, done_required, total_required, earned, possible, started_at,
    completed_at
)
select
    d.community_id, d.user_id, d.course_id, 1, 1, d.done_required, d.total_required, d.earned, d.possible, d.started_at,
    case when d.done_required = d.total_required then d.last_at end
from (
    select
        d.community_id, d.user_id, d.course_id,
        count(*) filter (where d.value = 1 and b.required) as done_required, t.blocks as total_required,
        coalesce(sum(b.weight * d.value) filter (where b.required), 0) as earned, t.weight as possible,
        min(d.occurred_at - make_interval(hours => (d.i % 10 = 0)::integer)) as started_at,
        max(d.occurred_at) filter (where b.required) as last_at
    from done_blocks as d
    join public.blocks as b
        on b.community_id = d.community_id and b.course_id = d.course_id and b.version = 1 and b.id = d.block_id
    join (
        select b.community_id, b.course_id, count(*) as blocks, sum(b.weight) as weight
        from public.blocks as b
        where b.required and b.completion_mode = 'completable'
        group by b.community_id, b.course_id
    ) as t on t.community_id = d.community_id and t.course_id = d.course_id
    group by d.community_id, d.user_id, d.course_id, t.blocks, t.weight
) as d
order by d.last_at;

insert into public.program_progress (
    community_id, enrollment_id, program_id, user_id, enrollment_attempt, status, percent, completed_at
)
select e.community_id, e.id, e.program_id, e.user_id, 1,
    case e.status when 'completed' then 'completed' else 'in_progress' end,
    case e.status when 'completed' then 100 else least(floor(s.share * 100), 99) end, e.completed_at
from public.program_enrollments as e
join (
    select p.community_id, p.user_id,
        sum(case when p.completed_at is not null then 1 else p.earned / p.possible end) / 5 as share
    from public.course_progress as p
    group by p.community_id, p.user_id
) as s on s.community_id = e.community_id and s.user_id = e.user_id;

set session_replication_role = origin;
analyze;
