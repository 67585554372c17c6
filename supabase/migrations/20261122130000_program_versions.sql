-- Versions of programs: what enrolled learners work through stays theirs, edits make a new version, and enrolments are
-- moved to it by decision only. Also groups, prerequisites and completion criteria.
-- All in one transaction, and nothing concurrently: programs are few, and 200,000 enrolments take about a second.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Completion criteria are data: all, any or at least n of courses, groups and milestones. What they may look like is
-- said here and in docs/schemas/criteria.schema.json, which a test compares.

-- The nodes of criteria in reading order, down to the first level that is too deep, each with its place as clients
-- write it. `kind` is null for what is none.
create function private.criteria_nodes(criteria jsonb) returns table (
    field text, place integer[], level integer, node jsonb, kind text, parts jsonb
)
stable
set search_path = ''
language plpgsql
as $$
begin
    return query
    with recursive nodes as (
        select 'completionCriteria' as field, array[]::integer[] as place, 1 as level, criteria as node
        union all
        select pg_catalog.concat_ws('.', n.field, l.list, p.nth - 1),
            n.place || p.nth::integer, n.level + 1, p.part
        from nodes as n
        cross join lateral (
            select k as list, n.node -> k as parts
            from pg_catalog.unnest(array['all', 'any', 'of']) as k
            where n.level <= 5 and pg_catalog.jsonb_typeof(n.node) = 'object'
                and pg_catalog.jsonb_typeof(n.node -> k) = 'array'
        ) as l
        cross join lateral pg_catalog.jsonb_array_elements(l.parts) with ordinality as p (part, nth)
    )
    select n.field, n.place, n.level, n.node, k.kind,
        case k.kind when 'atLeast' then n.node -> 'of' when 'all' then n.node -> 'all' when 'any' then n.node -> 'any' end
    from nodes as n
    left join lateral (
        select case
            when keys.found in ('{all}', '{any}', '{course}', '{group}', '{milestone}') then keys.found[1]
            when keys.found = '{atLeast,of}' then 'atLeast'
        end as kind
        from (
            select array(
                select o.key
                from pg_catalog.jsonb_object_keys(
                    case pg_catalog.jsonb_typeof(n.node) when 'object' then n.node else '{}' end
                ) as o (key)
                order by o.key collate "C"
            ) as found
        ) as keys
    ) as k on true
    order by n.place;
end
$$;

-- What is wrong with the form of criteria: the first place and why; no row when nothing is.
create function private.criteria_form_problem(criteria jsonb) returns table (field text, message text)
stable
rows 1
set search_path = ''
language plpgsql
as $$
begin
    return query
    select problem.field, problem.message
    from (
        select n.place,
            pg_catalog.concat_ws('.', n.field, case
                when n.level > 5 then null
                when n.kind = 'atLeast' and pg_catalog.jsonb_typeof(n.parts) = 'array'
                    and pg_catalog.jsonb_array_length(n.parts) between 1 and 200 then 'atLeast'
                when n.kind = 'atLeast' then 'of'
                else n.kind
            end) as field,
            case
                when n.level > 5 then 'Criteria are at most 5 levels deep.'
                when n.kind is null then
                    'Give an object: {"all": […]}, {"any": […]}, {"atLeast": n, "of": […]}, {"course": id}, '
                    '{"group": name} or {"milestone": id}.'
                when n.kind in ('all', 'any', 'atLeast') and (
                    pg_catalog.jsonb_typeof(n.parts) <> 'array'
                    or pg_catalog.jsonb_array_length(n.parts) not between 1 and 200
                ) then 'Give a list of 1 to 200 criteria.'
                when n.kind = 'atLeast' and not private.is_count(n.node -> 'atLeast')
                    then 'Give a whole number from 1 to 200.'
                when n.kind in ('course', 'milestone') and (
                    pg_catalog.jsonb_typeof(n.node -> n.kind) <> 'string'
                    or (n.node ->> n.kind) !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
                ) then 'Give an id.'
                when n.kind = 'group' and (
                    pg_catalog.jsonb_typeof(n.node -> 'group') <> 'string'
                    or pg_catalog.char_length(n.node ->> 'group') not between 1 and 100
                ) then 'Give the name of a group, 1 to 100 characters.'
            end as message
        from private.criteria_nodes(criteria) as n
    ) as problem
    where problem.message is not null
    order by problem.place
    limit 1;
end
$$;

create function private.is_count(value jsonb) returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.jsonb_typeof(value) = 'number' and value::numeric between 1 and 200
        and value::numeric = pg_catalog.trunc(value::numeric);
end
$$;

-- What is wrong with well-formed criteria for these courses and groups: the first place and why, or no row.
create function private.criteria_problem(criteria jsonb, courses uuid[], groups text[])
returns table (field text, message text)
stable
rows 1
set search_path = ''
language plpgsql
as $$
begin
    return query select f.field, f.message from private.criteria_form_problem(criteria) as f;
    if found then
        return;
    end if;
    return query
    select problem.field, problem.message
    from (
        select n.place, pg_catalog.concat_ws('.', n.field, n.kind) as field,
            case
                when n.kind = 'course' and (n.node ->> 'course')::uuid <> all (courses)
                    then 'The course is not in the program. Add it to the list, or take it out of the criteria.'
                when n.kind = 'group' and (n.node ->> 'group') <> all (groups)
                    then 'The program has no group of this name. Name it in a course, or take it out of the criteria.'
                when n.kind = 'milestone' then 'There is no milestone with this id in the program.'
                when n.kind = 'atLeast' and (n.node ->> 'atLeast')::numeric > pg_catalog.jsonb_array_length(n.parts)
                    then pg_catalog.format(
                        'At least %s of %s can never be met. Ask for fewer.',
                        (n.node ->> 'atLeast')::numeric::integer, pg_catalog.jsonb_array_length(n.parts)
                    )
                when n.parts is null and pg_catalog.sum((n.parts is null)::integer) over (order by n.place) > 200
                    then 'Criteria have at most 200 courses, groups and milestones in all.'
            end as message
        from private.criteria_nodes(criteria) as n
    ) as problem
    where problem.message is not null
    order by problem.place
    limit 1;
