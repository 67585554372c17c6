-- Versions of programs: which courses in which versions, in which groups and order, and when a program is complete.
-- A draft's first version is edited in place. From publishing on, every change is a new version, current at once for
-- new learners; those enrolled keep theirs, so a version that was ever current does not change.

create table public.program_versions (
    community_id uuid not null default private.get_community_id(),
    program_id uuid not null,
    version integer not null,
    completion_criteria jsonb,
    created_at timestamptz not null default now(),
    created_by uuid default auth.uid(),
    published_at timestamptz,
    constraint program_versions_pkey primary key (community_id, program_id, version),
    -- Lets a community be deleted whole: these rows are gone before the courses ask whether they are in use.
    constraint program_versions_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint program_versions_program_exists foreign key (community_id, program_id)
    references public.programs (community_id, id) on delete cascade,
    constraint program_versions_creator_exists foreign key (created_by) references auth.users (id) on delete set null,
    constraint program_versions_version_positive check (version >= 1)
);
alter table public.program_versions enable row level security;
alter table public.program_versions alter column community_id set (n_distinct = 20);
comment on table public.program_versions is
'What a program consists of; does not change any more once it was what new learners get.';
comment on column public.program_versions.completion_criteria is
'When the program is complete, see docs/completion-criteria.md; null: with every required course and every group.';
comment on column public.program_versions.published_at is 'Since when it does not change any more.';

create index program_versions_created_by_idx on public.program_versions (created_by);

-- Deferred: a program and its first version come into being together.
alter table public.programs add constraint programs_version_exists
foreign key (community_id, id, version) references public.program_versions (community_id, program_id, version)
deferrable initially deferred;

create function private.begin_first_version() returns trigger
volatile
security definer -- whoever may make a program makes its first version, and clients have no grant on all its columns
set search_path = ''
language plpgsql
as $$
begin
    insert into public.program_versions (community_id, program_id, version, created_by)
    values (new.community_id, new.id, new.version, new.created_by);
    return null;
end
$$;

create trigger programs_begin_first_version after insert on public.programs
for each row execute function private.begin_first_version();

-- Only the next version of a published program can be begun, and what was current stays as it is.
create function private.keep_program_versions() returns trigger
volatile
security definer -- locks the program for as long as its next version is built; looks at that program only
set search_path = ''
language plpgsql
as $$
declare
    program public.programs;
    problem record;
begin
    -- Comes before the policies, so it must take no lock for others, and tell them nothing. Rows that are there already
    -- are changed and removed behind the policies.
    if tg_op = 'INSERT' and auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    if tg_op = 'DELETE' then
        if old.published_at is not null and exists (
            select from public.programs as p where p.community_id = old.community_id and p.id = old.program_id
        ) and exists (select from public.communities as c where c.id = old.community_id) then
            perform private.refuse('412', 'A version that was current stays: learners may be in it.');
        end if;
        return old;
    end if;
    if tg_op = 'INSERT' then
        select p.* into program
        from public.programs as p
        where p.community_id = new.community_id and p.id = new.program_id
        for share;
        if new.version <> program.version and (
            program.status <> 'published' or new.version <> program.version + 1
        ) then
            perform private.refuse('412', pg_catalog.format(
                'The program is %s and at version %s. Only the next version of a published program can be begun.',
                private.in_state(program.status), program.version
            ));
        end if;
    elsif old.published_at is not null and (pg_catalog.to_jsonb(new) - 'created_by')
        is distinct from (pg_catalog.to_jsonb(old) - 'created_by') then
        perform private.refuse('412', 'A version that was current does not change. assignCourses makes a new one.');
    end if;
    if new.completion_criteria is not null then
        select f.* into problem from private.criteria_form_problem(new.completion_criteria) as f;
        if found then
            perform private.refuse('400', problem.message, problem.field);
        end if;
    end if;
    return new;
end
$$;

create trigger program_versions_keep before insert or update or delete on public.program_versions
for each row execute function private.keep_program_versions();

-- The next version is built and made current in one transaction; nobody meets one that is half built.
create function private.finish_program_versions() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if exists (
        select from public.programs as p
        where p.community_id = new.community_id and p.id = new.program_id and p.version < new.version
    ) then
        perform private.refuse('412', pg_catalog.format(
            'Version %s was begun and not made current. Set programs.version to it in the same transaction.', new.version
        ));
    end if;
    return null;
end
$$;

create constraint trigger program_versions_finish after insert on public.program_versions
deferrable initially deferred
for each row when (new.version > 1) execute function private.finish_program_versions();

