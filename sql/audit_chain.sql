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

-- What sealing reads and writes: it runs as the worker, who has no rights on the log and its chain but by these.

-- Those with anything in the log or in a chain; each by one look-up, however many entries it has.
create function private.audited_communities() returns setof uuid
stable
rows 100
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    return query
    with recursive found (community_id) as (
        (select e.community_id from public.audit_entries as e order by e.community_id limit 1)
        union all
        select (
            select e.community_id from public.audit_entries as e
            where e.community_id > f.community_id order by e.community_id limit 1
        )
        from found as f
        where f.community_id is not null
    )
    select f.community_id from found as f where f.community_id is not null
    union
    select h.community_id from private.audit_heads as h
    order by 1;
end
$$;

-- The entries behind a place that have no seal, in the order in which they are sealed; `below` and `most` may be null.
create function private.entries_to_seal(
    community uuid, behind_xid xid8, behind_id uuid, below xid8, most integer
) returns setof public.audit_entries
volatile -- else it would not see what the transaction has sealed
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    return query
    select e.*
    from public.audit_entries as e
    where e.community_id = community and (e.xid, e.id) > (behind_xid, behind_id) and (e.xid < below) is not false
        and (
            select s.sequence from private.audit_seals as s
            where s.community_id = e.community_id and s.entry_id = e.id and s.entry_xid = e.xid
        ) is null
    order by e.xid, e.id
    limit most;
end
$$;

create function private.last_audit_head(community uuid) returns setof private.audit_heads
volatile -- as above
rows 1
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    return query
    select h.* from private.audit_heads as h where h.community_id = community order by h.number desc limit 1;
end
$$;

-- Appends a batch and its head; who holds no right key makes a chain that does not verify.
create function private.append_audit_seals(
    head private.audit_heads, xids xid8[], entry_ids uuid[], hashes bytea[]
) returns void
volatile
security definer -- for all communities; called by the worker and the platform, never by a client
set search_path = ''
language plpgsql
as $$
begin
    insert into private.audit_seals (community_id, sequence, entry_xid, entry_id, hash)
    select head.community_id, head.sequence - pg_catalog.cardinality(hashes) + s.place, s.xid, s.entry_id, s.hash
    from unnest(xids, entry_ids, hashes) with ordinality as s (xid, entry_id, hash, place);
    insert into private.audit_heads select head.*;
end
$$;
