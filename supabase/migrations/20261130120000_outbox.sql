-- The outbox: what has changed, for those who watch.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

create table private.outbox (
    id bigint not null generated always as identity,
    xid xid8 not null default pg_catalog.pg_current_xact_id(),
    community_id uuid,
    topic text not null,
    user_id uuid,
    object_id uuid,
    constraint outbox_pkey primary key (id)
);
alter table private.outbox enable row level security;
comment on table private.outbox is 'What has changed, in the transactions that changed it.';
comment on column private.outbox.community_id is 'Null for what is about a person in all communities.';
comment on column private.outbox.topic is
'content: what a community offers; member: who somebody is; learning: how far somebody is; enrollment: one enrolment.';
comment on column private.outbox.user_id is 'Whom it is about, if anybody.';
comment on column private.outbox.object_id is 'Which row it is about, where rows are told one by one.';

create index outbox_xid_idx on private.outbox (xid);

-- Up to which transaction all had ended, and when: what may be forgotten. A row may be older than its commit by hours.
create table private.outbox_marks (
    marked_at timestamptz not null default now(),
    before_xid xid8 not null,
    constraint outbox_marks_pkey primary key (marked_at)
);
alter table private.outbox_marks enable row level security;
comment on table private.outbox_marks is 'Since when everybody could see what transactions before one had written.';

create function private.tell_content() returns trigger
volatile
security definer -- nobody has a right on the outbox; of the rows that were changed only
set search_path = ''
language plpgsql
as $$
begin
    insert into private.outbox (community_id, topic)
    select distinct c.community_id, 'content' from changed as c;
    return null;
end
$$;

create function private.tell_community() returns trigger
volatile
security definer -- nobody has a right on the outbox; of the rows that were changed only
set search_path = ''
language plpgsql
as $$
begin
    insert into private.outbox (community_id, topic)
    select c.id, 'content' from changed as c;
    return null;
end
$$;

create function private.tell_member() returns trigger
volatile
security definer -- nobody has a right on the outbox; of the rows that were changed only
set search_path = ''
language plpgsql
as $$
begin
    insert into private.outbox (community_id, topic, user_id)
    select c.community_id, 'member', c.user_id from changed as c;
    return null;
end
$$;

create function private.tell_super_admin() returns trigger
volatile
security definer -- nobody has a right on the outbox; of the rows that were changed only
set search_path = ''
language plpgsql
as $$
begin
    insert into private.outbox (topic, user_id)
    select 'member', c.user_id from changed as c;
    return null;
end
$$;

-- Recording changes several tables, and most of the time for one person: that is told once in a transaction.
create function private.tell_learning() returns trigger
volatile
security definer -- nobody has a right on the outbox; of the rows that were changed only
set search_path = ''
language plpgsql
as $$
declare
    community uuid;
    person uuid;
    whose text;
    more boolean;
begin
    select c.community_id, c.user_id into community, person from changed as c limit 1;
    if not found then
        return null;
    end if;
    whose := community || ' ' || person;
    select true into more from changed as c where c.user_id <> person or c.community_id <> community limit 1;
    if more then
        insert into private.outbox (community_id, topic, user_id)
        select distinct c.community_id, 'learning', c.user_id from changed as c;
    elsif pg_catalog.current_setting('gym.told', true) is distinct from whose then
        insert into private.outbox (community_id, topic, user_id) values (community, 'learning', person);
        -- Taken back with the row, when the transaction goes on from a savepoint before it.
        perform pg_catalog.set_config('gym.told', whose, true);
    end if;
    return null;
end
$$;

create function private.tell_enrollment() returns trigger
volatile
security definer -- nobody has a right on the outbox; of the rows that were changed only
set search_path = ''
language plpgsql
as $$
begin
    insert into private.outbox (community_id, topic, user_id, object_id)
    select c.community_id, 'enrollment', c.user_id, c.id from changed as c;
    return null;
end
$$;