-- Courses, groups and prerequisites change in versions that are open, and stay in their version.
create function private.keep_closed_versions() returns trigger
volatile
security definer -- locks the program for as long as its courses change; looks at that program only
set search_path = ''
language plpgsql
as $$
declare
    program_status text;
    is_closed boolean;
begin
    -- Comes before the policies too.
    if tg_op = 'INSERT' and auth.uid() is not null and not private.is_community_admin() then
        perform private.require_community_admin();
    end if;
    if tg_op = 'UPDATE' and (new.program_id, new.version) is distinct from (old.program_id, old.version) then
        perform private.refuse('412', 'What is in a program stays in its program and its version.');
    end if;
    -- The lock makes an archiving at the same moment wait, or this one see it.
    select p.status, v.published_at is not null into program_status, is_closed
    from public.programs as p
    left join public.program_versions as v
        on v.community_id = p.community_id and v.program_id = p.id and v.version = coalesce(new.version, old.version)
    where p.community_id = coalesce(new.community_id, old.community_id)
        and p.id = coalesce(new.program_id, old.program_id)
    for share of p;
    if is_closed and exists (
        select from public.communities as c where c.id = coalesce(new.community_id, old.community_id)
    ) then
        if program_status = 'archived' then
            perform private.refuse('412', 'The program is archived. Restore it before you change its courses.');
        end if;
        perform private.refuse('412', pg_catalog.format(
            'Version %s of the program does not change any more: learners may be in it. assignCourses makes a new one.',
            coalesce(new.version, old.version)
        ));
    end if;
    return coalesce(new, old);
end
$$;

-- A version becomes current: its courses are pinned to the versions that they have now, and it is closed.
create function private.close_program_version(community uuid, program uuid, closing integer) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    problem record;
begin
    select c.title, c.status into problem
    from public.program_course_assignments as a
    join public.courses as c on c.community_id = a.community_id and c.id = a.course_id
    where a.community_id = community and a.program_id = program and a.version = closing
        and a.course_version is null and c.status <> 'published'
    order by a.sequence_order
    limit 1;
    if found then
        perform private.refuse('412', pg_catalog.format(
            'The course "%s" is %s. Publish it first, or take it out of the program.', problem.title,
            private.in_state(problem.status)
        ));
    end if;

    insert into public.program_course_groups (community_id, program_id, version, name)
    select distinct a.community_id, a.program_id, a.version, a.group_name
    from public.program_course_assignments as a
    where a.community_id = community and a.program_id = program and a.version = closing and a.group_name is not null
    on conflict do nothing;
    select g.name, g.at_least, count(a.id) as courses into problem
    from public.program_course_groups as g
    left join public.program_course_assignments as a
        on a.community_id = g.community_id and a.program_id = g.program_id and a.version = g.version
        and a.group_name = g.name
    where g.community_id = community and g.program_id = program and g.version = closing
    group by g.name, g.at_least
    having count(a.id) < g.at_least
    order by g.name
    limit 1;
    if found then
        perform private.refuse('412', pg_catalog.format(
            'Group "%s" has %s and cannot ask for at least %s. Ask for fewer, or put more courses into it.',
            problem.name, private.counted(problem.courses, 'course', 'courses'), problem.at_least
        ));
    end if;
    select p.* into problem
    from public.program_versions as v
    cross join private.criteria_problem(
        v.completion_criteria,
        array(
            select a.course_id from public.program_course_assignments as a
            where a.community_id = community and a.program_id = program and a.version = closing
        ),
        array(
            select g.name from public.program_course_groups as g
            where g.community_id = community and g.program_id = program and g.version = closing
        )
    ) as p
    where v.community_id = community and v.program_id = program and v.version = closing
        and v.completion_criteria is not null;
    if found then
        perform private.refuse('412', problem.message, problem.field);
    end if;

    update public.program_course_assignments as a
    set course_version = c.version
    from public.courses as c
    where a.community_id = community and a.program_id = program and a.version = closing and a.course_version is null
        and c.community_id = a.community_id and c.id = a.course_id;
    update public.program_versions as v
    set published_at = case
        when v.version > 1 then pg_catalog.now()
        else (select p.published_at from public.programs as p where p.community_id = community and p.id = program)
    end
    where v.community_id = community and v.program_id = program and v.version = closing and v.published_at is null;
    if not found then
        perform private.refuse('412', pg_catalog.format(
            'There is no version %s of the program that could become current. Insert it first.', closing
        ));
    end if;
end
$$;

