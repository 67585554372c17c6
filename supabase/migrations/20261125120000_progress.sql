-- Progress: events, completions, and what courses and programs come to by them.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- A course and a program are of one community. Without this the planner takes every index here for one that leads to a
-- single row, and may go through all programs with a course, or all courses of a program.
create statistics public.program_course_assignments_of_one_community (dependencies)
on community_id, course_id, program_id from public.program_course_assignments;

-- Progress: what learners did, block by block, and where they stand. What happened is an append-only log of events; what
-- stands in the other tables follows from it and from admins' acts, in any order and with any repetition.

create table public.progress_events (
    community_id uuid not null,
    user_id uuid not null,
    event_id uuid not null,
    course_id uuid not null,
    block_id uuid not null,
    attempt integer not null,
    value numeric(7, 6) not null,
    score numeric(6, 3),
    correct boolean,
    data jsonb,
    occurred_at timestamptz not null,
    counted_at timestamptz not null,
    received_at timestamptz not null default now(),
    recorded_by uuid,
    -- Ids are the client's. Within one person: nobody can take an id away from somebody else, or learn that it is taken.
    constraint progress_events_pkey primary key (community_id, user_id, event_id),
    constraint progress_events_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint progress_events_attempt_positive check (attempt >= 1),
    constraint progress_events_value_range check (value between 0 and 1),
    constraint progress_events_score_range check (score between 0 and 100),
    constraint progress_events_occurred_at_sane
    check (occurred_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00')
);
alter table public.progress_events enable row level security;
alter table public.progress_events alter column community_id set (n_distinct = 20);
comment on table public.progress_events is 'What a learner did, as their client told it: append-only.';
comment on column public.progress_events.event_id is 'The client''s: the same id of the same person is the same event.';
comment on column public.progress_events.value is 'How much of the block is done, 0 to 1, floored to six decimals.';
comment on column public.progress_events.score is 'What was scored, 0 to 100; tells nothing about completion.';
comment on column public.progress_events.occurred_at is 'When it happened by the client''s clock.';
comment on column public.progress_events.counted_at is
'occurred_at as far as it can be true: not before the enrolment by more than a day, not after the receipt by more than five minutes.';
comment on column public.progress_events.recorded_by is 'Who sent it; null for the platform.';

-- Not partitioned by time: an id has to be told from all that there ever were.

create function private.keep_progress_events() returns trigger
volatile
security definer -- asks whether the member is there, whoever asks
set search_path = ''
language plpgsql
as $$
begin
    -- A member who is deleted takes what they did with them.
    if tg_op = 'DELETE' and not exists (
        select from public.memberships as m where m.community_id = old.community_id and m.user_id = old.user_id
    ) then
        return old;
    end if;
    perform private.refuse(
        '403', 'What happened stays written: nobody changes or removes events. Override a completion, or open a new attempt.'
    );
    return null;
end
$$;

create trigger progress_events_keep before update or delete on public.progress_events
for each row execute function private.keep_progress_events();
create trigger progress_events_keep_all before truncate on public.progress_events
for each statement execute function private.keep_progress_events();

-- Where somebody stands with a block, in one attempt at its course.
create table public.block_completions (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    user_id uuid not null,
    course_id uuid not null,
    block_id uuid not null,
    attempt integer not null default 1,
    earned_value numeric(7, 6) not null,
    earned_at timestamptz,
    override_value numeric(7, 6),
    overridden_at timestamptz,
    value numeric(7, 6) not null generated always as (coalesce(override_value, earned_value)) stored,
    completed_at timestamptz generated always as (
        case when coalesce(override_value, earned_value) = 1 then coalesce(earned_at, overridden_at) end
    ) stored,
    score numeric(6, 3),
    correct boolean,
    event_count integer not null default 0,
    started_at timestamptz not null,
    created_at timestamptz not null default now(),
    constraint block_completions_pkey primary key (community_id, user_id, course_id, attempt, block_id),
    constraint block_completions_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint block_completions_attempt_positive check (attempt >= 1),
    constraint block_completions_value_range check (earned_value between 0 and 1 and override_value between 0 and 1),
    constraint block_completions_earned_at_known check ((earned_value = 1) = (earned_at is not null)),
    constraint block_completions_override_whole check ((override_value is null) = (overridden_at is null))
) with (fillfactor = 90);
alter table public.block_completions enable row level security;
alter table public.block_completions alter column community_id set (n_distinct = 20);
comment on table public.block_completions is 'Where a person stands with a block, in one attempt at its course.';
comment on column public.block_completions.earned_value is 'The greatest value of its events; does not fall.';
comment on column public.block_completions.earned_at is 'The earliest moment at which an event completed it.';
comment on column public.block_completions.override_value is 'What an admin has set, as completion_overrides says.';
comment on column public.block_completions.value is 'What counts: the override, or else what was earned. 1 is complete.';
comment on column public.block_completions.score is 'The best of its events, 0 to 100.';

create index block_completions_created_at_idx on public.block_completions (community_id, created_at, id);

-- An admin's word about a block: holds against whatever happens, until it is released.
create table public.completion_overrides (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    user_id uuid not null,
    course_id uuid not null,
    block_id uuid not null,
    attempt integer not null,
    value numeric(7, 6) not null,
    reason text not null,
    set_at timestamptz not null default now(),
    -- No reference: who decided stays written when they have gone.
    set_by uuid default auth.uid(),
    released_at timestamptz,
    constraint completion_overrides_pkey primary key (community_id, id),
    constraint completion_overrides_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint completion_overrides_attempt_positive check (attempt >= 1),
    constraint completion_overrides_value_range check (value between 0 and 1),
    constraint completion_overrides_reason_not_blank check (reason ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint completion_overrides_reason_length check (char_length(reason) <= 1000)
);
alter table public.completion_overrides enable row level security;
alter table public.completion_overrides alter column community_id set (n_distinct = 20);
comment on table public.completion_overrides is 'What admins have set blocks to, and why.';
comment on column public.completion_overrides.released_at is 'Since when it does not hold any more; null while it does.';

create unique index completion_overrides_one_held
on public.completion_overrides (community_id, user_id, course_id, attempt, block_id) where released_at is null;
create index completion_overrides_member_idx on public.completion_overrides (community_id, user_id);

-- A further attempt at a course, after a reset or for a certificate that is earned anew. The first one has no row.
create table public.course_attempts (
    community_id uuid not null,
    user_id uuid not null,
    course_id uuid not null,
    attempt integer not null,
    began_at timestamptz not null default now(),
    reason text not null,
    opened_by uuid default auth.uid(),
    constraint course_attempts_pkey primary key (community_id, user_id, course_id, attempt),
    constraint course_attempts_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint course_attempts_attempt_range check (attempt between 2 and 1000),
    constraint course_attempts_reason_not_blank check (reason ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint course_attempts_reason_length check (char_length(reason) <= 1000)
);
alter table public.course_attempts enable row level security;
alter table public.course_attempts alter column community_id set (n_distinct = 20);
comment on table public.course_attempts is 'When somebody''s second, third, ... attempt at a course began, and why.';

-- Sums over the blocks of one version, moved by delta. A person has as many as there are versions that count for them.
create table public.course_progress (
    community_id uuid not null,
    user_id uuid not null,
    course_id uuid not null,
    version integer not null,
    attempt integer not null,
    done_required integer not null,
    total_required integer not null,
    earned numeric(20, 9) not null,
    possible numeric(14, 3) not null,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz not null default now(),
    constraint course_progress_pkey primary key (community_id, user_id, course_id, version, attempt),
    constraint course_progress_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint course_progress_done_range check (done_required between 0 and total_required),
    constraint course_progress_earned_range check (earned between 0 and possible)
) with (fillfactor = 80);
alter table public.course_progress enable row level security;
alter table public.course_progress alter column community_id set (n_distinct = 20);
comment on table public.course_progress is 'Where a person stands with a version of a course, in one attempt.';
comment on column public.course_progress.done_required is 'How many of its required blocks are complete.';
comment on column public.course_progress.earned is 'Weight times value, over the required blocks.';
comment on column public.course_progress.possible is 'The weights of the required blocks.';
comment on column public.course_progress.completed_at is 'Never moves once set, whatever becomes of the blocks.';

-- Where an enrolment stands: one row each, from its beginning.
create table public.program_progress (
    community_id uuid not null,
    enrollment_id uuid not null,
    program_id uuid not null,
    user_id uuid not null,
    enrollment_attempt integer not null,
    status text not null,
    percent integer not null,
    completed_at timestamptz,
    updated_at timestamptz not null default now(),
    constraint program_progress_pkey primary key (community_id, enrollment_id),
    constraint program_progress_enrollment_exists foreign key (community_id, enrollment_id)
    references public.program_enrollments (community_id, id) on delete cascade,
    constraint program_progress_status_known
    check (status in ('not_started', 'in_progress', 'completed', 'not_applicable')),
    constraint program_progress_percent_range check (percent between 0 and 100),
    constraint program_progress_percent_whole check ((percent = 100) = (status = 'completed')),
    constraint program_progress_completed_at_known check ((status = 'completed') = (completed_at is not null))
) with (fillfactor = 80);
alter table public.program_progress enable row level security;
alter table public.program_progress alter column community_id set (n_distinct = 20);
comment on table public.program_progress is 'How far an enrolment has come.';
comment on column public.program_progress.percent is 'Floored; 100 only when the enrolment is completed.';

-- The percent stands by, for averages. One index for both ways: of two that begin so, the planner would take the wrong one.
create index program_progress_program_idx
on public.program_progress (community_id, program_id, user_id, enrollment_attempt) include (percent);

-- The current attempt of somebody at a course, from 1.
create function private.current_attempt(community uuid, person uuid, course uuid) returns integer
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce((
        select max(a.attempt)
        from public.course_attempts as a
        where a.community_id = community and a.user_id = person and a.course_id = course
    ), 1);
end
$$;

-- The versions of a course that count for somebody: those of their open enrolments; without one those that they began,
-- or else the current one. And since when they are enrolled with it, whatever became of that.
create function private.course_standing(community uuid, person uuid, course uuid)
returns table (versions integer[], enrolled_at timestamptz)
stable
rows 1
set search_path = ''
language plpgsql
as $$
begin
    select
        pg_catalog.array_agg(distinct a.course_version) filter (where e.status in ('pending', 'active', 'paused')),
        min(e.enrolled_at)
    into versions, enrolled_at
    from public.program_enrollments as e
    -- For itself, so that it begins with the person: the other way lead all enrolments in programs with the course.
    cross join lateral (
        select o.course_version
        from public.program_course_assignments as o
        where o.community_id = e.community_id and o.program_id = e.program_id and o.version = e.program_version
            and o.course_id = course
        offset 0
    ) as a
    where e.community_id = community and e.user_id = person;
    if versions is null then
        select pg_catalog.array_agg(distinct p.version) into versions
        from public.course_progress as p
        where p.community_id = community and p.user_id = person and p.course_id = course;
    end if;
    if versions is null then
        select array[c.version] into versions
        from public.courses as c
        where c.community_id = community and c.id = course and c.published;
    end if;
    return next;
end
$$;

-- The one of them that a course is shown by.
create function private.version_shown(community uuid, person uuid, course uuid) returns integer
stable
set search_path = ''
language plpgsql
as $$
begin
    return (
        select max(v) from private.course_standing(community, person, course) as s, pg_catalog.unnest(s.versions) as v
    );
end
$$;

-- What the blocks that somebody has done come to in a version of their course: a row of course_progress, counted anew.
create function private.counted_course_progress(
    community uuid, person uuid, course uuid, in_version integer, in_attempt integer
) returns public.course_progress
stable
set search_path = ''
language plpgsql
as $$
declare
    counted public.course_progress;
begin
    select
        community, person, course, in_version, in_attempt,
        count(*) filter (where c.value = 1), count(*),
        coalesce(pg_catalog.sum(b.weight * c.value), 0), coalesce(pg_catalog.sum(b.weight), 0),
        null, max(c.completed_at), pg_catalog.now()
    into counted
    from public.blocks as b
    -- For itself, so that each block is looked up: joined, all completions would be gone through for each block.
    left join lateral (
        select o.value, o.completed_at
        from public.block_completions as o
        where o.community_id = community and o.user_id = person and o.course_id = course and o.attempt = in_attempt
            and o.block_id = b.id
        offset 0
    ) as c on true
    where b.community_id = community and b.course_id = course and b.version = in_version
        and b.required and b.completion_mode = 'completable';
    if counted.total_required = 0 or counted.done_required < counted.total_required then
        counted.completed_at := null;
    end if;
    select min(c.started_at) into counted.started_at
    from public.block_completions as c
    where c.community_id = community and c.user_id = person and c.course_id = course and c.attempt = in_attempt;
    return counted;
end
$$;

-- What a version of a program asks for, as a tree that is written down once, when the version is closed; and how much of
-- it somebody has done.

-- In reading order: a node comes after the one that it is in. Without criteria the root asks for every required course
-- that is in no group, and for every group.
create table public.program_requirements (
    community_id uuid not null,
    program_id uuid not null,
    version integer not null,
    node integer not null,
    parent integer,
    kind text not null,
    needed integer not null,
    course_id uuid,
    course_version integer,
    group_name text,
    constraint program_requirements_pkey primary key (community_id, program_id, version, node),
    constraint program_requirements_version_exists foreign key (community_id, program_id, version)
    references public.program_versions (community_id, program_id, version) on delete cascade,
    constraint program_requirements_kind_known check (kind in ('all', 'any', 'at_least', 'group', 'course')),
    constraint program_requirements_parent_before check (parent < node),
    constraint program_requirements_course_known check ((kind = 'course') = (course_id is not null))
);
alter table public.program_requirements enable row level security;
alter table public.program_requirements alter column community_id set (n_distinct = 20);
comment on table public.program_requirements is 'When a version of a program is complete, as a tree: its criteria, spelt out.';
comment on column public.program_requirements.needed is
'How many of its parts make it met, of those that ask for something; 0 of what asks for nothing.';

-- The nodes of a version's criteria, as the table has them but for their courses.
create function private.requirement_nodes(version public.program_versions)
returns table (node integer, parent integer, kind text, needed integer, course_id uuid, group_name text)
stable
set search_path = ''
language plpgsql
as $$
begin
    if version.completion_criteria is null then
        return query
        select 0, null::integer, 'all', 0, null::uuid, null::text
        union all
        (
            select pg_catalog.row_number() over (order by p.place)::integer, 0, p.kind, p.needed, p.course_id, p.group_name
            from (
                select a.sequence_order as place, 'course' as kind, 1 as needed, a.course_id, null as group_name
                from public.program_course_assignments as a
                where a.community_id = version.community_id and a.program_id = version.program_id
                    and a.version = version.version and a.required and a.group_name is null
                union all
                select min(a.sequence_order), 'group', g.at_least, null, g.name
                from public.program_course_groups as g
                join public.program_course_assignments as a
                    on a.community_id = g.community_id and a.program_id = g.program_id and a.version = g.version
                    and a.group_name = g.name
                where g.community_id = version.community_id and g.program_id = version.program_id
                    and g.version = version.version
                group by g.name, g.at_least
            ) as p
        );
        return;
    end if;
    return query
    with nodes as (
        select (pg_catalog.row_number() over (order by n.place))::integer - 1 as nth, n.*
        from private.criteria_nodes(version.completion_criteria) as n
    )
    select
        n.nth, p.nth, case n.kind when 'atLeast' then 'at_least' else n.kind end,
        case n.kind
            when 'atLeast' then (n.node ->> 'atLeast')::numeric::integer
            when 'all' then pg_catalog.jsonb_array_length(n.parts)
            when 'group' then coalesce(g.at_least, 1)
            else 1
        end,
        case n.kind when 'course' then (n.node ->> 'course')::uuid end,
        case n.kind when 'group' then n.node ->> 'group' end
    from nodes as n
    left join nodes as p on p.place = n.place[:pg_catalog.cardinality(n.place) - 1] and n.nth > 0
    left join public.program_course_groups as g
        on g.community_id = version.community_id and g.program_id = version.program_id
        and g.version = version.version and g.name = n.node ->> 'group' and n.kind = 'group';
end
$$;

-- Writes down what a version asks for. Behind the criteria's own nodes come the courses of its groups.
create function private.write_requirements(version public.program_versions) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    inner_node integer;
begin
    insert into public.program_requirements (
        community_id, program_id, version, node, parent, kind, needed, course_id, course_version, group_name
    )
    with nodes as (
        select n.* from private.requirement_nodes(version) as n
    ),
    with_courses as (
        select n.* from nodes as n
        union all
        select
            (
                (select max(n.node) from nodes as n)
                + pg_catalog.row_number() over (order by n.node, a.sequence_order)
            )::integer,
            n.node, 'course', 1, a.course_id, null
        from nodes as n
        join public.program_course_assignments as a
            on a.community_id = version.community_id and a.program_id = version.program_id
            and a.version = version.version and a.group_name = n.group_name
        where n.kind = 'group'
    )
    select
        version.community_id, version.program_id, version.version, n.node, n.parent, n.kind,
        case
            when n.kind = 'all' then (select count(*) from nodes as below where below.parent = n.node)
            -- Not "not exists": that would look through all blocks of the community at once.
            when n.kind = 'course' and (
                select true
                from public.blocks as b
                where b.community_id = version.community_id and b.course_id = n.course_id
                    and b.version = a.course_version and b.required and b.completion_mode = 'completable'
                limit 1
            ) is null then 0
            else n.needed
        end,
        n.course_id, a.course_version, n.group_name
    from with_courses as n
    left join public.program_course_assignments as a
        on a.community_id = version.community_id and a.program_id = version.program_id
        and a.version = version.version and a.course_id = n.course_id;
    -- What asks for nothing is no part of anything: of two courses of which one has nothing to do, "two of these" asks for
    -- the other one. From the last to the first, for parts come behind what they are parts of.
    for inner_node in
        select r.node
        from public.program_requirements as r
        where r.community_id = version.community_id and r.program_id = version.program_id
            and r.version = version.version and r.kind <> 'course'
        order by r.node desc
    loop
        update public.program_requirements as r
        set needed = least(r.needed, (
            select count(*)
            from public.program_requirements as p
            where p.community_id = r.community_id and p.program_id = r.program_id and p.version = r.version
                and p.parent = r.node and p.needed > 0
        ))
        where r.community_id = version.community_id and r.program_id = version.program_id
            and r.version = version.version and r.node = inner_node;
    end loop;
end
$$;

create function private.hold_requirements() returns trigger
volatile
security definer -- writes what no client may, from the version that was closed
set search_path = ''
language plpgsql
as $$
begin
    perform private.write_requirements(new);
    -- An import makes a program and its enrolments in one transaction, before it is known what the version asks for. Nobody
    -- is in a later version before it is closed.
    if new.version = 1 then
        update public.program_progress as p
        set status = 'not_started'
        from public.program_enrollments as e
        where e.community_id = new.community_id and e.program_id = new.program_id and e.program_version = new.version
            and p.community_id = e.community_id and p.enrollment_id = e.id and p.status = 'not_applicable'
            and exists (
                select from public.program_requirements as r
                where r.community_id = new.community_id and r.program_id = new.program_id and r.version = new.version
                    and r.kind = 'course' and r.needed > 0
            );
    end if;
    return null;
end
$$;

create trigger program_versions_write_requirements after update of published_at on public.program_versions
for each row when (old.published_at is null and new.published_at is not null)
execute function private.hold_requirements();

create type private.requirement_state as (
    enrollment_id uuid,
    node integer,
    parent integer,
    kind text,
    needed integer,
    course_id uuid,
    group_name text,
    met boolean,
    share numeric,
    started boolean,
    completed_at timestamptz
);

-- Each node of what the versions of enrolments ask for, and how much of it is done: of a course its share, of others the
-- mean of the best parts, as many as are needed. Of courses the current attempt counts, and no earlier one.
create function private.requirement_states(enrollments public.program_enrollments[])
returns setof private.requirement_state
stable
rows 10
set search_path = ''
language plpgsql
as $$
declare
    states private.requirement_state[];
    inner_nodes private.requirement_state[];
begin
    states := array(
        select row(
            e.id, r.node, r.parent, r.kind, r.needed, r.course_id, r.group_name,
            p.completed_at is not null or r.needed = 0,
            case
                when p.completed_at is not null or r.needed = 0 then 1
                when p.possible > 0 then p.earned / p.possible
                else 0
            end,
            p.started_at is not null, p.completed_at
        )::private.requirement_state
        from pg_catalog.unnest(enrollments) as e
        join public.program_requirements as r
            on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
            and r.kind = 'course'
        left join lateral (
            select s.*
            from public.course_progress as s
            where s.community_id = e.community_id and s.user_id = e.user_id and s.course_id = r.course_id
                and s.version = r.course_version and s.attempt = (
                    select coalesce(max(o.attempt), 1)
                    from public.course_attempts as o
                    where o.community_id = e.community_id and o.user_id = e.user_id and o.course_id = r.course_id
                )
            -- For itself, so that it is looked up: joined, all courses of the person would be gone through.
            offset 0
        ) as p on true
    );
    -- From the last to the first, of all enrolments at once: parts come before what they are parts of.
    for inner_nodes in
        select pg_catalog.array_agg(row(
            n.enrollment_id, n.node, n.parent, n.kind, n.needed, null, n.group_name, null, null, null, null
        )::private.requirement_state)
        from (
            select e.id as enrollment_id, r.*, pg_catalog.row_number() over (partition by e.id order by r.node desc) as nth
            from pg_catalog.unnest(enrollments) as e
            join public.program_requirements as r
                on r.community_id = e.community_id and r.program_id = e.program_id and r.version = e.program_version
                and r.kind <> 'course'
        ) as n
        group by n.nth
        order by n.nth
    loop
        states := states || array(
            select row(
                n.enrollment_id, n.node, n.parent, n.kind, n.needed, null, n.group_name,
                count(*) filter (where n.part_met and n.place <= n.needed) >= n.needed,
                coalesce(pg_catalog.sum(n.part_share) filter (where n.place <= n.needed), 0) / greatest(n.needed, 1),
                coalesce(pg_catalog.bool_or(n.part_started), false),
                max(n.part_completed_at) filter (where n.place <= n.needed)
            )::private.requirement_state
            from (
                select
                    i.*, s.met as part_met, s.share as part_share, s.started as part_started,
                    s.completed_at as part_completed_at,
                    pg_catalog.row_number() over (
                        partition by i.enrollment_id order by s.met desc nulls last, s.share desc, s.completed_at
                    ) as place
                from pg_catalog.unnest(inner_nodes) as i
                left join pg_catalog.unnest(states) as s
                    on s.enrollment_id = i.enrollment_id and s.parent = i.node and s.needed > 0
            ) as n
            group by n.enrollment_id, n.node, n.parent, n.kind, n.needed, n.group_name
        );
    end loop;
    return query select s.* from pg_catalog.unnest(states) as s;
end
$$;

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
        ) and exists (
            select from public.block_completions as c
            where c.community_id = e.community_id and c.user_id = e.user_id and c.course_id = r.course_id
                and c.attempt = a.attempt
            offset 0
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
    done record;
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
    for done in
        select e as enrollment, r.completed_at
        from pg_catalog.unnest(roots) as r
        join pg_catalog.unnest(enrollments) as e on e.id = r.enrollment_id
        where r.met and r.completed_at is not null and e.status = 'active'
        order by e.id
    loop
        perform private.complete_enrollment(done.enrollment, done.completed_at);
    end loop;
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

-- The reason is for the audit log, in which whoever sent the last event stands as the actor.
create function private.complete_enrollment(enrollment public.program_enrollments, completed_at timestamptz) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    noted text := pg_catalog.current_setting('gym.reason', true);
begin
    -- Whoever changes the enrolment right now may be waiting for this learner: then it is left to the worker.
    perform from public.program_enrollments as e
    where e.community_id = enrollment.community_id and e.id = enrollment.id
    for no key update skip locked;
    if not found then
        perform private.queue_progress(enrollment.community_id, array[enrollment.id]);
        return;
    end if;
    perform private.note_reason('What the program asks for is done.');
    update public.program_enrollments as e
    set status = 'completed', completed_at = greatest(complete_enrollment.completed_at, e.enrolled_at)
    where e.community_id = enrollment.community_id and e.id = enrollment.id and e.status = 'active'
        -- One that was moved meanwhile is looked at again, in its new version.
        and e.program_version = enrollment.program_version
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
        select b.course_id, max(b.attempt) as attempt
        from public.block_completions as b
        where b.community_id = community and b.user_id = person and b.course_id = any (courses)
            and b.attempt = private.current_attempt(community, person, b.course_id)
        group by b.course_id
        order by b.course_id
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

-- Recording what learners did: up to 500 events in one call, a result for each, and everything that follows from them in
-- the same transaction.

create type private.progress_entry as (
    place integer,
    user_id uuid,
    event_id uuid,
    course_id uuid,
    block_id uuid,
    attempt integer,
    value numeric,
    score numeric,
    correct boolean,
    data jsonb,
    occurred_at timestamptz,
    counted_at timestamptz,
    status text,
    reason text,
    -- Of the course: those that count for the person.
    versions integer[]
);

-- Whoever writes somebody's progress holds this until the end of the transaction: one at a time for each person, and in
-- one order of people, so that nobody waits in a circle. Gives those who are active members.
create function private.lock_learners(community uuid, people uuid[]) returns uuid[]
volatile
set search_path = ''
language plpgsql
as $$
begin
    return array(
        select m.user_id
        from public.memberships as m
        where m.community_id = community and m.user_id = any (people) and m.status = 'active'
        order by m.user_id
        for no key update
    );
end
$$;

-- The events of a list in a form, in their order, each with why it is refused, if it is for what it says alone.
create function private.progress_entries_in(events jsonb) returns private.progress_entry[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return array(
        select row(
            g.place, g.user_id, g.event_id, null, g.block_id, g.attempt,
            case when g.value between 0 and 1 then pg_catalog.trunc(g.value, 6) end,
            case when g.score between 0 and 100 then pg_catalog.trunc(g.score, 3) end,
            g.correct, g.data, g.occurred_at, null,
            case when p.problem is null then 'accepted' else 'rejected' end, p.problem, null
        )::private.progress_entry
        from (
            select
                e.place,
                coalesce((e.event ->> 'user_id')::uuid, auth.uid()) as user_id,
                (e.event ->> 'event_id')::uuid as event_id,
                (e.event ->> 'block_id')::uuid as block_id,
                (e.event ->> 'attempt')::integer as attempt,
                coalesce((e.event ->> 'value')::numeric, 1) as value,
                (e.event ->> 'score')::numeric as score,
                (e.event ->> 'correct')::boolean as correct,
                nullif(e.event -> 'data', 'null') as data,
                (e.event ->> 'occurred_at')::timestamptz as occurred_at
            from pg_catalog.jsonb_array_elements(events) with ordinality as e (event, place)
        ) as g
        cross join lateral (
            select case
                when g.event_id is null then 'The event has no eventId. Make one on the client, once for each event.'
                when g.value not between 0 and 1 then 'value can be 0 to 1.'
                when g.score not between 0 and 100 then 'score can be 0 to 100.'
                when g.occurred_at is null then 'The event does not say when it happened. Give occurredAt.'
                when g.occurred_at not between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'
                    then 'occurredAt can be from 1970-01-01 to 9999-12-31.'
                when g.attempt < 1 then 'Attempts count from 1.'
                -- As it is stored: written out, one short number may have a hundred thousand digits.
                when pg_catalog.pg_column_size(g.data) > 8192 then 'data is longer than 8 KiB. Shorten it.'
                when pg_catalog.jsonb_path_exists(
                    g.data, 'strict $.** ? (@.type() == "number" && (
                        @ > 1e308 || @ < -1e308 || (@ < 1e-308 && @ > -1e-308 && @ != 0)
                    ))'
                ) then 'data holds a number that is too large or too small to be written down.'
            end as problem
        ) as p
        order by g.place
    );
end
$$;

-- Finds for each event its course, its attempt and when it counts as done; refuses those that lead nowhere. Events for
-- what does not count are kept all the same: it may count after a move.
create function private.located_entries(community uuid, members uuid[], entries private.progress_entry[])
returns private.progress_entry[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return array(
        with given as (
            select e.*, i.course_id as course
            from pg_catalog.unnest(entries) as e
            left join public.block_identities as i on i.community_id = community and i.id = e.block_id
        ),
        standings as (
            select p.user_id, p.course, s.versions,
                coalesce(s.enrolled_at, (
                    select m.joined_at from public.memberships as m
                    where m.community_id = community and m.user_id = p.user_id
                )) - interval '1 day' as earliest
            from (select distinct g.user_id, g.course from given as g where g.course is not null) as p
            cross join lateral private.course_standing(community, p.user_id, p.course) as s
        ),
        timed as (
            select g.*, s.versions as counting, greatest(
                least(g.occurred_at, pg_catalog.now() + interval '5 minutes'), least(s.earliest, pg_catalog.now())
            ) as counts_at
            from given as g
            left join standings as s on s.user_id = g.user_id and s.course = g.course
        ),
        located as (
            select
                t.*, coalesce(b.completion_mode, n.completion_mode) as completion_mode, b.completion_mode is not null as in_version,
                1 + a.opened as current_attempt, 1 + a.opened_by_then as attempt_then
            from timed as t
            -- The block as it is in one of the versions that count, or else in the newest version that is published.
            left join lateral (
                select b.completion_mode
                from public.blocks as b
                where b.community_id = community and b.course_id = t.course and b.version = any (t.counting)
                    and b.id = t.block_id
                order by b.version desc
                limit 1
            ) as b on true
            left join lateral (
                select o.completion_mode
                from public.course_versions as v
                join public.blocks as o
                    on o.community_id = v.community_id and o.course_id = v.course_id and o.version = v.version
                    and o.id = t.block_id
                where v.community_id = community and v.course_id = t.course and v.published
                    and b.completion_mode is null
                order by v.version desc
                limit 1
            ) as n on true
            left join lateral (
                select count(*) as opened, count(*) filter (where o.began_at <= t.counts_at) as opened_by_then
                from public.course_attempts as o
                where o.community_id = community and o.user_id = t.user_id and o.course_id = t.course
            ) as a on true
        )
        select row(
            l.place, l.user_id, l.event_id, case when l.completion_mode is not null then l.course end, l.block_id,
            coalesce(l.attempt, l.attempt_then, 1), l.value, l.score, l.correct, l.data, l.occurred_at, l.counts_at,
            case when p.problem is null then 'accepted' else 'rejected' end,
            coalesce(p.problem, case
                when not l.in_version then 'Kept, and not counted: the block is not in the version of the course that counts for you.'
                when l.completion_mode = 'excluded' then 'Kept, and not counted: this block never counts.'
            end),
            l.counting
        )::private.progress_entry
        from located as l
        cross join lateral (
            select case
                when l.reason is not null then l.reason
                when l.user_id <> all (members) then 'There is no active member with this id in your community.'
                when l.completion_mode is null then 'There is no block with this id in your community.'
                when l.completion_mode = 'aggregator'
                    then 'This block is complete when what is in it is. Record the blocks in it.'
                when l.attempt > l.current_attempt then pg_catalog.format(
                    'Attempt %s at the course has not begun. The current one is %s.', l.attempt, l.current_attempt
                )
            end as problem
        ) as p
        order by l.place
    );
end
$$;

-- What became of each event, by its id: the same one again is a duplicate, another one with its id a conflict, whether
-- it came earlier or stands earlier in the same list.
create function private.told_apart(community uuid, entries private.progress_entry[]) returns private.progress_entry[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return array(
        select row(
            e.place, e.user_id, e.event_id, e.course_id, e.block_id, e.attempt, e.value, e.score, e.correct, e.data,
            e.occurred_at, e.counted_at, coalesce(s.status, e.status), case
                when s.status = 'duplicate' then null
                when s.status = 'conflict'
                    then 'Another event has this eventId already. Give each event an id of its own.'
                else e.reason
            end, e.versions
        )::private.progress_entry
        from (
            select a.*, f.event_id is not null as is_stored, f.content as stored_content,
                first_value(a.content) over same_id as first_content,
                pg_catalog.row_number() over same_id as nth
            from (
                select a.*, row(a.block_id, a.value, a.score, a.correct, a.data, a.occurred_at) as content
                from pg_catalog.unnest(entries) as a
            ) as a
            left join (
                select p.user_id, p.event_id,
                    row(p.block_id, p.value, p.score, p.correct, p.data, p.occurred_at) as content
                from public.progress_events as p
                where p.community_id = community
                    and (p.user_id, p.event_id) in (select k.user_id, k.event_id from pg_catalog.unnest(entries) as k)
            ) as f on f.user_id = a.user_id and f.event_id = a.event_id
            window same_id as (partition by a.user_id, a.event_id, a.status = 'rejected' order by a.place)
        ) as e
        cross join lateral (
            select case
                -- What is stored is stored, whatever has become of its block since.
                when e.is_stored and e.stored_content is not distinct from e.content then 'duplicate'
                when e.status = 'rejected' then null
                when e.is_stored then 'conflict'
                when e.nth > 1 and e.first_content is distinct from e.content then 'conflict'
                when e.nth > 1 then 'duplicate'
            end as status
        ) as s
        order by e.place
    );
end
$$;

-- Makes the rows that sums are kept in, for who has none yet in a version that counts for them; tells whose.
create function private.begin_courses(community uuid, entries private.progress_entry[]) returns private.learner_course[]
volatile
set search_path = ''
language plpgsql
as $$
declare
    begun private.learner_course[];
begin
    with inserted as (
        insert into public.course_progress
        select counted.*
        from (
            select e.user_id, e.course_id, v.version, e.attempt
            from (
                select distinct e.user_id, e.course_id, e.attempt, e.versions from pg_catalog.unnest(entries) as e
            ) as e
            cross join lateral pg_catalog.unnest(e.versions) as v (version)
            where not exists (
                select from public.course_progress as p
                where p.community_id = community and p.user_id = e.user_id and p.course_id = e.course_id
                    and p.version = v.version and p.attempt = e.attempt
                offset 0
            )
            -- For itself, as the other: joined, each would be counted before it is asked whether it is there, and all of
            -- the community be read for that.
            offset 0
        ) as e
        cross join lateral private.counted_course_progress(
            community, e.user_id, e.course_id, e.version, e.attempt
        ) as counted
        order by e.user_id, e.course_id, e.version, e.attempt
        returning user_id, course_id
    )
    select pg_catalog.array_agg(row(i.user_id, i.course_id)::private.learner_course) into begun from inserted as i;
    return begun;
end
$$;

-- Writes new events, brings the completions of their blocks up to date, and moves the sums over them by what that
-- changed: in whatever order, the same. Tells whose it moved.
create function private.write_entries(community uuid, entries private.progress_entry[]) returns private.learner_course[]
volatile
set search_path = ''
language plpgsql
as $$
declare
    touched private.learner_course[];
begin
    insert into public.progress_events (
        community_id, user_id, event_id, course_id, block_id, attempt, value, score, correct, data,
        occurred_at, counted_at, recorded_by
    )
    select
        community, e.user_id, e.event_id, e.course_id, e.block_id, e.attempt, e.value, e.score, e.correct, e.data,
        e.occurred_at, e.counted_at, auth.uid()
    from pg_catalog.unnest(entries) as e
    order by e.user_id, e.event_id;

    with told as (
        select e.*, coalesce(before.value, 0) as value_before
        from (
            select
                e.user_id, e.course_id, e.attempt, e.block_id, max(e.value) as value,
                min(e.counted_at) filter (where e.value = 1) as earned_at, max(e.score) as score,
                pg_catalog.bool_or(e.correct) as correct, count(*) as event_count, min(e.counted_at) as started_at
            from pg_catalog.unnest(entries) as e
            group by e.user_id, e.course_id, e.attempt, e.block_id
        ) as e
        -- As it was: a statement does not see what it writes. This and what follows for itself, so that it is looked up.
        left join lateral (
            select c.value
            from public.block_completions as c
            where c.community_id = community and c.user_id = e.user_id and c.course_id = e.course_id
                and c.attempt = e.attempt and c.block_id = e.block_id
            offset 0
        ) as before on true
    ),
    written as (
        insert into public.block_completions as c (
            community_id, user_id, course_id, attempt, block_id, earned_value, earned_at, score, correct, event_count,
            started_at
        )
        select
            community, t.user_id, t.course_id, t.attempt, t.block_id, t.value, t.earned_at, t.score, t.correct,
            t.event_count, t.started_at
        from told as t
        order by t.user_id, t.course_id, t.attempt, t.block_id
        on conflict on constraint block_completions_pkey do update set
            earned_value = greatest(c.earned_value, excluded.earned_value),
            earned_at = least(c.earned_at, excluded.earned_at),
            score = greatest(c.score, excluded.score),
            correct = coalesce(c.correct or excluded.correct, c.correct, excluded.correct),
            event_count = c.event_count + excluded.event_count,
            started_at = least(c.started_at, excluded.started_at)
        returning c.user_id, c.course_id, c.attempt, c.block_id, c.value, c.started_at
    ),
    sums as (
        select
            w.user_id, w.course_id, p.version, w.attempt, min(w.started_at) as started_at,
            coalesce(pg_catalog.sum((w.value = 1)::integer - (t.value_before = 1)::integer) filter (where b.required), 0) as done,
            coalesce(pg_catalog.sum(b.weight * (w.value - t.value_before)) filter (where b.required), 0) as earned
        from written as w
        join told as t using (user_id, course_id, attempt, block_id)
        cross join lateral (
            select p.version
            from public.course_progress as p
            where p.community_id = community and p.user_id = w.user_id and p.course_id = w.course_id
                and p.attempt = w.attempt
            offset 0
        ) as p
        left join lateral (
            select b.weight, b.required
            from public.blocks as b
            where b.community_id = community and b.course_id = w.course_id and b.version = p.version
                and b.id = w.block_id and b.completion_mode = 'completable'
            offset 0
        ) as b on true
        group by w.user_id, w.course_id, p.version, w.attempt
    ),
    moved as (
        update public.course_progress as p
        set
            done_required = p.done_required + s.done,
            earned = p.earned + s.earned,
            started_at = least(p.started_at, s.started_at),
            updated_at = pg_catalog.now()
        from sums as s
        where p.community_id = community and p.user_id = s.user_id and p.course_id = s.course_id
            and p.version = s.version and p.attempt = s.attempt
            and (s.done <> 0 or s.earned <> 0 or p.started_at is null or s.started_at < p.started_at)
        returning p.user_id, p.course_id
    )
    select pg_catalog.array_agg(row(m.user_id, m.course_id)::private.learner_course) into touched from moved as m;
    return touched;
end
$$;

-- What follows for courses and enrolments once the sums have moved.
create function private.follow_progress(community uuid, touched private.learner_course[]) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    enrollments public.program_enrollments[];
begin
    update public.course_progress as p
    set completed_at = (
        select max(c.completed_at)
        from public.blocks as b
        join public.block_completions as c
            on c.community_id = b.community_id and c.user_id = p.user_id and c.course_id = b.course_id
            and c.attempt = p.attempt and c.block_id = b.id
        where b.community_id = p.community_id and b.course_id = p.course_id and b.version = p.version
            and b.required and b.completion_mode = 'completable'
    )
    from pg_catalog.unnest(touched) as t
    where p.community_id = community and p.user_id = t.user_id and p.course_id = t.course_id
        and p.completed_at is null and p.total_required > 0 and p.done_required = p.total_required;

    enrollments := array(select e from private.enrollments_with_courses(community, touched) as e);
    if enrollments <> '{}' then
        perform private.begin_course_progress(enrollments);
        perform private.evaluate_enrollments(enrollments);
    end if;
end
$$;

-- Records events in a community, whoever they are of: the way that all of them take. What is given is a list as the
-- GraphQL input has it, with its names in snake case; each names its person, or is the caller's.
create function private.record_events(community uuid, events jsonb) returns jsonb
volatile
set search_path = ''
-- One plan for lists of every length. The planner would make one anew for each call, as it takes short lists for cheaper
-- than they are: that costs more than to carry it out.
set plan_cache_mode = 'force_generic_plan'
language plpgsql
as $$
declare
    entries private.progress_entry[] := private.progress_entries_in(events);
    new_entries private.progress_entry[];
    members uuid[];
    touched private.learner_course[];
begin
    members := private.lock_learners(community, array(select e.user_id from pg_catalog.unnest(entries) as e));
    entries := private.told_apart(community, private.located_entries(community, members, entries));
    new_entries := array(select e from pg_catalog.unnest(entries) as e where e.status = 'accepted' order by e.place);
    if pg_catalog.cardinality(new_entries) > 0 then
        touched := private.begin_courses(community, new_entries);
        touched := touched || private.write_entries(community, new_entries);
        -- Whoever does again what is done moves nothing, and most events of some clients are like that.
        if touched is not null then
            perform private.follow_progress(community, touched);
        end if;
    end if;
    return pg_catalog.jsonb_build_object(
        'results', (
            select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'event_id', e.event_id, 'status', e.status, 'reason', e.reason
            ) order by e.place), '[]')
            from pg_catalog.unnest(entries) as e
        ),
        'courses', (
            select coalesce(pg_catalog.jsonb_agg(distinct pg_catalog.jsonb_build_object(
                'user_id', e.user_id, 'course_id', e.course_id
            )), '[]')
            from pg_catalog.unnest(entries) as e
            where e.status in ('accepted', 'duplicate')
        )
    );
end
$$;

-- Records events of the caller or, from an admin, of many.
create function public.record_progress(input jsonb) returns jsonb
volatile
security definer -- writes progress, which clients may not; the caller's own, or for admins, in their community only
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    events jsonb := input -> 'events';
begin
    if community is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    end if;
    if pg_catalog.jsonb_typeof(events) is distinct from 'array'
        or pg_catalog.jsonb_array_length(events) not between 1 and 500 then
        perform private.refuse('400', 'Give 1 to 500 events at once.', 'events');
    end if;
    if exists (
        select from pg_catalog.jsonb_array_elements(events) as e
        where coalesce((e ->> 'user_id')::uuid, auth.uid()) is distinct from auth.uid()
    ) then
        perform private.require_community_admin();
    end if;
    return private.record_events(community, events);
end
$$;

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
        updated_at = pg_catalog.now()
    from public.course_progress as o
    cross join lateral private.counted_course_progress(o.community_id, o.user_id, o.course_id, o.version, o.attempt) as counted
    where o.community_id = community and o.user_id = person and o.course_id = course and o.attempt = in_attempt
        and p.community_id = o.community_id and p.user_id = o.user_id and p.course_id = o.course_id
        and p.version = o.version and p.attempt = o.attempt
        and (p.done_required, p.total_required, p.earned, p.possible, p.started_at) is distinct from
            (counted.done_required, counted.total_required, counted.earned, counted.possible, counted.started_at);
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

-- What clients see of progress. A function that is asked for each row of a list does not go through the policies of every
-- table that it reads: it asks once whether the caller may see this person's progress, as those policies have it.

create function private.may_see_progress(community uuid, person uuid) returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(
        community = private.get_community_id()
        and (person = private.signed_in_user_id() or private.is_community_admin()),
        false
    );
end
$$;

create type private.course_progress_state as (
    user_id uuid,
    course_id uuid,
    version integer,
    attempt integer,
    status text,
    done_required integer,
    total_required integer,
    earned numeric,
    possible numeric,
    percent integer,
    started_at timestamptz,
    completed_at timestamptz,
    -- In a list.
    place integer
);

-- Percent is floored, and 100 is shown for what is complete and nothing else.
create function private.course_state_of(progress public.course_progress) returns private.course_progress_state
stable
set search_path = ''
language plpgsql
as $$
begin
    return row(
        progress.user_id, progress.course_id, progress.version, progress.attempt,
        case
            when progress.completed_at is not null then 'completed'
            when progress.total_required = 0 then 'not_applicable'
            when progress.started_at is not null then 'in_progress'
            else 'not_started'
        end,
        progress.done_required, progress.total_required, progress.earned, progress.possible,
        case
            when progress.completed_at is not null then 100
            when progress.possible > 0 then least(pg_catalog.floor(100 * progress.earned / progress.possible), 99)
            else 0
        end,
        progress.started_at, progress.completed_at, null
    )::private.course_progress_state;
end
$$;

-- Where somebody stands with a version of a course in their current attempt. Counted when no sums are kept yet.
create function private.course_state(community uuid, person uuid, course uuid, in_version integer)
returns private.course_progress_state
stable
set search_path = ''
language plpgsql
as $$
declare
    current_attempt integer := private.current_attempt(community, person, course);
    progress public.course_progress;
begin
    select p.* into progress
    from public.course_progress as p
    where p.community_id = community and p.user_id = person and p.course_id = course
        and p.version = in_version and p.attempt = current_attempt;
    if not found then
        progress := private.counted_course_progress(community, person, course, in_version, current_attempt);
    end if;
    return private.course_state_of(progress);
end
$$;

create function private.course_progress(arguments jsonb) returns setof private.course_progress_state
stable
rows 1
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    person uuid := coalesce((arguments ->> 'user_id')::uuid, private.signed_in_user_id());
    course uuid := (arguments ->> 'course_id')::uuid;
    in_version integer;
begin
    if not private.may_see_progress(community, person) or not exists (
        select from public.memberships as m where m.community_id = community and m.user_id = person
    ) then
        return;
    end if;
    -- Null for a course of another community, or one that is a draft.
    in_version := private.version_shown(community, person, course);
    if in_version is not null then
        return next private.course_state(community, person, course, in_version);
    end if;
end
$$;

create function private.program_progress(arguments jsonb) returns setof public.program_progress
stable
rows 1
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    program uuid := (arguments ->> 'program_id')::uuid;
    person uuid := coalesce((arguments ->> 'user_id')::uuid, private.signed_in_user_id());
begin
    return query
    select p.*
    from public.program_progress as p
    where p.community_id = community and p.program_id = program and p.user_id = person
    order by p.enrollment_attempt desc
    limit 1;
end
$$;

create function private.courses_of_progress(progress public.program_progress)
returns setof private.course_progress_state
stable
rows 10
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
begin
    if not private.may_see_progress(progress.community_id, progress.user_id) then
        return;
    end if;
    return query
    select
        s.user_id, s.course_id, s.version, s.attempt, s.status, s.done_required, s.total_required, s.earned, s.possible,
        s.percent, s.started_at, s.completed_at, a.sequence_order
    from public.program_enrollments as e
    join public.program_course_assignments as a
        on a.community_id = e.community_id and a.program_id = e.program_id and a.version = e.program_version
    cross join lateral private.course_state(e.community_id, e.user_id, a.course_id, a.course_version) as s
    where e.community_id = progress.community_id and e.id = progress.enrollment_id
        and e.user_id = progress.user_id;
end
$$;

-- The courses that a mutation was about.
create function private.courses_told(told jsonb) returns setof private.course_progress_state
stable
rows 5
set search_path = ''
language plpgsql
as $$
begin
    return query
    select
        s.user_id, s.course_id, s.version, s.attempt, s.status, s.done_required, s.total_required, s.earned, s.possible,
        s.percent, s.started_at, s.completed_at, c.place::integer
    from pg_catalog.jsonb_array_elements(told -> 'courses') with ordinality as c (course, place)
    cross join lateral private.course_progress(c.course) as s;
end
$$;

-- The results of recording as rows.
create function private.progress_results(told jsonb) returns table (
    place bigint, event_id uuid, status text, reason text
)
stable
rows 100
set search_path = ''
language plpgsql
as $$
begin
    return query
    select r.place, (r.result ->> 'event_id')::uuid, r.result ->> 'status', r.result ->> 'reason'
    from pg_catalog.jsonb_array_elements(told -> 'results') with ordinality as r (result, place);
end
$$;

-- The first required block in reading order that is not complete; none when the course is.
create function private.next_block(progress private.course_progress_state) returns setof public.blocks
stable
rows 1
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
begin
    if progress.completed_at is not null or not private.may_see_progress(community, progress.user_id) then
        return;
    end if;
    return query
    select b.*
    from public.blocks as b
    -- For itself, so that each block is looked up: joined, all completions would be gone through for each block.
    left join lateral (
        select o.value
        from public.block_completions as o
        where o.community_id = b.community_id and o.user_id = progress.user_id and o.course_id = b.course_id
            and o.attempt = progress.attempt and o.block_id = b.id
        offset 0
    ) as c on true
    where b.community_id = community and b.course_id = progress.course_id and b.version = progress.version
        and b.published and b.required and b.completion_mode = 'completable' and (c.value = 1) is not true
    order by b.position
    limit 1;
end
$$;

-- All blocks of the version in reading order. An aggregator is as far as the required blocks below it are, by weight.
create function private.blocks_of_progress(progress private.course_progress_state) returns table (
    place integer, block_id uuid, course_id uuid, version integer, status text, value numeric, score numeric,
    started_at timestamptz, completed_at timestamptz, overridden boolean
)
stable
rows 100
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
begin
    if not private.may_see_progress(community, progress.user_id) then
        return;
    end if;
    return query
    with recursive standing as (
        select
            b.id, b.parent_id, b.position, b.weight, b.completion_mode,
            b.required and b.completion_mode = 'completable' as counts,
            case when b.completion_mode = 'completable' then coalesce(c.value, 0) end as value,
            c.score, c.started_at, c.completed_at, c.override_value is not null as overridden
        from public.blocks as b
        left join lateral (
            select o.value, o.score, o.started_at, o.completed_at, o.override_value
            from public.block_completions as o
            where o.community_id = b.community_id and o.user_id = progress.user_id and o.course_id = b.course_id
                and o.attempt = progress.attempt and o.block_id = b.id
            offset 0
        ) as c on true
        where b.community_id = community and b.course_id = progress.course_id and b.version = progress.version
            and b.published
    ),
    inside as (
        select s.parent_id as holder, s.weight, s.value, s.started_at, s.completed_at, s.counts
        from standing as s
        where s.parent_id is not null and s.completion_mode = 'completable'
        union all
        select s.parent_id, i.weight, i.value, i.started_at, i.completed_at, i.counts
        from inside as i
        join standing as s on s.id = i.holder
        where s.parent_id is not null
    ),
    holders as (
        select
            i.holder,
            pg_catalog.sum(i.weight * i.value) filter (where i.counts) / pg_catalog.sum(i.weight) filter (where i.counts) as value,
            min(i.started_at) as started_at,
            case when pg_catalog.bool_and(i.value = 1) filter (where i.counts) then max(i.completed_at) filter (where i.counts) end
                as completed_at
        from inside as i
        group by i.holder
    )
    select
        s.position, s.id, progress.course_id, progress.version,
        case
            when a.value is null then 'not_applicable'
            when a.value = 1 then 'completed'
            when a.started_at is not null then 'in_progress'
            else 'not_started'
        end,
        pg_catalog.trunc(coalesce(a.value, 0), 6), s.score, a.started_at, a.completed_at, s.overridden
    from standing as s
    left join holders as h on h.holder = s.id and s.completion_mode = 'aggregator'
    cross join lateral (
        select
            coalesce(h.value, s.value) as value, coalesce(h.started_at, s.started_at) as started_at,
            coalesce(h.completed_at, s.completed_at) as completed_at
    ) as a;
end
$$;

-- Why a program is not complete: what of it is not met, in reading order. Of what is met, nothing; and no "all of these",
-- of which each part stands for itself.
create function private.missing_requirements(progress public.program_progress) returns table (
    place integer, kind text, course_id uuid, group_name text, needed integer, done integer, percent integer,
    description text
)
stable
rows 5
security definer -- looks past the policies, at what the caller may see by them
set search_path = ''
language plpgsql
as $$
declare
    enrollment public.program_enrollments;
begin
    if progress.status = 'completed' or not private.may_see_progress(progress.community_id, progress.user_id) then
        return;
    end if;
    select e.* into enrollment
    from public.program_enrollments as e
    where e.community_id = progress.community_id and e.id = progress.enrollment_id and e.user_id = progress.user_id;
    return query
    with states as (
        select s.* from private.requirement_states(array[enrollment]) as s
    )
    select
        s.node, s.kind, s.course_id, s.group_name, s.needed,
        case s.kind when 'course' then 0 else b.met end, least(pg_catalog.floor(s.share * 100), 99)::integer,
        case s.kind
            when 'course' then pg_catalog.format(
                'Complete the course "%s": %s of its %s required blocks are done.', c.title,
                (c.state).done_required, (c.state).total_required
            )
            when 'group' then pg_catalog.format(
                'Complete at least %s of the courses in the group "%s": %s so far.', s.needed, s.group_name, b.met
            )
            else pg_catalog.format('Do at least %s of the following: %s so far.', s.needed, b.met)
        end
    from states as s
    cross join lateral (
        select count(*) filter (where o.met)::integer as met from states as o where o.parent = s.node and o.needed > 0
    ) as b
    -- For itself: what is met is not looked up.
    left join lateral (
        select
            o.title,
            private.course_state(enrollment.community_id, enrollment.user_id, o.id, r.course_version) as state
        from public.program_requirements as r
        join public.courses as o on o.community_id = r.community_id and o.id = r.course_id
        where r.community_id = enrollment.community_id and r.program_id = enrollment.program_id
            and r.version = enrollment.program_version and r.node = s.node and s.kind = 'course'
        offset 0
    ) as c on true
    where not s.met and s.kind <> 'all' and not exists (
        select from states as o where o.node = s.parent and o.met
    );
end
$$;

-- squawk-ignore ban-drop-function
drop function private.program_stats(public.programs);
-- Counts over all learners of a program: for admins; no row for others, who see too few rows to count.
create function private.program_stats(program public.programs) returns table (
    enrolled bigint, active bigint, completed bigint, completion_rate numeric, average_percent numeric
)
stable
rows 1
security definer -- counts by an index alone, past the policies; for admins, in their community only
set search_path = ''
language plpgsql
as $$
begin
    if program.community_id is distinct from private.get_community_id() or not private.is_community_admin() then
        return;
    end if;
    return query
    select
        count(*),
        count(*) filter (where e.status = 'active'),
        count(*) filter (where e.status = 'completed'),
        count(*) filter (where e.status = 'completed') / nullif(count(*), 0)::numeric,
        (
            select coalesce(pg_catalog.sum(p.percent), 0)
            from public.program_progress as p
            where p.community_id = program.community_id and p.program_id = program.id
        ) / nullif(count(*), 0)::numeric
    from public.program_enrollments as e
    where e.community_id = program.community_id and e.program_id = program.id;
end
$$;

create or replace function public.delete_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_change((input ->> 'id')::uuid, even_archived => true);
    program_title text;
begin
    select min(p.title) into program_title
    from public.program_course_assignments as a
    join public.programs as p on p.community_id = a.community_id and p.id = a.program_id
    where a.community_id = course.community_id and a.course_id = course.id and course.status = 'draft';
    if program_title is not null then
        perform private.refuse('412', pg_catalog.format(
            'The course is in the program "%s". Take it out of its programs before you delete it.', program_title
        ));
    end if;
    delete from public.courses as c where c.community_id = course.community_id and c.id = course.id;
    return course.id;
end
$$;

revoke all on function private.program_stats(public.programs) from public, anon, authenticated, service_role;
grant execute on function private.program_stats(public.programs) to authenticated;

-- What the versions ask for that were closed before, and where the enrolments in them stand.
select private.write_requirements(v) from public.program_versions as v where v.published_at is not null;
select private.begin_program_progress(e) from public.program_enrollments as e;

select private.record_changes_of('public.completion_overrides');
select private.record_changes_of('public.course_attempts');
