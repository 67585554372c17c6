-- What a version of a program consists of: courses in their order, groups "at least n of these", prerequisites.

create table public.program_course_assignments (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    program_id uuid not null,
    course_id uuid not null,
    sequence_order integer not null,
    required boolean not null default true,
    group_name text,
    created_at timestamptz not null default now(),
    version integer not null default 1,
    course_version integer,
    constraint program_course_assignments_pkey primary key (community_id, id),
    -- Lets a community be deleted whole: these rows are gone before the courses ask whether they are in use.
    constraint program_course_assignments_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint program_course_assignments_course_once unique (community_id, program_id, version, course_id),
    -- Deferrable: a new order of the whole list passes through states that two courses share a place in.
    constraint program_course_assignments_place_once unique (community_id, program_id, version, sequence_order)
    deferrable initially immediate,
    constraint program_course_assignments_program_exists foreign key (community_id, program_id)
    references public.programs (community_id, id) on delete cascade,
    constraint program_course_assignments_course_exists foreign key (community_id, course_id)
    references public.courses (community_id, id) on delete restrict,
    constraint program_course_assignments_version_exists foreign key (community_id, program_id, version)
    references public.program_versions (community_id, program_id, version) on delete cascade,
    -- Deferred: a course may name its new version before it makes it.
    constraint program_course_assignments_course_version_exists foreign key (community_id, course_id, course_version)
    references public.course_versions (community_id, course_id, version) on delete restrict
    deferrable initially deferred,
    constraint program_course_assignments_order_range check (sequence_order between 1 and 200),
    constraint program_course_assignments_group_not_blank check (group_name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint program_course_assignments_group_length check (char_length(group_name) <= 100)
);
alter table public.program_course_assignments enable row level security;
alter table public.program_course_assignments alter column community_id set (n_distinct = 20);
comment on table public.program_course_assignments is 'The courses of a program in their order.';
comment on column public.program_course_assignments.course_version is
'The version of the course that learners of this version get; null while the program is a draft, which follows the course.';

create index program_course_assignments_course_idx
on public.program_course_assignments (community_id, course_id, course_version);
-- A course and a program are of one community. Without this the planner takes every index here for one that leads to a
-- single row, and may go through all programs with a course, or all courses of a program.
create statistics public.program_course_assignments_of_one_community (dependencies)
on community_id, course_id, program_id from public.program_course_assignments;

create trigger program_course_assignments_keep_closed
before insert or update or delete on public.program_course_assignments
for each row execute function private.keep_closed_versions();

create table public.program_course_groups (
    community_id uuid not null default private.get_community_id(),
    program_id uuid not null,
    version integer not null default 1,
    name text not null,
    at_least integer not null default 1,
    constraint program_course_groups_pkey primary key (community_id, program_id, version, name),
    constraint program_course_groups_version_exists foreign key (community_id, program_id, version)
    references public.program_versions (community_id, program_id, version) on delete cascade,
    constraint program_course_groups_name_not_blank check (name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint program_course_groups_name_length check (char_length(name) <= 100),
    constraint program_course_groups_at_least_range check (at_least between 1 and 200)
);
alter table public.program_course_groups enable row level security;
alter table public.program_course_groups alter column community_id set (n_distinct = 20);
comment on table public.program_course_groups is
'How many of the courses that name a group make it complete. A group that only courses name is complete with one.';

create trigger program_course_groups_keep_closed before insert or update or delete on public.program_course_groups
for each row execute function private.keep_closed_versions();

create table public.program_course_prerequisites (
    community_id uuid not null default private.get_community_id(),
    program_id uuid not null,
    version integer not null default 1,
    course_id uuid not null,
    prerequisite_id uuid not null,
    constraint program_course_prerequisites_pkey
    primary key (community_id, program_id, version, course_id, prerequisite_id),
    constraint program_course_prerequisites_course_exists foreign key (community_id, program_id, version, course_id)
    references public.program_course_assignments (community_id, program_id, version, course_id) on delete cascade,
    constraint program_course_prerequisites_prerequisite_exists
    foreign key (community_id, program_id, version, prerequisite_id)
    references public.program_course_assignments (community_id, program_id, version, course_id) on delete cascade
);
alter table public.program_course_prerequisites enable row level security;
alter table public.program_course_prerequisites alter column community_id set (n_distinct = 20);
comment on table public.program_course_prerequisites is 'Which courses of a program come before which; without cycles.';

create index program_course_prerequisites_prerequisite_idx
on public.program_course_prerequisites (community_id, program_id, version, prerequisite_id);

create trigger program_course_prerequisites_keep_closed
before insert or update or delete on public.program_course_prerequisites
for each row execute function private.keep_closed_versions();

-- The courses of a cycle in their order, the first one again at the end; null when there is none.
create function private.prerequisite_cycle(community uuid, program uuid, in_version integer) returns uuid[]
stable
set search_path = ''
language plpgsql
as $$
declare
    waiting uuid[];
    still_waiting uuid[] := array(
        select distinct q.course_id
        from public.program_course_prerequisites as q
        where q.community_id = community and q.program_id = program and q.version = in_version
    );
    way uuid[];
begin
    -- Who waits for nobody who waits is out; who is left at the end waits in a circle, or for one.
    while still_waiting is distinct from waiting loop
        waiting := still_waiting;
        still_waiting := array(
            select distinct q.course_id
            from public.program_course_prerequisites as q
            where q.community_id = community and q.program_id = program and q.version = in_version
                and q.course_id = any (waiting) and q.prerequisite_id = any (waiting)
            order by q.course_id
        );
    end loop;
    if waiting = '{}' then
        return null;
    end if;
    way := waiting[1:1];
    loop
        way := way || (
            select q.prerequisite_id
            from public.program_course_prerequisites as q
            where q.community_id = community and q.program_id = program and q.version = in_version
                and q.course_id = way[pg_catalog.array_upper(way, 1)] and q.prerequisite_id = any (waiting)
            order by q.prerequisite_id
            limit 1
        );
        exit when way[pg_catalog.array_upper(way, 1)] = any (way[:pg_catalog.array_upper(way, 1) - 1]);
    end loop;
    return way[pg_catalog.array_position(way, way[pg_catalog.array_upper(way, 1)]):];
end
$$;

create function private.refuse_prerequisite_cycles() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
declare
    touched record;
    cycle uuid[];
begin
    for touched in select distinct n.community_id, n.program_id, n.version from new_prerequisites as n loop
        cycle := private.prerequisite_cycle(touched.community_id, touched.program_id, touched.version);
        if cycle is not null then
            perform private.refuse('400', pg_catalog.format(
                'Courses wait for each other: %s. Take one of these prerequisites out.',
                (
                    select pg_catalog.string_agg('"' || c.title || '"', ' after ' order by w.place)
                    from pg_catalog.unnest(cycle) with ordinality as w (course_id, place)
                    join public.courses as c on c.community_id = touched.community_id and c.id = w.course_id
                )
            ), 'courses');
        end if;
    end loop;
    return null;
end
$$;

create trigger program_course_prerequisites_without_cycles after insert on public.program_course_prerequisites
referencing new table as new_prerequisites
for each statement execute function private.refuse_prerequisite_cycles();

create trigger program_course_prerequisites_still_without_cycles after update on public.program_course_prerequisites
referencing new table as new_prerequisites
for each statement execute function private.refuse_prerequisite_cycles();
