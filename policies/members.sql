-- Members see themselves and may leave; admins see everybody in their community, and change roles and states. Nobody
-- writes a new membership: accepting an invitation does.

alter table public.memberships enable row level security;
alter table public.memberships force row level security;
revoke all on public.memberships from public, anon, authenticated, service_role;
grant select on public.memberships to authenticated;
grant update (role, status, suspension_reason) on public.memberships to authenticated;
grant select, insert, update, delete on public.memberships to service_role;

drop policy if exists members_see_themselves_admins_everybody on public.memberships;
create policy members_see_themselves_admins_everybody on public.memberships
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

drop policy if exists members_leave_admins_change on public.memberships;
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
