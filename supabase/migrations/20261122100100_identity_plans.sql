-- The functions that policies and every request ask, in plpgsql: it keeps its plans. Before Postgres 18, a function in
-- SQL is planned anew in every statement.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- The community that the token names, or null when it names none. Not yet a right: see get_community_id().
create or replace function private.claimed_community_id() returns uuid
stable
set search_path = ''
language plpgsql
as $$
declare
    claim text := auth.jwt() -> 'app_metadata' ->> 'community_id';
begin
    if claim ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then
        return claim::uuid;
    end if;
    return null;
end
$$;

-- Supabase's anonymous sign-ins carry the role authenticated; they are nobody here.
create or replace function private.signed_in_user_id() returns uuid
stable
set search_path = ''
language plpgsql
as $$
begin
    if (auth.jwt() ->> 'is_anonymous') = 'true' then
        return null;
    end if;
    return auth.uid();
end
$$;

create or replace function private.is_super_admin() returns boolean
stable
security definer -- clients have no rights on private.super_admins
set search_path = ''
language plpgsql
as $$
begin
    return exists (
        select from private.super_admins as s
        where s.user_id = private.signed_in_user_id()
            and (s.expires_at is null or s.expires_at > pg_catalog.now())
    );
end
$$;

-- The community that the caller is acting in: the token's, for as long as the membership is active.
-- Stable, never immutable: a cached plan would keep the first caller's answer.
create or replace function private.get_community_id() returns uuid
stable
security definer -- reads memberships, whose own policies ask this very function
set search_path = ''
language plpgsql
as $$
declare
    claimed uuid := private.claimed_community_id();
    is_member boolean := exists (
        select from public.memberships as m
        where m.community_id = claimed
            and m.user_id = private.signed_in_user_id()
            and m.status = 'active'
    );
begin
    if is_member or (
        private.is_super_admin() and exists (select from public.communities as c where c.id = claimed)
    ) then
        return claimed;
    end if;
    return null;
end
$$;

-- Whether the caller is an admin of the community that they are acting in; super admins are, everywhere.
create or replace function private.is_community_admin() returns boolean
stable
security definer -- reads memberships, whose own policies ask this very function
set search_path = ''
language plpgsql
as $$
declare
    acting_in uuid := private.get_community_id();
begin
    return acting_in is not null and (
        exists (
            select from public.memberships as m
            where m.community_id = acting_in
                and m.user_id = private.signed_in_user_id()
                and m.status = 'active'
                and m.role = 'community_admin'
        )
        or private.is_super_admin()
    );
end
$$;

-- The communities that the caller is an active member of, whichever they are acting in now.
create or replace function private.viewer_community_ids() returns setof uuid
stable
security definer -- looks past the wall, at the caller's own rows only
set search_path = ''
language plpgsql
as $$
begin
    return query
    select m.community_id
    from public.memberships as m
    where m.user_id = private.signed_in_user_id() and m.status = 'active';
end
$$;

-- The caller as clients see themselves; no row when signed out.
create or replace function private.viewer() returns table (
    id uuid, email text, display_name text, role text, is_super_admin boolean, community_id uuid
)
stable
security definer -- reads the caller's own row of auth.users
set search_path = ''
language plpgsql
as $$
begin
    return query
    select u.id, u.email::text, m.display_name, m.role, private.is_super_admin(), private.get_community_id()
    from auth.users as u
    left join public.memberships as m
        on m.user_id = u.id and m.community_id = private.get_community_id()
    where u.id = private.signed_in_user_id();
end
$$;

create or replace function private.viewer_memberships() returns setof public.memberships
stable
security definer -- looks past the wall, at the caller's own rows only
set search_path = ''
language plpgsql
as $$
begin
    return query
    select m.*
    from public.memberships as m
    where m.user_id = private.signed_in_user_id() and m.status in ('invited', 'active', 'suspended');
end
$$;

-- The address of a member, for admins of the community and for the person; null for others.
create or replace function private.member_email(member public.memberships) returns text
stable
security definer -- reads one column of auth.users, for the caller's own community only
set search_path = ''
language plpgsql
as $$
begin
    return (
        select u.email::text
        from auth.users as u
        where u.id = member.user_id
            and exists (
                select from public.memberships as m
                where m.user_id = u.id and m.community_id = (select private.get_community_id())
            )
            and (u.id = (select private.signed_in_user_id()) or (select private.is_community_admin()))
    );
end
$$;

-- The programs that the caller is or was enrolled in: they stay visible to them when archived.
create or replace function private.viewer_program_ids() returns setof uuid
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
