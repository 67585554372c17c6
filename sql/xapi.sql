-- Statements of the Experience API (xAPI): what other programs say that somebody did, kept as they said it. What they
-- say about a block becomes an event, by the way that all events take. docs/xapi.md says it for people.

create table public.xapi_statements (
    community_id uuid not null,
    user_id uuid not null,
    id uuid not null,
    verb text not null,
    activity text,
    voids uuid,
    sent_by uuid not null,
    sent_by_admin boolean not null,
    content jsonb not null,
    stored_at timestamptz not null,
    event_status text,
    reason text,
    voided_at timestamptz,
    voided_by uuid,
    -- Ids are the client's. Within one person, as those of events: nobody can take an id away from somebody else, or
    -- learn that it is taken.
    constraint xapi_statements_pkey primary key (community_id, id, user_id),
    constraint xapi_statements_member_exists foreign key (community_id, user_id)
    references public.memberships (community_id, user_id) on delete cascade,
    constraint xapi_statements_content_length check (octet_length(content::text) <= 65536),
    constraint xapi_statements_event_status_known check (event_status in ('accepted', 'duplicate', 'conflict', 'rejected')),
    constraint xapi_statements_voided_whole check ((voided_at is null) = (voided_by is null)),
    constraint xapi_statements_voiding_stays check (voids is null or voided_at is null)
);
alter table public.xapi_statements enable row level security;
alter table public.xapi_statements alter column community_id set (n_distinct = 20);
comment on table public.xapi_statements is 'What other programs said that a member did: append-only, but for being voided.';
comment on column public.xapi_statements.user_id is 'The actor, whose progress it is.';
comment on column public.xapi_statements.voids is 'The id that a voiding statement voids, whether there is such a statement or not.';
comment on column public.xapi_statements.sent_by is 'Who sent it: its authority. Stays written when they have gone.';
comment on column public.xapi_statements.sent_by_admin is 'Whether they were an admin: what an admin voids may be anybody''s.';
comment on column public.xapi_statements.content is 'Personal data: as it was sent, without id, stored and authority, which stand beside it.';
comment on column public.xapi_statements.stored_at is 'Rises within one list, so that lists keep their order.';
comment on column public.xapi_statements.event_status is 'What became of the event that it was mapped to; null when it was mapped to none.';
comment on column public.xapi_statements.reason is 'Why it does not count, where it does not and might have.';

create index xapi_statements_member_idx on public.xapi_statements (community_id, user_id, stored_at, id);
create index xapi_statements_voids_idx on public.xapi_statements (community_id, voids) where voids is not null;
-- For lists, in their order; what is void is in none, so that no page goes past it. That of verbs costs a statement 220 bytes
-- of index and a list of a hundred 4 percent more time. Without it, who asks for a rare verb waits until all that the
-- community has said is gone through.
create index xapi_statements_stored_at_idx on public.xapi_statements (community_id, stored_at, id, user_id)
where voided_at is null;
create index xapi_statements_activity_idx on public.xapi_statements (community_id, activity, stored_at, id, user_id)
where voided_at is null;
create index xapi_statements_verb_idx on public.xapi_statements (community_id, verb, stored_at, id, user_id)
where voided_at is null;

create function private.keep_statements() returns trigger
volatile
security definer -- asks whether the member is there, whoever asks
set search_path = ''
language plpgsql
as $$
begin
    -- A member who is deleted takes what was said about them along.
    if tg_op = 'DELETE' and not exists (
        select from public.memberships as m where m.community_id = old.community_id and m.user_id = old.user_id
    ) then
        return old;
    end if;
    if tg_op = 'UPDATE' and old.voided_at is null
        and pg_catalog.to_jsonb(new) - '{voided_at,voided_by}'::text[]
        = pg_catalog.to_jsonb(old) - '{voided_at,voided_by}'::text[] then
        return new;
    end if;
    perform private.refuse('403', 'A statement stays as it was sent: nobody changes or removes it. Void it instead.');
    return null;
end
$$;

create trigger xapi_statements_keep before update or delete on public.xapi_statements
for each row execute function private.keep_statements();
create trigger xapi_statements_keep_all before truncate on public.xapi_statements
for each statement execute function private.keep_statements();

create function private.xapi_time(moment timestamptz) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    return pg_catalog.to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end
$$;

-- Until when everything that is stored can be seen: what is being stored now ends within the time of a statement.
create function private.consistent_through() returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    return private.xapi_time(
        pg_catalog.now() - pg_catalog.current_setting('statement_timeout')::interval - interval '1 second'
    );
end
$$;
