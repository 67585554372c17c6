-- Who may call what stands behind the policies. No client may do more in schema private than is listed here.

revoke all on schema private from public, anon, authenticated, service_role, supabase_auth_admin, gym_worker, gym_api;
grant usage on schema private to anon, authenticated, service_role, supabase_auth_admin, gym_worker, gym_api;

revoke all on function
private.get_community_id(),
private.claimed_community_id(),
private.signed_in_user_id(),
private.is_super_admin(),
private.is_community_admin(),
private.viewer_community_ids(),
private.viewer(),
private.viewer_memberships(),
private.member_email(public.memberships),
private.require_community_admin(),
private.custom_access_token_hook(jsonb),
private.refuse(text, text, text),
private.in_state(text),
private.counted(bigint, text, text),
private.touch_updated_at()
from public, anon, authenticated, service_role;

-- The questions of the policies, and what the functions below them ask in turn.
grant execute on function
private.get_community_id(),
private.claimed_community_id(),
private.signed_in_user_id(),
private.is_super_admin(),
private.is_community_admin(),
private.viewer_community_ids(),
private.refuse(text, text, text)
to anon, authenticated, service_role;

grant execute on function
private.viewer(),
private.viewer_memberships()
to anon, authenticated;

grant execute on function
private.member_email(public.memberships),
private.require_community_admin(),
private.in_state(text),
private.counted(bigint, text, text)
to authenticated, service_role;

grant execute on function private.custom_access_token_hook(jsonb) to supabase_auth_admin;
