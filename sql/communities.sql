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
-- The planner plans before it knows for which community. For one of average size it would read all of it and sort,
-- which a large one cannot bear; the plan for one with a twentieth of all rows suits the small ones just as well. So
-- on every tenant table; not less than 20, for where all are equally small nothing else bounds what it expects.
alter table public.memberships alter column community_id set (n_distinct = 20);
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
