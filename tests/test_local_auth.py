"""The local sign-in, asked by Supabase's own client and by hand: what it grants, and how it refuses."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from psycopg.types.json import Jsonb
from supabase import AuthApiError, Client, create_client
from supabase.lib.client_options import SyncClientOptions

from local.auth import LocalAuth
from local.bootstrap import bootstrap
from local.cluster import Cluster
from local.errors import ForeignServerError, LocalError
from local.keys import Keys
from local.users import create_user
from tests.clusters import new_cluster
from tests.sign_in import PASSWORD, Server

COMMUNITY = "0b4bd3a2-8f5e-4a0e-8c39-6f1f6a3f2d10"
# One hook that behaves as the user's metadata say.
HOOK = f"""
    create schema private;
    create function private.custom_access_token_hook(event jsonb) returns jsonb
    volatile
    set search_path = ''
    language plpgsql
    as $$
    begin
        case event -> 'claims' -> 'app_metadata' ->> 'hook'
            when 'raises' then raise exception 'no';
            when 'sleeps' then perform pg_catalog.pg_sleep(10);
            when 'refuses' then
                return '{{"error": {{"http_code": 403, "message": "Not from this network"}}}}'::jsonb;
            when 'forgets' then return '{{}}'::jsonb;
            when 'strips' then return event #- '{{claims,role}}';
            else
                return jsonb_set(event, '{{claims,app_metadata,community_id}}', '"{COMMUNITY}"')
                    || jsonb_build_object('seen', pg_catalog.current_setting('role'));
        end case;
    end
    $$;
    grant usage on schema private to supabase_auth_admin;
    grant execute on function private.custom_access_token_hook(jsonb) to supabase_auth_admin;
"""


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    bootstrap(cluster, "sign_in")
    with psycopg.connect(cluster.dsn("postgres", "sign_in")) as connection:
        connection.execute(HOOK.encode())
    with Server(cluster, "sign_in", Keys.make_once(tmp_path_factory.mktemp("keys"))) as server:
        yield server


@pytest.fixture
def somebody(server: Server) -> str:
    return server.add()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """Supabase's own, as any program has it; only its connections are closed, which it does not do itself."""
    with httpx.Client() as http:
        yield create_client(server.url, server.keys.publishable_key, SyncClientOptions(httpx_client=http))


def error(response: httpx.Response) -> tuple[int, str]:
    """The status and code of a refusal in the form that Supabase's sign-in gives them."""
    body = response.json()
    assert set(body) == {"code", "error_code", "msg"}, body
    assert body["code"] == response.status_code
    assert body["msg"]
    return response.status_code, body["error_code"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# Refusals


@pytest.mark.parametrize("path", ["/token?grant_type=password", "/logout", "/signup"])
@pytest.mark.parametrize("key", [{}, {"apikey": "sb_publishable_wrong"}, {"apikey": "schlüssel".encode()}])
def test_who_has_no_key_is_refused(server: Server, path: str, key: dict[str, Any]) -> None:
    response = httpx.post(server.issuer + path, headers=key)

    assert error(response) == (401, "no_authorization")


def test_a_wrong_password_and_an_unknown_user_look_the_same(server: Server, somebody: str) -> None:
    answers = [
        server.sign_in(somebody, "wrong"),
        server.sign_in(somebody, ""),
        server.sign_in(somebody, PASSWORD + "x" * 100),
        server.sign_in(somebody, PASSWORD + "\0"),
        server.sign_in("nobody@example.test"),
        server.sign_in("nobody\0@example.test"),
        server.sign_in(server.add(password=None)),
        server.sign_in(server.add(password=None), ""),
    ]

    assert {answer.text for answer in answers} == {
        '{"code":400,"error_code":"invalid_credentials","msg":"Invalid login credentials"}'
    }


def test_clients_of_the_newer_interface_get_its_errors(server: Server) -> None:
    version = {"X-Supabase-Api-Version": "2024-01-01"}
    response = server.ask("POST", "/token?grant_type=password", json={"email": "x"}, headers=version)

    assert response.json() == {"code": "invalid_credentials", "message": "Invalid login credentials"}
    assert response.headers["X-Supabase-Api-Version"] == "2024-01-01"


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", (400, "bad_json")),
        (b"{", (400, "bad_json")),
        (b"[]", (400, "bad_json")),
        (b"null", (400, "bad_json")),
        (b'"x"', (400, "bad_json")),
        (b"\xff\xfe", (400, "bad_json")),
        (b"[" * 60_000, (400, "bad_json")),
        (b'{"email": "\\ud800", "password": "x"}', (400, "bad_json")),
        (b'{"email": NaN}', (400, "bad_json")),
        (b'{"email": 1, "password": "x"}', (400, "bad_json")),
        (b'{"email": {}, "password": []}', (400, "bad_json")),
        (b"{}", (400, "validation_failed")),
        (b'{"password": "x"}', (400, "validation_failed")),
        (b'{"email": null}', (400, "validation_failed")),
        (b'{"phone": "123", "password": "x"}', (422, "phone_provider_disabled")),
        (b'{"email": "' + b"x" * 100_000 + b'"}', (413, "request_entity_too_large")),
    ],
)
@pytest.mark.parametrize("grant", ["password", "refresh_token"])
def test_a_broken_body_is_told_apart(
    server: Server, grant: str, body: bytes, refusal: tuple[int, str]
) -> None:
    if grant == "refresh_token":
        body = body.replace(b'"email"', b'"refresh_token"').replace(b'"phone"', b'"refresh_token"')
        refusal = (400, "refresh_token_not_found") if refusal[0] == 422 else refusal
    response = server.ask("POST", f"/token?grant_type={grant}", content=body)

    assert error(response) == refusal


