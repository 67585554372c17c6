"""Sessions and their refresh tokens: opened, rotated and ended as Supabase's sign-in service does it."""

import ipaddress
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from local._gotrue import AuthError
from local.users import Connection

_OPEN = """
    insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
    values (%(session)s, %(user)s, now(), now(), 'aal1', %(agent)s, %(ip)s)
"""
_METHOD = """
    insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)
    values (gen_random_uuid(), %(session)s, now(), now(), 'password')
"""
_SIGNED_IN = "update auth.users set last_sign_in_at = now(), updated_at = now() where id = %(user)s"
_ISSUE = """
    insert into auth.refresh_tokens (
        instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id
    )
    values (
        '00000000-0000-0000-0000-000000000000', %(token)s, %(user)s::text, false, now(), now(), %(parent)s,
        %(session)s
    )
"""
_LOCK = """
    select s.id, s.user_id, coalesce(s.not_after <= now(), false) as is_over
    from auth.sessions as s
    where s.id = (select t.session_id from auth.refresh_tokens as t where t.token = %s)
    for update
"""
# Asked after the lock is held, in a statement of its own: one that waited would still see the older rows.
# For ten seconds a replaced token still works, for clients that asked twice at once.
_STATE = """
    select t.revoked, t.updated_at > now() - interval '10 seconds' as recent, newest.token as newest,
        newest.parent as newest_parent
    from auth.refresh_tokens as t
    left join lateral (
        select n.token, n.parent
        from auth.refresh_tokens as n
        where n.session_id = t.session_id and not n.revoked
        order by n.id desc
        limit 1
    ) as newest on true
    where t.token = %s
"""
_REVOKE = "update auth.refresh_tokens set revoked = true, updated_at = now() where token = %s and not revoked"
_REFRESHED = """
    update auth.sessions
    set refreshed_at = now() at time zone 'utc', user_agent = %(agent)s, ip = %(ip)s
    where id = %(session)s
"""
_METHODS = """
    select c.authentication_method as method, extract(epoch from c.updated_at)::bigint as timestamp
    from auth.mfa_amr_claims as c
    where c.session_id = %s
    order by c.updated_at desc
"""
_END = {
    "global": "delete from auth.sessions where user_id = %(user)s",
    "local": "delete from auth.sessions where id = %(session)s",
    "others": "delete from auth.sessions where user_id = %(user)s and id <> %(session)s",
}
SCOPES = frozenset(_END)


@dataclass(frozen=True)
class Client:
    """What a session notes of who opened or refreshed it."""

    agent: str | None
    ip: str | None

    @classmethod
    def of(cls, request: Request) -> "Client":
        return cls(request.headers.get("User-Agent"), _address(request))


@dataclass(frozen=True)
class Session:
    id: uuid.UUID
    user_id: uuid.UUID


async def open_session(connection: Connection, user_id: uuid.UUID, client: Client) -> tuple[Session, str]:
    """A new session and its first refresh token."""
    session = Session(uuid.uuid4(), user_id)
    values = {"session": session.id, "user": user_id, "agent": client.agent, "ip": client.ip}
    for statement in (_OPEN, _METHOD, _SIGNED_IN):
        await connection.execute(statement, values)
    return session, await _new_token(connection, session, parent=None)


async def lock_session(connection: Connection, token: str) -> Session:
    """The session that a refresh token belongs to, until the end of the transaction nobody else's."""
    row = None if "\0" in token else await (await connection.execute(_LOCK, (token,))).fetchone()
    if row is None:
        raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
    if row["is_over"]:
        raise AuthError(400, "session_expired", "Invalid Refresh Token: Session Expired")
    return Session(row["id"], row["user_id"])


async def rotate(connection: Connection, session: Session, token: str, client: Client) -> str | None:
    """The refresh token that follows; None, and the session ended, when an old one is used again."""
    state = await (await connection.execute(_STATE, (token,))).fetchone()
    if state is None:  # it went with its session while we waited for the lock
        return None
    if state["revoked"] and state["newest_parent"] == token:
        following = str(state["newest"])  # the client never got, or never kept, the last answer
    elif not state["revoked"] or state["recent"]:
        await connection.execute(_REVOKE, (token,))
        following = await _new_token(connection, session, parent=token)
    else:
        await end_sessions(connection, "local", session)
        return None
    values = {"session": session.id, "agent": client.agent, "ip": client.ip}
    await connection.execute(_REFRESHED, values)
    return following


async def session_exists(connection: Connection, session: Session) -> bool:
    query = "select from auth.sessions where id = %s and user_id = %s"
    return await (await connection.execute(query, (session.id, session.user_id))).fetchone() is not None


async def authentication_methods(connection: Connection, session: Session) -> list[dict[str, Any]]:
    return await (await connection.execute(_METHODS, (session.id,))).fetchall()


async def end_sessions(connection: Connection, scope: str, session: Session) -> None:
    """`global`: all of the user's; `local`: this one; `others`: all but this one."""
    await connection.execute(_END[scope], {"user": session.user_id, "session": session.id})


async def _new_token(connection: Connection, session: Session, parent: str | None) -> str:
    token = secrets.token_urlsafe(24)
    values = {"token": token, "user": session.user_id, "parent": parent, "session": session.id}
    await connection.execute(_ISSUE, values)
    return token


def _address(request: Request) -> str | None:
    try:
        return str(ipaddress.ip_address(request.client.host)) if request.client else None
    except ValueError:
        return None