-- Has every change of a table told by one of these functions; a migration that adds a table says so as well.
create function private.tell_changes_of(relation regclass, teller text) returns void
volatile
set search_path = ''
language plpgsql
as $$
declare
    table_name text := (select c.relname from pg_catalog.pg_class as c where c.oid = relation);
    event text;
begin
    foreach event in array array['insert', 'update', 'delete'] loop
        execute pg_catalog.format(
            'create trigger %I after %s on %s referencing %s table as changed for each statement execute function private.%I()',
            table_name || '_tell_' || event, event, relation, case event when 'delete' then 'old' else 'new' end, teller
        );
    end loop;
end
$$;

select
    private.tell_changes_of('public.communities', 'tell_community'),
    private.tell_changes_of('public.memberships', 'tell_member'),
    private.tell_changes_of('private.super_admins', 'tell_super_admin'),
    private.tell_changes_of('public.courses', 'tell_content'),
    private.tell_changes_of('public.course_versions', 'tell_content'),
    private.tell_changes_of('public.blocks', 'tell_content'),
    private.tell_changes_of('public.programs', 'tell_content'),
    private.tell_changes_of('public.program_versions', 'tell_content'),
    private.tell_changes_of('public.program_course_assignments', 'tell_content'),
    private.tell_changes_of('public.program_course_groups', 'tell_content'),
    private.tell_changes_of('public.program_course_prerequisites', 'tell_content'),
    private.tell_changes_of('public.program_requirements', 'tell_content'),
    private.tell_changes_of('public.cohorts', 'tell_content'),
    private.tell_changes_of('public.program_enrollments', 'tell_enrollment'),
    private.tell_changes_of('public.block_completions', 'tell_learning'),
    private.tell_changes_of('public.course_progress', 'tell_learning'),
    private.tell_changes_of('public.program_progress', 'tell_learning');

-- What can be seen now and could not at an earlier moment, each once, with the moment of now for the next question; without
-- an earlier moment, that of now alone. By transactions and not by ids: one that ends late has low ids, and a long one keeps
-- nobody from hearing of those that began after it.
create function private.changes_since(seen text) returns text
stable -- all of it sees one snapshot, which is the one that it tells
security definer -- of all communities; called by the server itself, in no client's name
set search_path = ''
language plpgsql
as $$
declare
    before pg_catalog.pg_snapshot := seen::pg_catalog.pg_snapshot;
    present pg_catalog.pg_snapshot := pg_catalog.pg_current_snapshot();
    ended xid8[];
    changes json;
begin
    if before is not null then
        ended := array(
            select pg_catalog.pg_snapshot_xip(before) except select pg_catalog.pg_snapshot_xip(present)
        );
        select pg_catalog.json_agg(pg_catalog.json_build_array(c.topic, c.community_id, c.user_id, c.object_id))
        into changes
        from (
            select distinct o.topic, o.community_id, o.user_id, o.object_id
            from private.outbox as o
            where o.xid >= pg_catalog.pg_snapshot_xmax(before) or o.xid = any (ended)
        ) as c;
    end if;
    return pg_catalog.json_build_array(present::text, coalesce(changes, '[]'));
end
$$;

-- Forgets what everybody has had ten minutes to read. Whoever was away for longer looks at all of it again.
create function private.forget_old_changes() returns integer
volatile
security definer -- of all communities; called by the worker, never by a client
set search_path = ''
language plpgsql
as $$
declare
    forgotten integer;
begin
    delete from private.outbox as o
    where o.xid < (
        select max(m.before_xid) from private.outbox_marks as m where m.marked_at < pg_catalog.now() - interval '10 minutes'
    );
    get diagnostics forgotten = row_count;
    delete from private.outbox_marks as m where m.marked_at < pg_catalog.now() - interval '20 minutes';
    insert into private.outbox_marks (before_xid)
    select pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())
    where not exists (
        select from private.outbox_marks as m where m.marked_at > pg_catalog.now() - interval '30 seconds'
    )
    on conflict on constraint outbox_marks_pkey do nothing;
    return forgotten;
end
$$;

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

grant usage on schema private to gym_api;
