-- Courses and the life of a course: draft, published, archived and back. What is in them stands in their versions.

create table public.courses (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    title text not null,
    description text,
    status text not null default 'draft',
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    published boolean not null generated always as (status <> 'draft') stored,
    constraint courses_pkey primary key (community_id, id),
    constraint courses_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint courses_status_known check (status in ('draft', 'published', 'archived')),
    constraint courses_title_not_blank check (title ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint courses_title_length check (char_length(title) <= 200),
    constraint courses_description_length check (char_length(description) <= 10000)
);
alter table public.courses enable row level security;
alter table public.courses alter column community_id set (n_distinct = 20);
comment on table public.courses is 'A course; what is in it stands in its versions.';
comment on column public.courses.version is 'The version that new learners get; of a draft, the one being written.';
comment on column public.courses.published is 'Whether its version is published: all but drafts.';

create index courses_title_idx on public.courses (community_id, title, id);
create index courses_created_at_idx on public.courses (community_id, created_at, id);

create trigger courses_touch_updated_at before update on public.courses
for each row execute function private.touch_updated_at('published');

-- The state machine. Whoever writes, and by which way, these are the only moves.
create function private.hold_course_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if new.status = old.status then
        if old.status = 'archived' and (new.title, new.description, new.version)
            is distinct from (old.title, old.description, old.version) then
            perform private.refuse('412', 'The course is archived. Restore it before you change it.');
        end if;
    elsif (old.status, new.status) not in (
        ('draft', 'published'), ('published', 'archived'), ('archived', 'published')
    ) then
        perform private.refuse('412', pg_catalog.format('A course cannot go from %s to %s.', old.status, new.status));
    end if;
    return new;
end
$$;

create trigger courses_hold_states before update on public.courses
for each row execute function private.hold_course_states();

create function private.keep_courses_with_history() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    -- A community that is deleted takes everything with it, whatever its state.
    if old.status <> 'draft' and exists (select from public.communities as c where c.id = old.community_id) then
        perform private.refuse('412', pg_catalog.format(
            'Only drafts can be deleted; this course is %s. Archive it instead.', old.status
        ));
    end if;
    return old;
end
$$;

create trigger courses_keep_history before delete on public.courses
for each row execute function private.keep_courses_with_history();

-- What mutations do. Clients may write none of these tables, so these run as their owner: each begins with the right
-- to do so, and stays inside the caller's community. Each takes the GraphQL input with its names in snake case.

create function private.course_for_change(course_id uuid, even_archived boolean default false) returns public.courses
volatile
set search_path = ''
language plpgsql
as $$
declare
    course public.courses;
begin
    perform private.require_community_admin();
    select c.* into course
    from public.courses as c
    where c.community_id = private.get_community_id() and c.id = course_id
    for update;
    if not found then
        perform private.refuse('404', 'There is no course with this id in your community.');
    elsif course.status = 'archived' and not even_archived then
        perform private.refuse('412', 'The course is archived. Restore it before you change it.');
    end if;
    return course;
end
$$;

create function public.update_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_change((input ->> 'id')::uuid);
begin
    -- What the input does not name keeps its value; what it names as null is cleared.
    update public.courses as c
    set
        title = case when input ? 'title' then input ->> 'title' else c.title end,
        description = case when input ? 'description' then input ->> 'description' else c.description end
    where c.community_id = course.community_id and c.id = course.id;
    return course.id;
end
$$;

-- For what changes the version or the state of a course, and so of programs: their lock comes before any row's.
create function private.course_for_move(course_id uuid, even_archived boolean default false) returns public.courses
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.require_community_admin();
    perform private.lock_program_structures(private.get_community_id());
    return private.course_for_change(course_id, even_archived);
end
$$;

create function private.set_course_status(course_id uuid, from_status text, to_status text) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    course public.courses := private.course_for_move(course_id, even_archived => true);
begin
    if course.status <> from_status then
        perform private.refuse('412', pg_catalog.format(
            'The course is in state %s; only from %s can it become %s.', course.status, from_status, to_status
        ));
    end if;
    update public.courses as c set status = to_status where c.community_id = course.community_id and c.id = course.id;
    return course.id;
end
$$;

create function public.archive_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language sql
as $$ select private.set_course_status((input ->> 'id')::uuid, 'published', 'archived') $$;

create function public.restore_course(input jsonb) returns uuid
volatile
security definer -- writes courses, which clients may not; for admins, in their community
set search_path = ''
language sql
as $$ select private.set_course_status((input ->> 'id')::uuid, 'archived', 'published') $$;

create function public.delete_course(input jsonb) returns uuid
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
