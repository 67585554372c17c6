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

-- Holds the rules of making cohorts, and the order of their dates, whoever writes.
create function private.hold_cohorts() returns trigger
volatile
security definer -- locks the program, which clients may not; looks at that program only
set search_path = ''
language plpgsql
as $$
declare
    program_status text;
begin
    -- Comes before the policies, so it must say nothing to others.
    if auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    if tg_op = 'INSERT' then
        -- The lock makes an archiving at the same moment wait, or this one see it.
        select p.status into program_status
        from public.programs as p
        where p.community_id = new.community_id and p.id = new.program_id
        for share;
        if program_status = 'archived' then
            perform private.refuse('412', 'The program is archived. Restore it before you add a cohort.');
        end if;
    end if;
    -- Of a new one, all that it has is different.
    perform private.refuse_disorder(
        new.starts_at, new.due_at, new.expires_at,
        private.dates_among(
            case when new.starts_at is distinct from old.starts_at then new.starts_at end,
            case when new.due_at is distinct from old.due_at then new.due_at end,
            case when new.expires_at is distinct from old.expires_at then new.expires_at end
        ),
        'cohorts_dates_in_order', false
    );
    return new;
end
$$;

create trigger cohorts_hold before insert or update of starts_at, due_at, expires_at on public.cohorts
for each row execute function private.hold_cohorts();

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
