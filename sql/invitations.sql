-- Invitations: addresses that may become members. A row is an open invitation; accepted, declined or revoked it is gone,
-- for an address is personal data.

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

-- Whether somebody is declining an invitation just now, as the function below says. For that alone: of what else goes, or
-- of what is to another address, the log names who did it, whatever the setting.
create function private.is_declining(person uuid, invitation jsonb) returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(invitation ->> 'id' = pg_catalog.current_setting('gym.declining', true), false) and exists (
        select from auth.users as u
        where u.id = person and u.email_confirmed_at is not null and pg_catalog.lower(u.email) = invitation ->> 'email'
    );
end
$$;

-- Whoever declines stays unnamed in the log of the community, whose admins do not learn that the address has an account.
create function public.decline_invitation(input jsonb) returns uuid
volatile
security definer -- who is invited is not in the community; acts for the caller's own address only
set search_path = ''
language plpgsql
as $$
declare
    invitation public.invitations := private.invitation_for_answer((input ->> 'id')::uuid);
begin
    perform pg_catalog.set_config('gym.declining', invitation.id::text, true);
    delete from public.invitations as i
    where i.community_id = invitation.community_id and i.id = invitation.id;
    perform pg_catalog.set_config('gym.declining', '', true);
    return invitation.id;
end
$$;
