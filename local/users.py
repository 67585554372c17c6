"""Users and their identities: written, read and shown as Supabase's sign-in service does it."""

import uuid
from functools import cache
from typing import Any, TypeAlias

import bcrypt
import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

PASSWORD_COST = 10
_BCRYPT_BYTES = 72  # what bcrypt looks at; a longer password is refused, not cut

Connection: TypeAlias = psycopg.AsyncConnection[DictRow]
User: TypeAlias = dict[str, Any]

# As JSON: a date may be infinite, which Python's cannot.
_READ = """
    select to_jsonb(u) || jsonb_build_object(
        'is_banned', coalesce(u.banned_until > now(), false),
        'identities', array(
            select to_jsonb(i) from auth.identities as i where i.user_id = u.id order by i.created_at
        )
    ) as user
    from auth.users as u
"""
_BY_ID = _READ + "where u.id = %s"
_BY_EMAIL = _READ + "where u.email = lower(%s) and u.aud = 'authenticated' and not u.is_sso_user"

_INSERT_USER = """
    insert into auth.users (
        instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
        recovery_token, email_change_token_new, email_change, raw_app_meta_data, raw_user_meta_data,
        created_at, updated_at
    )
    values (
        '00000000-0000-0000-0000-000000000000', %(id)s, 'authenticated', 'authenticated', %(email)s,
        %(password)s, now(), '', '', '', '', %(app_metadata)s, %(user_metadata)s, now(), now()
    )
"""
_INSERT_IDENTITY = """
    insert into auth.identities (
        provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at
    )
    values (%(id)s::text, %(id)s, %(identity)s, 'email', now(), now(), now())
"""
_SHOWN_ALWAYS = ("id", "aud", "role", "email", "phone", "created_at", "updated_at", "is_anonymous")
_SHOWN_IF_SET = (
    "email_confirmed_at",
    "phone_confirmed_at",
    "confirmed_at",
    "invited_at",
    "confirmation_sent_at",
    "recovery_sent_at",
    "last_sign_in_at",
    "banned_until",
    "deleted_at",
)


def create_user(
    connection: psycopg.Connection[Any],
    email: str,
    password: str | None,
    app_metadata: dict[str, Any] | None = None,
    user_metadata: dict[str, Any] | None = None,
    id: uuid.UUID | None = None,  # noqa: A002 (the column's name)
    *,
    cost: int = PASSWORD_COST,
) -> uuid.UUID:
    """A confirmed user; who has no password cannot sign in. `connection` is `supabase_auth_admin`'s."""
    user_id, email = id or uuid.uuid4(), email.lower()
    identity = {"sub": str(user_id), "email": email, "email_verified": True, "phone_verified": False}
    values = {
        "id": user_id,
        "email": email,
        "password": password and hash_password(password, cost),
        "app_metadata": Jsonb({"provider": "email", "providers": ["email"], **(app_metadata or {})}),
        "user_metadata": Jsonb({"email_verified": True, **(user_metadata or {})}),
        "identity": Jsonb(identity),
    }
    with connection.transaction():
        connection.execute(_INSERT_USER, values)
        connection.execute(_INSERT_IDENTITY, values)
    return user_id


def hash_password(password: str, cost: int = PASSWORD_COST) -> str:
    if len(password.encode()) > _BCRYPT_BYTES:
        raise ValueError(f"A password has at most {_BCRYPT_BYTES} bytes.")
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def password_is_right(user: User | None, password: str) -> bool:
    """Takes as long for somebody who does not exist, so that time does not tell who does."""
    stored = (user or {}).get("encrypted_password")
    secret = password.encode()
    try:
        same = bcrypt.checkpw(secret[:_BCRYPT_BYTES], (stored or decoy()).encode())
    except ValueError:  # another kind of hash, as an import may have brought along
        return False
    return bool(stored) and same and len(secret) <= _BCRYPT_BYTES


@cache
def decoy() -> str:
    return hash_password(str(uuid.uuid4()))


async def user_by_email(connection: Connection, email: str) -> User | None:
    if "\0" in email:  # which no stored text can hold
        return None
    row = await (await connection.execute(_BY_EMAIL, (email,))).fetchone()
    return row and row["user"]


async def user_by_id(connection: Connection, user_id: uuid.UUID) -> User | None:
    row = await (await connection.execute(_BY_ID, (user_id,))).fetchone()
    return row and row["user"]


def shown_user(user: User) -> dict[str, Any]:
    """What clients may know of a user."""
    return {
        **{name: _zulu(user[name]) for name in _SHOWN_ALWAYS},
        **{name: _zulu(user[name]) for name in _SHOWN_IF_SET if user[name] is not None},
        "email": user["email"] or "",
        "phone": user["phone"] or "",
        "app_metadata": user["raw_app_meta_data"] or {},
        "user_metadata": user["raw_user_meta_data"] or {},
        "identities": [_shown_identity(identity) for identity in user["identities"]],
    }


def _shown_identity(identity: dict[str, Any]) -> dict[str, Any]:
    shown = {name: _zulu(value) for name, value in identity.items() if name not in ("id", "provider_id")}
    # The clients' names are older than the columns'.
    return {"identity_id": identity["id"], "id": identity["provider_id"], **shown}


def _zulu(value: Any) -> Any:
    """Times as the original writes them."""
    return (
        value.removesuffix("+00:00") + "Z" if isinstance(value, str) and value.endswith("+00:00") else value
    )
