-- Whoever writes criteria has them checked; the functions look at nothing but what they are given.

revoke all on function
private.criteria_nodes(jsonb),
private.criteria_form_problem(jsonb),
private.is_count(jsonb),
private.criteria_problem(jsonb, uuid[], text[])
from public, anon, authenticated, service_role;
grant execute on function
private.criteria_nodes(jsonb),
private.criteria_form_problem(jsonb),
private.is_count(jsonb),
private.criteria_problem(jsonb, uuid[], text[])
to authenticated, service_role;
