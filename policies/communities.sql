-- People see the communities they belong to; super admins see the list of all, and make new ones. The admins of one
-- change its name and its time zone. Nobody changes its slug, which stands in addresses.

alter table public.communities enable row level security;
alter table public.communities force row level security;
revoke all on public.communities from public, anon, authenticated, service_role;
grant select on public.communities to authenticated;
grant insert (slug, name, time_zone) on public.communities to authenticated;
grant update (name, time_zone) on public.communities to authenticated;
grant select, insert, update, delete on public.communities to service_role;

drop policy if exists members_and_super_admins_see_communities on public.communities;
create policy members_and_super_admins_see_communities on public.communities
for select to authenticated
using (
    id = any (array(select private.viewer_community_ids()))
    or (select private.is_super_admin())
);

drop policy if exists super_admins_make_communities on public.communities;
create policy super_admins_make_communities on public.communities
for insert to authenticated
with check ((select private.is_super_admin()));

drop policy if exists admins_change_their_community on public.communities;
create policy admins_change_their_community on public.communities
for update to authenticated
using (id = (select private.get_community_id()) and (select private.is_community_admin()))
with check (id = (select private.get_community_id()) and (select private.is_community_admin()));

-- Super admins are granted by the platform, with SQL; nobody reads the list.

alter table private.super_admins enable row level security;
alter table private.super_admins force row level security;
revoke all on private.super_admins from public, anon, authenticated, service_role;

-- Whoever switches to a community does so by a function.

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
