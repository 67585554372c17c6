-- The audit log: who changed what, written by triggers whoever writes and by which way, and sealed into a chain later.

-- What belongs to no community, as who is a super admin, stands under the nil UUID. No foreign key: entries outlive
-- their community and the people in them.
create table public.audit_entries (
    id uuid not null default gen_random_uuid(),
    community_id uuid not null,
    xid xid8 not null default pg_current_xact_id(),
    occurred_at timestamptz not null default clock_timestamp(),
    actor_id uuid,
    acting_as text not null,
    action text collate "C" not null,
    object_type text collate "C" not null,
    object_id uuid not null,
    object_key jsonb,
    before jsonb,
    after jsonb,
    changed text[] not null default '{}',
    reason text,
    request_id text collate "C",
    -- In the order in which they are sealed.
    constraint audit_entries_pkey primary key (community_id, xid, id),
    constraint audit_entries_acting_as_known
    check (acting_as in ('end_user', 'community_admin', 'super_admin', 'service', 'system'))
);
alter table public.audit_entries enable row level security;
alter table public.audit_entries alter column community_id set (n_distinct = 20);
comment on table public.audit_entries is 'One change of one row: append-only, for every role.';
comment on column public.audit_entries.xid is
'The transaction, by which the sealing knows that nothing earlier is still to come.';
comment on column public.audit_entries.actor_id is 'The signed-in person; null for the platform.';
comment on column public.audit_entries.action is
'The object''s type and created, updated, deleted or, when its status changed, the new status.';
comment on column public.audit_entries.object_key is 'What names the row beside community and object_id, if anything.';
comment on column public.audit_entries.before is 'Of an update only what changed; personal data as salted digests.';
comment on column public.audit_entries.after is 'Of an update only what changed; personal data as salted digests.';

create index audit_entries_occurred_at_idx on public.audit_entries (community_id, occurred_at, id);
create index audit_entries_action_idx on public.audit_entries (community_id, action, occurred_at, id);
create index audit_entries_object_type_idx on public.audit_entries (community_id, object_type, occurred_at, id);
create index audit_entries_object_idx on public.audit_entries (community_id, object_id, occurred_at, id);
create index audit_entries_actor_idx on public.audit_entries (community_id, actor_id, occurred_at, id)
where actor_id is not null;
create index audit_entries_request_idx on public.audit_entries (community_id, request_id, occurred_at, id)
where request_id is not null;

create function private.keep_append_only() returns trigger
volatile
set search_path = ''
language plpgsql
as $$
begin
    perform private.refuse('403', pg_catalog.format(
        '%s keeps what is in it: nobody changes or removes anything there.', tg_table_name
    ));
    return null;
end
$$;

create trigger audit_entries_append_only before update or delete or truncate on public.audit_entries
for each statement execute function private.keep_append_only();

-- The community that the caller is acting in as an admin. As an index condition it keeps everybody else from reading
-- past a log that they see nothing of.
create function private.administered_community_id() returns uuid
stable
set search_path = ''
language plpgsql
as $$
begin
    if private.is_community_admin() then
        return private.claimed_community_id();
    end if;
    return null;
end
$$;
