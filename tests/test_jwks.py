"""The published keys: fetched, rotated, removed, and what a failing or hostile endpoint can do (nothing)."""

import asyncio
import gzip
import inspect
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from resolvers.errors import ApiError
from resolvers.identity import ANONYMOUS, Verifier
from resolvers.jwks import PublishedKeySet
from resolvers.keys import public_keys
from tests.signing import (
    ABSENT,
    ALGORITHMS,
    EC_KEY,
    ISSUER,
    JWKS,
    NOW,
    OTHER_EC_KEY,
    RSA_KEY,
    SECRET,
    SIGNING_KEYS,
    USER,
    accepted,
    as_jwk,
    encoded,
    environment,
    refusal_of,
    token,
)

NOT_SIGNED = "not signed by a key"
Answer = Callable[[BaseHTTPRequestHandler], None]


def answering(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def publishing(*keys: Any) -> Answer:
    return answering(json.dumps({"keys": keys}).encode())


class Endpoint:
    """A real server for keys, which counts what it is asked and answers as it is told."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.answer: Answer = publishing(*JWKS["keys"])
        self.closing = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.paths.append(self.path)
                with suppress(OSError):
                    endpoint.answer(self)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def calls(self) -> int:
        return len(self.paths)

    def hang(self, _: BaseHTTPRequestHandler) -> None:
        self.closing.wait(8)

    def drip(self, request: BaseHTTPRequestHandler) -> None:
        answering(b"")(request)
        while not self.closing.wait(0.02):
            request.wfile.write(b" ")

    def stop(self) -> None:
        self.closing.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for proxy in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    endpoint = Endpoint()
    yield endpoint
    endpoint.stop()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def following(
    endpoint: Endpoint, clock: Clock | None = None, **options: Any
) -> AsyncIterator[Verifier]:
    secret = options.pop("secret", None)
    keys = PublishedKeySet(f"{endpoint.url}/keys", clock=clock or Clock(), **options)
    verifier = Verifier(issuer=ISSUER, keys=keys, secret=secret, clock=lambda: NOW)
    await verifier.open()
    try:
        yield verifier
    finally:
        await verifier.close()


def naming(kid: str, key: Any = OTHER_EC_KEY) -> str:
    return token(key=key, header={"alg": "ES256", "kid": kid})


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.01)


async def test_keys_are_fetched_once(endpoint: Endpoint) -> None:
    async with following(endpoint) as verifier:
        assert verifier.ready
        for algorithm in ("ES256", "RS256", "EdDSA") * 5:
            assert (await accepted(token(algorithm), by=verifier)).user_id == UUID(USER)

    assert endpoint.paths == ["/keys"]


async def test_unknown_key_ids_cost_one_fetch_per_cool_down(endpoint: Endpoint) -> None:
    clock = Clock()
    async with following(endpoint, clock) as verifier:
        for number in range(100):
            await refusal_of(naming(f"unknown-{number}"), NOT_SIGNED, by=verifier)
        assert endpoint.calls == 1

        clock.now += 30
        await asyncio.gather(
            *(refusal_of(naming(f"more-{number}"), NOT_SIGNED, by=verifier) for number in range(200))
        )
        assert endpoint.calls == 2


async def test_a_new_key_is_accepted_after_the_cool_down(endpoint: Endpoint) -> None:
    clock = Clock()
    async with following(endpoint, clock) as verifier:
        endpoint.answer = publishing(*JWKS["keys"], as_jwk(OTHER_EC_KEY, "ES256", kid="new"))
        clock.now += 29
        await refusal_of(naming("new"), NOT_SIGNED, by=verifier)

        clock.now += 1
        assert await accepted(naming("new"), by=verifier)
        assert await accepted(token(), by=verifier)

    assert endpoint.calls == 2


async def test_requests_share_one_fetch(endpoint: Endpoint) -> None:
    clock = Clock()
    async with following(endpoint, clock) as verifier:
        publish = publishing(as_jwk(OTHER_EC_KEY, "ES256", kid="new"))

        def slowly(request: BaseHTTPRequestHandler) -> None:
            endpoint.closing.wait(0.2)
            publish(request)

        endpoint.answer = slowly
        clock.now += 30
        identities = await asyncio.gather(*(accepted(naming("new"), by=verifier) for _ in range(50)))

    assert len(set(identities)) == 1
    assert endpoint.calls == 2


async def test_a_removed_key_is_refused_after_the_next_refresh(endpoint: Endpoint) -> None:
    async with following(endpoint, refresh_seconds=0.02) as verifier:
        assert await accepted(token(), by=verifier)

        endpoint.answer = publishing(as_jwk(RSA_KEY, "RS256"))
        seen = endpoint.calls
        await until(lambda: endpoint.calls > seen + 2)

        await refusal_of(token(), NOT_SIGNED, by=verifier)
        assert await accepted(token("RS256"), by=verifier)


def test_a_removed_key_is_refused_within_ten_minutes_even_if_a_refresh_fails() -> None:
    defaults = {
        name: option.default for name, option in inspect.signature(PublishedKeySet).parameters.items()
    }

    once_failed = defaults["refresh_seconds"] + defaults["retry_seconds"] + 2 * defaults["fetch_seconds"]

    assert once_failed < 600
    assert defaults["cooldown_seconds"] <= 30


def faults(endpoint: Endpoint) -> dict[str, Answer]:
    moved = {"Location": f"{endpoint.url}/elsewhere"}
    return {
        "503": answering(b"down", 503),
        "404": answering(json.dumps(JWKS).encode(), 404),
        "redirect": answering(b"", 302, moved),
        "permanent redirect": answering(json.dumps(JWKS).encode(), 308, moved),
        "empty": answering(b""),
        "no keys": publishing(),
        "only secrets": publishing({"kty": "oct", "kid": "es256", "k": encoded(SECRET.encode())}),
        "null": answering(b"null"),
        "array": answering(json.dumps(JWKS["keys"]).encode()),
        "keys are an object": answering(b'{"keys": {}}'),
        "HTML": answering(b"<html>", headers={"Content-Type": "text/html"}),
        "bad UTF-8": answering(b'{"keys": ["\xff"]}'),
        "deep": answering(b'{"keys": ' + b"[" * 100_000),
        "cut off": answering(json.dumps(JWKS).encode(), headers={"Content-Length": "99999"}),
        "too large": answering(b" " * 300_000 + json.dumps(JWKS).encode()),
        "compressed": answering(
            gzip.compress(json.dumps(JWKS).encode()), headers={"Content-Encoding": "gzip"}
        ),
        "closed": lambda request: request.connection.close(),
        "8 s slow": endpoint.hang,
        "dripping": endpoint.drip,
    }


FAULTS = ["503", "404", "redirect", "permanent redirect", "empty", "no keys", "only secrets", "null", "array"]
FAULTS += ["keys are an object", "HTML", "bad UTF-8", "deep", "cut off", "too large", "compressed", "closed"]
FAULTS += ["8 s slow", "dripping", "down"]


def break_down(endpoint: Endpoint, fault: str) -> None:
    if fault == "down":
        endpoint.stop()
    else:
        endpoint.answer = faults(endpoint)[fault]


@pytest.mark.parametrize("fault", FAULTS)
async def test_while_the_endpoint_fails_known_keys_go_on(endpoint: Endpoint, fault: str) -> None:
    clock = Clock()
    async with following(endpoint, clock) as verifier:
        break_down(endpoint, fault)
        for _ in range(2):
            clock.now += 3600
            started = time.monotonic()
            await refusal_of(naming("unknown"), NOT_SIGNED, by=verifier)
            assert time.monotonic() - started < 3

            assert await accepted(token(), by=verifier)
            assert verifier.ready

    assert "/elsewhere" not in endpoint.paths


@pytest.mark.parametrize("fault", FAULTS[:-1])
async def test_without_any_keys_nobody_is_let_in_until_they_come(endpoint: Endpoint, fault: str) -> None:
    break_down(endpoint, fault)
    async with following(endpoint, retry_seconds=0.02, fetch_seconds=0.3) as verifier:
        assert not verifier.ready
        with pytest.raises(ApiError) as caught:
            await accepted(token(), by=verifier)
        assert caught.value.code == "UNAVAILABLE"
        await refusal_of(token(header={"alg": "PS256", "kid": "es256"}), NOT_SIGNED, by=verifier)
        assert await verifier.identify([]) == ANONYMOUS

        endpoint.answer = publishing(*JWKS["keys"])
        await until(lambda: verifier.ready)
        assert await accepted(token(), by=verifier)


async def test_a_project_that_signs_with_its_secret_publishes_no_keys(endpoint: Endpoint) -> None:
    endpoint.answer = publishing()
    async with following(endpoint, secret=SECRET, may_be_empty=True) as verifier:
        assert verifier.ready
        assert await accepted(token("HS256"), by=verifier)
        await refusal_of(token(), NOT_SIGNED, by=verifier)


async def test_a_token_makes_the_server_ask_nobody(endpoint: Endpoint) -> None:
    clock = Clock()
    async with following(endpoint, clock) as verifier:
        clock.now += 3600
        for name in ("jku", "x5u", "jwk", "x5c"):
            header = {"alg": "ES256", "kid": "unknown", name: f"{endpoint.url}/{name}"}
            await refusal_of(token(key=OTHER_EC_KEY, header=header), by=verifier)
        for kid in ("../keys", f"{endpoint.url}/kid", "unknown"):
            await refusal_of(naming(kid), by=verifier)

    assert endpoint.paths == ["/keys", "/keys"]


UNUSABLE: dict[str, Any] = {
    "a secret": {"kty": "oct", "kid": "odd", "k": encoded(SECRET.encode()), "alg": "HS256"},
    "for encryption": as_jwk(EC_KEY, "ES256", kid="odd", use="enc"),
    "for signing": as_jwk(EC_KEY, "ES256", kid="odd", key_ops=["sign"]),
    "private": {**ALGORITHMS["ES256"].to_jwk(EC_KEY, as_dict=True), "kid": "odd"},
    "another algorithm": as_jwk(RSA_KEY, "RS256", kid="odd", alg="PS256"),
    "null algorithm": as_jwk(RSA_KEY, "RS256", kid="odd", alg=None),
    "P-384": as_jwk(ec.generate_private_key(ec.SECP384R1()), "ES384", kid="odd"),
    "P-384 as ES256": as_jwk(ec.generate_private_key(ec.SECP384R1()), "ES384", kid="odd", alg="ES256"),
    "secp256k1": as_jwk(ec.generate_private_key(ec.SECP256K1()), "ES256K", kid="odd", alg="ES256"),
    "Ed448": as_jwk(ed448.Ed448PrivateKey.generate(), "EdDSA", kid="odd"),
    "1,024 bits": as_jwk(rsa.generate_private_key(65537, 1024), "RS256", kid="odd"),
    "not on the curve": as_jwk(EC_KEY, "ES256", kid="odd", x=encoded(bytes(31) + b"\1")),
    "a coordinate missing": as_jwk(EC_KEY, "ES256", kid="odd", y=ABSENT),
    "a coordinate of another type": as_jwk(EC_KEY, "ES256", kid="odd", x=1),
    "not base64": as_jwk(EC_KEY, "ES256", kid="odd", x="!"),
    "unknown curve": as_jwk(EC_KEY, "ES256", kid="odd", crv="P-257"),
    "curve of another type": as_jwk(EC_KEY, "ES256", kid="odd", crv=["P-256"]),
    "unknown type": as_jwk(EC_KEY, "ES256", kid="odd", kty="EE"),
    "operations of another type": as_jwk(EC_KEY, "ES256", kid="odd", key_ops=1),
    "without id": as_jwk(EC_KEY, "ES256", kid=ABSENT),
    "empty id": as_jwk(EC_KEY, "ES256", kid=""),
    "id of another type": as_jwk(EC_KEY, "ES256", kid=["es256"]),
    "string": "odd",
    "null": None,
    "array": [],
    "empty": {},
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE)
def test_keys_that_are_not_for_this_are_passed_over(unusable: Any) -> None:
    assert list(public_keys({"keys": [unusable, *JWKS["keys"]]})) == ["es256", "rs256", "eddsa"]


@pytest.mark.parametrize("absent", [{"alg": ABSENT}, {"use": ABSENT}, {"key_ops": ["verify"]}], ids=repr)
@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_what_a_key_leaves_out_follows_from_its_type(algorithm: str, absent: dict[str, Any]) -> None:
    keys = public_keys({"keys": [as_jwk(SIGNING_KEYS[algorithm], algorithm, **absent)]})

    assert [key.algorithm for key in keys.values()] == [algorithm]


async def test_a_project_url_is_all_that_is_needed(endpoint: Endpoint) -> None:
    verifier = Verifier.from_settings(environment(supabase_url=f"{endpoint.url}/"))
    now = int(time.time())
    await verifier.open()
    try:
        good = token(iss=f"{endpoint.url}/auth/v1", iat=now, exp=now + 60)
        assert (await accepted(good, by=verifier)).expires_at == now + 60
        await refusal_of(token(iat=now, exp=now + 60), "another project", by=verifier)
    finally:
        await verifier.close()

    assert endpoint.paths == ["/auth/v1/.well-known/jwks.json"]


@pytest.mark.parametrize("secret", [None, SECRET], ids=["without secret", "with secret"])
async def test_an_empty_set_is_believed_only_where_a_secret_signs(
    endpoint: Endpoint, secret: str | None
) -> None:
    endpoint.answer = publishing()
    verifier = Verifier.from_settings(environment(supabase_url=endpoint.url, jwt_secret=secret))
    await verifier.open()

    assert verifier.ready is (secret is not None)
    await verifier.close()
