-- Admins see the invitations of their community, invite, invite again and revoke. The invited person sees and answers
-- their own through functions, which ask for the confirmed address.

alter table public.invitations enable row level security;
alter table public.invitations force row level security;
revoke all on public.invitations from public, anon, authenticated, service_role;
grant select on public.invitations to authenticated;
grant insert (email, display_name, role) on public.invitations to authenticated;
grant update (display_name, role) on public.invitations to authenticated;
grant delete on public.invitations to authenticated;
grant select, insert, update, delete on public.invitations to service_role;

drop policy if exists admins_see_invitations on public.invitations;
create policy admins_see_invitations on public.invitations
for select to authenticated
using ((select private.is_community_admin()));

drop policy if exists admins_invite on public.invitations;
create policy admins_invite on public.invitations
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_invite_again on public.invitations;
create policy admins_invite_again on public.invitations
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_revoke_invitations on public.invitations;
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
private.is_declining(uuid, jsonb),
private.begin_invitation()
from public, anon, authenticated, service_role;
grant execute on function
public.invite_member(jsonb),
public.revoke_invitation(jsonb),
public.accept_invitation(jsonb),
public.decline_invitation(jsonb),
private.viewer_invitations()
to authenticated;