-- Begins the next version of programs of one community: like the current one, but for the versions of its courses. A
-- course that is not published any more keeps the one it has.
create function private.copy_current_versions(community uuid, programs uuid[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    insert into public.program_versions (community_id, program_id, version, completion_criteria)
    select v.community_id, v.program_id, v.version + 1, v.completion_criteria
    from public.programs as p
    join public.program_versions as v
        on v.community_id = p.community_id and v.program_id = p.id and v.version = p.version
    where p.community_id = community and p.id = any (programs);
    insert into public.program_course_groups (community_id, program_id, version, name, at_least)
    select g.community_id, g.program_id, g.version + 1, g.name, g.at_least
    from public.programs as p
    join public.program_course_groups as g
        on g.community_id = p.community_id and g.program_id = p.id and g.version = p.version
    where p.community_id = community and p.id = any (programs);
    insert into public.program_course_assignments (
        community_id, program_id, version, course_id, sequence_order, required, group_name, course_version
    )
    select a.community_id, a.program_id, a.version + 1, a.course_id, a.sequence_order, a.required, a.group_name,
        case when c.status = 'published' then c.version else a.course_version end
    from public.programs as p
    join public.program_course_assignments as a
        on a.community_id = p.community_id and a.program_id = p.id and a.version = p.version
    join public.courses as c on c.community_id = a.community_id and c.id = a.course_id
    where p.community_id = community and p.id = any (programs);
    insert into public.program_course_prerequisites (community_id, program_id, version, course_id, prerequisite_id)
    select q.community_id, q.program_id, q.version + 1, q.course_id, q.prerequisite_id
    from public.programs as p
    join public.program_course_prerequisites as q
        on q.community_id = p.community_id and q.program_id = p.id and q.version = p.version
    where p.community_id = community and p.id = any (programs);
end
$$;

create function private.renew_program_versions(community uuid, programs uuid[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.copy_current_versions(community, programs);
    update public.programs as p
    set version = p.version + 1
    where p.community_id = community and p.id = any (programs);
end
$$;

-- Which of these programs are published and have another version of a course than new learners of the course get;
-- locked, in the order of their ids.
create function private.outdated_programs(community uuid, programs uuid[]) returns uuid[]
volatile
set search_path = ''
language plpgsql
as $$
begin
    return array(
        select p.id
        from public.programs as p
        where p.community_id = community and p.id = any (programs) and p.status = 'published'
            and exists (
                select from public.program_course_assignments as a
                join public.courses as c on c.community_id = a.community_id and c.id = a.course_id
                where a.community_id = p.community_id and a.program_id = p.id and a.version = p.version
                    and c.status = 'published' and a.course_version <> c.version
            )
        order by p.id
        for update of p
    );
end
$$;

create function private.close_current_version() returns trigger
volatile
security definer -- pins courses and closes versions, in columns that no client may write; of this program only
set search_path = ''
language plpgsql
as $$
begin
    if tg_op = 'UPDATE' and old.status = 'archived' then
        -- Courses went on while the program was away.
        perform private.renew_program_versions(
            new.community_id, private.outdated_programs(new.community_id, array[new.id])
        );
    elsif tg_op = 'UPDATE' and new.status = 'published' or exists (
        select from public.program_versions as v
        where v.community_id = new.community_id and v.program_id = new.id and v.version = new.version
            and v.published_at is null
    ) then
        perform private.close_program_version(new.community_id, new.id, new.version);
    end if;
    return null;
end
$$;

create trigger programs_close_current_version after update of status, version on public.programs
for each row when (old.status <> new.status or old.version <> new.version)
execute function private.close_current_version();

-- Deferred: imports write programs as published, and their courses after them.
create constraint trigger programs_close_imported_version after insert on public.programs
deferrable initially deferred
for each row when (new.status <> 'draft') execute function private.close_current_version();

-- Courses that get a new version take the published programs along; drafts follow by themselves.
create function private.follow_course_versions() returns trigger
volatile
security definer -- makes versions of programs, in columns that no client may write; of the courses' communities only
set search_path = ''
language plpgsql
as $$
declare
    community uuid;
    courses uuid[];
begin
    for community, courses in
        select n.community_id, pg_catalog.array_agg(n.id)
        from courses_now as n
        join courses_before as b on b.community_id = n.community_id and b.id = n.id
        where (n.version, n.status) is distinct from (b.version, b.status)
        group by n.community_id
        order by n.community_id
    loop
        perform private.lock_program_structures(community);
        perform private.renew_program_versions(community, private.outdated_programs(community, array(
            select distinct a.program_id
            from public.program_course_assignments as a
            where a.community_id = community and a.course_id = any (courses)
        )));
    end loop;
    return null;
end
$$;

create trigger courses_take_programs_along after update on public.courses
referencing old table as courses_before new table as courses_now
for each statement execute function private.follow_course_versions();
