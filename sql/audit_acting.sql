-- As whom somebody acts, and for what reason.

-- The reason of what follows in this transaction, for the audit log; null takes it back.
create function private.note_reason(reason text) returns void
volatile
set search_path = ''
language plpgsql
as $$
begin
    if pg_catalog.char_length(reason) > 1000 then
        perform private.refuse('400', 'The reason is longer than 1,000 characters. Shorten it.', 'reason');
    end if;
    perform pg_catalog.set_config('gym.reason', coalesce(reason, ''), true);
end
$$;

create function private.has_reason() returns boolean
stable
set search_path = ''
language plpgsql
as $$
begin
    return coalesce(pg_catalog.current_setting('gym.reason', true), '')
        ~ '[^[:space:][:cntrl:]\u0080-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]';
end
$$;

-- As whom somebody acts in a community; asked by the triggers below only.
create function private.acting_as(person uuid, community uuid) returns text
stable
set search_path = ''
language plpgsql
as $$
begin
    -- The function that asks runs as its owner; the setting still has the role that the client put on.
    if pg_catalog.current_setting('role') = 'service_role' then
        return 'service';
    elsif person is null then
        return 'system';
    elsif exists (
        select from public.memberships as m
        where m.community_id = community and m.user_id = person and m.status = 'active' and m.role = 'community_admin'
    ) then
        return 'community_admin';
    elsif private.is_super_admin() then
        return 'super_admin';
    end if;
    return 'end_user';
end
$$;
