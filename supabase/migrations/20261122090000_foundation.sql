-- Communities and their members, courses, programs and enrolments: tables, rules and functions. Who may see and
-- change which rows comes with the next migration.

-- Rather fail and be tried again than queue in front of everybody else.
set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- The login roles of the server and of the jobs, and the schema that no client reaches over REST.

create schema if not exists private;
comment on schema private is 'Functions and tables behind the policies. Never listed among the exposed schemas.';

-- noinherit: until a request has put on one of its two roles, the connection may do nothing.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'gym_api') then
        create role gym_api login noinherit;
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'gym_worker') then
        create role gym_worker login noinherit;
    end if;
end
$$;

grant anon, authenticated to gym_api;

-- Temporary objects come first in every search path, '' too: a temporary type called uuid would run its checks
-- inside the definer functions below, as their owner. So nobody but the owner of the database makes any.
do $$
begin
    execute pg_catalog.format('revoke temporary on database %I from public', pg_catalog.current_database());
end
$$;

-- What a database function refuses, it says with PostgREST's convention for SQLSTATEs, 'PT' and the HTTP status,
-- so that clients of Supabase's REST interface get the same answer as those of GraphQL.
create function private.refuse(code text, message text, field text default null) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    raise exception using errcode = 'PT' || code, message = message, column = coalesce(field, '');
end
$$;

-- Keeps updated_at true whoever writes.
create function private.touch_updated_at() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    new.updated_at := pg_catalog.now();
    return new;
end
$$;

-- Communities are the tenants; a membership is one person's place in one of them.
-- Here and elsewhere "not blank" means that something can be seen: zero-width and control characters cannot.