end
$$;

alter table public.programs add column version integer not null default 1;
comment on column public.programs.version is 'The version that new learners get.';

-- The state machine. Whoever writes, and by which way, these are the only moves.
create or replace function private.hold_program_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if new.version <> old.version and (
        (old.status, new.status) is distinct from ('published', 'published') or new.version <> old.version + 1
    ) then
        perform private.refuse('412', pg_catalog.format(
            'Only a published program goes from version %s to %s.', old.version, old.version + 1
        ));
    end if;
    if new.status = old.status then
        if old.status = 'archived' and (new.title, new.description, new.duration_weeks)
            is distinct from (old.title, old.description, old.duration_weeks) then
            perform private.refuse('412', 'The program is archived. Restore it before you change it.');
        end if;
        return new;
    end if;
    case
        when old.status = 'draft' and new.status = 'published' then
            new.published_at := pg_catalog.now();
        when old.status = 'published' and new.status = 'archived' then
            new.archived_at := pg_catalog.now();
        when old.status = 'archived' and new.status = 'published' then
            new.archived_at := null;
        else
            perform private.refuse('412', pg_catalog.format('A program cannot go from %s to %s.', old.status, new.status));
    end case;
    return new;
end
$$;

-- One change at a time in a community decides which versions of courses go into which versions of programs: a course
-- that is published meanwhile finds every program that uses it. Taken before any row is locked.
create function private.lock_program_structures(community uuid) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('programs of ' || community::text, 0));
end
$$;

-- Ends a change that was made up from a program as it was earlier, for what somebody else has done since would be lost.
create function private.require_as_expected(program public.programs, input jsonb) returns void
stable
set search_path = ''
language plpgsql
as $$
begin
    if program.version <> (input ->> 'expected_version')::integer then
        perform private.refuse('409', pg_catalog.format(
            'The program is at version %s now: somebody else has changed it. Read it again and repeat.', program.version
        ), 'expectedVersion');
    elsif program.updated_at <> (input ->> 'expected_updated_at')::timestamptz then
        perform private.refuse('409', pg_catalog.format(
            'The program was changed at %s, after what you have read. Read it again and repeat.',
            pg_catalog.to_char(program.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ), 'expectedUpdatedAt');
    end if;
end
$$;

-- One statement when all is well: only where it changes nothing is it asked why.
create or replace function public.update_program(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program_id uuid := (input ->> 'id')::uuid;
    program public.programs;
begin
    -- What the input does not name keeps its value; what it names as null is cleared.
    update public.programs as p
    set
        title = case when input ? 'title' then input ->> 'title' else p.title end,
        description = case when input ? 'description' then input ->> 'description' else p.description end,
        duration_weeks = case
            when input ? 'duration_weeks' then (input ->> 'duration_weeks')::integer else p.duration_weeks
        end
    where p.id = program_id and p.status <> 'archived'
        and coalesce(p.updated_at = (input ->> 'expected_updated_at')::timestamptz, true);
    if not found then
        program := private.program_for_change(program_id);
        if program.status <> 'archived' then
            perform private.require_as_expected(program, input);
        end if;
        perform private.refuse('412', 'The program is archived. Restore it before you change it.');
    end if;
    return program_id;
end
$$;

create or replace function private.set_program_status(program_id uuid, from_status text, to_status text) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program public.programs;
begin
    perform private.require_community_admin();
    perform private.lock_program_structures(private.get_community_id());
    program := private.program_for_change(program_id);
    if program.status <> from_status then
        perform private.refuse('412', pg_catalog.format(
            'The program is in state %s; only from %s can it become %s.', program.status, from_status, to_status
        ));
    end if;
    update public.programs as p set status = to_status where p.id = program.id;
    return program.id;
end
$$;

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

-- What there is becomes version 1, as it is now.
insert into public.program_versions (community_id, program_id, version, created_at, created_by, published_at)
select community_id, id, 1, created_at, created_by, published_at from public.programs;

-- Deferred: a program and its first version come into being together.
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
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
                program.status, program.version
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
            'The course "%s" is %s. Publish it first, or take it out of the program.', problem.title, problem.status
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
            'Group "%s" asks for at least %s of its %s courses. Ask for fewer, or put more courses into it.',
            problem.name, problem.at_least, problem.courses
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

-- The courses of programs: those that there are belong to version 1 and, where learners may be in it, stay as they are.
drop trigger program_course_assignments_keep_archived on public.program_course_assignments;
-- squawk-ignore ban-drop-function
drop function private.keep_archived_assignments();
alter table public.program_course_assignments
add column version integer not null default 1,
add column course_version integer;
comment on column public.program_course_assignments.course_version is
'The version of the course that learners of this version get; null while the program is a draft, which follows the course.';
update public.program_course_assignments as a
set course_version = c.version
from public.courses as c, public.programs as p
where c.community_id = a.community_id and c.id = a.course_id
    and p.community_id = a.community_id and p.id = a.program_id and p.status <> 'draft';

-- squawk-ignore ban-drop-constraint
alter table public.program_course_assignments drop constraint program_course_assignments_course_once;
-- squawk-ignore ban-drop-constraint
alter table public.program_course_assignments drop constraint program_course_assignments_place_once;
-- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
alter table public.program_course_assignments add constraint program_course_assignments_course_once
unique (community_id, program_id, version, course_id);
-- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
alter table public.program_course_assignments add constraint program_course_assignments_place_once
unique (community_id, program_id, version, sequence_order) deferrable initially immediate;
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
alter table public.program_course_assignments add constraint program_course_assignments_version_exists
foreign key (community_id, program_id, version)
references public.program_versions (community_id, program_id, version) on delete cascade;
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
alter table public.program_course_assignments add constraint program_course_assignments_course_version_exists
foreign key (community_id, course_id, course_version)
references public.course_versions (community_id, course_id, version) on delete restrict
deferrable initially deferred;
-- squawk-ignore require-concurrent-index-deletion
drop index public.program_course_assignments_course_idx;
-- squawk-ignore require-concurrent-index-creation
create index program_course_assignments_course_idx
on public.program_course_assignments (community_id, course_id, course_version);

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

insert into public.program_course_groups (community_id, program_id, version, name)
select distinct community_id, program_id, 1, group_name from public.program_course_assignments where group_name is not null;

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

-- The structure of a program as a whole: read, written, compared, and how admins change it, all of it at once.

-- All that a version consists of, in one form: what two versions are compared by, and new ones made from.
create function private.program_structure(program uuid, in_version integer) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select pg_catalog.jsonb_build_object(
            'courses', (
                select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                    'course_id', a.course_id, 'required', a.required, 'group', a.group_name,
                    'prerequisites', array(
                        select q.prerequisite_id
                        from public.program_course_prerequisites as q
                        where q.program_id = program and q.version = in_version and q.course_id = a.course_id
                        order by q.prerequisite_id
                    )
                ) order by a.sequence_order), '[]')
                from public.program_course_assignments as a
                where a.program_id = program and a.version = in_version
            ),
            'groups', (
                select coalesce(pg_catalog.jsonb_object_agg(a.group_name, 1), '{}')
                from public.program_course_assignments as a
                where a.program_id = program and a.version = in_version and a.group_name is not null
            ) || (
                select coalesce(pg_catalog.jsonb_object_agg(g.name, g.at_least), '{}')
                from public.program_course_groups as g
                where g.program_id = program and g.version = in_version
            ),
            'completion_criteria', v.completion_criteria
        )
        from public.program_versions as v
        where v.program_id = program and v.version = in_version
    );
