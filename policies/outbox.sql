-- Nobody reads the outbox but the server itself, and then only what has just changed: ids, and no content.

alter table private.outbox enable row level security;
alter table private.outbox force row level security;
revoke all on private.outbox from public, anon, authenticated, service_role;

alter table private.outbox_marks enable row level security;
alter table private.outbox_marks force row level security;
revoke all on private.outbox_marks from public, anon, authenticated, service_role;

revoke all on function
private.tell_content(),
private.tell_community(),
private.tell_member(),
private.tell_super_admin(),
private.tell_learning(),
private.tell_enrollment(),
private.tell_changes_of(regclass, text),
private.changes_since(text),
private.forget_old_changes()
from public, anon, authenticated, service_role;

grant execute on function private.changes_since(text) to gym_api;
grant execute on function private.forget_old_changes() to gym_worker;