create table public.communities (
    id uuid not null default gen_random_uuid(),
    slug text not null,
    name text not null,
    time_zone text not null default 'UTC',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint communities_pkey primary key (id),
    constraint communities_slug_unique unique (slug),
    constraint communities_slug_format check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    constraint communities_name_not_blank check (name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint communities_name_length check (char_length(name) <= 200)
);
-- Closed from its first moment, as every table: older Supabase projects grant new tables to every client, and the
-- policies come with a later migration.
alter table public.communities enable row level security;
comment on table public.communities is 'A tenant: every other table belongs to exactly one of them.';
comment on column public.communities.time_zone is 'IANA name; days and weeks of this community begin by it.';

create trigger communities_touch_updated_at before update on public.communities
for each row execute function private.touch_updated_at();

create table public.memberships (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    user_id uuid not null,
    role text not null default 'end_user',
    status text not null default 'active',
    display_name text not null,
    joined_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint memberships_pkey primary key (community_id, id),
    constraint memberships_one_per_person unique (community_id, user_id),
    constraint memberships_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint memberships_user_exists foreign key (user_id) references auth.users (id) on delete cascade,
    constraint memberships_role_known check (role in ('end_user', 'community_admin')),
    constraint memberships_status_known check (status in ('invited', 'active', 'suspended', 'left')),
    constraint memberships_display_name_not_blank check (display_name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint memberships_display_name_length check (char_length(display_name) <= 200),
    constraint memberships_joined_at_sane check (joined_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00')
);
alter table public.memberships enable row level security;
comment on table public.memberships is 'One person in one community, with the role that the policies go by.';

-- The policies look a caller up by user_id alone, and a person lists their own memberships.
create index memberships_user_id_idx on public.memberships (user_id, community_id);
create index memberships_display_name_idx on public.memberships (community_id, display_name, id);

create trigger memberships_touch_updated_at before update on public.memberships
for each row execute function private.touch_updated_at();

-- A grant of the platform, not of a community: has a reason and an end.
create table private.super_admins (
    user_id uuid not null,
    reason text not null,
    granted_at timestamptz not null default now(),
    expires_at timestamptz,
    constraint super_admins_pkey primary key (user_id),
    constraint super_admins_user_exists foreign key (user_id) references auth.users (id) on delete cascade,
    constraint super_admins_reason_not_blank check (reason ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint super_admins_ends_after_it_begins check (expires_at > granted_at)
);
alter table private.super_admins enable row level security;
comment on table private.super_admins is 'People of the platform who may act in any community, one at a time.';

-- Who is asking, and in which community: the questions that every policy asks, and what a new token says.

-- The community that the token names, or null when it names none. Not yet a right: see get_community_id().
create function private.claimed_community_id() returns uuid
stable
set search_path = ''
language sql
as $$
    select case
        when claim ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then claim::uuid
    end
    from (select auth.jwt() -> 'app_metadata' ->> 'community_id' as claim) as token
$$;

-- Supabase's anonymous sign-ins carry the role authenticated; they are nobody here.
create function private.signed_in_user_id() returns uuid
stable
set search_path = ''
language sql
as $$
    select auth.uid() where (auth.jwt() ->> 'is_anonymous') is distinct from 'true'
$$;

create function private.is_super_admin() returns boolean
stable
security definer -- clients have no rights on private.super_admins
set search_path = ''
language sql
as $$
    select exists (
        select from private.super_admins as s
        where s.user_id = private.signed_in_user_id()
            and (s.expires_at is null or s.expires_at > pg_catalog.now())
    )
$$;

-- The community that the caller is acting in: the token's, for as long as the membership is active.
-- Stable, never immutable: a cached plan would keep the first caller's answer.
create function private.get_community_id() returns uuid
stable
security definer -- reads memberships, whose own policies ask this very function
set search_path = ''
language sql
as $$
    select c.id
    from public.communities as c
    where c.id = private.claimed_community_id()
        and (
            exists (
                select from public.memberships as m
                where m.community_id = c.id
                    and m.user_id = private.signed_in_user_id()
                    and m.status = 'active'
            )
            or private.is_super_admin()
        )
$$;

-- Whether the caller is an admin of the community that they are acting in; super admins are, everywhere.
create function private.is_community_admin() returns boolean
stable
security definer -- reads memberships, whose own policies ask this very function
set search_path = ''
language sql
as $$
    select exists (
        select from public.memberships as m
        where m.community_id = private.get_community_id()
            and m.user_id = private.signed_in_user_id()
            and m.status = 'active'
            and m.role = 'community_admin'
    ) or (private.is_super_admin() and private.get_community_id() is not null)
$$;

-- The communities that the caller is an active member of, whichever they are acting in now.
create function private.viewer_community_ids() returns setof uuid
stable
security definer -- looks past the wall, at the caller's own rows only
set search_path = ''
language sql
as $$
    select m.community_id
    from public.memberships as m
    where m.user_id = private.signed_in_user_id() and m.status = 'active'
$$;

-- The caller as clients see themselves; no row when signed out.
create function private.viewer() returns table (
    id uuid, email text, display_name text, role text, is_super_admin boolean, community_id uuid
)
stable
security definer -- reads the caller's own row of auth.users
set search_path = ''
language sql
as $$
    select u.id, u.email::text, m.display_name, m.role, private.is_super_admin(), private.get_community_id()
    from auth.users as u
    left join public.memberships as m
        on m.user_id = u.id and m.community_id = private.get_community_id()
    where u.id = private.signed_in_user_id()
$$;

create function private.viewer_memberships() returns setof public.memberships
stable
security definer -- looks past the wall, at the caller's own rows only
set search_path = ''
language sql
as $$
    select m.*
    from public.memberships as m
    where m.user_id = private.signed_in_user_id() and m.status in ('invited', 'active', 'suspended')
$$;

-- The address of a member, for admins of the community and for the person; null for others.
create function private.member_email(member public.memberships) returns text
stable
security definer -- reads one column of auth.users, for the caller's own community only
set search_path = ''
language sql
as $$
    select u.email::text
    from auth.users as u
    where u.id = member.user_id
        and exists (
            select from public.memberships as m
            where m.user_id = u.id and m.community_id = (select private.get_community_id())
        )
        and (u.id = (select private.signed_in_user_id()) or (select private.is_community_admin()))
$$;

-- Ends a function for everybody but admins, before it says anything about what exists.
create function private.require_community_admin() returns void
stable
set search_path = ''
language plpgsql
as $$
begin
    if private.get_community_id() is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    elsif not private.is_community_admin() then
        perform private.refuse('403', 'Only admins of the community may do this. Ask one of them.');
    end if;
end
$$;

-- Supabase's custom access token hook: names the community that the new token acts in, and the role there.
-- Kept is the community of the user's app_metadata while it holds, else the first one that was joined.
create function private.custom_access_token_hook(event jsonb) returns jsonb
stable
security definer -- supabase_auth_admin has no rights on memberships
set search_path = ''
language sql
as $$
    with person as (
        select
            (event ->> 'user_id')::uuid as id,
            event -> 'claims' -> 'app_metadata' ->> 'community_id' as wanted,
            coalesce((event -> 'claims' ->> 'is_anonymous') = 'true', false) as is_anonymous
    ),
    super as (
        select exists (
            select from private.super_admins as s, person
            where s.user_id = person.id
                and not person.is_anonymous
                and (s.expires_at is null or s.expires_at > pg_catalog.now())
        ) as granted
    ),
    choice as (
        select c.id as community_id, coalesce(m.role, 'community_admin') as role
        from person
        cross join super
        cross join public.communities as c
        left join public.memberships as m
            on m.community_id = c.id and m.user_id = person.id and m.status = 'active'
        where not person.is_anonymous
            and (m.id is not null or (super.granted and c.id::text = person.wanted))
        order by (c.id::text = person.wanted) desc nulls last, m.joined_at, c.id
        limit 1
    )
    select pg_catalog.jsonb_set(
        event,
        '{claims,app_metadata}',
        case pg_catalog.jsonb_typeof(event -> 'claims' -> 'app_metadata')
            when 'object' then event -> 'claims' -> 'app_metadata' else '{}'
        end
        || pg_catalog.jsonb_build_object(
            'community_id', (select choice.community_id from choice),
            'role', (select choice.role from choice),
            'is_super_admin', (select super.granted from super)
        )
    )
$$;

-- Courses, their versions and the tree of blocks of each version.

create table public.courses (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    title text not null,
    description text,
    status text not null default 'draft',
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint courses_pkey primary key (community_id, id),
    constraint courses_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint courses_status_known check (status in ('draft', 'published', 'archived')),
    constraint courses_title_not_blank check (title ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint courses_title_length check (char_length(title) <= 200),
    constraint courses_description_length check (char_length(description) <= 10000)
);
alter table public.courses enable row level security;
comment on table public.courses is 'A course; what is in it stands in its versions.';
comment on column public.courses.version is 'The version that new learners get.';

create index courses_title_idx on public.courses (community_id, title, id);
create index courses_created_at_idx on public.courses (community_id, created_at, id);

create trigger courses_touch_updated_at before update on public.courses
for each row execute function private.touch_updated_at();

create table public.course_versions (
    community_id uuid not null default private.get_community_id(),
    course_id uuid not null,
    version integer not null,
    published boolean not null default false,
    published_at timestamptz,
    created_at timestamptz not null default now(),
    constraint course_versions_pkey primary key (community_id, course_id, version),
    constraint course_versions_published_unique unique (community_id, course_id, version, published),
    constraint course_versions_course_exists foreign key (community_id, course_id)
    references public.courses (community_id, id) on delete cascade,
    constraint course_versions_version_positive check (version >= 1),
    constraint course_versions_published_at_known check (published = (published_at is not null))
);
alter table public.course_versions enable row level security;
comment on table public.course_versions is 'One state of a course''s content; does not change once published.';

-- Deferred: a course and its first version come into being together.
alter table public.courses add constraint courses_version_exists
foreign key (community_id, id, version) references public.course_versions (community_id, course_id, version)
deferrable initially deferred;

-- Enrolled learners work through a published version; taking it back would take it from them.
create function private.keep_published_versions() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if old.published and (
        not new.published or (new.community_id, new.course_id, new.version, new.published_at)
        is distinct from (old.community_id, old.course_id, old.version, old.published_at)
    ) then
        perform private.refuse('412', 'A published version does not change. Make a new version instead.');
    end if;
    return new;
end
$$;

create trigger course_versions_keep_published before update on public.course_versions
for each row execute function private.keep_published_versions();

create table public.blocks (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    course_id uuid not null,
    version integer not null,
    published boolean not null default false,
    parent_id uuid,
    kind text not null,
    title text not null,
    position integer not null,
    weight numeric(9, 3) not null default 1,
    required boolean not null default true,
    completion_mode text not null default 'completable',
    constraint blocks_pkey primary key (community_id, course_id, version, id),
    constraint blocks_position_unique unique (community_id, course_id, version, position) deferrable,
    -- The fourth column keeps `published` equal to the version's, so that policies need no join.
    constraint blocks_version_exists foreign key (community_id, course_id, version, published)
    references public.course_versions (community_id, course_id, version, published)
    on update cascade on delete cascade,
    constraint blocks_parent_exists foreign key (community_id, course_id, version, parent_id)
    references public.blocks (community_id, course_id, version, id) on delete cascade,
    constraint blocks_parent_is_another check (parent_id <> id),
    constraint blocks_kind_format check (kind ~ '^[a-z][a-z0-9_]{0,49}$'),
    constraint blocks_title_not_blank check (title ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint blocks_title_length check (char_length(title) <= 200),
    constraint blocks_position_positive check (position >= 1),
    constraint blocks_weight_range check (weight > 0 and weight <= 100000),
    constraint blocks_completion_mode_known check (completion_mode in ('completable', 'aggregator', 'excluded'))
);
alter table public.blocks enable row level security;
comment on table public.blocks is 'A piece of a course version: chapter, page, video, quiz. Its id stays the same across versions.';
comment on column public.blocks.position is 'Place in the reading order of the version, from 1.';
comment on column public.blocks.completion_mode is
'completable: learners complete it; aggregator: complete when what is in it is; excluded: never counts.';

create index blocks_parent_idx on public.blocks (community_id, course_id, version, parent_id);

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

create function public.update_program(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    program public.programs := private.program_for_change((input ->> 'id')::uuid);
begin
    if program.status = 'archived' then
        perform private.refuse('412', 'The program is archived. Restore it before you change it.');
    end if;
    -- What the input does not name keeps its value; what it names as null is cleared.
    update public.programs as p
    set
        title = case when input ? 'title' then input ->> 'title' else p.title end,
        description = case when input ? 'description' then input ->> 'description' else p.description end,
        duration_weeks = case
            when input ? 'duration_weeks' then (input ->> 'duration_weeks')::integer else p.duration_weeks
        end
    where p.id = program.id;
    return program.id;
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
    constraint program_enrollments_pkey primary key (community_id, id),
    constraint program_enrollments_attempt_once unique (community_id, program_id, user_id, attempt),
    constraint program_enrollments_program_exists foreign key (community_id, program_id)
    references public.programs (community_id, id) on delete cascade,
    constraint program_enrollments_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint program_enrollments_status_known
    check (status in ('pending', 'active', 'paused', 'completed', 'withdrawn', 'expired')),
    constraint program_enrollments_attempt_positive check (attempt >= 1),
    constraint program_enrollments_enrolled_at_sane
    check (enrolled_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint program_enrollments_due_at_sane
    check (due_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint program_enrollments_completed_at_known check ((status = 'completed') <= (completed_at is not null)),
    constraint program_enrollments_withdrawn_at_known check ((status = 'withdrawn') = (withdrawn_at is not null))
);
alter table public.program_enrollments enable row level security;
comment on table public.program_enrollments is 'A person''s way through a program; a further try is a further row.';
comment on column public.program_enrollments.attempt is 'Counts a person''s enrolments in one program, from 1.';

create unique index program_enrollments_one_open on public.program_enrollments (community_id, program_id, user_id)
where status in ('pending', 'active', 'paused');

create index program_enrollments_enrolled_at_idx on public.program_enrollments (community_id, enrolled_at, id);
create index program_enrollments_program_idx
on public.program_enrollments (community_id, program_id, enrolled_at, id);
create index program_enrollments_user_idx on public.program_enrollments (community_id, user_id, enrolled_at, id);

create trigger program_enrollments_touch_updated_at before update on public.program_enrollments
for each row execute function private.touch_updated_at();

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
begin
    -- Nothing below may tell learners about colleagues, or about programs that they do not see.
    if is_learner and new.user_id is distinct from auth.uid() then
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
        perform private.refuse('412', pg_catalog.format(
            'The program is %s; people can be enrolled in published programs only.', program_status
        ));
    elsif member_status is null then
        perform private.refuse('404', 'This person is not a member of your community. Invite them first.');
    elsif member_status <> 'active' then
        perform private.refuse('412', pg_catalog.format(
            'This membership is %s; only active members can be enrolled.', member_status
        ));
    end if;

    select coalesce(max(e.attempt), 0) + 1 into new.attempt
    from public.program_enrollments as e
    where e.community_id = new.community_id and e.program_id = new.program_id and e.user_id = new.user_id;
    return new;
end
$$;

create trigger program_enrollments_begin before insert on public.program_enrollments
for each row execute function private.begin_enrollment();

-- The state machine: pending -> active <-> paused -> completed | withdrawn | expired, and no way back.
create function private.hold_enrollment_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if (new.program_id, new.user_id, new.attempt) is distinct from (old.program_id, old.user_id, old.attempt) then
        perform private.refuse('412', 'An enrolment keeps its program, its person and its attempt.');
    end if;
    if new.due_at is distinct from old.due_at and auth.uid() is not null then
        perform private.require_community_admin();
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
    if new.status = 'completed' then
        new.completed_at := coalesce(old.completed_at, pg_catalog.now());
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
language sql
as $$
    select e.program_id
    from public.program_enrollments as e
    where e.community_id = private.get_community_id() and e.user_id = private.signed_in_user_id()
$$;

-- Counts over all learners of a program: for admins; no row for others, who see too few rows to count.
create function private.program_stats(program public.programs) returns table (
    enrolled bigint, active bigint, completed bigint, completion_rate numeric
)
stable
rows 1
set search_path = ''
language sql
as $$
    select
        count(*),
        count(*) filter (where e.status = 'active'),
        count(*) filter (where e.status = 'completed'),
        count(*) filter (where e.status = 'completed') / nullif(count(*), 0)::numeric
    from public.program_enrollments as e
    where e.community_id = program.community_id and e.program_id = program.id
    having (select private.is_community_admin())
$$;

-- Enrols the caller, or, asked by an admin, another member.
create function public.enroll(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    person uuid := coalesce((input ->> 'user_id')::uuid, auth.uid());
    enrollment_id uuid;
begin
    if person is distinct from auth.uid() or input ->> 'due_at' is not null then
        perform private.require_community_admin();
    end if;
    perform from public.programs as p where p.id = (input ->> 'program_id')::uuid;
    if not found then
        perform private.refuse('404', 'There is no program with this id in your community.');
    end if;
    insert into public.program_enrollments (program_id, user_id, due_at)
    values ((input ->> 'program_id')::uuid, person, (input ->> 'due_at')::timestamptz)
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