end
$$;

-- Makes an open version consist of a structure. Courses that it does not name leave; those that stay keep their id.
create function private.write_structure(program uuid, in_version integer, structure jsonb) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    set constraints public.program_course_assignments_place_once deferred;
    delete from public.program_course_assignments as a
    where a.program_id = program and a.version = in_version and a.course_id not in (
        select (c ->> 'course_id')::uuid from pg_catalog.jsonb_array_elements(structure -> 'courses') as c
    );
    insert into public.program_course_assignments as a
        (program_id, version, course_id, sequence_order, required, group_name)
    select program, in_version, (c.course ->> 'course_id')::uuid, c.place, (c.course ->> 'required')::boolean,
        c.course ->> 'group'
    from pg_catalog.jsonb_array_elements(structure -> 'courses') with ordinality as c (course, place)
    on conflict on constraint program_course_assignments_course_once do update
    set sequence_order = excluded.sequence_order, required = excluded.required, group_name = excluded.group_name;
    set constraints public.program_course_assignments_place_once immediate;

    delete from public.program_course_groups as g
    where g.program_id = program and g.version = in_version and not (structure -> 'groups') ? g.name;
    insert into public.program_course_groups (program_id, version, name, at_least)
    select program, in_version, g.key, g.value::integer
    from pg_catalog.jsonb_each_text(structure -> 'groups') as g
    on conflict on constraint program_course_groups_pkey do update set at_least = excluded.at_least;

    delete from public.program_course_prerequisites as q where q.program_id = program and q.version = in_version;
    insert into public.program_course_prerequisites (program_id, version, course_id, prerequisite_id)
    select program, in_version, (c ->> 'course_id')::uuid, q.id::uuid
    from pg_catalog.jsonb_array_elements(structure -> 'courses') as c
    cross join pg_catalog.jsonb_array_elements_text(c -> 'prerequisites') as q (id);

    update public.program_versions as v
    set completion_criteria = nullif(structure -> 'completion_criteria', 'null')
    where v.program_id = program and v.version = in_version
        and v.completion_criteria is distinct from nullif(structure -> 'completion_criteria', 'null');
end
$$;

-- The members of a list in the input; of one that is left out, none.
create function private.list_in(value jsonb, field text) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    if coalesce(pg_catalog.jsonb_typeof(value), 'null') not in ('null', 'array') then
        perform private.refuse('400', 'Give a list.', field);
    end if;
    return coalesce(nullif(value, 'null'), '[]');
end
$$;

-- The courses of the input in the form of a structure; refuses the first one that cannot be.
create function private.courses_in(input jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    wanted jsonb := input -> 'courses';
    courses jsonb;
    wrong text;
begin
    if pg_catalog.jsonb_typeof(wanted) is distinct from 'array' then
        perform private.refuse('400', 'Give the whole list of courses; an empty one removes them all.', 'courses');
    end if;
    if pg_catalog.jsonb_array_length(wanted) > 200 then
        perform private.refuse('400', 'A program has at most 200 courses.', 'courses');
    end if;
    select w.place - 1 into wrong
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    where not exists (select from public.courses as c where c.id = (w.course ->> 'course_id')::uuid)
    order by w.place
    limit 1;
    if found then
        perform private.refuse(
            '404', 'There is no course with this id in your community.', pg_catalog.format('courses.%s.courseId', wrong)
        );
    end if;
    if (
        select count(*) > count(distinct (w ->> 'course_id')::uuid)
        from pg_catalog.jsonb_array_elements(wanted) as w
    ) then
        perform private.refuse('400', 'A course can be in a program only once.', 'courses');
    end if;
    select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'course_id', (w.course ->> 'course_id')::uuid,
        'required', coalesce((w.course ->> 'required')::boolean, true),
        'group', w.course ->> 'group',
        'prerequisites', array(
            select distinct p.id::uuid
            from pg_catalog.jsonb_array_elements_text(
                private.list_in(w.course -> 'prerequisites', pg_catalog.format('courses.%s.prerequisites', w.place - 1))
            ) as p (id)
            order by p.id::uuid
        )
    ) order by w.place), '[]') into courses
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place);
    select pg_catalog.format('courses.%s.prerequisites.%s', w.place - 1, p.place - 1) into wrong
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    cross join pg_catalog.jsonb_array_elements_text(
        private.list_in(w.course -> 'prerequisites', '')
    ) with ordinality as p (id, place)
    where p.id::uuid not in (
        select (c ->> 'course_id')::uuid from pg_catalog.jsonb_array_elements(courses) as c
    )
    order by w.place, p.place
    limit 1;
    if found then
        perform private.refuse('400', 'A prerequisite must be in the same list. Add the course, or take it out.', wrong);
    end if;
    return courses;
