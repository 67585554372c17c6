-- Fewer questions a write: each of the policies' questions looks up one membership, where it looked up two, and
-- update_program asks why only when it has changed nothing.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- The community that the token names; null when it names none, or is an anonymous one, whose bearer is nobody here.
-- Not yet a right: see get_community_id().
create or replace function private.claimed_community_id() returns uuid
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
create or replace function private.is_community_admin() returns boolean
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

-- One statement when all is well: only where it changes nothing is it asked why.
create or replace function public.update_program(input jsonb) returns uuid
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
