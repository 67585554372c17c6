-- Programs, the courses in them, and the life of a program: draft, published, archived and back.

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

create table public.program_course_assignments (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    program_id uuid not null,
    course_id uuid not null,
    sequence_order integer not null,
    required boolean not null default true,
    group_name text,
    created_at timestamptz not null default now(),
    constraint program_course_assignments_pkey primary key (community_id, id),
    -- Lets a community be deleted whole: these rows are gone before the courses ask whether they are in use.
    constraint program_course_assignments_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint program_course_assignments_course_once unique (community_id, program_id, course_id),
    -- Deferrable: a new order of the whole list passes through states that two courses share a place in.
    constraint program_course_assignments_place_once unique (community_id, program_id, sequence_order)
    deferrable initially immediate,
    constraint program_course_assignments_program_exists foreign key (community_id, program_id)
    references public.programs (community_id, id) on delete cascade,
    constraint program_course_assignments_course_exists foreign key (community_id, course_id)
    references public.courses (community_id, id) on delete restrict,
    constraint program_course_assignments_order_range check (sequence_order between 1 and 200),
    constraint program_course_assignments_group_not_blank check (group_name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint program_course_assignments_group_length check (char_length(group_name) <= 100)
);
alter table public.program_course_assignments enable row level security;
alter table public.program_course_assignments alter column community_id set (n_distinct = 20);
comment on table public.program_course_assignments is 'The courses of a program in their order.';

create index program_course_assignments_course_idx on public.program_course_assignments (community_id, course_id);

create function private.keep_archived_assignments() returns trigger
volatile
security definer -- locks the program for as long as its courses change; looks at that program only
set search_path = ''
language plpgsql
as $$
declare
    program_status text;
begin
    -- The lock makes an archiving at the same moment wait, or this one see it.
    select p.status into program_status
    from public.programs as p
    where p.community_id = coalesce(new.community_id, old.community_id)
        and p.id = coalesce(new.program_id, old.program_id)
    for share;
    if program_status = 'archived' and exists (
        select from public.communities as c where c.id = coalesce(new.community_id, old.community_id)
    ) then
        perform private.refuse('412', 'The program is archived. Restore it before you change its courses.');
    end if;
    return coalesce(new, old);
end
$$;

create trigger program_course_assignments_keep_archived
before insert or update or delete on public.program_course_assignments
for each row execute function private.keep_archived_assignments();

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
begin
    -- What the input does not name keeps its value; what it names as null is cleared.
    update public.programs as p
    set
        title = case when input ? 'title' then input ->> 'title' else p.title end,
        description = case when input ? 'description' then input ->> 'description' else p.description end,
        duration_weeks = case
            when input ? 'duration_weeks' then (input ->> 'duration_weeks')::integer else p.duration_weeks
        end
    where p.id = program_id and p.status <> 'archived';
    if not found then
        perform private.program_for_change(program_id);
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
    program public.programs := private.program_for_change(program_id);
begin
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

-- The whole list at once, in its order: courses that are not named leave the program, those kept keep their id.
create function public.assign_courses(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program public.programs := private.program_for_change((input ->> 'program_id')::uuid);
    wanted jsonb := input -> 'courses';
    unknown integer;
begin
    if pg_catalog.jsonb_typeof(wanted) is distinct from 'array' then
        perform private.refuse('400', 'Give the whole list of courses; an empty one removes them all.', 'courses');
    end if;
    if pg_catalog.jsonb_array_length(wanted) > 200 then
        perform private.refuse('400', 'A program has at most 200 courses.', 'courses');
    end if;
    select w.place - 1 into unknown
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    where not exists (select from public.courses as c where c.id = (w.course ->> 'course_id')::uuid)
    order by w.place
    limit 1;
    if found then
        perform private.refuse(
            '404', 'There is no course with this id in your community.', pg_catalog.format('courses.%s.courseId', unknown)
        );
    end if;
    if (
        select count(*) > count(distinct (w ->> 'course_id')::uuid)
        from pg_catalog.jsonb_array_elements(wanted) as w
    ) then
        perform private.refuse('400', 'A course can be in a program only once.', 'courses');
    end if;

    set constraints public.program_course_assignments_place_once deferred;
    delete from public.program_course_assignments as a
    where a.program_id = program.id
        and a.course_id not in (
            select (w ->> 'course_id')::uuid from pg_catalog.jsonb_array_elements(wanted) as w
        );
    insert into public.program_course_assignments as a (program_id, course_id, sequence_order, required, group_name)
    select program.id, (w.course ->> 'course_id')::uuid, w.place,
        coalesce((w.course ->> 'required')::boolean, true), w.course ->> 'group'
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (course, place)
    on conflict on constraint program_course_assignments_course_once do update
    set sequence_order = excluded.sequence_order, required = excluded.required, group_name = excluded.group_name;
    set constraints public.program_course_assignments_place_once immediate;
    return program.id;
end
$$;