end
$$;

-- The groups of the input, and those that its courses name, each with how many courses it asks for.
create function private.groups_in(input jsonb, courses jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    wanted jsonb := private.list_in(input -> 'groups', 'groups');
    problem record;
begin
    select g.*, (select count(*) from pg_catalog.jsonb_array_elements(courses) as c where c ->> 'group' = g.name) as courses
    into problem
    from (
        select w.place - 1 as place, w.asked ->> 'name' as name,
            coalesce((w.asked ->> 'at_least')::integer, 1) as at_least,
            pg_catalog.row_number() over (partition by w.asked ->> 'name' order by w.place) as nth
        from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (asked, place)
    ) as g
    where g.name is null or g.nth > 1 or g.at_least < 1 or g.at_least > (
        select count(*) from pg_catalog.jsonb_array_elements(courses) as c where c ->> 'group' = g.name
    )
    order by g.place
    limit 1;
    if found then
        if problem.name is null or problem.nth > 1 or problem.courses = 0 then
            perform private.refuse('400', case
                when problem.name is null then 'A group has no name. Give it one.'
                when problem.nth > 1 then pg_catalog.format('Group "%s" stands in the list twice.', problem.name)
                else pg_catalog.format('No course is in group "%s". Name it in a course, or leave it out.', problem.name)
            end, pg_catalog.format('groups.%s.name', problem.place));
        end if;
        perform private.refuse('400', pg_catalog.format(
            'Group "%s" has %s courses and cannot ask for at least %s. Ask for 1 to %s.',
            problem.name, problem.courses, problem.at_least, problem.courses
        ), pg_catalog.format('groups.%s.atLeast', problem.place));
    end if;
    return (
        select coalesce(pg_catalog.jsonb_object_agg(c ->> 'group', 1), '{}')
        from pg_catalog.jsonb_array_elements(courses) as c
        where c ->> 'group' is not null
    ) || (
        select coalesce(pg_catalog.jsonb_object_agg(w ->> 'name', coalesce((w ->> 'at_least')::integer, 1)), '{}')
        from pg_catalog.jsonb_array_elements(wanted) as w
    );
end
$$;

-- The structure that the input asks for; the completion criteria stay as they are where it does not name them.
create function private.structure_in(input jsonb, criteria_now jsonb) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
declare
    courses jsonb := private.courses_in(input);
    groups jsonb := private.groups_in(input, courses);
    criteria jsonb := nullif(
        case when input ? 'completion_criteria' then input -> 'completion_criteria' else criteria_now end, 'null'
    );
    problem record;
begin
    if criteria is not null then
        select p.* into problem
        from private.criteria_problem(
            criteria,
            array(select (c ->> 'course_id')::uuid from pg_catalog.jsonb_array_elements(courses) as c),
            array(select g.name from pg_catalog.jsonb_object_keys(groups) as g (name))
        ) as p;
        if found then
            perform private.refuse('400', problem.message, problem.field);
        end if;
    end if;
    return pg_catalog.jsonb_build_object('courses', courses, 'groups', groups, 'completion_criteria', criteria);
end
$$;

-- The whole list at once, in its order: a draft is changed in place, a published program gets a new version.
create or replace function public.assign_courses(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program public.programs;
    structure_now jsonb;
    wanted jsonb;
    next_version integer;
begin
    perform private.require_community_admin();
    perform private.lock_program_structures(private.get_community_id());
    program := private.program_for_change((input ->> 'program_id')::uuid);
    if program.status = 'archived' then
        perform private.refuse('412', 'The program is archived. Restore it before you change its courses.');
    end if;
    perform private.require_as_expected(program, input);
    structure_now := private.program_structure(program.id, program.version);
    wanted := private.structure_in(input, structure_now -> 'completion_criteria');
    if wanted is distinct from structure_now then
        next_version := program.version + (program.status = 'published')::integer;
        if next_version > program.version then
            insert into public.program_versions (program_id, version) values (program.id, next_version);
        end if;
        perform private.write_structure(program.id, next_version, wanted);
        update public.programs as p set version = next_version where p.id = program.id;
    end if;
    return program.id;
end
$$;

-- A draft that consists of what new learners of another program get.
create function public.clone_program(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    original public.programs := private.program_for_change((input ->> 'id')::uuid);
    clone uuid;
begin
    insert into public.programs (title, description, duration_weeks)
    values (coalesce(input ->> 'title', original.title), original.description, original.duration_weeks)
    returning id into clone;
    perform private.write_structure(clone, 1, private.program_structure(original.id, original.version));
    return clone;
end
$$;

-- Enrolments: those that there are belong to version 1; the trigger below gives new ones theirs.
alter table public.program_enrollments add column program_version integer not null default 1;
-- squawk-ignore ban-drop-default
alter table public.program_enrollments alter column program_version drop default;
comment on column public.program_enrollments.program_version is
'The version of the program that this attempt is about; another one only by enrollment_moves.';
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
alter table public.program_enrollments add constraint program_enrollments_version_exists
foreign key (community_id, program_id, program_version)
references public.program_versions (community_id, program_id, version) on delete cascade;

-- New learners get the current version and keep it. After the trigger above, which has locked the program.
create function private.pin_program_version() returns trigger
volatile
security definer -- reads the version of the program, whoever enrols; of that program only
set search_path = ''
language plpgsql
as $$
begin
    select p.version into new.program_version
    from public.programs as p
    where p.community_id = new.community_id and p.id = new.program_id;
    return new;
end
$$;

create trigger program_enrollments_pin_version before insert on public.program_enrollments
for each row execute function private.pin_program_version();

-- Decisions about enrolments when their program has a newer version: keep the version, or move to the newer one.
-- A row is the decision and does what it says; none ever changes.

create table public.enrollment_moves (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    enrollment_id uuid not null,
    from_version integer not null,
    to_version integer not null,
    mode text not null,
    reason text not null,
    moved_at timestamptz not null default now(),
    -- No reference: who decided stays written when they have gone.
    moved_by uuid default auth.uid(),
    constraint enrollment_moves_pkey primary key (community_id, id),
    constraint enrollment_moves_enrollment_exists foreign key (community_id, enrollment_id)
    references public.program_enrollments (community_id, id) on delete cascade,
    constraint enrollment_moves_forward check (to_version > from_version),
    constraint enrollment_moves_mode_known check (mode in ('keep', 'carry_over', 'require_new')),
    constraint enrollment_moves_reason_not_blank check (reason ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint enrollment_moves_reason_length check (char_length(reason) <= 1000)
);
alter table public.enrollment_moves enable row level security;
alter table public.enrollment_moves alter column community_id set (n_distinct = 20);
comment on table public.enrollment_moves is 'Which enrolments were moved to a newer version of their program, or kept, and why.';
comment on column public.enrollment_moves.mode is
'keep: stays in its version; carry_over: what was completed stays complete; require_new: new parts must be done.';

create index enrollment_moves_enrollment_idx on public.enrollment_moves (community_id, enrollment_id, moved_at);

create function private.keep_enrollment_moves() returns trigger
volatile
security definer -- asks whether the enrolment is there, whoever asks
set search_path = ''
language plpgsql
as $$
begin
    if tg_op = 'UPDATE' or exists (
        select from public.program_enrollments as e where e.community_id = old.community_id and e.id = old.enrollment_id
    ) then
        perform private.refuse('412', 'A decision about an enrolment stays as it is. Decide anew.');
    end if;
    return old;
end
$$;

create trigger enrollment_moves_keep before update or delete on public.enrollment_moves
for each row execute function private.keep_enrollment_moves();

create function private.carry_out_enrollment_moves() returns trigger
volatile
security definer -- writes the version of enrolments, which no client may; only of those that the caller could decide on
set search_path = ''
language plpgsql
as $$
declare
    decided bigint := (select count(*) from new_moves);
    done bigint;
    kept bigint;
begin
    update public.program_enrollments as e
    set program_version = m.to_version
    from new_moves as m
    where m.mode <> 'keep' and e.community_id = m.community_id and e.id = m.enrollment_id
        and e.program_version = m.from_version and e.status in ('pending', 'active', 'paused')
        and exists (
            select from public.programs as p
            where p.community_id = e.community_id and p.id = e.program_id and p.version >= m.to_version
        );
    get diagnostics done = row_count;
    select count(distinct e.id) into kept
    from new_moves as m
    join public.program_enrollments as e on e.community_id = m.community_id and e.id = m.enrollment_id
    join public.programs as p on p.community_id = e.community_id and p.id = e.program_id
    where m.mode = 'keep' and e.program_version = m.from_version and p.version >= m.to_version
        and e.status in ('pending', 'active', 'paused');
    if done + kept <> decided then
        perform private.refuse(
            '412', 'Only open enrolments that are in this version can be moved, to a version that is there. Look again.'
        );
    end if;
    return null;
end
$$;

create trigger enrollment_moves_carry_out after insert on public.enrollment_moves
referencing new table as new_moves
for each statement execute function private.carry_out_enrollment_moves();

-- Between which versions the input asks to move; refuses what cannot be.
create function private.versions_of_move(input jsonb) returns table (
    program_id uuid, from_version integer, to_version integer
)
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    now_at integer;
begin
    perform private.require_community_admin();
    select p.version into now_at from public.programs as p where p.id = (input ->> 'program_id')::uuid;
    program_id := (input ->> 'program_id')::uuid;
    from_version := (input ->> 'from_version')::integer;
    to_version := coalesce((input ->> 'to_version')::integer, now_at);
    if now_at is null then
        perform private.refuse('404', 'There is no program with this id in your community.', 'programId');
    elsif from_version is null or from_version < 1 or from_version >= now_at then
        perform private.refuse('400', pg_catalog.format(
            'The program is at version %s; enrolments can be moved from an earlier one.', now_at
        ), 'fromVersion');
    elsif to_version <= from_version or to_version > now_at then
        perform private.refuse('400', pg_catalog.format(
            'Enrolments go forward only, from version %s to one of %s to %s.', from_version, from_version + 1, now_at
        ), 'toVersion');
    end if;
    return next;
end
$$;

-- The enrolments that the input names; null when it names none, which means all. Refuses those that are none of them.
create function private.enrollments_of_move(input jsonb) returns uuid[]
stable
set search_path = ''
language plpgsql
as $$
declare
    wanted jsonb := nullif(input -> 'enrollment_ids', 'null');
    wrong record;
begin
    if wanted is null then
        return null;
    end if;
    if pg_catalog.jsonb_array_length(private.list_in(wanted, 'enrollmentIds')) not between 1 and 1000 then
        perform private.refuse('400', 'Name 1 to 1,000 enrolments, or leave the list out to mean all.', 'enrollmentIds');
    end if;
    select w.place - 1 as place, e.status, e.program_version into wrong
    from pg_catalog.jsonb_array_elements_text(wanted) with ordinality as w (id, place)
    left join public.program_enrollments as e
        on e.id = w.id::uuid and e.program_id = (input ->> 'program_id')::uuid
    where e.id is null or e.status not in ('pending', 'active', 'paused')
        or e.program_version <> (input ->> 'from_version')::integer
    order by w.place
    limit 1;
    if found then
        if wrong.status is null then
            perform private.refuse(
                '404', 'There is no enrolment with this id in the program.',
                pg_catalog.format('enrollmentIds.%s', wrong.place)
            );
        end if;
        perform private.refuse('412', pg_catalog.format(
            'This enrolment is %s and in version %s. Only open ones in version %s can be moved from there.',
            wrong.status, wrong.program_version, input ->> 'from_version'
        ), pg_catalog.format('enrollmentIds.%s', wrong.place));
    end if;
    return array(select distinct w::uuid from pg_catalog.jsonb_array_elements_text(wanted) as w);
end
$$;

create type private.move_preview as (
    program_id uuid,
    from_version integer,
    to_version integer,
    pending bigint,
    active bigint,
    paused bigint,
    completed bigint,
    withdrawn bigint,
    expired bigint
);

-- Whom a move would touch, and, counted beside them, whom it would not. For admins; no row for others.
create function private.preview_move(input jsonb) returns setof private.move_preview
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    move record;
    wanted uuid[];
begin
    if not private.is_community_admin() then
        return;
    end if;
    select v.* into move from private.versions_of_move(input) as v;
    wanted := private.enrollments_of_move(input);
    return query
    select move.program_id, move.from_version, move.to_version,
        count(*) filter (where e.status = 'pending'),
        count(*) filter (where e.status = 'active'),
        count(*) filter (where e.status = 'paused'),
        count(*) filter (where e.status = 'completed'),
        count(*) filter (where e.status = 'withdrawn'),
        count(*) filter (where e.status = 'expired')
    from public.program_enrollments as e
    where e.program_id = move.program_id and e.program_version = move.from_version
        and (wanted is null or e.id = any (wanted));
end
$$;

-- What is different in one version of a program from another: courses, groups, then the criteria.
create function private.version_differences(program uuid, from_version integer, to_version integer)
returns table (place integer, kind text, course_id uuid, group_name text, before jsonb, after jsonb)
stable
rows 20
set search_path = ''
language plpgsql
as $$
declare
    old jsonb := private.program_structure(program, from_version);
    new jsonb := private.program_structure(program, to_version);
begin
    return query
    with courses as (
        select a.version, a.course_id, a.sequence_order,
            pg_catalog.jsonb_build_object('version', a.course_version) || (s.course - 'course_id') as content
        from public.program_course_assignments as a
        join lateral (
            select c as course
            from pg_catalog.jsonb_array_elements(case a.version when from_version then old else new end -> 'courses') as c
            where (c ->> 'course_id')::uuid = a.course_id
        ) as s on true
        where a.program_id = program and a.version in (from_version, to_version)
    ),
    differences as (
        select 1 as part, 'course' as what, coalesce(n.sequence_order, o.sequence_order) as nth,
            coalesce(n.course_id, o.course_id) as course_id, null as group_name,
            o.content as before, n.content as after
        from (select * from courses where version = from_version) as o
        full join (select * from courses where version = to_version) as n on n.course_id = o.course_id
        union all
        select 2, 'group', 0, null, coalesce(n.key, o.key), o.value, n.value
        from pg_catalog.jsonb_each(old -> 'groups') as o
        full join pg_catalog.jsonb_each(new -> 'groups') as n on n.key = o.key
        union all
        select 3, 'criteria', 0, null, null,
            nullif(old -> 'completion_criteria', 'null'), nullif(new -> 'completion_criteria', 'null')
    )
    select pg_catalog.row_number() over (order by d.part, d.nth, d.course_id, d.group_name)::integer,
        d.what || case
            when d.before is null then '_added'
            when d.after is null then '_removed'
            else '_changed'
        end,
        d.course_id, d.group_name, d.before, d.after
    from differences as d
    where d.before is distinct from d.after;
end
$$;

create function private.preview_differences(preview private.move_preview)
returns table (place integer, kind text, course_id uuid, group_name text, before jsonb, after jsonb)
stable
rows 20
set search_path = ''
language plpgsql
as $$
begin
    return query
    select d.* from private.version_differences(preview.program_id, preview.from_version, preview.to_version) as d;
end
$$;

create function private.move_differences(told jsonb)
returns table (place integer, kind text, course_id uuid, group_name text, before jsonb, after jsonb)
stable
rows 20
set search_path = ''
language plpgsql
as $$
begin
    return query
    select d.*
    from private.version_differences(
        (told ->> 'program_id')::uuid, (told ->> 'from_version')::integer, (told ->> 'to_version')::integer
    ) as d;
end
$$;

-- The enrolments that a move is still to decide about: the open ones that are in the version and not kept there yet.
create function private.undecided_enrollments(
    program uuid, from_version integer, to_version integer, mode text, wanted uuid[]
) returns setof public.program_enrollments
volatile -- else it would not see what the statement before it in the same function has moved
set search_path = ''
language plpgsql
as $$
begin
    return query
    select e.*
    from public.program_enrollments as e
    where e.program_id = program and e.program_version = from_version
        and e.status in ('pending', 'active', 'paused') and (wanted is null or e.id = any (wanted))
        and (mode <> 'keep' or not exists (
            select from public.enrollment_moves as m
            where m.community_id = e.community_id and m.enrollment_id = e.id and m.mode = 'keep'
                and m.from_version = e.program_version and m.to_version = undecided_enrollments.to_version
        ));
end
$$;

-- Decides about the open enrolments in a version, or about some of them; 5,000 at the most, so that it ends in time.
create function public.move_enrollments(input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    move record;
    wanted uuid[];
    decided bigint;
    remaining bigint;
begin
    select v.* into move from private.versions_of_move(input) as v;
    wanted := private.enrollments_of_move(input);
    insert into public.enrollment_moves (community_id, enrollment_id, from_version, to_version, mode, reason)
    select e.community_id, e.id, move.from_version, move.to_version, input ->> 'mode', input ->> 'reason'
    from public.program_enrollments as e
    where e.program_id = move.program_id and e.program_version = move.from_version
        and e.status in ('pending', 'active', 'paused') and e.id in (
            select u.id
            from private.undecided_enrollments(
                move.program_id, move.from_version, move.to_version, input ->> 'mode', wanted
            ) as u
            order by u.enrolled_at, u.id
            limit 5000
        )
    -- One who leaves at the same moment is waited for, and not moved.
    for update of e;
    get diagnostics decided = row_count;
    select count(*) into remaining
    from private.undecided_enrollments(
        move.program_id, move.from_version, move.to_version, input ->> 'mode', wanted
    );
    return pg_catalog.to_jsonb(move) || pg_catalog.jsonb_build_object(
        'mode', input ->> 'mode', 'decided', decided, 'remaining', remaining,
        'moved', case when input ->> 'mode' = 'keep' then 0 else decided end
    );
end
$$;

-- Whoever writes criteria has them checked; the functions look at nothing but what they are given.

revoke all on function
private.criteria_nodes(jsonb),
private.criteria_form_problem(jsonb),
private.is_count(jsonb),
private.criteria_problem(jsonb, uuid[], text[])
from public, anon, authenticated, service_role;
grant execute on function
private.criteria_nodes(jsonb),
private.criteria_form_problem(jsonb),
private.is_count(jsonb),
private.criteria_problem(jsonb, uuid[], text[])
to authenticated, service_role;

-- Members see published programs and those they are enrolled in; admins see all, write them, and delete drafts.

alter table public.programs enable row level security;
alter table public.programs force row level security;
revoke all on public.programs from public, anon, authenticated, service_role;
grant select on public.programs to authenticated;
grant insert (title, description, duration_weeks) on public.programs to authenticated;
grant update (title, description, duration_weeks, status, version) on public.programs to authenticated;
grant delete on public.programs to authenticated;
grant select, insert, update, delete on public.programs to service_role;

drop policy if exists members_see_programs_admins_all on public.programs;
create policy members_see_programs_admins_all on public.programs
for select to authenticated
using (
    status = 'published'
    or (select private.is_community_admin())
    or id = any (array(select private.viewer_program_ids()))
);

drop policy if exists admins_create_programs on public.programs;
create policy admins_create_programs on public.programs
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_programs on public.programs;
create policy admins_change_programs on public.programs
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_delete_drafts on public.programs;
create policy admins_delete_drafts on public.programs
for delete to authenticated
using (status = 'draft' and (select private.is_community_admin()));

-- Callable: mutations, which run under the policies above.

revoke all on function
public.create_program(jsonb),
public.update_program(jsonb),
public.publish_program(jsonb),
public.archive_program(jsonb),
public.restore_program(jsonb),
public.delete_program(jsonb),
private.program_for_change(uuid),
private.require_as_expected(public.programs, jsonb),
private.lock_program_structures(uuid),
private.set_program_status(uuid, text, text),
private.hold_program_states(),
private.keep_programs_with_history()
from public, anon, authenticated, service_role;
grant execute on function
public.create_program(jsonb),
public.update_program(jsonb),
public.publish_program(jsonb),
public.archive_program(jsonb),
public.restore_program(jsonb),
public.delete_program(jsonb),
private.program_for_change(uuid),
private.require_as_expected(public.programs, jsonb),
private.lock_program_structures(uuid),
private.set_program_status(uuid, text, text)
to authenticated;

-- Who sees a program sees its versions; admins begin the next one, in the same transaction in which it becomes current.

alter table public.program_versions enable row level security;
alter table public.program_versions force row level security;
revoke all on public.program_versions from public, anon, authenticated, service_role;
grant select on public.program_versions to authenticated;
grant insert (program_id, version, completion_criteria) on public.program_versions to authenticated;
grant update (completion_criteria) on public.program_versions to authenticated;
grant select, insert, update, delete on public.program_versions to service_role;

drop policy if exists who_sees_the_program_sees_its_versions on public.program_versions;
create policy who_sees_the_program_sees_its_versions on public.program_versions
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_versions.community_id
            and p.id = program_versions.program_id
            and p.version >= program_versions.version
    )
);

drop policy if exists admins_begin_versions on public.program_versions;
create policy admins_begin_versions on public.program_versions
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_open_versions on public.program_versions;
create policy admins_change_open_versions on public.program_versions
for update to authenticated
using (published_at is null and (select private.is_community_admin()))
with check ((select private.is_community_admin()));

revoke all on function
private.begin_first_version(),
private.keep_program_versions(),
private.finish_program_versions(),
private.keep_closed_versions(),
private.close_program_version(uuid, uuid, integer),
private.copy_current_versions(uuid, uuid[]),
private.renew_program_versions(uuid, uuid[]),
private.outdated_programs(uuid, uuid[]),
private.close_current_version(),
private.follow_course_versions()
from public, anon, authenticated, service_role;

-- Who sees a program sees its courses; admins change the list.

alter table public.program_course_assignments enable row level security;
alter table public.program_course_assignments force row level security;
revoke all on public.program_course_assignments from public, anon, authenticated, service_role;
grant select on public.program_course_assignments to authenticated;
grant insert (program_id, course_id, sequence_order, required, group_name, version)
on public.program_course_assignments to authenticated;
grant update (sequence_order, required, group_name) on public.program_course_assignments to authenticated;
grant delete on public.program_course_assignments to authenticated;
grant select, insert, update, delete on public.program_course_assignments to service_role;

drop policy if exists who_sees_the_program_sees_its_courses on public.program_course_assignments;
create policy who_sees_the_program_sees_its_courses on public.program_course_assignments
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_course_assignments.community_id
            and p.id = program_course_assignments.program_id
            and p.version >= program_course_assignments.version
    )
);

drop policy if exists admins_assign_courses on public.program_course_assignments;
create policy admins_assign_courses on public.program_course_assignments
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_assignments on public.program_course_assignments;
create policy admins_change_assignments on public.program_course_assignments
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_remove_assignments on public.program_course_assignments;
create policy admins_remove_assignments on public.program_course_assignments
for delete to authenticated
using ((select private.is_community_admin()));

-- Groups and prerequisites go with the courses.

alter table public.program_course_groups enable row level security;
alter table public.program_course_groups force row level security;
revoke all on public.program_course_groups from public, anon, authenticated, service_role;
grant select on public.program_course_groups to authenticated;
grant insert (program_id, version, name, at_least)
on public.program_course_groups to authenticated;
grant update (at_least) on public.program_course_groups to authenticated;
grant delete on public.program_course_groups to authenticated;
grant select, insert, update, delete on public.program_course_groups to service_role;

drop policy if exists who_sees_the_program_sees_its_groups on public.program_course_groups;
create policy who_sees_the_program_sees_its_groups on public.program_course_groups
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_course_groups.community_id
            and p.id = program_course_groups.program_id
            and p.version >= program_course_groups.version
    )
);

