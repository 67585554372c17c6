-- Personal data in the log: digests, salted per community.

-- With it gone, nobody can tell any more whether a digest is that of a name which they know.
create table private.audit_salts (
    community_id uuid not null,
    salt bytea not null,
    constraint audit_salts_pkey primary key (community_id)
);
alter table private.audit_salts enable row level security;
comment on table private.audit_salts is 'What personal data are salted with; deleting a row makes its community''s log anonymous.';

create function private.audit_salt(community uuid) returns bytea
volatile
set search_path = ''
language plpgsql
as $$
declare
    found_salt bytea;
begin
    select s.salt into found_salt from private.audit_salts as s where s.community_id = community;
    if found_salt is null then
        insert into private.audit_salts (community_id, salt)
        select community, pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.concat(pg_catalog.gen_random_uuid(), pg_catalog.gen_random_uuid()), 'UTF8'
        ))
        on conflict on constraint audit_salts_pkey do nothing;
        select s.salt into found_salt from private.audit_salts as s where s.community_id = community;
    end if;
    return found_salt;
end
$$;

-- The columns of a row, the personal ones as digests.
create function private.audit_redacted(content jsonb, personal text[], community uuid) returns jsonb
volatile
set search_path = ''
language plpgsql
as $$
declare
    named text;
    salt bytea;
begin
    foreach named in array personal loop
        if content ->> named is not null then
            salt := coalesce(salt, private.audit_salt(community));
            content := pg_catalog.jsonb_set(content, array[named], pg_catalog.to_jsonb('sha256:' || pg_catalog.encode(
                pg_catalog.sha256(salt || pg_catalog.convert_to(content ->> named, 'UTF8')), 'hex'
            )));
        end if;
    end loop;
    return content;
end
$$;
