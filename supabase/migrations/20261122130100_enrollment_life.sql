-- The life of an enrolment: start, due and expiry dates, cohorts, an admin's changes, many people at once, and what
-- the clock does.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Cohorts: groups of people that go through one program together, by the same dates.

create table public.cohorts (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    program_id uuid not null,
    name text not null,
    starts_at timestamptz,
    due_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint cohorts_pkey primary key (community_id, id),
    -- What enrolments refer to, so that nobody is in a cohort of another program.
    constraint cohorts_program_unique unique (community_id, program_id, id),
    constraint cohorts_name_once unique (community_id, program_id, name),
    constraint cohorts_program_exists foreign key (community_id, program_id)
    references public.programs (community_id, id) on delete cascade,
    constraint cohorts_name_not_blank check (name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint cohorts_name_length check (char_length(name) <= 200),
    constraint cohorts_starts_at_sane check (starts_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint cohorts_due_at_sane check (due_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint cohorts_expires_at_sane check (expires_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint cohorts_dates_in_order check (starts_at <= least(due_at, expires_at) and due_at <= expires_at)
);
alter table public.cohorts enable row level security;
alter table public.cohorts alter column community_id set (n_distinct = 20);
comment on table public.cohorts is 'People who go through one program together, by the same dates.';

create index cohorts_name_idx on public.cohorts (community_id, name, id);

create trigger cohorts_touch_updated_at before update on public.cohorts
for each row execute function private.touch_updated_at();

-- New columns are empty, so nothing that is there can break the constraints.
alter table public.program_enrollments add column cohort_id uuid;
alter table public.program_enrollments add column starts_at timestamptz;
alter table public.program_enrollments add column expires_at timestamptz;
alter table public.program_enrollments add column original_due_at timestamptz;
comment on column public.program_enrollments.starts_at is 'When it becomes active; null: at once.';
comment on column public.program_enrollments.original_due_at is 'The first due date, once it was moved.';

alter table public.program_enrollments add constraint program_enrollments_cohort_exists
foreign key (community_id, program_id, cohort_id) references public.cohorts (community_id, program_id, id) not valid;
alter table public.program_enrollments add constraint program_enrollments_starts_at_sane
check (starts_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00') not valid;
alter table public.program_enrollments add constraint program_enrollments_expires_at_sane
check (expires_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00') not valid;
alter table public.program_enrollments add constraint program_enrollments_dates_in_order
check (starts_at <= least(due_at, expires_at) and due_at <= expires_at) not valid;
-- One look at each row, within the statement timeout: splitting it over two transactions would gain little.
-- squawk-ignore constraint-missing-not-valid
alter table public.program_enrollments validate constraint program_enrollments_cohort_exists;
-- squawk-ignore constraint-missing-not-valid
alter table public.program_enrollments validate constraint program_enrollments_starts_at_sane;
-- squawk-ignore constraint-missing-not-valid
alter table public.program_enrollments validate constraint program_enrollments_expires_at_sane;
-- squawk-ignore constraint-missing-not-valid
alter table public.program_enrollments validate constraint program_enrollments_dates_in_order;

-- A migration is a transaction, in which no index is built concurrently; these hold few rows or none yet.
-- Partial: an enrolment without a cohort and without dates, as most are, is written to none of them.
-- squawk-ignore require-concurrent-index-creation
create index program_enrollments_cohort_idx
on public.program_enrollments (community_id, cohort_id, enrolled_at, id) where cohort_id is not null;
-- squawk-ignore require-concurrent-index-creation
create index program_enrollments_open_due_idx
on public.program_enrollments (community_id, (case when status in ('pending', 'active', 'paused') then due_at end))
where case when status in ('pending', 'active', 'paused') then due_at end is not null;
-- Most of what was due once has ended since: without this the planner expects overdue ones everywhere, and looks for
-- them in the order of the list.
create statistics public.program_enrollments_open_due
on (case when status in ('pending', 'active', 'paused') then due_at end) from public.program_enrollments;
-- squawk-ignore require-concurrent-index-creation
create index program_enrollments_starting_idx on public.program_enrollments (community_id, starts_at)
where status = 'pending' and starts_at is not null;
-- squawk-ignore require-concurrent-index-creation
create index program_enrollments_expiring_idx on public.program_enrollments (community_id, expires_at)
where status in ('pending', 'active', 'paused') and expires_at is not null;

-- The dates of a cohort are those of its open enrolments, but for the ones that have their own.
create function private.move_cohort_dates() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    update public.program_enrollments as e
    set
        starts_at = case
            when e.status = 'pending' and e.starts_at is not distinct from old.starts_at then new.starts_at
            else e.starts_at
        end,
        due_at = case when e.due_at is not distinct from old.due_at then new.due_at else e.due_at end,
        expires_at = case
            when e.expires_at is not distinct from old.expires_at then new.expires_at else e.expires_at
        end
    where e.community_id = new.community_id and e.cohort_id = new.id and e.status in ('pending', 'active', 'paused')
        and (
            e.status = 'pending' and new.starts_at is distinct from old.starts_at
                and e.starts_at is not distinct from old.starts_at
            or new.due_at is distinct from old.due_at and e.due_at is not distinct from old.due_at
            or new.expires_at is distinct from old.expires_at and e.expires_at is not distinct from old.expires_at
        );
    return null;
exception
    when check_violation then
        perform private.refuse('412',
            'Somebody in this cohort has dates of their own that would no longer be in order: start, due, expiry. '
            'Change those first.'
        );
end
$$;

create trigger cohorts_move_dates after update of starts_at, due_at, expires_at on public.cohorts
for each row
when ((old.starts_at, old.due_at, old.expires_at) is distinct from (new.starts_at, new.due_at, new.expires_at))
execute function private.move_cohort_dates();

create function private.keep_cohorts_with_enrollments() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    -- A community that is deleted takes everything with it.
    if exists (select from public.communities as c where c.id = old.community_id) and exists (
        select from public.program_enrollments as e where e.community_id = old.community_id and e.cohort_id = old.id
    ) then
        perform private.refuse('412',
            'Only cohorts that nobody was ever enrolled in can be deleted. Rename this one, or leave it.'
        );
    end if;
    return old;
end
$$;

create trigger cohorts_keep_with_enrollments before delete on public.cohorts
for each row execute function private.keep_cohorts_with_enrollments();

-- The cohorts that the caller is or was in: all that learners see of cohorts.
create function private.viewer_cohort_ids() returns setof uuid
stable
security definer -- asked by the policies of cohorts; reads the caller's own rows only
set search_path = ''
language plpgsql
as $$
begin
    return query
    select e.cohort_id
    from public.program_enrollments as e
    where e.community_id = private.get_community_id()
        and e.user_id = private.signed_in_user_id()
        and e.cohort_id is not null;
end
$$;

create function public.create_cohort(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    cohort_id uuid;
begin
    perform private.require_community_admin();
    insert into public.cohorts (program_id, name, starts_at, due_at, expires_at)
    values (
        (input ->> 'program_id')::uuid, input ->> 'name', (input ->> 'starts_at')::timestamptz,
        (input ->> 'due_at')::timestamptz, (input ->> 'expires_at')::timestamptz
    )
    returning id into cohort_id;
    return cohort_id;
end
$$;

create function public.update_cohort(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
begin
    -- What the input does not name keeps its value; what it names as null is cleared.
    update public.cohorts as c
    set
        name = case when input ? 'name' then input ->> 'name' else c.name end,
        starts_at = case
            when input ? 'starts_at' then (input ->> 'starts_at')::timestamptz else c.starts_at
        end,
        due_at = case when input ? 'due_at' then (input ->> 'due_at')::timestamptz else c.due_at end,
        expires_at = case
            when input ? 'expires_at' then (input ->> 'expires_at')::timestamptz else c.expires_at
        end
    where c.id = (input ->> 'id')::uuid;
    if not found then
        perform private.require_community_admin();
        perform private.refuse('404', 'There is no cohort with this id in your community.');
    end if;
    return (input ->> 'id')::uuid;
end
$$;

create function public.delete_cohort(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
begin
    delete from public.cohorts as c where c.id = (input ->> 'id')::uuid;
    if not found then
        perform private.require_community_admin();
        perform private.refuse('404', 'There is no cohort with this id in your community.');
    end if;
    return (input ->> 'id')::uuid;
end
$$;

-- Numbers the attempt and holds the rules of enrolling, whoever inserts and by which way.
create or replace function private.begin_enrollment() returns trigger
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
    return new;
end
$$;

create function private.refuse_unpublished(program_status text) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse('412', pg_catalog.format(
        'The program is %s; people can be enrolled in published programs only.', program_status
    ));
end
$$;

-- Dates and the cohort are set by admins, while an enrolment is open.
create function private.hold_enrollment_dates() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
declare
    left_cohort public.cohorts;
    joined_cohort public.cohorts;
begin
    if auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    if old.status in ('completed', 'withdrawn', 'expired') then
        perform private.refuse('412', pg_catalog.format(
            'The enrolment has ended: it is %s, and keeps its dates and its cohort. Enrol the person again.', old.status
        ));
    end if;

    -- Who changes to another cohort takes over its dates, but for the ones of their own.
    if new.cohort_id is distinct from old.cohort_id and new.cohort_id is not null then
        select c.* into left_cohort
        from public.cohorts as c
        where c.community_id = old.community_id and c.id = old.cohort_id;
        select c.* into joined_cohort
        from public.cohorts as c
        where c.community_id = new.community_id and c.id = new.cohort_id
        for share;
        if old.status = 'pending' and old.starts_at is not distinct from left_cohort.starts_at
            and new.starts_at is not distinct from old.starts_at then
            new.starts_at := joined_cohort.starts_at;
        end if;
        if old.due_at is not distinct from left_cohort.due_at and new.due_at is not distinct from old.due_at then
            new.due_at := joined_cohort.due_at;
        end if;
        if old.expires_at is not distinct from left_cohort.expires_at
            and new.expires_at is not distinct from old.expires_at then
            new.expires_at := joined_cohort.expires_at;
        end if;
    end if;

    new.original_due_at := old.original_due_at;
    if new.due_at is distinct from old.due_at then
        new.original_due_at := coalesce(old.original_due_at, old.due_at);
    end if;
    -- A mistyped year must not end for good what an extension was meant for.
    if new.expires_at is distinct from old.expires_at and new.expires_at <= pg_catalog.now()
        and auth.uid() is not null then
        perform private.refuse('400',
            'This expiry has passed already. To end the enrolment now, set its status to EXPIRED.', 'expiresAt'
        );
    end if;
    if new.starts_at is distinct from old.starts_at then
        if old.status <> 'pending' then
            perform private.refuse('412', 'The enrolment has begun: its start can no longer be moved.');
        elsif new.status = 'pending' and coalesce(new.starts_at, pg_catalog.now()) <= pg_catalog.now() then
            new.status := 'active';
        end if;
    end if;
    return new;
end
$$;

-- Before the next one, by its name.
create trigger program_enrollments_hold_dates before update on public.program_enrollments
for each row
when (
    (old.cohort_id, old.starts_at, old.due_at, old.expires_at, old.original_due_at)
    is distinct from (new.cohort_id, new.starts_at, new.due_at, new.expires_at, new.original_due_at)
)
execute function private.hold_enrollment_dates();

-- The state machine: pending -> active <-> paused -> completed | withdrawn | expired, and no way back.
create or replace function private.hold_enrollment_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if (new.program_id, new.user_id, new.attempt) is distinct from (old.program_id, old.user_id, old.attempt) then
        perform private.refuse('412', 'An enrolment keeps its program, its person and its attempt.');
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
    if new.status = 'active' then
        if new.expires_at <= pg_catalog.now() then
            perform private.refuse('412', 'The expiry of this enrolment has passed. Give it a later expiresAt first.');
        end if;
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

-- The reason of what follows in this transaction, for the audit log; null takes it back.
create function private.note_reason(reason text) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    if pg_catalog.char_length(reason) > 1000 then
        perform private.refuse('400', 'The reason is longer than 1,000 characters. Shorten it.', 'reason');
    end if;
    perform pg_catalog.set_config('gym.reason', coalesce(reason, ''), true);
end
$$;

create function private.has_reason() returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(pg_catalog.current_setting('gym.reason', true), '')
        ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]';
end
$$;

-- What the clock does to enrolments: those whose expiry has come end, those whose start has come begin. At most so
-- many at a time, and how many it were; harmless at any moment, and beside another one. Community by community, for
-- every index begins with them.
create function private.advance_enrollments(most integer) returns integer
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    ended integer;
    begun integer;
begin
    with lapsed as (
        select e.community_id, e.id
        from public.communities as c
        cross join lateral (
            select e.community_id, e.id
            from public.program_enrollments as e
            where e.community_id = c.id
                and e.status in ('pending', 'active', 'paused') and e.expires_at <= pg_catalog.now()
            order by e.expires_at
            limit most
            for update skip locked
        ) as e
        limit most
    )
    update public.program_enrollments as e
    set status = 'expired'
    from lapsed
    where e.community_id = lapsed.community_id and e.id = lapsed.id;
    get diagnostics ended = row_count;

    with due as (
        select e.community_id, e.id
        from public.communities as c
        cross join lateral (
            select e.community_id, e.id
            from public.program_enrollments as e
            where e.community_id = c.id
                and e.status = 'pending' and e.starts_at <= pg_catalog.now()
                and (e.expires_at > pg_catalog.now()) is not false
            order by e.starts_at
            limit most - ended
            for update skip locked
        ) as e
        limit most - ended
    )
    update public.program_enrollments as e
    set status = 'active'
    from due
    where e.community_id = due.community_id and e.id = due.id;
    get diagnostics begun = row_count;
    return ended + begun;
end
$$;

create function private.is_overdue(enrollment public.program_enrollments) returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return enrollment.status in ('pending', 'active', 'paused')
        and coalesce(enrollment.due_at < pg_catalog.now(), false);
end
$$;

-- Enrols the caller, or, asked by an admin, another member.
create or replace function public.enroll(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    person uuid := coalesce((input ->> 'user_id')::uuid, auth.uid());
    enrollment_id uuid;
begin
    if person is distinct from auth.uid() or pg_catalog.num_nonnulls(
        input ->> 'cohort_id', input ->> 'starts_at', input ->> 'due_at', input ->> 'expires_at'
    ) > 0 then
        perform private.require_community_admin();
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

-- Enrols one person as above, or, asked by an admin, up to 1,000: a result for each.
create function public.enroll_people(input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    enrollment_id uuid;
begin
    if input ->> 'user_ids' is not null then
        return pg_catalog.jsonb_build_object('results', private.enroll_listed(input));
    end if;
    enrollment_id := public.enroll(input);
    return pg_catalog.jsonb_build_object(
        'enrollment_id', enrollment_id,
        'results', pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
            'user_id', coalesce((input ->> 'user_id')::uuid, auth.uid()), 'enrollment_id', enrollment_id
        ))
    );
end
$$;

-- All who can be enrolled in one statement; the others each told why not, most of them by trying it.
create function private.enroll_listed(input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    listed uuid[];
    program_status text;
    enrolled jsonb;
begin
    perform private.require_community_admin();
    if input ->> 'user_id' is not null then
        perform private.refuse('400', 'Give userId or userIds, not both.', 'userIds');
    end if;
    if pg_catalog.jsonb_typeof(input -> 'user_ids') <> 'array'
        or pg_catalog.jsonb_array_length(input -> 'user_ids') not between 1 and 1000 then
        perform private.refuse('400', 'userIds can name 1 to 1,000 people.', 'userIds');
    end if;
    listed := array(select pg_catalog.jsonb_array_elements_text(input -> 'user_ids')::uuid);
    select p.status into program_status from public.programs as p where p.id = (input ->> 'program_id')::uuid;
    if not found then
        perform private.refuse('404', 'There is no program with this id in your community.');
    elsif program_status <> 'published' then
        perform private.refuse_unpublished(program_status);
    end if;

    with enrollments as (
        insert into public.program_enrollments (program_id, user_id, cohort_id, starts_at, due_at, expires_at)
        select
            (input ->> 'program_id')::uuid, m.user_id, (input ->> 'cohort_id')::uuid,
            (input ->> 'starts_at')::timestamptz, (input ->> 'due_at')::timestamptz, (input ->> 'expires_at')::timestamptz
        from public.memberships as m
        where m.user_id = any (listed) and m.status = 'active'
            and not exists (
                select from public.program_enrollments as e
                where e.community_id = m.community_id and e.program_id = (input ->> 'program_id')::uuid
                    and e.user_id = m.user_id and e.status in ('pending', 'active', 'paused')
            )
        -- In one order, whoever enrols: two lists with the same people wait for each other, and not in a circle.
        order by m.user_id
        on conflict do nothing
        returning user_id, id
    )
    select coalesce(pg_catalog.jsonb_object_agg(e.user_id, e.id), '{}') into enrolled from enrollments as e;

    return (
        select pg_catalog.jsonb_agg(
            case
                when l.place > l.first_place then pg_catalog.jsonb_build_object(
                    'user_id', l.user_id, 'code', 'BAD_USER_INPUT',
                    'message', 'This person is in the list twice; the first place counts.'
                )
                when enrolled ? l.user_id::text then pg_catalog.jsonb_build_object(
                    'user_id', l.user_id, 'enrollment_id', enrolled -> l.user_id::text
                )
                when exists (
                    select from public.program_enrollments as e
                    where e.program_id = (input ->> 'program_id')::uuid and e.user_id = l.user_id
                        and e.status in ('pending', 'active', 'paused') and (e.expires_at > pg_catalog.now()) is not false
                ) then private.already_enrolled(l.user_id)
                else private.try_to_enroll(l.user_id, input)
            end
            order by l.place
        )
        from (
            select u.user_id, u.place, min(u.place) over (partition by u.user_id) as first_place
            from pg_catalog.unnest(listed) with ordinality as u (user_id, place)
        ) as l
    );
end
$$;

-- One of a list, in a savepoint: what is refused for a reason of this person's is told, and hinders nobody else.
create function private.try_to_enroll(person uuid, input jsonb) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    one jsonb := pg_catalog.jsonb_set(input - 'user_ids', '{user_id}', pg_catalog.to_jsonb(person));
    why text;
begin
    return pg_catalog.jsonb_build_object('user_id', person, 'enrollment_id', public.enroll(one));
exception
    when sqlstate 'PT404' or sqlstate 'PT412' then
        get stacked diagnostics why = message_text;
        return pg_catalog.jsonb_build_object(
            'user_id', person, 'message', why,
            'code', case sqlstate when 'PT404' then 'NOT_FOUND' else 'FAILED_PRECONDITION' end
        );
    when unique_violation then
        return private.already_enrolled(person);
end
$$;

-- In the words of the constraint program_enrollments_one_open.
create function private.already_enrolled(person uuid) returns jsonb
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.jsonb_build_object(
        'user_id', person, 'code', 'CONFLICT', 'message',
        'This person already has an open enrolment in the program. Withdraw it first, or go on with it.'
    );
end
$$;

-- The results of enroll_people as rows.
create function private.enroll_results(told jsonb) returns table (
    place bigint, user_id uuid, enrollment_id uuid, code text, message text
)
stable
rows 100
set search_path = ''
language plpgsql
as $$
begin
    return query
    select
        r.place, (r.result ->> 'user_id')::uuid, (r.result ->> 'enrollment_id')::uuid,
        r.result ->> 'code', r.result ->> 'message'
    from pg_catalog.jsonb_array_elements(told -> 'results') with ordinality as r (result, place);
end
$$;

-- An admin's changes: the state, the dates, the cohort. Where it changes nothing, it is asked why.
create function public.update_enrollment(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    current_status text;
begin
    perform private.require_community_admin();
    perform private.note_reason(input ->> 'reason');
    -- What the input does not name keeps its value; what it names as null is cleared. Of two who want the same state
    -- at the same moment, the second one waits, and then finds it there.
    update public.program_enrollments as e
    set
        status = case when input ? 'status' then input ->> 'status' else e.status end,
        cohort_id = case when input ? 'cohort_id' then (input ->> 'cohort_id')::uuid else e.cohort_id end,
        starts_at = case when input ? 'starts_at' then (input ->> 'starts_at')::timestamptz else e.starts_at end,
        due_at = case when input ? 'due_at' then (input ->> 'due_at')::timestamptz else e.due_at end,
        expires_at = case
            when input ? 'expires_at' then (input ->> 'expires_at')::timestamptz else e.expires_at
        end
    where e.id = (input ->> 'id')::uuid and (input ->> 'status' is distinct from e.status);
    if not found then
        select e.status into current_status
        from public.program_enrollments as e
        where e.id = (input ->> 'id')::uuid;
        if not found then
            perform private.refuse('404', 'There is no enrolment with this id in your community.');
        end if;
        perform private.refuse('412', pg_catalog.format('The enrolment is %s already.', current_status));
    end if;
    perform private.note_reason(null);
    return (input ->> 'id')::uuid;
end
$$;

-- Learners see the cohorts that they are or were in, but not who else is; admins see all, write and delete them.

alter table public.cohorts enable row level security;
alter table public.cohorts force row level security;
revoke all on public.cohorts from public, anon, authenticated, service_role;
grant select on public.cohorts to authenticated;
grant insert (program_id, name, starts_at, due_at, expires_at) on public.cohorts to authenticated;
grant update (name, starts_at, due_at, expires_at) on public.cohorts to authenticated;
grant delete on public.cohorts to authenticated;
grant select, insert, update, delete on public.cohorts to service_role;

drop policy if exists learners_see_their_cohorts_admins_all on public.cohorts;
create policy learners_see_their_cohorts_admins_all on public.cohorts
for select to authenticated
using (
    (select private.is_community_admin())
    or id = any (array(select private.viewer_cohort_ids()))
);

drop policy if exists admins_create_cohorts on public.cohorts;
create policy admins_create_cohorts on public.cohorts
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_cohorts on public.cohorts;
create policy admins_change_cohorts on public.cohorts
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_delete_cohorts on public.cohorts;
create policy admins_delete_cohorts on public.cohorts
for delete to authenticated
using ((select private.is_community_admin()));

-- Callable: mutations, which run under the policies above.

revoke all on function
public.create_cohort(jsonb),
public.update_cohort(jsonb),
public.delete_cohort(jsonb),
private.viewer_cohort_ids(),
private.move_cohort_dates(),
private.keep_cohorts_with_enrollments()
from public, anon, authenticated, service_role;
grant execute on function
public.create_cohort(jsonb),
public.update_cohort(jsonb),
public.delete_cohort(jsonb),
private.viewer_cohort_ids()
to authenticated;

-- Learners see their own enrolments, enrol themselves and withdraw; admins do so for everybody in the community.

alter table public.program_enrollments enable row level security;
alter table public.program_enrollments force row level security;
revoke all on public.program_enrollments from public, anon, authenticated, service_role;
grant select on public.program_enrollments to authenticated;
grant insert (program_id, user_id, due_at, cohort_id, starts_at, expires_at)
on public.program_enrollments to authenticated;
grant update (status, due_at, cohort_id, starts_at, expires_at) on public.program_enrollments to authenticated;
grant select, insert, update, delete on public.program_enrollments to service_role;

drop policy if exists learners_see_their_enrollments_admins_all on public.program_enrollments;
create policy learners_see_their_enrollments_admins_all on public.program_enrollments
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

drop policy if exists learners_enroll_themselves_admins_anybody on public.program_enrollments;
create policy learners_enroll_themselves_admins_anybody on public.program_enrollments
for insert to authenticated
with check (
    (select private.is_community_admin())
    or (
        user_id = (select auth.uid()) and status = 'active'
        and cohort_id is null and starts_at is null and due_at is null and expires_at is null
    )
);

drop policy if exists learners_withdraw_admins_change on public.program_enrollments;
create policy learners_withdraw_admins_change on public.program_enrollments
for update to authenticated
using ((select private.is_community_admin()) or user_id = (select auth.uid()))
with check (
    (select private.is_community_admin())
    or (user_id = (select auth.uid()) and status = 'withdrawn')
);

revoke all on function
public.enroll(jsonb),
public.enroll_people(jsonb),
public.update_enrollment(jsonb),
public.withdraw_enrollment(jsonb),
private.enroll_listed(jsonb),
private.try_to_enroll(uuid, jsonb),
private.already_enrolled(uuid),
private.enroll_results(jsonb),
private.refuse_unpublished(text),
private.note_reason(text),
private.has_reason(),
private.is_overdue(public.program_enrollments),
private.viewer_program_ids(),
private.program_stats(public.programs),
private.advance_enrollments(integer),
private.begin_enrollment(),
private.hold_enrollment_dates(),
private.hold_enrollment_states()
from public, anon, authenticated, service_role;
grant execute on function
public.enroll(jsonb),
public.enroll_people(jsonb),
public.update_enrollment(jsonb),
public.withdraw_enrollment(jsonb),
private.enroll_listed(jsonb),
private.try_to_enroll(uuid, jsonb),
private.already_enrolled(uuid),
private.enroll_results(jsonb),
private.refuse_unpublished(text),
private.note_reason(text),
private.has_reason(),
private.is_overdue(public.program_enrollments),
private.viewer_program_ids(),
private.program_stats(public.programs)
to authenticated;

-- The trigger that holds the states asks it, whoever writes.
grant execute on function private.has_reason() to service_role;

-- The clock is the worker's.
grant execute on function private.advance_enrollments(integer) to gym_worker;

grant usage on schema private to gym_worker;

-- The wall, for the new table.
do $$
begin
    execute pg_catalog.format(
        'create policy client_isolation_cohorts on public.cohorts as restrictive for all to public '
        'using (community_id = (select %1$s)) with check (community_id = (select %1$s))',
        case when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private' end
        || '.get_community_id()'
    );
end
$$;