drop policy if exists admins_make_groups on public.program_course_groups;
create policy admins_make_groups on public.program_course_groups
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_groups on public.program_course_groups;
create policy admins_change_groups on public.program_course_groups
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_remove_groups on public.program_course_groups;
create policy admins_remove_groups on public.program_course_groups
for delete to authenticated
using ((select private.is_community_admin()));

alter table public.program_course_prerequisites enable row level security;
alter table public.program_course_prerequisites force row level security;
revoke all on public.program_course_prerequisites from public, anon, authenticated, service_role;
grant select on public.program_course_prerequisites to authenticated;
grant insert (program_id, version, course_id, prerequisite_id)
on public.program_course_prerequisites to authenticated;
grant delete on public.program_course_prerequisites to authenticated;
grant select, insert, update, delete on public.program_course_prerequisites to service_role;

drop policy if exists who_sees_the_program_sees_its_prerequisites on public.program_course_prerequisites;
create policy who_sees_the_program_sees_its_prerequisites on public.program_course_prerequisites
for select to authenticated
using (
    (select private.is_community_admin())
    or exists (
        select from public.programs as p
        where p.community_id = program_course_prerequisites.community_id
            and p.id = program_course_prerequisites.program_id
            and p.version >= program_course_prerequisites.version
    )
);

