-- Communities, members and invitations have mutations: the states of a membership, the last admin who stays, invitations
-- that tell nobody who has an account, and the community that a person has switched to.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

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

alter table public.memberships
add column suspension_reason text
constraint memberships_suspension_reason_not_blank check (suspension_reason ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]')
constraint memberships_suspension_reason_length check (char_length(suspension_reason) <= 500);
comment on column public.memberships.suspension_reason is 'Why it is suspended; the person may read it. Null unless it is.';

-- For the question whether another admin stays. Writes wait while it is made: few rows go in, of a table with one row a
-- person and community.
-- squawk-ignore require-concurrent-index-creation
create index memberships_active_admins_idx on public.memberships (community_id, user_id)
where role = 'community_admin' and status = 'active';

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
        perform private.refuse('404', 'There is no community with this id in which you are an active member.');
    end if;
    insert into private.active_communities as a (user_id, community_id)
    values (me, wanted)
    on conflict (user_id) do update set community_id = excluded.community_id, chosen_at = pg_catalog.now();
    return wanted;
end
$$;

-- The state machine of memberships. Whoever writes, and by which way, these are the only moves.
create function private.hold_membership_states() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
declare
    begins boolean := old.status in ('invited', 'left') and new.status = 'active';
    is_client boolean := auth.uid() is not null;
begin
    if (new.community_id, new.user_id) is distinct from (old.community_id, old.user_id) then
        perform private.refuse('412', 'A membership keeps its community and its person.');
    end if;
    if new.role <> old.role and not begins then
        if is_client then
            perform private.require_community_admin();
        end if;
        if old.status = 'left' then
            perform private.refuse('412', 'This person has left. Invite them again, in the role that they shall have.');
        end if;
    end if;
    if new.status <> old.status and not (old.status, new.status) in (
        ('invited', 'active'), ('invited', 'left'),
        ('active', 'suspended'), ('active', 'left'),
        ('suspended', 'active'), ('suspended', 'left'),
        ('left', 'active')
    ) then
        perform private.refuse('412', pg_catalog.format('A membership cannot go from %s to %s.', old.status, new.status));
    elsif begins and is_client and new.user_id <> auth.uid() then
        perform private.refuse('412', 'Nobody is made a member by others. Invite them, and they accept.');
    elsif new.status <> 'suspended' then
        new.suspension_reason := null;
    elsif is_client and new.suspension_reason is null
        and (old.status <> 'suspended' or old.suspension_reason is not null) then
        perform private.refuse('400', 'Say why the membership is suspended; the person may read it.', 'reason');
    end if;
    return new;
end
$$;

create trigger memberships_hold_states before update on public.memberships
for each row execute function private.hold_membership_states();

-- A community that has an admin keeps one. Two admins who end each other's role at the same moment wait for each other
-- here, first the membership locked and then the community, and the later one sees what the earlier one did.
create function private.keep_an_admin() returns trigger
volatile
security definer -- locks the community, which its admins may not; looks at rows of old.community_id only
set search_path = ''
language plpgsql
as $$
begin
    perform from public.communities as c where c.id = old.community_id for no key update;
    -- A community that is deleted takes everybody with it, and a person may always be deleted: the platform's own
    -- people can still act in what they leave.
    if not found or not exists (select from auth.users as u where u.id = old.user_id) then
        return coalesce(new, old);
    end if;
    -- Asked again, for whoever waited may have lost the right meanwhile.
    if auth.uid() <> old.user_id then
        perform private.require_community_admin();
    end if;
    if not exists (
        select from public.memberships as m
        where m.community_id = old.community_id and m.id <> old.id
            and m.role = 'community_admin' and m.status = 'active'
    ) then
        perform private.refuse('412', 'This is the last admin of the community. Make somebody else an admin first.');
    end if;
    return coalesce(new, old);
end
$$;

create trigger memberships_keep_an_admin before update on public.memberships
for each row when (
    old.role = 'community_admin' and old.status = 'active'
    and (new.role <> 'community_admin' or new.status <> 'active')
)
execute function private.keep_an_admin();

create trigger memberships_keep_an_admin_there before delete on public.memberships
for each row when (old.role = 'community_admin' and old.status = 'active')
execute function private.keep_an_admin();

-- What mutations do. They run as the caller, under the policies.

create function private.member_for_change(input jsonb) returns public.memberships
volatile
set search_path = ''
language plpgsql
as $$
declare
    member public.memberships;