@pytest.mark.parametrize("query", ["", "?grant_type=", "?grant_type=pkce", "?grant_type=Password"])
def test_other_grants_are_refused(server: Server, query: str) -> None:
    assert error(server.ask("POST", f"/token{query}", json={})) == (400, "invalid_credentials")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/signup"), ("PUT", "/user"), ("GET", "/token"), ("GET", "/")]
)
def test_what_the_local_sign_in_lacks_it_says(server: Server, method: str, path: str) -> None:
    assert error(server.ask(method, path)) == (404, "feature_disabled")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("banned_until = now() + interval '1 hour'", (400, "user_banned")),
        ("deleted_at = now()", (400, "invalid_credentials")),
        ("email_confirmed_at = null", (400, "email_not_confirmed")),
        ("encrypted_password = '$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA'", (400, "invalid_credentials")),
        ("is_sso_user = true", (400, "invalid_credentials")),
    ],
)
def test_who_is_not_admitted_is_refused(
    server: Server, somebody: str, change: str, refusal: tuple[int, str]
) -> None:
    server.run(f"update auth.users set {change} where email = %s", somebody)

    assert error(server.sign_in(somebody)) == refusal
    if refusal[1] != "invalid_credentials":
        assert error(server.sign_in(somebody, "wrong")) == (400, "invalid_credentials")


# What a sign-in gives


def test_supabases_client_signs_in(client: Client, somebody: str) -> None:
    answer = client.auth.sign_in_with_password({"email": somebody.upper(), "password": PASSWORD})

    assert answer.user is not None
    assert answer.session is not None
    assert answer.user.email == somebody
    assert answer.user.last_sign_in_at is not None
    assert answer.user.user_metadata["name"] == "Somebody"
    assert answer.user.identities is not None
    assert answer.user.identities[0].provider == "email"
    assert answer.session.expires_in == 3600


def test_supabases_client_is_told_why_not(client: Client, somebody: str) -> None:
    with pytest.raises(AuthApiError, match="Invalid login credentials") as refusal:
        client.auth.sign_in_with_password({"email": somebody, "password": "wrong"})

    assert refusal.value.code == "invalid_credentials"


def test_the_token_verifies_against_the_published_keys(server: Server, somebody: str) -> None:
    token = server.sign_in(somebody).json()["access_token"]
    published = httpx.get(f"{server.issuer}/.well-known/jwks.json")
    key = jwt.PyJWKSet.from_dict(published.json())[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["ES256"], audience="authenticated", issuer=server.issuer)

    assert published.headers["Cache-Control"] == "public, max-age=600"
    assert claims["exp"] - claims["iat"] == 3600
    with server.connect() as connection:
        sessions = connection.execute(
            "select id::text from auth.sessions where user_id = %s", (claims["sub"],)
        )
        assert sessions.fetchall() == [(claims["session_id"],)]
    (method,) = claims.pop("amr")
    assert method["method"] == "password"
    assert abs(method["timestamp"] - claims["iat"]) <= 2
    varying = ("sub", "session_id", "exp", "iat")
    assert {name: claim for name, claim in claims.items() if name not in varying} == {
        "iss": server.issuer,
        "aud": "authenticated",
        "email": somebody,
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"], "community_id": COMMUNITY},
        "user_metadata": {"email_verified": True, "name": "Somebody"},
        "role": "authenticated",
        "aal": "aal1",
        "is_anonymous": False,
    }


