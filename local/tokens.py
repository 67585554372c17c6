"""Access tokens as Supabase's sign-in issues them: its claims, the project's hook, the signature."""

import logging
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local._gotrue import AuthError
from local.keys import Keys
from local.sessions import Session, authentication_methods
from local.users import Connection, User, shown_user

LIFETIME_SECONDS = 3600

_log = logging.getLogger(__name__)

_HOOK_SECONDS = 2
_HOOK = "select private.custom_access_token_hook(%s) as answer"
_HOOK_URI = "pg-functions://postgres/private/custom_access_token_hook"
_KEPT_BY_THE_HOOK: dict[str, type | tuple[type, ...]] = {
    "aud": (str, list),
    "exp": int,
    "iat": int,
    "sub": str,
    "email": str,
    "phone": str,
    "role": str,
    "aal": str,
    "session_id": str,
    "is_anonymous": bool,
}


@dataclass(frozen=True)
class Issuer:
    keys: Keys
    name: str

    def verified(self, token: str) -> dict[str, Any]:
        """The claims of one of our own tokens; `jwt.InvalidTokenError` for any other."""
        return self.keys.verified(token, self.name)

    async def answer(
        self, connection: Connection, user: User, session: Session, method: str, refresh_token: str
    ) -> dict[str, Any]:
        """What a client gets for signing in or refreshing."""
        now = int(time.time())
        claims = self._claims(user, session, now, await authentication_methods(connection, session))
        claims = await _after_hook(connection, claims, method)
        return {
            "access_token": self.keys.sign(claims),
            "token_type": "bearer",
            "expires_in": LIFETIME_SECONDS,
            "expires_at": now + LIFETIME_SECONDS,
            "refresh_token": refresh_token,
            "user": shown_user(user),
        }

    def _claims(
        self, user: User, session: Session, now: int, methods: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "iss": self.name,
            "sub": user["id"],
            "aud": user["aud"],
            "exp": now + LIFETIME_SECONDS,
            "iat": now,
            "email": user["email"] or "",
            "phone": user["phone"] or "",
            "app_metadata": user["raw_app_meta_data"] or {},
            "user_metadata": user["raw_user_meta_data"] or {},
            "role": user["role"],
            "aal": "aal1",
            "amr": methods,
            "session_id": str(session.id),
            "is_anonymous": user["is_anonymous"],
        }


async def _after_hook(connection: Connection, claims: dict[str, Any], method: str) -> dict[str, Any]:
    event = {"user_id": claims["sub"], "claims": claims, "authentication_method": method}
    try:
        await connection.execute(f"set local statement_timeout = '{_HOOK_SECONDS}s'")
        row = await (await connection.execute(_HOOK, (Jsonb(event),))).fetchone()
        await connection.execute("set local statement_timeout to default")
    except psycopg.Error as error:
        _log.error("The access token hook failed, so nobody can sign in: %s", error)
        raise AuthError(500, "unexpected_failure", f"Error running hook URI: {_HOOK_URI}") from error
    return _checked(row["answer"] if row else None)


def _checked(answer: Any) -> dict[str, Any]:
    """The hook's claims; a hook can refuse by answering with an error of its own."""
    answer = answer if isinstance(answer, dict) else {}
    refusal = answer.get("error")
    if isinstance(refusal, dict) and refusal.get("message"):
        raise _refused(refusal)
    claims = answer.get("claims")
    if not isinstance(claims, dict):
        raise AuthError(500, "unexpected_failure", "output claims field is missing")
    wrong = [name for name, kind in _KEPT_BY_THE_HOOK.items() if not isinstance(claims.get(name), kind)]
    if wrong:
        message = f"output claims do not conform to the expected schema: {', '.join(wrong)}"
        raise AuthError(500, "unexpected_failure", message)
    return claims


def _refused(refusal: dict[str, Any]) -> AuthError:
    status = refusal.get("http_code")
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = 500
    return AuthError(status, "unexpected_failure" if status == 500 else "unknown", str(refusal["message"]))
