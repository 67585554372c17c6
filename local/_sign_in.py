"""Who may have a token: a password or a refresh token goes in, an answer or an `AuthError` comes out."""

import uuid
from typing import Any

import jwt
from anyio import to_thread
from psycopg_pool import AsyncConnectionPool

from local._gotrue import AuthError, bad_credentials
from local.sessions import (
    Client,
    Session,
    end_sessions,
    lock_session,
    open_session,
    rotate,
    session_exists,
)
from local.tokens import Issuer
from local.users import Connection, User, password_is_right, shown_user, user_by_email, user_by_id


class SignIn:
    def __init__(self, pool: AsyncConnectionPool[Connection], issuer: Issuer) -> None:
        self._pool = pool
        self._issuer = issuer

    async def with_password(self, email: str, password: str, client: Client) -> dict[str, Any]:
        async with self._pool.connection() as connection:
            user = await user_by_email(connection, email)
        # Outside the connection: hashing takes longer than all the rest.
        if not await to_thread.run_sync(password_is_right, user, password) or user is None:
            raise bad_credentials()
        _require_admitted(user)
        async with self._pool.connection() as connection:
            session, refresh_token = await open_session(connection, uuid.UUID(user["id"]), client)
            user = await user_by_id(connection, session.user_id) or user
            return await self._issuer.answer(connection, user, session, "password", refresh_token)

    async def with_refresh_token(self, token: str, client: Client) -> dict[str, Any]:
        async with self._pool.connection() as connection:
            session = await lock_session(connection, token)
            user = await user_by_id(connection, session.user_id)
            if user is None or user["is_banned"] or user["deleted_at"]:
                raise AuthError(400, "user_banned", "Invalid Refresh Token: User Banned")
            following = await rotate(connection, session, token, client)
            if following is not None:
                return await self._issuer.answer(connection, user, session, "token_refresh", following)
        # Only here, past the block: it has committed the end of the session, which an error would undo.
        raise AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")

    async def user(self, access_token: str) -> dict[str, Any]:
        async with self._pool.connection() as connection:
            user, _ = await self._signed_in(connection, access_token)
        return shown_user(user)

    async def end(self, access_token: str, scope: str) -> None:
        async with self._pool.connection() as connection:
            _, session = await self._signed_in(connection, access_token)
            await end_sessions(connection, scope, session)

    async def _signed_in(self, connection: Connection, access_token: str) -> tuple[User, Session]:
        """Whose token it is and in which session, while both are there."""
        session = self._claimed_session(access_token)
        user = await user_by_id(connection, session.user_id)
        if user is None or user["deleted_at"]:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        if not await session_exists(connection, session):
            raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        if user["is_banned"]:
            raise AuthError(403, "user_banned", "User is banned")
        return user, session

    def _claimed_session(self, access_token: str) -> Session:
        try:
            claims = self._issuer.verified(access_token)
            return Session(uuid.UUID(claims["session_id"]), uuid.UUID(claims["sub"]))
        except (jwt.InvalidTokenError, ValueError, AttributeError, TypeError) as error:
            message = f"invalid JWT: unable to parse or verify signature, {error}"
            raise AuthError(403, "bad_jwt", message) from None


def _require_admitted(user: User) -> None:
    """Said only to those who know the password."""
    if user["deleted_at"]:
        raise bad_credentials()
    if user["is_banned"]:
        raise AuthError(400, "user_banned", "User is banned")
    if user["email_confirmed_at"] is None:
        raise AuthError(400, "email_not_confirmed", "Email not confirmed")
