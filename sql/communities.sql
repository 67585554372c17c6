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

-- A name of the IANA's that this server knows; not what Postgres takes besides, as 'EST' with no summer or 'XYZ+5'.
create function private.hold_time_zone() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    if new.time_zone ~ '^(posix/|right/|localtime$|posixrules$|Factory$)' or not exists (
        select from pg_catalog.pg_timezone_names as z where z.name = new.time_zone
    ) then
        perform private.refuse('400', 'There is no such time zone. Give an IANA name, as Europe/Lisbon or UTC.', 'timeZone');
    end if;
    return new;
end
$$;

-- Not on every change: the server reads hundreds of files to list its time zones.
create trigger communities_hold_time_zone before insert or update of time_zone on public.communities
for each row execute function private.hold_time_zone();

create table public.memberships (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    user_id uuid not null,
    role text not null default 'end_user',
    status text not null default 'active',
    display_name text not null,
    joined_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    suspension_reason text,
    constraint memberships_pkey primary key (community_id, id),
    constraint memberships_one_per_person unique (community_id, user_id),
    constraint memberships_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    constraint memberships_user_exists foreign key (user_id) references auth.users (id) on delete cascade,
    constraint memberships_role_known check (role in ('end_user', 'community_admin')),
    constraint memberships_status_known check (status in ('invited', 'active', 'suspended', 'left')),
    constraint memberships_display_name_not_blank check (display_name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint memberships_display_name_length check (char_length(display_name) <= 200),
    constraint memberships_joined_at_sane check (joined_at between '1970-01-01 00:00+00' and '9999-12-31 00:00+00'),
    constraint memberships_suspension_reason_not_blank check (suspension_reason ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint memberships_suspension_reason_length check (char_length(suspension_reason) <= 500)
);
alter table public.memberships enable row level security;
-- The planner plans before it knows for which community. For one of average size it would read all of it and sort,
-- which a large one cannot bear; the plan for one with a twentieth of all rows suits the small ones just as well. So
-- on every tenant table; not less than 20, for where all are equally small nothing else bounds what it expects.
alter table public.memberships alter column community_id set (n_distinct = 20);
comment on table public.memberships is 'One person in one community, with the role that the policies go by.';
comment on column public.memberships.suspension_reason is 'Why it is suspended; the person may read it. Null unless it is.';

-- The policies look a caller up by user_id alone, and a person lists their own memberships.
create index memberships_user_id_idx on public.memberships (user_id, community_id);
create index memberships_display_name_idx on public.memberships (community_id, display_name, id);

-- For the question whether another admin stays.
create index memberships_active_admins_idx on public.memberships (community_id, user_id)
where role = 'community_admin' and status = 'active';

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

-- The community that somebody has chosen to act in, from the next token on: see custom_access_token_hook(). Not a right,
-- and no reference to a membership: super admins have none, and the hook asks whether the choice still holds.
create table private.active_communities (
    user_id uuid not null,
    community_id uuid not null,
    chosen_at timestamptz not null default now(),
    constraint active_communities_pkey primary key (user_id),
    constraint active_communities_user_exists foreign key (user_id) references auth.users (id) on delete cascade,
    constraint active_communities_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade
);
alter table private.active_communities enable row level security;
comment on table private.active_communities is 'The community that a person has switched to last.';

create index active_communities_community_idx on private.active_communities (community_id);

-- What mutations do.

create function public.create_community(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    community_id uuid;
begin
    if not private.is_super_admin() then
        perform private.refuse('403', 'Only super admins of the platform make communities. Ask one of them.');
    end if;
    insert into public.communities (slug, name, time_zone)
    values (input ->> 'slug', input ->> 'name', coalesce(input ->> 'time_zone', 'UTC'))
    returning id into community_id;
    return community_id;
end
$$;

create function public.update_community(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    community_id uuid := (input ->> 'id')::uuid;
begin
    update public.communities as c
    set
        name = case when input ? 'name' then input ->> 'name' else c.name end,
        time_zone = case when input ? 'time_zone' then input ->> 'time_zone' else c.time_zone end
    where c.id = community_id;
    if not found then
        perform private.require_community_admin();
        perform private.refuse('404', 'This is not the community that you are acting in. Switch to it first.');
    end if;
    return community_id;
end
$$;

-- For whoever is signed in, wherever their token says that they act, and if it says nothing.
create function public.switch_community(input jsonb) returns uuid
volatile
security definer -- the choice stands where clients have no rights; looks past the wall, at the caller's own rows only
set search_path = ''
language plpgsql
as $$
declare
    wanted uuid := (input ->> 'community_id')::uuid;
    me uuid := private.signed_in_user_id();
begin
    if not exists (
        select from public.memberships as m
        where m.community_id = wanted and m.user_id = me and m.status = 'active'
    ) and not (
        private.is_super_admin() and exists (select from public.communities as c where c.id = wanted)
    ) then
        perform private.refuse('404', case
            when private.is_super_admin() then 'There is no community with this id.'
            else 'There is no community with this id in which you are an active member.'
        end);
    end if;
    insert into private.active_communities as a (user_id, community_id)
    values (me, wanted)
    on conflict (user_id) do update set community_id = excluded.community_id, chosen_at = pg_catalog.now();
    return wanted;
end
$$;
