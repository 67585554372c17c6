-- Members see published programs and those they are enrolled in; admins see all, write them, and delete drafts.

alter table public.programs enable row level security;
alter table public.programs force row level security;
revoke all on public.programs from public, anon, authenticated, service_role;
grant select on public.programs to authenticated;
grant insert (title, description, duration_weeks) on public.programs to authenticated;
grant update (title, description, duration_weeks, status, version) on public.programs to authenticated;
grant delete on public.programs to authenticated;
grant select, insert, update, delete on public.programs to service_role;

drop policy if exists members_see_programs_admins_all on public.programs;
create policy members_see_programs_admins_all on public.programs
for select to authenticated
using (
    status = 'published'
    or (select private.is_community_admin())
    or id = any (array(select private.viewer_program_ids()))
);

drop policy if exists admins_create_programs on public.programs;
create policy admins_create_programs on public.programs
for insert to authenticated
with check ((select private.is_community_admin()));

drop policy if exists admins_change_programs on public.programs;
create policy admins_change_programs on public.programs
for update to authenticated
using ((select private.is_community_admin()))
with check ((select private.is_community_admin()));

drop policy if exists admins_delete_drafts on public.programs;
create policy admins_delete_drafts on public.programs
for delete to authenticated
using (status = 'draft' and (select private.is_community_admin()));

-- Callable: mutations, which run under the policies above.

revoke all on function
public.create_program(jsonb),
public.update_program(jsonb),
public.publish_program(jsonb),
public.archive_program(jsonb),
public.restore_program(jsonb),
public.delete_program(jsonb),
private.program_for_change(uuid),
private.require_as_expected(public.programs, jsonb),
private.lock_program_structures(uuid),
private.set_program_status(uuid, text, text),
private.hold_program_states(),
private.keep_programs_with_history()
from public, anon, authenticated, service_role;
grant execute on function
public.create_program(jsonb),
public.update_program(jsonb),
public.publish_program(jsonb),
public.archive_program(jsonb),
public.restore_program(jsonb),
public.delete_program(jsonb),
private.program_for_change(uuid),
private.require_as_expected(public.programs, jsonb),
private.lock_program_structures(uuid),
private.set_program_status(uuid, text, text)
to authenticated;