def test_the_answer_says_no_more_than_it_should(server: Server, somebody: str) -> None:
    response = server.sign_in(somebody)
    user = response.json()["user"]

    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.json()) == {
        *("access_token", "token_type", "expires_in", "expires_at", "refresh_token", "user"),
    }
    assert not {name for name in user if "password" in name or "token" in name}
    assert user["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("behaviour", "refusal"),
    [
        *(
            (behaviour, (500, "unexpected_failure"))
            for behaviour in ("raises", "sleeps", "forgets", "strips")
        ),
        ("refuses", (403, "unknown")),
    ],
)
def test_a_hook_that_fails_lets_nobody_in(server: Server, behaviour: str, refusal: tuple[int, str]) -> None:
    refused = server.add(hook=behaviour)

    assert error(server.sign_in(refused)) == refusal
    with server.connect() as connection:
        sessions = connection.execute(
            "select s.id from auth.sessions as s join auth.users as u on u.id = s.user_id where u.email = %s",
            (refused,),
        )
        assert sessions.fetchall() == []


# Refreshing


def test_supabases_client_refreshes(server: Server, client: Client, somebody: str) -> None:
    first = client.auth.sign_in_with_password({"email": somebody, "password": PASSWORD}).session
    server.run(
        "update auth.users set raw_user_meta_data = %s where email = %s", Jsonb({"name": "New"}), somebody
    )
    second = client.auth.refresh_session().session
    assert first is not None
    assert second is not None

    assert second.refresh_token != first.refresh_token
    before, after = (jwt.decode(s.access_token, options={"verify_signature": False}) for s in (first, second))
    assert after["session_id"] == before["session_id"]
    assert after["amr"] == before["amr"]
    assert after["user_metadata"] == {"name": "New"}


def test_a_token_whose_answer_was_lost_works_once_more(server: Server, somebody: str) -> None:
    first = server.sign_in(somebody).json()["refresh_token"]
    second = server.refresh(first).json()["refresh_token"]

    assert server.refresh(first).json()["refresh_token"] == second


def test_an_old_token_within_ten_seconds_is_a_client_asking_twice(server: Server, somebody: str) -> None:
    first = server.sign_in(somebody).json()["refresh_token"]
    second = server.refresh(first).json()["refresh_token"]
    server.refresh(second)

    assert server.refresh(first).status_code == 200


def test_an_old_token_used_again_later_ends_the_session(server: Server, somebody: str) -> None:
    signed_in = server.sign_in(somebody).json()
    second = server.refresh(signed_in["refresh_token"]).json()["refresh_token"]
    third = server.refresh(second).json()["refresh_token"]
    server.run(
        "update auth.refresh_tokens set updated_at = now() - interval '11 seconds' where token = %s",
        signed_in["refresh_token"],
    )

    assert error(server.refresh(signed_in["refresh_token"])) == (400, "refresh_token_already_used")
    assert error(server.refresh(third)) == (400, "refresh_token_not_found")
    gone = server.ask("GET", "/user", headers=bearer(signed_in["access_token"]))
    assert error(gone) == (403, "session_not_found")


def test_many_refreshes_at_once_leave_one_way_on(server: Server, somebody: str) -> None:
    token = server.sign_in(somebody).json()["refresh_token"]
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(server.refresh(token))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


@pytest.mark.parametrize("token", ["unknown", "nul\0", "x" * 300])
def test_an_unknown_refresh_token_is_refused(server: Server, token: str) -> None:
    assert error(server.refresh(token)) == (400, "refresh_token_not_found")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("update auth.users set banned_until = 'infinity' where email = %s", (400, "user_banned")),
        ("update auth.users set deleted_at = now() where email = %s", (400, "user_banned")),
        ("delete from auth.users where email = %s", (400, "refresh_token_not_found")),
        (
            "update auth.sessions set not_after = now() "
            "where user_id = (select id from auth.users where email = %s)",
            (400, "session_expired"),
        ),
    ],
    ids=["banned", "deleted", "gone", "over"],
)
def test_what_ended_is_not_refreshed(
    server: Server, somebody: str, change: str, refusal: tuple[int, str]
) -> None:
    token = server.sign_in(somebody).json()["refresh_token"]
    server.run(change, somebody)

    assert error(server.refresh(token)) == refusal


# The signed-in user


def test_supabases_client_gets_its_user_and_signs_out(server: Server, client: Client, somebody: str) -> None:
    session = client.auth.sign_in_with_password({"email": somebody, "password": PASSWORD}).session
    assert session is not None
    answer = client.auth.get_user()
    assert answer is not None
    assert answer.user.email == somebody

    client.auth.sign_out()

    assert error(server.refresh(session.refresh_token)) == (400, "refresh_token_not_found")
    assert error(server.ask("GET", "/user", headers=bearer(session.access_token))) == (
        403,
        "session_not_found",
    )


