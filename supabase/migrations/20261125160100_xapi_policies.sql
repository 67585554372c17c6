-- Who sees statements, and the wall around them.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Learners see the statements about them, admins the community's. Nobody writes them but the function that stores them.

alter table public.xapi_statements enable row level security;
alter table public.xapi_statements force row level security;
revoke all on public.xapi_statements from public, anon, authenticated, service_role;
grant select on public.xapi_statements to authenticated, service_role;

drop policy if exists learners_see_their_statements_admins_all on public.xapi_statements;
create policy learners_see_their_statements_admins_all on public.xapi_statements
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

revoke all on function
private.keep_statements(),
private.xapi_time(timestamptz),
private.consistent_through(),
private.agent_meaning(jsonb),
private.object_meaning(jsonb),
private.context_meaning(jsonb),
private.statement_meaning(jsonb),
private.is_same_statement(jsonb, jsonb),
private.member_of_actor(uuid, jsonb),
private.xapi_entries_in(uuid, jsonb, uuid),
private.check_statements(private.xapi_entry[], boolean),
private.new_statements(uuid, private.xapi_entry[], boolean),
private.score_of_result(jsonb),
private.event_of_statement(private.xapi_entry, boolean),
private.write_statements(uuid, private.xapi_entry[], boolean),
private.store_statements(jsonb, uuid),
private.statement_shown(public.xapi_statements),
private.read_statement(uuid, boolean),
private.read_statements(jsonb)
from public, anon, authenticated, service_role;
grant execute on function
private.xapi_time(timestamptz),
private.consistent_through(),
private.store_statements(jsonb, uuid),
private.statement_shown(public.xapi_statements),
private.read_statement(uuid, boolean),
private.read_statements(jsonb)
to authenticated;

do $$
declare
    walled text;
    question text := case
        when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
    end || '.get_community_id()';
begin
    foreach walled in array array['xapi_statements'] loop
        execute pg_catalog.format(
            'create policy client_isolation_%1$s on public.%1$I as restrictive for all to public '
            'using (community_id = (select %2$s)) with check (community_id = (select %2$s))',
            walled, question
        );
    end loop;
end
$$;