drop policy if exists admins_set_prerequisites on public.program_course_prerequisites;
create policy admins_set_prerequisites on public.program_course_prerequisites
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_remove_prerequisites on public.program_course_prerequisites;
create policy admins_remove_prerequisites on public.program_course_prerequisites
for delete to authenticated
using ((select private.is_community_admin()));

revoke all on function
private.prerequisite_cycle(uuid, uuid, integer),
private.refuse_prerequisite_cycles()
from public, anon, authenticated, service_role;
grant execute on function private.prerequisite_cycle(uuid, uuid, integer) to authenticated, service_role;

-- Callable: mutations and what they are made of, which run under the policies of what they read and write.

revoke all on function
public.assign_courses(jsonb),
public.clone_program(jsonb),
private.program_structure(uuid, integer),
private.write_structure(uuid, integer, jsonb),
private.list_in(jsonb, text),
private.courses_in(jsonb),
private.groups_in(jsonb, jsonb),
private.structure_in(jsonb, jsonb)
from public, anon, authenticated, service_role;
grant execute on function
public.assign_courses(jsonb),
public.clone_program(jsonb),
private.program_structure(uuid, integer),
private.write_structure(uuid, integer, jsonb),
private.list_in(jsonb, text),
private.courses_in(jsonb),
private.groups_in(jsonb, jsonb),
private.structure_in(jsonb, jsonb)
to authenticated;