@pytest.mark.parametrize(
    ("scope", "left"),
    [("global", [False, False]), ("", [False, False]), ("local", [False, True]), ("others", [True, False])],
)
def test_signing_out_ends_the_sessions_of_its_scope(
    server: Server, somebody: str, scope: str, left: list[bool]
) -> None:
    tokens = [server.sign_in(somebody).json()["access_token"] for _ in range(2)]
    stranger = server.sign_in(server.add()).json()["access_token"]

    assert server.ask("POST", f"/logout?scope={scope}", headers=bearer(tokens[0])).status_code == 204

    answers = [server.ask("GET", "/user", headers=bearer(token)).status_code == 200 for token in tokens]
    assert answers == left
    assert server.ask("GET", "/user", headers=bearer(stranger)).status_code == 200


def test_an_unknown_scope_ends_nothing(server: Server, somebody: str) -> None:
    token = server.sign_in(somebody).json()["access_token"]

    refused = server.ask("POST", "/logout?scope=all", headers=bearer(token))

    assert error(refused) == (400, "validation_failed")
    assert server.ask("GET", "/user", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer a b"])
def test_without_a_token_there_is_no_user(server: Server, header: str) -> None:
    assert error(server.ask("GET", "/user", headers={"Authorization": header})) == (401, "no_authorization")


def test_a_token_that_is_not_ours_is_refused(server: Server, somebody: str, tmp_path: Any) -> None:
    good = server.sign_in(somebody).json()["access_token"]
    claims = jwt.decode(good, options={"verify_signature": False})
    other = Keys.make_once(tmp_path)
    tokens = [
        "x.y.z",
        server.keys.publishable_key,
        other.sign(claims),
        jwt.encode(claims, server.keys.jwks["keys"][0]["x"], "HS256"),
        server.keys.sign({**claims, "exp": claims["iat"] - 1}),
        server.keys.sign({**claims, "aud": "other"}),
        server.keys.sign({**claims, "iss": "other"}),
        server.keys.sign({**claims, "sub": "nobody"}),
        server.keys.sign({**claims, "session_id": 1}),
        server.keys.sign({name: claim for name, claim in claims.items() if name != "exp"}),
    ]

    for token in tokens:
        assert error(server.ask("GET", "/user", headers=bearer(token))) == (403, "bad_jwt")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (
            "update auth.users set banned_until = now() + interval '1 day' where email = %s",
            (403, "user_banned"),
        ),
        ("update auth.users set deleted_at = now() where email = %s", (403, "user_not_found")),
        ("delete from auth.users where email = %s", (403, "user_not_found")),
    ],
    ids=["banned", "deleted", "gone"],
)
def test_a_users_end_is_noticed(server: Server, somebody: str, change: str, refusal: tuple[int, str]) -> None:
    token = server.sign_in(somebody).json()["access_token"]
    server.run(change, somebody)

    assert error(server.ask("GET", "/user", headers=bearer(token))) == refusal


def test_settings_and_health_are_there_for_clients_that_ask(server: Server) -> None:
    assert server.ask("GET", "/settings").json()["external"]["email"] is True
    assert server.ask("GET", "/health").json()["name"] == "GoTrue"


# Users, and whose database it is


def test_an_address_is_given_once_whatever_its_case(server: Server, somebody: str) -> None:
    with server.connect() as connection, pytest.raises(psycopg.errors.UniqueViolation):
        create_user(connection, somebody.upper(), PASSWORD, cost=4)


def test_a_password_too_long_for_bcrypt_is_refused(server: Server) -> None:
    with server.connect() as connection, pytest.raises(ValueError, match="at most 72 bytes"):
        create_user(connection, "long@example.test", "ü" * 37, cost=4)


async def test_it_refuses_a_server_that_was_not_started_here(cluster: Cluster, server: Server) -> None:
    with new_cluster() as stranger, stranger:
        auth = LocalAuth(cluster.dsn("supabase_auth_admin"), server.keys, server.issuer, stranger)
        with pytest.raises(ForeignServerError):
            await auth.open()


async def test_it_says_when_its_database_is_down(cluster: Cluster, server: Server) -> None:
    nowhere = cluster.dsn("supabase_auth_admin").replace(f":{cluster.port}/", ":1/")

    with pytest.raises(LocalError, match="does not reach its database"):
        await LocalAuth(nowhere, server.keys, server.issuer, cluster).open()
