-- Who is asking, and in which community: the questions that every policy asks, and what a new token says.
-- In plpgsql, which keeps its plans: before Postgres 18, a function in SQL is planned anew in every statement, and a
-- read of one row then costs nine times as much.

-- The community that the token names; null when it names none, or is an anonymous one, whose bearer is nobody here.
-- Not yet a right: see get_community_id().
create function private.claimed_community_id() returns uuid
stable
set search_path = ''
language plpgsql
as $$
declare
    claims jsonb := auth.jwt();
    claim text := claims -> 'app_metadata' ->> 'community_id';
begin
    if claim ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
        and (claims ->> 'is_anonymous') is distinct from 'true' then
        return claim::uuid;
    end if;
    return null;
end
$$;

-- Supabase's anonymous sign-ins carry the role authenticated; they are nobody here.
create function private.signed_in_user_id() returns uuid
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

create function private.is_super_admin() returns boolean
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
create function private.get_community_id() returns uuid
stable
security definer -- reads memberships, whose own policies ask this very function
set search_path = ''
language plpgsql
as $$
declare
    claimed uuid := private.claimed_community_id();
begin
    if exists (
        select from public.memberships as m
        where m.community_id = claimed and m.user_id = auth.uid() and m.status = 'active'
    ) or (
        private.is_super_admin() and exists (select from public.communities as c where c.id = claimed)
    ) then
        return claimed;
    end if;
    return null;
end
$$;

-- Whether the caller is an admin of the community that they are acting in; super admins are, everywhere.
-- Looks the membership up for itself: a write asks this up to five times.
create function private.is_community_admin() returns boolean
stable
security definer -- reads memberships, whose own policies ask this very function
set search_path = ''
language plpgsql
as $$
declare
    claimed uuid := private.claimed_community_id();
begin
    return exists (
        select from public.memberships as m
        where m.community_id = claimed
            and m.user_id = auth.uid()
            and m.status = 'active'
            and m.role = 'community_admin'
    ) or (
        private.is_super_admin() and exists (select from public.communities as c where c.id = claimed)
    );
end
$$;

-- The communities that the caller is an active member of, whichever they are acting in now.
create function private.viewer_community_ids() returns setof uuid
stable
rows 5
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
create function private.viewer() returns table (
    id uuid, email text, display_name text, role text, is_super_admin boolean, community_id uuid
)
stable
rows 1
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

create function private.viewer_memberships() returns setof public.memberships
stable
rows 5
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
create function private.member_email(member public.memberships) returns text
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
-- First comes the community that the person has switched to, then that of the user's app_metadata, each while it holds,
-- then the first one that was joined. A super admin who has chosen none acts in none, unless they are a member of one.
create function private.custom_access_token_hook(event jsonb) returns jsonb
stable
security definer -- supabase_auth_admin has no rights on memberships
set search_path = ''
language sql
as $$
    with person as (
        select
            (event ->> 'user_id')::uuid as id,
            (
                select a.community_id::text from private.active_communities as a
                where a.user_id = (event ->> 'user_id')::uuid
            ) as chosen,
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
            and (m.id is not null or (super.granted and c.id::text in (person.chosen, person.wanted)))
        order by
            (c.id::text = person.chosen) desc nulls last,
            (c.id::text = person.wanted) desc nulls last,
            m.joined_at, c.id
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