revoke all on function private.pin_program_version() from public, anon, authenticated, service_role;

-- Admins decide about enrolments and see what was decided; nobody changes it.

alter table public.enrollment_moves enable row level security;
alter table public.enrollment_moves force row level security;
revoke all on public.enrollment_moves from public, anon, authenticated, service_role;
grant select on public.enrollment_moves to authenticated;
-- With community_id, which the wall holds to the caller's: its default would be asked for each of 200,000 rows.
grant insert (community_id, enrollment_id, from_version, to_version, mode, reason) on public.enrollment_moves to authenticated;
grant select, insert, update, delete on public.enrollment_moves to service_role;

drop policy if exists admins_see_enrollment_moves on public.enrollment_moves;
create policy admins_see_enrollment_moves on public.enrollment_moves
for select to authenticated
using ((select private.is_community_admin()));

drop policy if exists admins_move_enrollments on public.enrollment_moves;
create policy admins_move_enrollments on public.enrollment_moves
for insert to authenticated
with check ((select private.is_community_admin()));

revoke all on function
public.move_enrollments(jsonb),
private.versions_of_move(jsonb),
private.enrollments_of_move(jsonb),
private.undecided_enrollments(uuid, integer, integer, text, uuid[]),
private.preview_move(jsonb),
private.version_differences(uuid, integer, integer),
private.preview_differences(private.move_preview),
private.move_differences(jsonb),
private.keep_enrollment_moves(),
private.carry_out_enrollment_moves()
from public, anon, authenticated, service_role;
grant execute on function
public.move_enrollments(jsonb),
private.versions_of_move(jsonb),
private.enrollments_of_move(jsonb),
private.undecided_enrollments(uuid, integer, integer, text, uuid[]),
private.preview_move(jsonb),
private.version_differences(uuid, integer, integer),
private.preview_differences(private.move_preview),
private.move_differences(jsonb)
to authenticated;

-- The wall: whatever the rules of a domain allow, nobody reaches past the community that they are acting in.

-- Restrictive policies are joined with "and" to every other one, for every role that does not bypass RLS. Bound to
-- auth.get_community_id() where the platform has it; hosted Supabase keeps schema auth closed.
do $$
declare
    walled text;
    question text := case
        when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
    end || '.get_community_id()';
begin
    for walled in
        select c.table_name
        from information_schema.columns as c
        join information_schema.tables as t using (table_schema, table_name)
        where c.table_schema = 'public' and c.column_name = 'community_id' and t.table_type = 'BASE TABLE'
        order by c.table_name
    loop
        execute pg_catalog.format('drop policy if exists client_isolation_%1$s on public.%1$I', walled);
        execute pg_catalog.format(
            'create policy client_isolation_%1$s on public.%1$I as restrictive for all to public '
            'using (community_id = (select %2$s)) with check (community_id = (select %2$s))',
            walled, question
        );
    end loop;
end
$$;
