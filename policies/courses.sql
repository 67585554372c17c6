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

-- The ids of all blocks tell about drafts too.

alter table public.block_identities enable row level security;
alter table public.block_identities force row level security;
revoke all on public.block_identities from public, anon, authenticated, service_role;
grant select on public.block_identities to authenticated;
-- No more than that: an id keeps its course.
grant select, insert on public.block_identities to service_role;

drop policy if exists admins_see_the_ids_of_blocks on public.block_identities;
create policy admins_see_the_ids_of_blocks on public.block_identities
for select to authenticated
using ((select private.is_community_admin()));

-- Callable: mutations, which ask for the right themselves; reading functions, which run under the policies above; and
-- for service_role what its publishing runs through.

revoke all on function
public.import_course(jsonb),
public.update_course(jsonb),
public.publish_course(jsonb),
public.archive_course(jsonb),
public.restore_course(jsonb),
public.delete_course(jsonb),
public.discard_course_version(jsonb),
private.export_course(jsonb),
private.blocks_text(public.blocks[]),
private.blocks_of(public.course_versions),
private.blocks_in(public.course_versions, jsonb),
private.version_with_blocks(public.courses, jsonb),
private.block_count(public.course_versions),
private.tree_hash(public.course_versions),
private.course_for_change(uuid, boolean),
private.course_for_move(uuid, boolean),
private.set_course_status(uuid, text, text),
private.write_next_version(public.courses, jsonb),
private.publish_next_version(public.courses),
private.hold_course_states(),
private.keep_courses_with_history(),
private.hold_course_versions(),
private.keep_published_blocks()
from public, anon, authenticated, service_role;
grant execute on function
public.import_course(jsonb),
public.update_course(jsonb),
public.publish_course(jsonb),
public.archive_course(jsonb),
public.restore_course(jsonb),
public.delete_course(jsonb),
public.discard_course_version(jsonb),
private.export_course(jsonb),
private.block_count(public.course_versions)
to authenticated;
grant execute on function
private.blocks_text(public.blocks[]),
private.blocks_of(public.course_versions)
to authenticated, service_role;
grant execute on function
private.tree_hash(public.course_versions)
to service_role;

revoke all on function
private.check_course(jsonb),
private.check_course_blocks(jsonb),
private.check_course_block(jsonb, integer),
private.refuse_parent(jsonb, integer, jsonb),
private.refuse_block(jsonb, integer, text, text, text),
private.text_problem(jsonb, integer),
private.unknown_key(jsonb, text[])
from public, anon, authenticated, service_role;
grant execute on function
private.check_course_blocks(jsonb),
private.check_course_block(jsonb, integer),
private.refuse_parent(jsonb, integer, jsonb),
private.refuse_block(jsonb, integer, text, text, text),
private.text_problem(jsonb, integer),
private.unknown_key(jsonb, text[])
to service_role;
-- The names of groups in programs are asked about too.
grant execute on function private.text_problem(jsonb, integer) to authenticated;
