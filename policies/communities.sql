-- People see the communities they belong to; super admins see the list of all. Nobody but the platform makes them.

alter table public.communities enable row level security;
alter table public.communities force row level security;
revoke all on public.communities from public, anon, authenticated, service_role;
grant select on public.communities to authenticated;
grant select, insert, update, delete on public.communities to service_role;

drop policy if exists members_and_super_admins_see_communities on public.communities;
create policy members_and_super_admins_see_communities on public.communities
for select to authenticated
using (
    id = any (array(select private.viewer_community_ids()))
    or (select private.is_super_admin())
);

-- Members see themselves; admins see everybody in their community.

alter table public.memberships enable row level security;
alter table public.memberships force row level security;
revoke all on public.memberships from public, anon, authenticated, service_role;
grant select on public.memberships to authenticated;
grant select, insert, update, delete on public.memberships to service_role;

drop policy if exists members_see_themselves_admins_everybody on public.memberships;
create policy members_see_themselves_admins_everybody on public.memberships
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

-- Super admins are granted by the platform, with SQL; nobody reads the list.

alter table private.super_admins enable row level security;
alter table private.super_admins force row level security;
revoke all on private.super_admins from public, anon, authenticated, service_role;
