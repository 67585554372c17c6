-- The seals of the audit log: what makes it show when somebody has changed it.

-- The chain of a community: each hash is over the one before and over its entry. Apart from the entries, which are
-- hashed once their transactions have ended, so that no writer waits for another.
create table private.audit_seals (
    community_id uuid not null,
    sequence bigint not null,
    entry_xid xid8 not null,
    entry_id uuid not null,
    hash bytea not null,
    constraint audit_seals_pkey primary key (community_id, sequence),
    constraint audit_seals_entry_once unique (community_id, entry_id, entry_xid),
    constraint audit_seals_sequence_positive check (sequence >= 1),
    constraint audit_seals_hash_length check (octet_length(hash) = 32)
);
alter table private.audit_seals enable row level security;
comment on table private.audit_seals is 'The hash of each entry, in a chain per community; append-only.';

create table private.audit_heads (
    community_id uuid not null,
    number bigint not null,
    sequence bigint not null,
    hash bytea not null,
    upto_xid xid8 not null,
    upto_id uuid not null,
    sealed_at timestamptz not null,
    restored boolean not null default false,
    key_id text not null,
    public_key bytea not null,
    signature bytea not null,
    constraint audit_heads_pkey primary key (community_id, number),
    constraint audit_heads_number_positive check (number >= 1),
    constraint audit_heads_sequence_not_negative check (sequence >= 0),
    constraint audit_heads_hash_length check (octet_length(hash) = 32)
);
alter table private.audit_heads enable row level security;
comment on table private.audit_heads is 'The signed end of a chain each time that it grew; append-only.';
comment on column private.audit_heads.upto_id is
'With upto_xid: there are no entries up to here but those that are sealed.';
comment on column private.audit_heads.restored is
'The database came from a dump: transactions are counted anew from here on.';

create trigger audit_seals_append_only before update or delete or truncate on private.audit_seals
for each statement execute function private.keep_append_only();
create trigger audit_heads_append_only before update or delete or truncate on private.audit_heads
for each statement execute function private.keep_append_only();

create function private.audit_entry_is_sealed(entry public.audit_entries) returns boolean
stable
security definer -- clients have no rights on the chain; answers to admins about their own community only
set search_path = ''
language plpgsql
as $$
begin
    return exists (
        select from private.audit_seals as s
        where s.community_id = private.administered_community_id()
            and s.entry_id = entry.id
            and s.entry_xid = entry.xid
    );
end
$$;
