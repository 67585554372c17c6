-- Admins read the log of their community. Nobody else reads it, and nobody writes it but the triggers.

alter table public.audit_entries enable row level security;
alter table public.audit_entries force row level security;
revoke all on public.audit_entries from public, anon, authenticated, service_role;
grant select on public.audit_entries to authenticated;

drop policy if exists admins_read_the_audit_log on public.audit_entries;
create policy admins_read_the_audit_log on public.audit_entries
for select to authenticated
using (community_id = (select private.administered_community_id()));

-- The chain, and the salts: for the platform, with the commands that seal and verify.

alter table private.audit_salts enable row level security;
alter table private.audit_salts force row level security;
revoke all on private.audit_salts from public, anon, authenticated, service_role;

alter table private.audit_seals enable row level security;
alter table private.audit_seals force row level security;
revoke all on private.audit_seals from public, anon, authenticated, service_role;

alter table private.audit_heads enable row level security;
alter table private.audit_heads force row level security;
revoke all on private.audit_heads from public, anon, authenticated, service_role;

revoke all on function
private.keep_append_only(),
private.refuse_truncate(),
private.acting_as(uuid, uuid),
private.audit_salt(uuid),
private.audit_redacted(jsonb, text[], uuid),
private.record_changes(),
private.record_changes_of(regclass),
private.administered_community_id(),
private.audit_entry_is_sealed(public.audit_entries),
private.audited_communities(),
private.entries_to_seal(uuid, xid8, uuid, xid8, integer),
private.last_audit_head(uuid),
private.append_audit_seals(private.audit_heads, xid8[], uuid[], bytea[])
from public, anon, authenticated, service_role;
grant execute on function
private.administered_community_id(),
private.audit_entry_is_sealed(public.audit_entries)
to authenticated;

-- The worker seals.
grant execute on function
private.audited_communities(),
private.entries_to_seal(uuid, xid8, uuid, xid8, integer),
private.last_audit_head(uuid),
private.append_audit_seals(private.audit_heads, xid8[], uuid[], bytea[])
to gym_worker;
