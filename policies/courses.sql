-- Members see published and archived courses with their published versions; admins see drafts too.

alter table public.courses enable row level security;
alter table public.courses force row level security;
revoke all on public.courses from public, anon, authenticated, service_role;
grant select on public.courses to authenticated;
grant select, insert, update, delete on public.courses to service_role;

drop policy if exists members_see_courses_admins_drafts_too on public.courses;
create policy members_see_courses_admins_drafts_too on public.courses
for select to authenticated
using (status <> 'draft' or (select private.is_community_admin()));

alter table public.course_versions enable row level security;
alter table public.course_versions force row level security;
revoke all on public.course_versions from public, anon, authenticated, service_role;
grant select on public.course_versions to authenticated;
grant select, insert, update, delete on public.course_versions to service_role;

drop policy if exists members_see_published_versions_admins_all on public.course_versions;
create policy members_see_published_versions_admins_all on public.course_versions
for select to authenticated
using (published or (select private.is_community_admin()));

alter table public.blocks enable row level security;
alter table public.blocks force row level security;
revoke all on public.blocks from public, anon, authenticated, service_role;
grant select on public.blocks to authenticated;
grant select, insert, update, delete on public.blocks to service_role;

drop policy if exists members_see_published_blocks_admins_all on public.blocks;
create policy members_see_published_blocks_admins_all on public.blocks
for select to authenticated
using (published or (select private.is_community_admin()));

revoke all on function private.keep_published_versions() from public, anon, authenticated, service_role;
