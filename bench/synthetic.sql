-- The benchmark's own data: one large community and nineteen small ones, the same on every run. As role postgres, whom
-- no policy binds; the triggers hold. Ids come from names, so they are the same on every run, too.

create function pg_temp.id_of(kind text, community integer, number integer) returns uuid
immutable
language sql
as $$ select md5(kind || '/' || community || '/' || number)::uuid $$;

create temporary table size as
select
    c as community,
    case c when 1 then 3000 else 100 end as members,
    case c when 1 then 1000 else 40 end as programs,
    case c when 1 then 100 else 10 end as courses,
    case c when 1 then 30 else 20 end as enrollments -- of each program
from generate_series(1, 20) as c;

insert into public.communities (id, slug, name, created_at)
select pg_temp.id_of('community', community, 0), 'community-' || community, 'Community ' || community,
    timestamptz '2025-01-01 00:00+00' + make_interval(days => community)
from size;

insert into auth.users (id, email, aud, role, created_at, updated_at)
select pg_temp.id_of('person', community, n), format('person-%s-%s@bench.test', community, n), 'authenticated',
    'authenticated', timestamptz '2025-02-01 00:00+00', timestamptz '2025-02-01 00:00+00'
from size, generate_series(1, members) as n;

insert into public.memberships (id, community_id, user_id, role, status, display_name, joined_at)
select pg_temp.id_of('membership', community, n), pg_temp.id_of('community', community, 0),
    pg_temp.id_of('person', community, n), case when n <= 5 then 'community_admin' else 'end_user' end, 'active',
    format('Person %s of %s', n, community), timestamptz '2025-02-01 00:00+00' + make_interval(mins => n)
from size, generate_series(1, members) as n;

-- A course and its first version refer to each other: the constraint is deferred to the end of the transaction.
insert into public.courses (id, community_id, title, description, status, created_at, updated_at)
select pg_temp.id_of('course', community, n), pg_temp.id_of('community', community, 0), 'Course ' || n,
    repeat('What this course is about. ', 1 + n % 10), 'published',
    timestamptz '2025-03-01 00:00+00' + make_interval(hours => n), timestamptz '2025-03-02 00:00+00' + make_interval(hours => n)
from size, generate_series(1, courses) as n;

insert into public.course_versions (community_id, course_id, version)
select pg_temp.id_of('community', community, 0), pg_temp.id_of('course', community, n), 1
from size, generate_series(1, courses) as n;

insert into public.block_identities (community_id, course_id, id)
select pg_temp.id_of('community', community, 0), pg_temp.id_of('course', community, n),
    pg_temp.id_of('block', community, n * 1000 + b)
from size, generate_series(1, courses) as n, generate_series(1, 20) as b;

insert into public.blocks (id, community_id, course_id, version, kind, title, position)
select pg_temp.id_of('block', community, n * 1000 + b), pg_temp.id_of('community', community, 0),
    pg_temp.id_of('course', community, n), 1, (array['page', 'video', 'quiz'])[1 + b % 3], 'Block ' || b, b
from size, generate_series(1, courses) as n, generate_series(1, 20) as b;

update public.course_versions set published = true, published_at = timestamptz '2025-03-03 00:00+00'
where not published;

-- Nobody can be enrolled in a draft, and one program in twenty stays one.
insert into public.programs (
    id, community_id, title, description, duration_weeks, status, created_by, created_at, updated_at, published_at
)
select pg_temp.id_of('program', community, n), pg_temp.id_of('community', community, 0), 'Program ' || n,
    repeat('What this program is about. ', 1 + n % 10), 1 + n % 52,
    case when n % 20 = 0 then 'draft' else 'published' end, pg_temp.id_of('person', community, 1 + n % 5),
    timestamptz '2025-04-01 00:00+00' + make_interval(mins => n),
    timestamptz '2025-04-02 00:00+00' + make_interval(mins => n),
    case when n % 20 = 0 then null else timestamptz '2025-05-01 00:00+00' + make_interval(mins => n) end
from size, generate_series(1, programs) as n;

analyze;

insert into public.program_course_assignments (id, community_id, program_id, course_id, sequence_order, required)
select pg_temp.id_of('assignment', community, n * 10 + place), pg_temp.id_of('community', community, 0),
    pg_temp.id_of('program', community, n), pg_temp.id_of('course', community, 1 + (n * 7 + place) % courses), place,
    place < 4
from size, generate_series(1, programs) as n, generate_series(1, 4) as place;

-- Different people in each program, the latest of them last. First a few: the triggers keep the plans that they make
-- now, and for a table that seems to be empty they would read all of it for every row.
create function pg_temp.enroll(smallest integer, largest integer) returns void
volatile
language sql
as $$
    insert into public.program_enrollments (id, community_id, program_id, user_id, status, enrolled_at)
    select pg_temp.id_of('enrollment', community, n * 100 + e), pg_temp.id_of('community', community, 0),
        pg_temp.id_of('program', community, n), pg_temp.id_of('person', community, 6 + (n * 31 + e) % (members - 5)),
        'active', timestamptz '2025-06-01 00:00+00' + make_interval(secs => n * 100 + e)
    from size, generate_series(greatest(smallest, 1), least(largest, programs)) as n, generate_series(1, enrollments) as e
    where n % 20 <> 0
$$;

analyze;
select pg_temp.enroll(1, 5);
analyze;
select pg_temp.enroll(6, 1000);
analyze;

update public.program_enrollments
set status = case when extract(second from enrolled_at)::integer % 3 = 0 then 'completed' else 'withdrawn' end
where extract(second from enrolled_at)::integer % 2 = 0;

update public.programs set status = 'archived' where status = 'published' and right(title, 2) = '13';
