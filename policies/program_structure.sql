-- Callable: mutations and what they are made of, which run under the policies of what they read and write.

revoke all on function
public.assign_courses(jsonb),
public.clone_program(jsonb),
private.program_structure(uuid, integer),
private.write_structure(uuid, integer, jsonb),
private.touch_program(uuid),
private.list_in(jsonb, text),
private.courses_in(jsonb),
private.groups_in(jsonb, jsonb),
private.structure_in(jsonb, jsonb)
from public, anon, authenticated, service_role;
grant execute on function
public.assign_courses(jsonb),
public.clone_program(jsonb),
private.program_structure(uuid, integer),
private.write_structure(uuid, integer, jsonb),
private.touch_program(uuid),
private.list_in(jsonb, text),
private.courses_in(jsonb),
private.groups_in(jsonb, jsonb),
private.structure_in(jsonb, jsonb)
to authenticated;
