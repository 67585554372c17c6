-- One community as large as they get, beside twenty small ones: 60,000 members, 1,000 programs, 200,000 enrolments, of
-- which the newest programs have the most (the n-th newest an n-th of the newest's). As role postgres; the triggers hold.

create function pg_temp.id_of(kind text, community integer, number integer) returns uuid
immutable
language sql
as $$ select md5(kind || '/' || community || '/' || number)::uuid $$;

create temporary table size as
select
    c as community,
    case c when 1 then 60000 else 100 end as members,
    case c when 1 then 1000 else 40 end as programs,
    case c when 1 then 200000 else 800 end as enrollments
from generate_series(1, 21) as c;

insert into public.communities (id, slug, name)
select pg_temp.id_of('community', community, 0), 'community-' || community, 'Community ' || community
from size;

insert into auth.users (id, email, aud, role, created_at, updated_at)
select pg_temp.id_of('person', community, n), format('person-%s-%s@bench.test', community, n), 'authenticated',
    'authenticated', timestamptz '2025-02-01 00:00+00', timestamptz '2025-02-01 00:00+00'
from size, generate_series(1, members) as n;

insert into public.memberships (id, community_id, user_id, role, display_name, joined_at)
select pg_temp.id_of('membership', community, n), pg_temp.id_of('community', community, 0),
    pg_temp.id_of('person', community, n), case when n <= 5 then 'community_admin' else 'end_user' end,
    format('Person %s of %s', n, community), timestamptz '2025-02-01 00:00+00' + make_interval(mins => n)
from size, generate_series(1, members) as n;

-- Nobody can be enrolled in a draft, and one program in twenty stays one.
insert into public.programs (id, community_id, title, duration_weeks, status, created_at, published_at)
select pg_temp.id_of('program', community, n), pg_temp.id_of('community', community, 0),
    format('Program %s', n), 1 + n % 52, case when n % 20 = 0 then 'draft' else 'published' end,
    timestamptz '2025-04-01 00:00+00' - make_interval(mins => n),
    case when n % 20 = 0 then null else timestamptz '2025-05-01 00:00+00' end
from size, generate_series(1, programs) as n;

create temporary table share as
select community, members, n, round(enrollments / n / sum(1.0 / n) over (partition by community))::integer as enrollments
from size, generate_series(1, programs) as n
where n % 20 <> 0;

-- Different people in each program, mixed through the year. First a few: the triggers keep the plans that they make
-- now, and for a table that seems to be empty they would read all of it for every row.
create function pg_temp.enroll(smallest integer, largest integer) returns void
volatile
language sql
as $$
    insert into public.program_enrollments (id, community_id, program_id, user_id, enrolled_at)
    select pg_temp.id_of('enrollment', community, n * 100000 + e), pg_temp.id_of('community', community, 0),
        pg_temp.id_of('program', community, n), pg_temp.id_of('person', community, 6 + (n * 31 + e) % (members - 5)),
        timestamptz '2025-06-01 00:00+00' + make_interval(secs => (n * 7919 + e * 104729::bigint) % 30000000)
    from share, generate_series(1, least(enrollments, members - 5)) as e
    where n between smallest and largest
$$;

select pg_temp.enroll(900, 1000);
analyze;
select pg_temp.enroll(1, 899);
analyze;

update public.program_enrollments
set status = case when extract(minute from enrolled_at)::integer % 3 = 0 then 'completed' else 'withdrawn' end
where extract(second from enrolled_at)::integer % 2 = 0;
