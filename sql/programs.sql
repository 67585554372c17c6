-- Programs and the life of a program: draft, published, archived and back. What is in them stands in their versions.

create table public.programs (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    title text not null,
    description text,
    duration_weeks integer,
    status text not null default 'draft',
    created_by uuid default auth.uid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    published_at timestamptz,
    archived_at timestamptz,
    version integer not null default 1,
    constraint programs_pkey primary key (community_id, id),
    constraint programs_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    -- Not a membership: super admins create programs too, and people leave.
    constraint programs_creator_exists foreign key (created_by) references auth.users (id) on delete set null,
    constraint programs_status_known check (status in ('draft', 'published', 'archived')),
    constraint programs_title_not_blank check (title ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint programs_title_length check (char_length(title) <= 200),
    constraint programs_description_length check (char_length(description) <= 10000),
    constraint programs_duration_range check (duration_weeks between 1 and 520),
    constraint programs_published_at_known check ((status = 'draft') = (published_at is null)),
    constraint programs_archived_at_known check ((status = 'archived') = (archived_at is not null))
);
alter table public.programs enable row level security;
alter table public.programs alter column community_id set (n_distinct = 20);
comment on table public.programs is 'A path of courses with a beginning and an end.';
comment on column public.programs.duration_weeks is 'Planned length in weeks, 1 to 520.';
comment on column public.programs.version is 'The version that new learners get.';

create index programs_title_idx on public.programs (community_id, title, id);
create index programs_created_at_idx on public.programs (community_id, created_at, id);
create index programs_updated_at_idx on public.programs (community_id, updated_at, id);
create index programs_created_by_idx on public.programs (created_by);

create trigger programs_touch_updated_at before update on public.programs
for each row execute function private.touch_updated_at();

-- The state machine. Whoever writes, and by which way, these are the only moves.
create function private.hold_program_states() returns trigger
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

create trigger programs_hold_states before update on public.programs
for each row execute function private.hold_program_states();

create function private.keep_programs_with_history() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    -- A community that is deleted takes everything with it, whatever its state.
    if old.status <> 'draft' and exists (select from public.communities as c where c.id = old.community_id) then
        perform private.refuse('412', pg_catalog.format(
            'Only drafts can be deleted; this program is %s. Archive it instead.', old.status
        ));
    end if;
    return old;
end
$$;

create trigger programs_keep_history before delete on public.programs
for each row execute function private.keep_programs_with_history();

-- What mutations do. They run as the caller, under the policies; each takes the GraphQL input with its names in
-- snake case, and returns the id of what it changed.

create function private.program_for_change(program_id uuid) returns public.programs
volatile
set search_path = ''
language plpgsql
as $$
declare
    program public.programs;
begin
    perform private.require_community_admin();
    select p.* into program from public.programs as p where p.id = program_id for update;
    if not found then
        perform private.refuse('404', 'There is no program with this id in your community.');
    end if;
    return program;
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

create function public.create_program(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program_id uuid;
begin
    perform private.require_community_admin();
    insert into public.programs (title, description, duration_weeks)
    values (input ->> 'title', input ->> 'description', (input ->> 'duration_weeks')::integer)
    returning id into program_id;
    return program_id;
end
$$;

-- One statement when all is well: only where it changes nothing is it asked why.
create function public.update_program(input jsonb) returns uuid
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

create function private.set_program_status(program_id uuid, from_status text, to_status text) returns uuid
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

create function public.publish_program(input jsonb) returns uuid
volatile
set search_path = ''
language sql
as $$ select private.set_program_status((input ->> 'id')::uuid, 'draft', 'published') $$;

create function public.archive_program(input jsonb) returns uuid
volatile
set search_path = ''
language sql
as $$ select private.set_program_status((input ->> 'id')::uuid, 'published', 'archived') $$;

create function public.restore_program(input jsonb) returns uuid
volatile
set search_path = ''
language sql
as $$ select private.set_program_status((input ->> 'id')::uuid, 'archived', 'published') $$;

create function public.delete_program(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program public.programs := private.program_for_change((input ->> 'id')::uuid);
begin
    delete from public.programs as p where p.id = program.id;
    if not found then
        perform private.refuse('412', pg_catalog.format(
            'Only drafts can be deleted; this program is %s. Archive it instead.', program.status
        ));
    end if;
    return program.id;
end
$$;