begin
    perform private.require_community_admin();
    if (input ->> 'id' is null) = (input ->> 'user_id' is null) then
        perform private.refuse('400', 'Name one member, either by id or by userId.', 'id');
    end if;
    select m.* into member
    from public.memberships as m
    where m.id = (input ->> 'id')::uuid or m.user_id = (input ->> 'user_id')::uuid
    for no key update;
    if not found then
        perform private.refuse('404', 'There is no member with this id in your community.');
    end if;
    return member;
end
$$;

create function public.change_member_role(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    member public.memberships := private.member_for_change(input);
begin
    update public.memberships as m set role = input ->> 'role' where m.id = member.id;
    return member.id;
end
$$;

-- Enrolments stay as they are, whatever becomes of a membership: who is not active sees none of them, and who comes
-- back goes on where they were.
create function private.set_member_status(input jsonb, verb text, from_statuses text[], to_status text) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    member public.memberships := private.member_for_change(input);
begin
    if member.status <> all (from_statuses) then
        perform private.refuse('412', pg_catalog.format(
            'This membership is %s; only one that is %s can be %s.',
            member.status, pg_catalog.array_to_string(from_statuses, ' or '), verb
        ));
    end if;
    update public.memberships as m
    set status = to_status, suspension_reason = input ->> 'reason'
    where m.id = member.id;
    return member.id;
end
$$;

create function public.suspend_member(input jsonb) returns uuid
volatile
set search_path = ''
language sql
as $$ select private.set_member_status(input, 'suspended', '{active}', 'suspended') $$;

create function public.reinstate_member(input jsonb) returns uuid
volatile
set search_path = ''
language sql
as $$ select private.set_member_status(input, 'reinstated', '{suspended}', 'active') $$;

create function public.remove_member(input jsonb) returns uuid
volatile
set search_path = ''
language sql
as $$ select private.set_member_status(input, 'removed', '{invited,active,suspended}', 'left') $$;

-- Ends the caller's own membership in the community that they are acting in; gives the id of the community.
create function public.leave_community(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    community uuid := private.get_community_id();
    me uuid := auth.uid(); -- as a variable it is looked up by index, also behind the policies
begin
    if community is null then
        perform private.refuse(
            '403', 'You are acting in no community: your token names none in which you are an active member.'
        );
    elsif community <> (input ->> 'community_id')::uuid then
        perform private.refuse('404', 'This is not the community that you are acting in. Switch to it first.');
    end if;
    update public.memberships as m set status = 'left' where m.user_id = me and m.status = 'active';
    if not found then
        perform private.refuse('412', 'You are not an active member here. Super admins switch to another community instead.');
    end if;
    return community;
end
$$;

-- All are alike, whether somebody has an account with that address or not: who invites does not learn it.
create table public.invitations (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null default private.get_community_id(),
    email text not null,
    display_name text not null,
    role text not null default 'end_user',
    invited_by uuid default auth.uid(),
    invited_at timestamptz not null default now(),
    expires_at timestamptz not null default now() + interval '14 days',
    constraint invitations_pkey primary key (community_id, id),
    constraint invitations_one_per_address unique (community_id, email),
    constraint invitations_community_exists foreign key (community_id)
    references public.communities (id) on delete cascade,
    -- Not a membership: super admins invite too, and people leave.
    constraint invitations_inviter_exists foreign key (invited_by) references auth.users (id) on delete set null,
    constraint invitations_role_known check (role in ('end_user', 'community_admin')),
    constraint invitations_email_format check (email ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$' and email = lower(email)),
    constraint invitations_email_length check (char_length(email) <= 254),
    constraint invitations_display_name_not_blank check (display_name ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]'),
    constraint invitations_display_name_length check (char_length(display_name) <= 200)
);
alter table public.invitations enable row level security;
alter table public.invitations alter column community_id set (n_distinct = 20);
comment on table public.invitations is 'An e-mail address that may join the community, until a day.';
comment on column public.invitations.email is 'In lower case. Admins see it, and who has confirmed it as theirs.';

create index invitations_invited_at_idx on public.invitations (community_id, invited_at, id);
-- A person's own, in whichever communities.
create index invitations_email_idx on public.invitations (email);
create index invitations_invited_by_idx on public.invitations (invited_by);

-- Holds the rules of inviting, and of inviting again, whoever writes and by which way.
create function private.begin_invitation() returns trigger
volatile
security definer -- finds members by the address in auth.users; looks at members of new.community_id only
set search_path = ''
language plpgsql
as $$
declare
    standing text;
begin
    -- Comes before the policies, so it must say nothing to others.
    if auth.uid() is not null then
        perform private.require_community_admin();
    end if;
    new.email := pg_catalog.lower(pg_catalog.btrim(new.email));
    -- By the index that Supabase's sign-in finds its users with; their instance_id is always this one.
    select m.status into standing
    from auth.users as u
    join public.memberships as m on m.user_id = u.id and m.community_id = new.community_id
    where u.instance_id = '00000000-0000-0000-0000-000000000000' and pg_catalog.lower(u.email) = new.email
        and m.status in ('active', 'suspended')
    limit 1;
    if standing = 'active' then
        perform private.refuse('409', 'This person is a member already.', 'email');
    elsif standing = 'suspended' then
        perform private.refuse('412', 'This person is suspended in your community. Reinstate them instead.', 'email');
    end if;
    if tg_op = 'UPDATE' then
        new.invited_by := auth.uid();
        new.invited_at := pg_catalog.now();
        new.expires_at := pg_catalog.now() + interval '14 days';
    end if;
    return new;
end
$$;

create trigger invitations_begin before insert or update of email, display_name, role on public.invitations
for each row execute function private.begin_invitation();

-- The invitations that the caller can accept: to the address that they have confirmed, and not expired.
create function private.viewer_invitations() returns table (
    id uuid, community_name text, display_name text, role text, invited_at timestamptz, expires_at timestamptz
)
stable
rows 5
security definer -- looks past the wall, for the caller's own address only
set search_path = ''
language plpgsql
as $$
begin
    return query
    select i.id, c.name, i.display_name, i.role, i.invited_at, i.expires_at
    from auth.users as u
    join public.invitations as i on i.email = pg_catalog.lower(u.email)
    join public.communities as c on c.id = i.community_id
    where u.id = private.signed_in_user_id()
        and u.email_confirmed_at is not null
        and i.expires_at > pg_catalog.now();
end
$$;

-- What mutations do.

-- Invites, or invites again: with the new role and name, for another 14 days.
create function public.invite_member(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    invitation_id uuid;
begin
    perform private.require_community_admin();
    insert into public.invitations (email, display_name, role)
    values (input ->> 'email', input ->> 'display_name', coalesce(input ->> 'role', 'end_user'))
    on conflict on constraint invitations_one_per_address do update
    set display_name = excluded.display_name, role = excluded.role
    returning id into invitation_id;
    return invitation_id;
end
$$;

create function public.revoke_invitation(input jsonb) returns uuid
volatile
set search_path = ''
language plpgsql
as $$
declare
    invitation_id uuid := (input ->> 'id')::uuid;
begin
    delete from public.invitations as i where i.id = invitation_id;
    if not found then
        perform private.require_community_admin();
        perform private.refuse('404', 'There is no invitation with this id in your community.');
    end if;
    return invitation_id;
end
$$;

-- The invitation to the caller's own address, locked; for the two functions below, which run as its owner.
create function private.invitation_for_answer(invitation_id uuid) returns public.invitations
volatile
set search_path = ''
language plpgsql
as $$
declare
    address text;
    invitation public.invitations;
begin
    select pg_catalog.lower(u.email) into address
    from auth.users as u
    where u.id = private.signed_in_user_id() and u.email_confirmed_at is not null;
    if not found then
        perform private.refuse('412', 'Confirm your e-mail address first: invitations are for confirmed addresses.');
    end if;
    select i.* into invitation
    from public.invitations as i
    where i.email = address and i.id = invitation_id
    for update;
    if not found then
        perform private.refuse('404', 'There is no invitation with this id to your e-mail address.');
    end if;
    return invitation;
end
$$;

-- Makes the membership; gives the id of its community.
create function public.accept_invitation(input jsonb) returns uuid
volatile
security definer -- who is invited is not in the community yet; acts for the caller's own address only
set search_path = ''
language plpgsql
as $$
declare
    invitation public.invitations := private.invitation_for_answer((input ->> 'id')::uuid);
    standing text;
begin
    if invitation.expires_at <= pg_catalog.now() then
        perform private.refuse('412', 'The invitation has expired. Ask an admin of the community to invite you again.');
    end if;
    select m.status into standing
    from public.memberships as m
    where m.community_id = invitation.community_id and m.user_id = auth.uid()
    for no key update;
    if standing = 'active' then
        perform private.refuse('409', 'You are a member of this community already.');
    elsif standing = 'suspended' then
        perform private.refuse('412', 'You are suspended in this community. Ask one of its admins.');
    end if;
    insert into public.memberships as m (community_id, user_id, role, display_name)
    values (invitation.community_id, auth.uid(), invitation.role, invitation.display_name)
    on conflict on constraint memberships_one_per_person do update
    set
        status = 'active', role = excluded.role, display_name = excluded.display_name,
        joined_at = excluded.joined_at;
    delete from public.invitations as i
    where i.community_id = invitation.community_id and i.id = invitation.id;
    return invitation.community_id;
end
$$;

create function public.decline_invitation(input jsonb) returns uuid
volatile
security definer -- who is invited is not in the community; acts for the caller's own address only
set search_path = ''
language plpgsql
as $$
declare
    invitation public.invitations := private.invitation_for_answer((input ->> 'id')::uuid);
begin
    delete from public.invitations as i
    where i.community_id = invitation.community_id and i.id = invitation.id;
    return invitation.id;
end
$$;

-- Supabase's custom access token hook: names the community that the new token acts in, and the role there.
-- First comes the community that the person has switched to, then that of the user's app_metadata, each while it holds,
-- then the first one that was joined. A super admin who has chosen none acts in none, unless they are a member of one.
create or replace function private.custom_access_token_hook(event jsonb) returns jsonb
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

-- Who may see and change which rows.

grant insert (slug, name, time_zone) on public.communities to authenticated;
grant update (name, time_zone) on public.communities to authenticated;

create policy super_admins_make_communities on public.communities
for insert to authenticated
with check ((select private.is_super_admin()));

create policy admins_change_their_community on public.communities
for update to authenticated
using (id = (select private.get_community_id()) and (select private.is_community_admin()))
with check (id = (select private.get_community_id()) and (select private.is_community_admin()));

alter table private.active_communities enable row level security;
alter table private.active_communities force row level security;
revoke all on private.active_communities from public, anon, authenticated, service_role;

revoke all on function
public.create_community(jsonb),
public.update_community(jsonb),
public.switch_community(jsonb),
private.hold_time_zone()
from public, anon, authenticated, service_role;
grant execute on function
public.create_community(jsonb),
public.update_community(jsonb),
public.switch_community(jsonb)
to authenticated;

grant update (role, status, suspension_reason) on public.memberships to authenticated;

create policy members_leave_admins_change on public.memberships
for update to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()))
with check (
    (select private.is_community_admin())
    or (user_id = (select auth.uid()) and status = 'left')
);

revoke all on function
public.change_member_role(jsonb),
public.suspend_member(jsonb),
public.reinstate_member(jsonb),
public.remove_member(jsonb),
public.leave_community(jsonb),
private.member_for_change(jsonb),
private.set_member_status(jsonb, text, text[], text),
private.hold_membership_states(),
private.keep_an_admin()
from public, anon, authenticated, service_role;
grant execute on function
public.change_member_role(jsonb),
public.suspend_member(jsonb),
public.reinstate_member(jsonb),
public.remove_member(jsonb),
public.leave_community(jsonb),
private.member_for_change(jsonb),
private.set_member_status(jsonb, text, text[], text)
to authenticated;

alter table public.invitations enable row level security;
alter table public.invitations force row level security;
revoke all on public.invitations from public, anon, authenticated, service_role;
grant select on public.invitations to authenticated;
grant insert (email, display_name, role) on public.invitations to authenticated;
grant update (display_name, role) on public.invitations to authenticated;
grant delete on public.invitations to authenticated;
grant select, insert, update, delete on public.invitations to service_role;

create policy admins_see_invitations on public.invitations
for select to authenticated
using ((select private.is_community_admin()));

create policy admins_invite on public.invitations
for insert to authenticated
with check ((select private.is_community_admin()));

create policy admins_invite_again on public.invitations
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

create policy admins_revoke_invitations on public.invitations
for delete to authenticated
using ((select private.is_community_admin()));

revoke all on function
public.invite_member(jsonb),
public.revoke_invitation(jsonb),
public.accept_invitation(jsonb),
public.decline_invitation(jsonb),
private.viewer_invitations(),
private.invitation_for_answer(uuid),
private.begin_invitation()
from public, anon, authenticated, service_role;
grant execute on function
public.invite_member(jsonb),
public.revoke_invitation(jsonb),
public.accept_invitation(jsonb),
public.decline_invitation(jsonb),
private.viewer_invitations()
to authenticated;

-- The wall of the new table, bound as policies/tenant_isolation.sql binds it.
do $$
declare
    question text := case
        when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
    end || '.get_community_id()';
begin
    execute pg_catalog.format(
        'create policy client_isolation_invitations on public.invitations as restrictive for all to public '
        'using (community_id = (select %1$s)) with check (community_id = (select %1$s))',
        question
    );
end
$$;
