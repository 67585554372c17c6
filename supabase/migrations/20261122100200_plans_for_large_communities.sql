-- Plans for large communities: what the planner is told about sizes and costs.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Its statements look up pages and rows by index, nearly always in memory. With the default of 4, made for disks, the
-- planner takes look-ups for so costly that it would rather read all that a community has, and sort it.
alter role gym_api set random_page_cost = 1.1;

-- The planner plans before it knows for which community. For one of average size it would read all of it and sort,
-- which a large one cannot bear; the plan for one with a twentieth of all rows suits the small ones just as well.
-- Not less than 20: where all are equally small, nothing else keeps it from expecting the whole table.
alter table public.blocks alter column community_id set (n_distinct = 20);
alter table public.course_versions alter column community_id set (n_distinct = 20);
alter table public.courses alter column community_id set (n_distinct = 20);
alter table public.memberships alter column community_id set (n_distinct = 20);
alter table public.program_course_assignments alter column community_id set (n_distinct = 20);
alter table public.program_enrollments alter column community_id set (n_distinct = 20);
alter table public.programs alter column community_id set (n_distinct = 20);

-- It is told with the next statistics, so they come now.
analyze public.blocks, public.course_versions, public.courses, public.memberships,
public.program_course_assignments, public.program_enrollments, public.programs;

-- Left alone, it would expect a thousand rows and read all communities to meet them.
alter function private.viewer() rows 1;
alter function private.viewer_community_ids() rows 5;
alter function private.viewer_memberships() rows 5;
