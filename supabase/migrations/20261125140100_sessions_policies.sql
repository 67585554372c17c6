-- Who sees learning sessions, and the wall around them.

set local lock_timeout = '3s';
set local statement_timeout = '60s';

-- Learners see their own sessions, admins everybody's in the community. Nobody writes them but their functions.

alter table public.learning_sessions enable row level security;
alter table public.learning_sessions force row level security;
revoke all on public.learning_sessions from public, anon, authenticated, service_role;
grant select on public.learning_sessions to authenticated, service_role;

create policy learners_see_their_sessions_admins_all on public.learning_sessions
for select to authenticated
using (user_id = (select auth.uid()) or (select private.is_community_admin()));

revoke all on function
public.start_session(jsonb),
public.heartbeat_session(jsonb),
public.end_session(jsonb),
private.session_ended_at(public.learning_sessions),
private.course_of_content(uuid, uuid),
private.may_see_content(uuid, uuid),
private.claimed_seconds(public.learning_sessions, integer, numeric, numeric),
private.end_idle_sessions(uuid, integer),
private.steady_seconds(int4multirange),
private.engagement(public.learning_sessions),
private.engagement_score(public.learning_sessions),
private.engagement_components(private.session_engagement)
from public, anon, authenticated, service_role;
grant execute on function
public.start_session(jsonb),
public.heartbeat_session(jsonb),
public.end_session(jsonb),
private.session_ended_at(public.learning_sessions),
private.engagement(public.learning_sessions),
private.engagement_score(public.learning_sessions),
private.engagement_components(private.session_engagement)
to authenticated;

-- Time-outs are the worker's.
grant execute on function private.end_idle_sessions(uuid, integer) to gym_worker;

do $$
declare
    question text := case
        when pg_catalog.to_regprocedure('auth.get_community_id()') is not null then 'auth' else 'private'
    end || '.get_community_id()';
begin
    execute pg_catalog.format(
        'create policy client_isolation_learning_sessions on public.learning_sessions as restrictive for all to public '
        'using (community_id = (select %1$s)) with check (community_id = (select %1$s))',
        question
    );
end
$$;
