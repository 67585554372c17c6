-- Enrolments of people in programs: one open one a person and program, earlier attempts kept.

create table public.program_enrollments (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    program_id uuid not null,
    user_id uuid not null default auth.uid(),
    status text not null default 'active',
    attempt integer not null default 1,
    enrolled_at timestamptz not null default now(),
    due_at timestamptz,
    completed_at timestamptz,
    withdrawn_at timestamptz,
    updated_at timestamptz not null default now(),
    program_version integer not null,
    cohort_id uuid,
    starts_at timestamptz,
    expires_at timestamptz,
    original_due_at timestamptz,
    constraint program_enrollments_pkey primary key (community_id, id),
    constraint program_enrollments_attempt_once unique (community_id, program_id, user_id, attempt),
    constraint program_enrollments_program_exists foreign key (community_id, program_id)
    references public.programs (community_id, id) on delete cascade,
    constraint program_enrollments_version_exists foreign key (community_id, program_id, program_version)
    references public.program_versions (community_id, program_id, version) on delete cascade,
    constraint program_enrollments_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint program_enrollments_status_known
    check (status in ('pending', 'active', 'paused', 'completed', 'withdrawn', 'expired')),
    constraint program_enrollments_attempt_positive check (attempt >= 1),
    constraint program_enrollments_enrolled_at_sane
    check (enrolled_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint program_enrollments_due_at_sane
    check (due_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint program_enrollments_cohort_exists foreign key (community_id, program_id, cohort_id)
    references public.cohorts (community_id, program_id, id),
    constraint program_enrollments_starts_at_sane
    check (starts_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint program_enrollments_expires_at_sane
    check (expires_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint program_enrollments_dates_in_order
    check (starts_at <= least(due_at, expires_at) and due_at <= expires_at),
    constraint program_enrollments_completed_at_known check ((status = 'completed') <= (completed_at is not null)),
    constraint program_enrollments_withdrawn_at_known check ((status = 'withdrawn') = (withdrawn_at is not null))
);
alter table public.program_enrollments enable row level security;
alter table public.program_enrollments alter column community_id set (n_distinct = 20);
comment on table public.program_enrollments is 'A person''s way through a program; a further try is a further row.';
comment on column public.program_enrollments.attempt is 'Counts a person''s enrolments in one program, from 1.';
comment on column public.program_enrollments.program_version is
'The version of the program that this attempt is about; another one only by enrollment_moves.';
comment on column public.program_enrollments.starts_at is 'When it becomes active; null: at once.';
comment on column public.program_enrollments.original_due_at is 'The first due date, once it was moved.';

create unique index program_enrollments_one_open on public.program_enrollments (community_id, program_id, user_id)
where status in ('pending', 'active', 'paused');

create index program_enrollments_enrolled_at_idx on public.program_enrollments (community_id, enrolled_at, id);
-- The status stands by, for counting: another index that begins so would be taken for what leads to one person.
create index program_enrollments_program_idx
on public.program_enrollments (community_id, program_id, enrolled_at, id) include (status);
create index program_enrollments_user_idx on public.program_enrollments (community_id, user_id, enrolled_at, id);
-- Partial: an enrolment without a cohort and without dates, as most are, is written to none of them.
create index program_enrollments_cohort_idx
on public.program_enrollments (community_id, cohort_id, enrolled_at, id) where cohort_id is not null;
create index program_enrollments_open_due_idx
on public.program_enrollments (community_id, (case when status in ('pending', 'active', 'paused') then due_at end))
where case when status in ('pending', 'active', 'paused') then due_at end is not null;
-- Most of what was due once has ended since: without this the planner expects overdue ones everywhere, and looks for
-- them in the order of the list.
create statistics public.program_enrollments_open_due
on (case when status in ('pending', 'active', 'paused') then due_at end) from public.program_enrollments;
create index program_enrollments_starting_idx on public.program_enrollments (community_id, starts_at)
where status = 'pending' and starts_at is not null;
create index program_enrollments_expiring_idx on public.program_enrollments (community_id, expires_at)
where status in ('pending', 'active', 'paused') and expires_at is not null;

create trigger program_enrollments_touch_updated_at before update on public.program_enrollments
for each row execute function private.touch_updated_at();

-- The names that clients know three dates by, of those that there are.
create function private.dates_among(starts_at timestamptz, due_at timestamptz, expires_at timestamptz) returns text[]
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.array_remove(array[
        case when starts_at is not null then 'startsAt' end,
        case when due_at is not null then 'dueAt' end,
        case when expires_at is not null then 'expiresAt' end
    ], null);
end
$$;

-- Refuses dates that are not in order in the name of the constraint that would, and with the first one that is wrong of
-- those that were given. Where a cohort has its part in it, the message says so.
create function private.refuse_disorder(
    starts_at timestamptz, due_at timestamptz, expires_at timestamptz, given text[], in_name_of text, with_cohort boolean
) returns void
stable
set search_path = ''
language plpgsql
as $$
declare
    wrong text[] := private.dates_among(
        case when starts_at > least(due_at, expires_at) then starts_at end,
        case when due_at < starts_at or due_at > expires_at then due_at end,
        case when expires_at < greatest(starts_at, due_at) then expires_at end
    );
    field text;
begin
    if wrong = '{}' then
        return;
    end if;
    select w.name into field
    from pg_catalog.unnest(wrong) with ordinality as w (name, place)
    order by w.name = any (given) desc, w.place
    limit 1;
    if with_cohort and not wrong <@ given then
        perform private.refuse('400',
            'Together with the dates of the cohort, which hold where none is given, startsAt, dueAt and expiresAt are '
            'not in this order. Give others, or change those of the cohort.', field
        );
    end if;
    raise exception using errcode = 'check_violation', constraint = in_name_of, column = field,
        message = 'Of startsAt, dueAt and expiresAt, none can be before the one named before it.';
end
$$;

-- Numbers the attempt and holds the rules of enrolling, whoever inserts and by which way.
create function private.begin_enrollment() returns trigger
volatile
security definer -- locks the program, which a learner may not; looks at rows of new.community_id only
set search_path = ''
language plpgsql
as $$
declare
    is_learner boolean := auth.uid() is not null and not private.is_community_admin();
    program_status text;
    member_status text;
    latest public.program_enrollments;
    latest_has_lapsed boolean;
    given text[];
begin
    -- Nothing below may tell learners about colleagues and cohorts, or about programs that they do not see.
    if is_learner and (new.user_id is distinct from auth.uid() or new.cohort_id is not null) then
        perform private.require_community_admin();
    end if;
    -- The lock makes an archiving at the same moment wait, or this one see it.
    select p.status into program_status
    from public.programs as p
    where p.community_id = new.community_id and p.id = new.program_id
    for share;
    select m.status into member_status
    from public.memberships as m
    where m.community_id = new.community_id and m.user_id = new.user_id;

    if program_status is null or (
        is_learner and program_status <> 'published'
        and new.program_id not in (select private.viewer_program_ids())
    ) then
        perform private.refuse('404', 'There is no program with this id in your community.');
    elsif program_status <> 'published' then
        perform private.refuse_unpublished(program_status);
    elsif member_status is null then
        perform private.refuse('404', 'This person is not a member of your community. Invite them first.');
    elsif member_status <> 'active' then
        perform private.refuse('412', pg_catalog.format(
            'This membership is %s; only active members can be enrolled.', member_status
        ));
    end if;

    select e.* into latest
    from public.program_enrollments as e
    where e.community_id = new.community_id and e.program_id = new.program_id and e.user_id = new.user_id
    order by e.attempt desc
    limit 1;
    new.attempt := coalesce(latest.attempt, 0) + 1;
    latest_has_lapsed := latest.status in ('pending', 'active', 'paused') and latest.expires_at <= pg_catalog.now();
    -- Else nobody would be held to a date: whoever left and came back would be without it.
    if is_learner and (latest_has_lapsed or latest.status in ('completed', 'withdrawn', 'expired')) and (
        latest.status = 'expired'
        or pg_catalog.num_nonnulls(latest.cohort_id, latest.starts_at, latest.due_at, latest.expires_at) > 0
    ) then
        perform private.refuse('412',
            'Your last enrolment in this program expired, or an admin had set its dates. Ask an admin to enrol you again.'
        );
    end if;
    if latest_has_lapsed then
        update public.program_enrollments as e
        set status = 'expired'
        where e.community_id = latest.community_id and e.id = latest.id;
    end if;

    given := private.dates_among(new.starts_at, new.due_at, new.expires_at);
    if new.cohort_id is not null then
        -- The lock makes a change of the dates at the same moment wait, or this one see it.
        select coalesce(new.starts_at, c.starts_at), coalesce(new.due_at, c.due_at), coalesce(new.expires_at, c.expires_at)
        into new.starts_at, new.due_at, new.expires_at
        from public.cohorts as c
        where c.community_id = new.community_id and c.program_id = new.program_id and c.id = new.cohort_id
        for share;
    end if;
    if new.expires_at <= pg_catalog.now() and auth.uid() is not null then
        perform private.refuse('400', 'This expiry has passed already. Give a later one.', 'expiresAt');
    end if;
    if new.status = 'active' and new.starts_at > pg_catalog.now() then
        new.status := 'pending';
    end if;
    perform private.refuse_disorder(
        new.starts_at, new.due_at, new.expires_at, given, 'program_enrollments_dates_in_order', new.cohort_id is not null
    );
    return new;
end
$$;

create trigger program_enrollments_begin before insert on public.program_enrollments
for each row execute function private.begin_enrollment();

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

create function private.refuse_unpublished(program_status text) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse('412', pg_catalog.format(
        'The program is %s; people can be enrolled in published programs only.', private.in_state(program_status)
    ));
end
$$;

-- The state machine: pending -> active <-> paused -> completed | withdrawn | expired.
create function private.hold_enrollment_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if (new.program_id, new.user_id, new.attempt) is distinct from (old.program_id, old.user_id, old.attempt) then
        perform private.refuse('412', 'An enrolment keeps its program, its person and its attempt.');
    end if;
    -- The one way back: what is complete by legacy progress alone goes on when the platform takes that back.
    if (old.status, new.status) = ('completed', 'active') and new.completed_at is null and auth.uid() is null
        and pg_catalog.current_setting('gym.undoing', true) = 'legacy' then
        return new;
    end if;
    if old.completed_at is not null and new.completed_at is distinct from old.completed_at then
        perform private.refuse('412', 'completedAt never moves once it is set.');
    end if;
    if new.status = old.status then
        return new;
    end if;
    if not (old.status, new.status) in (
        ('pending', 'active'), ('pending', 'withdrawn'), ('pending', 'expired'),
        ('active', 'paused'), ('active', 'completed'), ('active', 'withdrawn'), ('active', 'expired'),
        ('paused', 'active'), ('paused', 'completed'), ('paused', 'withdrawn'), ('paused', 'expired')
    ) then
        perform private.refuse('412', pg_catalog.format('An enrolment cannot go from %s to %s.', old.status, new.status));
    end if;
    -- Also before the clock has written down that it has expired.
    if new.status in ('active', 'paused', 'completed') and new.expires_at <= pg_catalog.now() then
        perform private.refuse('412', 'The expiry of this enrolment has passed. Give it a later expiresAt first.');
    end if;
    if new.status = 'active' then
        -- Begun early, it begins now.
        if new.starts_at > pg_catalog.now() then
            new.starts_at := pg_catalog.now();
        end if;
    elsif new.status = 'completed' then
        -- Until progress completes by itself, it is an admin's word, and that has a reason.
        if not private.has_reason() and private.is_community_admin() then
            perform private.refuse('400', 'Say why the enrolment is completed: give a reason.', 'reason');
        end if;
        new.completed_at := coalesce(new.completed_at, pg_catalog.now());
    elsif new.status = 'withdrawn' then
        new.withdrawn_at := pg_catalog.now();
    end if;
    return new;
end
$$;

create trigger program_enrollments_hold_states before update on public.program_enrollments
for each row execute function private.hold_enrollment_states();

-- The programs that the caller is or was enrolled in: they stay visible to them when archived.
create function private.viewer_program_ids() returns setof uuid
stable
security definer -- asked by the policies of programs; reads the caller's own rows only
set search_path = ''
language plpgsql
as $$
begin
    return query
    select e.program_id
    from public.program_enrollments as e
    where e.community_id = private.get_community_id() and e.user_id = private.signed_in_user_id();
end
$$;

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

-- Enrols the caller, or, asked by an admin, another member.
create function public.enroll(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    person uuid := coalesce((input ->> 'user_id')::uuid, auth.uid());
    given text[] := private.dates_among(
        (input ->> 'starts_at')::timestamptz, (input ->> 'due_at')::timestamptz, (input ->> 'expires_at')::timestamptz
    ) || case when input ->> 'cohort_id' is not null then array['cohortId'] end;
    enrollment_id uuid;
begin
    if person is distinct from auth.uid() then
        perform private.require_community_admin();
    elsif given <> '{}' and not private.is_community_admin() then
        perform private.refuse('403', pg_catalog.format(
            '%s is for admins of the community to set. Leave it out, or ask one of them.', given[1]
        ), given[1]);
    end if;
    perform from public.programs as p where p.id = (input ->> 'program_id')::uuid;
    if not found then
        perform private.refuse('404', 'There is no program with this id in your community.');
    end if;
    insert into public.program_enrollments (program_id, user_id, cohort_id, starts_at, due_at, expires_at)
    values (
        (input ->> 'program_id')::uuid, person, (input ->> 'cohort_id')::uuid, (input ->> 'starts_at')::timestamptz,
        (input ->> 'due_at')::timestamptz, (input ->> 'expires_at')::timestamptz
    )
    returning id into enrollment_id;
    return enrollment_id;
end
$$;

-- Ends an open enrolment: one's own, or, asked by an admin, anybody's.
create function public.withdraw_enrollment(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    enrollment public.program_enrollments;
begin
    select e.* into enrollment
    from public.program_enrollments as e
    where e.id = (input ->> 'id')::uuid
    for update;
    if not found then
        perform private.refuse('404', 'There is no enrolment with this id in your community.');
    elsif enrollment.status in ('completed', 'withdrawn', 'expired') then
        perform private.refuse('412', pg_catalog.format(
            'The enrolment has ended: it is %s. Only open ones can be withdrawn.', enrollment.status
        ));
    end if;
    update public.program_enrollments as e set status = 'withdrawn' where e.id = enrollment.id;
    return enrollment.id;
end
$$;
