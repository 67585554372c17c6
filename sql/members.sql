-- Who is in a community, as what, and how that ends. What begins a membership is in invitations.sql.

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
    -- Whether it is too long, the column says, in its own words.
    perform private.note_reason(pg_catalog.left(input ->> 'reason', 1000));
    update public.memberships as m
    set status = to_status, suspension_reason = input ->> 'reason'
    where m.id = member.id;
    perform private.note_reason(null);
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
