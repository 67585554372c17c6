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
    legacy_percent numeric(6, 3),
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
comment on column public.course_progress.legacy_percent is 'A floor from legacy_progress, 0 to 100; null without any.';

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
        where p.community_id = community and p.user_id = person and p.course_id = course
            -- Not where legacy progress lies under it and nothing else: nobody has chosen that version.
            and (p.started_at is not null or p.completed_at is not null);
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

-- What the blocks that somebody has done come to in a version of their course, over the floor of legacy progress: a row
-- of course_progress, counted anew.
create function private.counted_course_progress(
    community uuid, person uuid, course uuid, in_version integer, in_attempt integer
) returns public.course_progress
stable
set search_path = ''
language plpgsql
as $$
declare
    counted public.course_progress;
    floor record;
begin
    select
        community, person, course, in_version, in_attempt,
        count(*) filter (where c.value = 1), count(*),
        coalesce(pg_catalog.sum(b.weight * c.value), 0), coalesce(pg_catalog.sum(b.weight), 0),
        null, max(c.completed_at), pg_catalog.now(), null
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
    floor := private.legacy_floor(community, person, course, in_version, in_attempt);
    counted.legacy_percent := floor.percent;
    counted.completed_at := least(counted.completed_at, floor.completed_at);
    select min(c.started_at) into counted.started_at
    from public.block_completions as c
    where c.community_id = community and c.user_id = person and c.course_id = course and c.attempt = in_attempt;
    return counted;
end
$$;
