-- What changes an enrolment that goes on: its dates and its cohort, by admins, and the clock.

-- Dates and the cohort are set by admins, while an enrolment is open.
create function private.hold_enrollment_dates() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
declare
    left_cohort public.cohorts;
    joined_cohort public.cohorts;
    given text[];
begin
    if auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    if old.status in ('completed', 'withdrawn', 'expired') then
        perform private.refuse('412', pg_catalog.format(
            'The enrolment has ended: it is %s, and keeps its dates and its cohort. Enrol the person again.', old.status
        ));
    end if;

    given := private.dates_among(
        case when new.starts_at is distinct from old.starts_at then new.starts_at end,
        case when new.due_at is distinct from old.due_at then new.due_at end,
        case when new.expires_at is distinct from old.expires_at then new.expires_at end
    );
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
    perform private.refuse_disorder(
        new.starts_at, new.due_at, new.expires_at, given, 'program_enrollments_dates_in_order',
        new.cohort_id is distinct from old.cohort_id
    );
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

-- What the clock does to the enrolments of a community: those whose expiry has come end, those whose start has come
-- begin. At most so many at a time, and how many it were; harmless at any moment, and beside another one.
create function private.advance_enrollments(community uuid, most integer) returns integer
volatile
security definer -- for all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    ended integer;
    begun integer;
begin
    -- Chosen once: as a condition, the limit might be applied anew for each row.
    with lapsed as materialized (
        select l.id
        from public.program_enrollments as l
        where l.community_id = community
            and l.status in ('pending', 'active', 'paused') and l.expires_at <= pg_catalog.now()
        order by l.expires_at
        limit most
        for update skip locked
    )
    update public.program_enrollments as e
    set status = 'expired'
    from lapsed as l
    where e.community_id = community and e.id = l.id;
    get diagnostics ended = row_count;
    with due as materialized (
        select d.id
        from public.program_enrollments as d
        where d.community_id = community and d.status = 'pending' and d.starts_at <= pg_catalog.now()
            and (d.expires_at > pg_catalog.now()) is not false
        order by d.starts_at
        limit most - ended
        for update skip locked
    )
    update public.program_enrollments as e
    set status = 'active'
    from due as d
    where e.community_id = community and e.id = d.id;
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
