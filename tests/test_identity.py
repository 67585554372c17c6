"""Every way to claim to be somebody, and what becomes of it: accepted, anonymous or refused, nothing else."""

import hashlib
import hmac
import json
import math
import string
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.rows import TupleRow

from resolvers.errors import ApiError
from resolvers.identity import ANONYMOUS, Identity, Verifier
from resolvers.jwks import KeySet
from resolvers.keys import public_keys
from tests.databases import Database
from tests.people import put_on
from tests.signing import (
    ABSENT,
    ALGORITHMS,
    CLI_SECRET,
    COMMUNITY,
    EC_KEY,
    ED_KEY,
    ISSUER,
    JWKS,
    NOW,
    OTHER_EC_KEY,
    RSA_KEY,
    SECRET,
    USER,
    VERIFIER,
    WITH_SECRET,
    accepted,
    as_jwk,
    claims,
    decoded,
    encoded,
    environment,
    present,
    refusal,
    refusal_of,
    signed,
    token,
)

NOT_SIGNED, MALFORMED = "not signed by a key", "malformed"


# Nobody


async def test_without_a_header_the_caller_is_anonymous() -> None:
    assert await VERIFIER.identify([]) == ANONYMOUS
    assert (ANONYMOUS.role, ANONYMOUS.claims, ANONYMOUS.expires_at) == ("anon", "", math.inf)


async def test_a_publishable_key_is_anonymous() -> None:
    assert await accepted("sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH") == ANONYMOUS


@pytest.mark.parametrize("header", [{"alg": "HS256", "typ": "JWT"}, {"alg": "HS256", "kid": "x6XPwN/Pp6+k"}])
async def test_a_legacy_public_key_is_anonymous(header: dict[str, str]) -> None:
    key = {"iss": "supabase", "ref": "abcdefgh", "role": "anon", "iat": NOW - 10**8, "exp": NOW + 10**8}
    legacy = signed(json.dumps(key).encode(), "HS256", header=json.dumps(header).encode())

    assert await accepted(legacy, by=WITH_SECRET) == ANONYMOUS


@pytest.mark.parametrize(
    "key",
    [
        {"role": "anon", "iss": "supabase", "exp": NOW - 120},
        {"role": "anon", "iss": "supabase"},
        {"role": "anon", "iss": "supabase", "exp": NOW + 3600, "sub": USER},
        {"role": "service_role", "iss": "supabase", "exp": NOW + 3600},
    ],
    ids=["expired", "without end", "of somebody", "service role"],
)
async def test_other_legacy_keys_are_refused(key: dict[str, Any]) -> None:
    await refusal_of(signed(json.dumps(key).encode(), "HS256"), "expire|role", by=WITH_SECRET)


async def test_a_secret_key_is_refused_by_name() -> None:
    await refusal_of("sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz", "Secret keys")


async def test_a_public_key_cannot_sign_for_nobody() -> None:
    await refusal_of(token(role="anon", sub=ABSENT), "role")


@pytest.mark.parametrize(
    "authorization",
    [
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Bearer  "],
        ["Bearer null"],
        ["Bearer undefined"],
        ["Bearer sb_publishable_"],
        ["Bearer sb_publishable_ACJW.lzQH"],
        ["Basic dXNlcjpwYXNzd29yZA=="],
        ["Token abc"],
        [token()],
        [f"Bearer{token()}"],
        [f"Bearer\t{token()}"],
        [f"Bearer  {token()}"],
        [f"Bearer {token()} "],
        [f"Bearer {token()}\n"],
        [f"Bearer {token()}, Bearer {token()}"],
        [f"Bearer {token()}é"],
        ["Bearer \u0661.\u0662.\u0663"],
        ["Bearer \ud800.\ud800.\ud800"],
        [f"Bearer {token()}", f"Bearer {token()}"],
        [f"Bearer {token()}", ""],
        ["", ""],
    ],
)
async def test_other_headers_are_refused(authorization: list[str]) -> None:
    await refusal(*authorization)


# Somebody


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "HS256"])
async def test_a_good_token_is_its_user(algorithm: str) -> None:
    identity = await accepted(token(algorithm), by=WITH_SECRET)

    assert (identity.role, identity.user_id, identity.community_id, identity.expires_at) == (
        "authenticated",
        UUID(USER),
        UUID(COMMUNITY),
        NOW + 3600,
    )
    assert json.loads(identity.claims) == claims()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_may_be_in_any_case(scheme: str) -> None:
    assert await VERIFIER.identify([f"{scheme} {token()}"]) == await VERIFIER.verify(token())


async def test_claims_have_one_spelling() -> None:
    spelt_oddly = json.dumps(dict(reversed(claims(email="é\u2028").items())), indent=4).encode()

    identity = await accepted(signed(spelt_oddly))

    assert identity.claims == (await accepted(token(email="é\u2028"))).claims


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["authenticated"]},
        {"exp": NOW - 29},
        {"iat": NOW + 29, "exp": NOW + 60},
        {"nbf": NOW + 29},
        {"iat": NOW, "exp": NOW + 86_400},
        {"iat": ABSENT, "exp": NOW + 86_400},
        {"is_anonymous": ABSENT},
        {"email": "back\\u0000slash"},
        {"email": "\U0001f600 é \u2028 \x7f"},
        {"app_metadata": {"community_id": COMMUNITY, "padding": "x" * 12 * 1024}},
        {"app_metadata": {"community_id": COMMUNITY, "padding": "x" * 16 * 1024}},
        {"app_metadata": {"community_id": COMMUNITY, "nested": json.loads("[" * 200 + "]" * 200)}},
    ],
    ids=lambda changes: repr(changes)[:60],
)
async def test_within_bounds_is_accepted(changes: dict[str, Any]) -> None:
    assert (await accepted(token(**changes))).community_id == UUID(COMMUNITY)


# Algorithms and keys


OTHER_ALGORITHMS: list[Any] = ["none", "None", "NONE", "nOnE", "none ", "", None, ABSENT, ["ES256"], [], 0]
OTHER_ALGORITHMS += [{}, "HS256", "HS512", "es256", "ES256 ", "ES512", "ES256K", "PS256", "RS256", "EdDSA"]
OTHER_ALGORITHMS += ["ES256\0", "\N{FULLWIDTH LATIN CAPITAL LETTER E}S256"]


@pytest.mark.parametrize("by", [VERIFIER, WITH_SECRET], ids=["public keys", "with secret"])
@pytest.mark.parametrize("algorithm", OTHER_ALGORITHMS, ids=repr)
@pytest.mark.parametrize("kid", ["es256", "rs256", ABSENT], ids=repr)
async def test_an_algorithm_that_is_not_the_keys_is_refused(algorithm: Any, kid: Any, by: Verifier) -> None:
    signer = {"es256": "ES256", "rs256": "PS256"}.get(kid, "EdDSA")
    header = present({"alg": algorithm, "kid": kid})
    whole = token(signer, header=header)

    await refusal_of(whole, NOT_SIGNED, by=by)
    await refusal_of(whole[: whole.rindex(".") + 1], MALFORMED, by=by)
    await refusal_of(whole[: whole.rindex(".")], MALFORMED, by=by)


def public_forms() -> Iterator[tuple[str, bytes]]:
    kinds: list[tuple[str, Any, str]] = [("EC", EC_KEY, "ES256"), ("RSA", RSA_KEY, "RS256")]
    for name, key, algorithm in kinds:
        public = key.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        yield f"{name} PEM", pem
        yield f"{name} PEM stripped", pem.strip()
        yield f"{name} PEM with CRLF", pem.replace(b"\n", b"\r\n")
        yield f"{name} PEM in one line", pem.replace(b"\n", b"")
        yield f"{name} DER", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        yield f"{name} OpenSSH", public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        yield f"{name} JWK", json.dumps(as_jwk(key, algorithm)).encode()
    yield "RSA PKCS1", RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    yield "modulus", RSA_KEY.public_key().public_numbers().n.to_bytes(256, "big")
    yield "encoded modulus", as_jwk(RSA_KEY, "RS256")["n"].encode()
    yield "empty", b""
    yield "zero bytes", bytes(32)
    yield "secret", b"secret"
    yield "demo secret", CLI_SECRET.encode()


@pytest.mark.parametrize("by", [VERIFIER, WITH_SECRET], ids=["public keys", "with secret"])
@pytest.mark.parametrize("secret", [pytest.param(form, id=name) for name, form in public_forms()])
@pytest.mark.parametrize("kid", ["es256", "rs256", None])
async def test_what_everybody_knows_is_no_secret(secret: bytes, kid: str | None, by: Verifier) -> None:
    header = {"alg": "HS256"} if kid is None else {"alg": "HS256", "kid": kid}
    message = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims()).encode())}"
    signature = hmac.digest(secret, message.encode(), hashlib.sha256)

    await refusal_of(f"{message}.{encoded(signature)}", NOT_SIGNED, by=by)


async def test_without_a_configured_secret_hs256_is_refused() -> None:
    await refusal_of(token("HS256"), NOT_SIGNED)


@pytest.mark.parametrize(
    "secret",
    ["", " " * 40, "secret", "x1" * 15 + "x", CLI_SECRET, f"your-{CLI_SECRET}"]
    + [form.decode() for name, form in public_forms() if name in ("EC PEM", "RSA OpenSSH", "EC JWK")],
    ids=lambda secret: secret[:20],
)
def test_a_weak_secret_stops_the_start(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^JWT_SECRET "):
        Verifier(issuer=ISSUER, secret=secret)


@pytest.mark.parametrize("host", ["127.0.0.1:54321", "localhost:54321", "[::1]:54321"])
def test_the_cli_secret_is_for_this_machine_only(host: str) -> None:
    Verifier(issuer=f"http://{host}/auth/v1", secret=CLI_SECRET)

    for elsewhere in ("http://127.0.0.1.example/auth/v1", "http://localhost.example", "http://192.168.0.7"):
        with pytest.raises(ValueError, match="published example"):
            Verifier(issuer=elsewhere, secret=CLI_SECRET)


UNLISTED: list[Any] = ["unknown", "../../dev/null", "/dev/null", "es256' or '1'='1", "es256; id", "$(id)"]
UNLISTED += [0, 1, None, True, ["es256"], [], {}, {"kid": "es256"}, "es256\0", "\0", "ES256", " es256", ""]
UNLISTED += ["é", "x" * 20_000, "x" * 65_536]


@pytest.mark.parametrize("by", [VERIFIER, WITH_SECRET], ids=["public keys", "with secret"])
@pytest.mark.parametrize("kid", UNLISTED, ids=lambda kid: repr(kid)[:30])
async def test_a_key_id_that_is_not_listed_is_refused(kid: Any, by: Verifier) -> None:
    because = MALFORMED if len(repr(kid)) > 30_000 else NOT_SIGNED
    await refusal_of(token(header={"alg": "ES256", "kid": kid}), because, by=by)


async def test_a_key_id_is_needed_for_public_keys() -> None:
    await refusal_of(token(header={"alg": "ES256"}), NOT_SIGNED)


@pytest.mark.parametrize("kid", [0, None, ["es256"], {}, "", "\0", "x" * 300], ids=lambda kid: repr(kid)[:20])
async def test_a_malformed_key_id_is_refused_with_the_secret_too(kid: Any) -> None:
    await refusal_of(token("HS256", header={"alg": "HS256", "kid": kid}), NOT_SIGNED, by=WITH_SECRET)


# Signatures


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def other_signatures(message: bytes, signature: bytes) -> Iterator[tuple[str, bytes]]:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    order = P256_ORDER.to_bytes(32, "big")
    yield "all zero", bytes(64)
    yield "r = s = n", order + order
    yield "r = 0", bytes(32) + signature[32:]
    yield "s = 0", signature[:32] + bytes(32)
    yield "DER", encode_dss_signature(r, s)
    yield "swapped halves", signature[32:] + signature[:32]
    yield "one byte more", signature + b"\0"
    yield "one byte before", b"\0" + signature
    yield "one byte less", signature[:-1]
    yield "twice", signature + signature
    yield "one byte", b"\0"
    yield "by another key", ALGORITHMS["ES256"].sign(message, OTHER_EC_KEY)
    yield "of another message", ALGORITHMS["ES256"].sign(message + b"\n", EC_KEY)
    yield "by the RSA key", ALGORITHMS["RS256"].sign(message, RSA_KEY)
    yield "by the Ed25519 key", ALGORITHMS["EdDSA"].sign(message, ED_KEY)


SPLIT = token().rpartition(".")


@pytest.mark.parametrize(
    "signature",
    [pytest.param(raw, id=name) for name, raw in other_signatures(SPLIT[0].encode(), decoded(SPLIT[2]))],
)
async def test_a_signature_that_does_not_hold_is_refused(signature: bytes) -> None:
    assert await accepted(".".join(SPLIT[::2]))

    await refusal_of(f"{SPLIT[0]}.{encoded(signature)}", NOT_SIGNED)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "HS256"])
async def test_every_flipped_bit_of_a_signature_is_noticed(algorithm: str) -> None:
    message, _, signature = token(algorithm).rpartition(".")
    raw = decoded(signature)

    for bit in range(0, len(raw) * 8, 3):
        flipped = (int.from_bytes(raw, "big") ^ 1 << bit).to_bytes(len(raw), "big")
        await refusal_of(f"{message}.{encoded(flipped)}", NOT_SIGNED, by=WITH_SECRET)


async def test_another_payload_needs_another_signature() -> None:
    header, payload, signature = token().split(".")
    other_header, other_payload, other_signature = token(sub=COMMUNITY).split(".")

    await refusal_of(f"{header}.{other_payload}.{signature}", NOT_SIGNED)
    await refusal_of(f"{header}.{payload}.{other_signature}", NOT_SIGNED)
    await refusal_of(f"{token('RS256').split('.')[0]}.{payload}.{signature}", NOT_SIGNED)
    assert other_header == header


# Headers


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit", "b64"])
@pytest.mark.parametrize(
    "value", [None, True, [], "https://attacker.example/keys.json", as_jwk(OTHER_EC_KEY, "ES256")]
)
async def test_a_header_that_brings_its_own_rules_is_refused(name: str, value: Any) -> None:
    header = {"alg": "ES256", "kid": "es256", name: value}

    await refusal_of(token(header=header), NOT_SIGNED)
    await refusal_of(token(key=OTHER_EC_KEY, header=header), NOT_SIGNED)
    await refusal_of(token("HS256", header={"alg": "HS256", name: value}), NOT_SIGNED, by=WITH_SECRET)


# Claims


TIMES: list[Any] = [None, True, False, "", str(NOW + 60), NOW + 60.5, 1.5e9, -1, [], [NOW], {}]
TIMES += [10**400, -(10**400)]


@pytest.mark.parametrize(
    "changes",
    [{"exp": value} for value in [ABSENT, *TIMES, 0, NOW - 30, NOW - 120, NOW + 86_401, NOW + 10**9]]
    + [{"iat": value} for value in [*TIMES, NOW - 82_801, NOW + 31, NOW + 3600]]
    + [{"nbf": value} for value in [*TIMES[:-2], 10**400, NOW + 31, NOW + 120]]
    + [{"iat": ABSENT, "exp": NOW + 86_401}],
    ids=lambda changes: repr(changes)[:40],
)
async def test_times_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    await refusal_of(token(**changes), "expire|not valid yet|lives longer")


AUDIENCES: list[Any] = [ABSENT, None, [], 0, 1.5, {}, {"authenticated": 1}, "", "authenticate", "anon"]
AUDIENCES += ["authenticated2", "Authenticated", "authenticated/", "authenticated ", ["anon"]]
AUDIENCES += [["authenticated", "other"], ["authenticated", 1], ["authenticated", None]]
AUDIENCES += [["authenticated", "authenticated"], [["authenticated"]]]


@pytest.mark.parametrize("audience", AUDIENCES, ids=repr)
async def test_another_audience_is_refused(audience: Any) -> None:
    await refusal_of(token(aud=audience), "another audience")


ISSUERS: list[Any] = [ABSENT, None, [], [ISSUER], 0, {}, "", "supabase", ISSUER + "/", ISSUER[:-1]]
ISSUERS += [ISSUER + "x", ISSUER.upper(), ISSUER.replace("https", "http"), ISSUER + "\0", " " + ISSUER]


@pytest.mark.parametrize("issuer", ISSUERS, ids=repr)
async def test_another_issuer_is_refused(issuer: Any) -> None:
    await refusal_of(token(iss=issuer), "another project")


NOT_UUIDS: list[Any] = ["", "me", 1, [USER], {}, True, USER + "\0", "\0", f"{USER}'", f"'{USER}'", USER[:-1]]
NOT_UUIDS += [USER + "0", USER.upper(), USER.replace("-", ""), f"{{{USER}}}", f"urn:uuid:{USER}", f" {USER}"]
NOT_UUIDS += [f"{USER}\n", USER.translate({ord("1"): "\N{ARABIC-INDIC DIGIT ONE}"})]


@pytest.mark.parametrize("subject", [ABSENT, None, *NOT_UUIDS], ids=repr)
async def test_a_subject_that_is_no_user_is_refused(subject: Any) -> None:
    await refusal_of(token(sub=subject), "does not name a user")


ROLES: list[Any] = ["service_role", "supabase_admin", "postgres", "authenticator", "anon", "Authenticated"]
ROLES += ["AUTHENTICATED", "authenticated ", " authenticated", "authenticated\0", "authenticated; reset role"]
ROLES += ["auth\N{CYRILLIC SMALL LETTER IE}nticated", "", None, 0, True, ["authenticated"], {}, ABSENT]


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
@pytest.mark.parametrize("role", ROLES, ids=repr)
async def test_every_other_role_is_refused(role: Any, algorithm: str) -> None:
    await refusal_of(token(algorithm, role=role), "role is not accepted", by=WITH_SECRET)


@pytest.mark.parametrize("metadata", [ABSENT, None, {}, {"community_id": None}, {"communities": [COMMUNITY]}])
async def test_no_community_is_claimed(metadata: Any) -> None:
    assert (await accepted(token(app_metadata=metadata))).community_id is None


@pytest.mark.parametrize("metadata", ["", "x", [], [COMMUNITY], 0, False, COMMUNITY], ids=repr)
async def test_metadata_of_another_shape_is_refused(metadata: Any) -> None:
    await refusal_of(token(app_metadata=metadata), "app_metadata")


@pytest.mark.parametrize("community", NOT_UUIDS, ids=repr)
async def test_a_malformed_community_never_reaches_the_database(community: Any) -> None:
    await refusal_of(token(app_metadata={"community_id": community}), "community_id")


async def test_what_users_write_themselves_is_ignored() -> None:
    own = {"community_id": COMMUNITY, "role": "service_role", "sub": COMMUNITY, "app_metadata": {}}

    identity = await accepted(token(app_metadata={}, user_metadata=own))

    assert (identity.role, identity.user_id, identity.community_id) == ("authenticated", UUID(USER), None)


async def test_anonymous_users_claim_no_community() -> None:
    identity = await accepted(token(is_anonymous=True))

    assert (identity.role, identity.user_id, identity.community_id) == ("authenticated", UUID(USER), None)
    assert json.loads(identity.claims)["is_anonymous"] is True
    assert COMMUNITY not in identity.claims


@pytest.mark.parametrize("flag", [None, 0, 1, "true", "false", "", [], {}], ids=repr)
async def test_whether_a_user_is_anonymous_must_be_clear(flag: Any) -> None:
    await refusal_of(token(is_anonymous=flag), "is_anonymous")


@pytest.mark.parametrize(
    "client", ["other", "", None, 0, ["dashboard"], {}, "Dashboard", "dashboard "], ids=repr
)
async def test_other_oauth_clients_are_refused(client: Any) -> None:
    allowing = Verifier(
        issuer=ISSUER, keys=KeySet(public_keys(JWKS)), allowed_clients=["dashboard"], clock=lambda: NOW
    )

    assert await accepted(token(client_id="dashboard"), by=allowing)
    await refusal_of(token(client_id="dashboard"), "OAuth client")
    await refusal_of(token(client_id=client), "OAuth client", by=allowing)


# Shape


GOOD = json.dumps(claims()).encode()
PAYLOADS = {
    "array": b"[]",
    "array of claims": b"[" + GOOD + b"]",
    "string": b'"x"',
    "number": b"1",
    "null": b"null",
    "space": b" ",
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without mark": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "bad UTF-8": GOOD.replace(b"learner", b"\xff\xfe"),
    "overlong UTF-8": GOOD.replace(b"learner", b"\xc0\xaf"),
    "surrogate in UTF-8": GOOD.replace(b"learner", b"\xed\xa0\x80"),
    "trailing text": GOOD + b"x",
    "two objects": GOOD + GOOD,
    "cut off": GOOD[:-1],
    "trailing comma": GOOD[:-1] + b",}",
    "single quotes": GOOD.replace(b'"', b"'"),
    "raw NUL": GOOD.replace(b"learner", b"\0"),
    "NUL": GOOD.replace(b"learner", b"\\u0000"),
    "NUL after backslash": GOOD.replace(b"learner", b"\\\\\\u0000"),
    "NUL in a name": GOOD.replace(b'"email"', b'"\\u0000"'),
    "lone surrogate": GOOD.replace(b"learner", b"\\ud800"),
    "lone surrogate in a name": GOOD.replace(b'"provider"', b'"\\udfff"'),
    "name twice": GOOD[:-1] + b', "sub": "%s"}' % USER.encode(),
    "name twice, escaped": GOOD[:-1] + b', "\\u0073ub": "%s"}' % USER.encode(),
    "name twice, within": GOOD.replace(b'"provider": "email"', b'"community_id": null'),
    "NaN": GOOD.replace(b"1790003600", b"NaN"),
    "Infinity": GOOD.replace(b"1790003600", b"Infinity"),
    "-Infinity": GOOD.replace(b"1790003600", b"-Infinity"),
    "1e400": GOOD.replace(b"1790003600", b"1e400"),
    "-1e400 elsewhere": GOOD.replace(b'"learner@demo.test"', b"-1e400"),
    "NaN elsewhere": GOOD.replace(b'"learner@demo.test"', b"NaN"),
    "5,000 digits": GOOD.replace(b"1790003600", b"9" * 5000),
    "4,000 digits elsewhere": GOOD.replace(b'"learner@demo.test"', b"9" * 4000),
    "5,000 digits elsewhere": GOOD.replace(b'"learner@demo.test"', b"9" * 5000),
    "300 deep": GOOD.replace(b'"learner@demo.test"', b"[" * 300 + b"]" * 300),
    "10,000 deep": GOOD.replace(b'"learner@demo.test"', b"[" * 10_000 + b"]" * 10_000),
    "20,000 deep": GOOD.replace(b'"learner@demo.test"', b"[" * 20_000),
    "20,000 objects deep": b'{"":' * 20_000 + b"1" + b"}" * 20_000,
    "60 KiB": GOOD.replace(b"learner", b"x" * 60 * 1024),
    "1 MiB": GOOD.replace(b"learner", b"x" * 1024 * 1024),
}


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
async def test_a_payload_that_readers_could_disagree_on_is_refused(payload: bytes, algorithm: str) -> None:
    assert payload != GOOD

    await refusal_of(signed(payload, algorithm), MALFORMED, by=WITH_SECRET)


HEADERS = {
    "array": b'["ES256"]',
    "string": b'"ES256"',
    "null": b"null",
    "byte order mark": b'\xef\xbb\xbf{"alg":"ES256","kid":"es256"}',
    "UTF-16": '{"alg":"ES256","kid":"es256"}'.encode("utf-16"),
    "alg twice": b'{"alg":"ES256","kid":"es256","alg":"ES256"}',
    "kid twice": b'{"alg":"ES256","kid":"es256","\\u006bid":"es256"}',
    "bad UTF-8": b'{"alg":"ES256","kid":"es256","typ":"\xff"}',
    "surrogate in UTF-8": b'{"alg":"ES256","kid":"es256","typ":"\xed\xa0\x80"}',
    "NaN": b'{"alg":"ES256","kid":"es256","typ":NaN}',
    "deep": b'{"alg":"ES256","kid":"es256","typ":' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    "long": b'{"alg":"ES256","kid":"es256","typ":"' + b"x" * 65_536 + b'"}',
    "cut off": b'{"alg":"ES256","kid":"es256"',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
async def test_a_header_that_readers_could_disagree_on_is_refused(header: bytes) -> None:
    await refusal_of(signed(GOOD, header=header), MALFORMED)


def respelt() -> Iterator[tuple[str, str]]:
    whole = token()
    header, payload, signature = whole.split(".")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = alphabet[alphabet.index(signature[-1]) + 1]
    yield "one part", header
    yield "two parts", f"{header}.{payload}"
    yield "four parts", f"{whole}.{signature}"
    yield "five parts", f"{header}..{payload}.{signature}.{signature}"
    yield "empty parts", ".."
    yield "no header", f".{payload}.{signature}"
    yield "no payload", f"{header}..{signature}"
    yield "dot before", f".{whole}"
    yield "dot after", f"{whole}."
    yield "unused bits set", f"{whole[:-1]}{last}"
    yield "padding", f"{whole}=="
    yield "standard alphabet", f"{header}.{payload}.{signature[:-2]}+/"
    yield "impossible length", f"{header}.{payload}.{signature}AAA"
    yield "quotes", f'"{whole}"'
    yield "percent", f"{header}%2e{payload}%2e{signature}"
    yield "comma", f"{header},{payload},{signature}"
    yield "NUL", f"{whole}\0"
    yield "full width", "\N{FULLWIDTH FULL STOP}".join(whole.split("."))


@pytest.mark.parametrize("spelling", [pytest.param(text, id=name) for name, text in respelt()])
async def test_a_token_has_one_spelling(spelling: str) -> None:
    await refusal_of(spelling, f"{MALFORMED}|Authorization header")
    await refusal_of(spelling, f"{MALFORMED}|Authorization header", by=WITH_SECRET)


async def test_what_a_library_decodes_leniently_is_refused() -> None:
    header, payload, signature = token().split(".")

    for segment in range(3):
        parts = [header, payload, signature]
        for junk in ("\n", " ", "=", "!", "\u00a0"):
            parts[segment] = parts[segment][:8] + junk + parts[segment][8:]
            await refusal_of(".".join(parts))


# Anything at all


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
near_claims = st.dictionaries(
    st.sampled_from([*claims(), "nbf", "client_id", "session_id"]) | st.text(max_size=5),
    json_values,
    max_size=4,
)


async def either_way(authorization: list[str], by: Verifier = WITH_SECRET) -> Identity | None:
    try:
        return await by.identify(authorization)
    except ApiError as error:
        if error.code != "UNAUTHENTICATED":
            raise
        return None


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.text(st.characters(exclude_categories=())) | st.text().map("Bearer {}".format), max_size=3)
)
async def test_any_header_is_answered(authorization: list[str]) -> None:
    assert await either_way(authorization) in (None, ANONYMOUS)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()), max_size=5)
)
async def test_any_segments_are_refused(segments: list[bytes]) -> None:
    assert await either_way([f"Bearer {'.'.join(map(encoded, segments))}"]) is None


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.text().map(str.encode))
async def test_any_signed_bytes_are_refused(payload: bytes) -> None:
    assert await either_way([f"Bearer {signed(payload, 'HS256')}"]) is None


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku", "crit"]) | st.text(max_size=4), json_values)
)
async def test_any_header_object_is_answered(header: dict[str, Any]) -> None:
    await either_way([f"Bearer {token('HS256', header={'alg': 'HS256', **header})}"])


@pytest.fixture(scope="module")
def postgres(shared_database: Database) -> Iterator[psycopg.Connection[TupleRow]]:
    with shared_database.connect("gym_api") as connection:
        yield connection


@settings(deadline=None, max_examples=500)
@given(changes=near_claims)
async def test_any_signed_claims_are_refused_or_read_by_postgres(
    postgres: psycopg.Connection[TupleRow], changes: dict[str, Any]
) -> None:
    identity = await either_way([f"Bearer {token('HS256', **changes)}"])
    if identity is None or identity == ANONYMOUS:
        return

    with postgres.transaction(force_rollback=True):
        put_on(postgres, identity.role, identity.claims)
        row = postgres.execute(
            "select auth.uid(), auth.role(), auth.jwt() -> 'app_metadata' ->> 'community_id'"
        )
        user, role, community = row.fetchone() or ()

    assert (user, role) == (identity.user_id, "authenticated")
    assert (community and UUID(community)) == identity.community_id


# From the settings


async def test_the_local_keys_count_where_no_project_is_set() -> None:
    now = int(time.time())
    verifier = Verifier.from_settings(environment(), issuer=ISSUER, jwks=JWKS)
    await verifier.open()

    assert verifier.ready
    assert await accepted(token(iat=now, exp=now + 60), by=verifier)
    await verifier.close()


async def test_every_setting_reaches_the_rules() -> None:
    now = int(time.time())
    verifier = Verifier.from_settings(
        environment(
            jwt_secret=SECRET,
            jwt_issuer="elsewhere",
            jwt_audience="api",
            jwt_max_age_seconds=600,
            jwt_allowed_clients=["dashboard"],
        )
    )
    usual = {"iss": "elsewhere", "aud": "api", "iat": now, "exp": now + 600, "client_id": "dashboard"}

    assert await accepted(token("HS256", **usual), by=verifier)
    for change in ({"iss": ISSUER}, {"aud": "authenticated"}, {"exp": now + 601}, {"client_id": "other"}):
        await refusal_of(token("HS256", **{**usual, **change}), by=verifier)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "No key verifies tokens"),
        ({"jwt_secret": SECRET}, "JWT_ISSUER"),
        ({"jwks_url": "https://project.example/keys"}, "JWT_ISSUER"),
        ({"jwt_secret": SECRET, "jwt_issuer": ISSUER, "jwt_audience": ""}, "JWT_AUDIENCE"),
        ({"jwks_url": "file://localhost/etc/passwd", "jwt_issuer": ISSUER}, "JWKS_URL"),
        ({"jwks_url": "https:///keys", "jwt_issuer": ISSUER}, "JWKS_URL"),
        ({"supabase_url": "project.example"}, "SUPABASE_URL"),
        ({"jwt_secret": "", "jwt_issuer": ISSUER}, "JWT_SECRET"),
    ],
    ids=str,
)
def test_settings_that_verify_nothing_stop_the_start(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Verifier.from_settings(environment(**values))


def test_a_local_key_set_without_keys_stops_the_start() -> None:
    with pytest.raises(ValueError, match="no public key"):
        Verifier.from_settings(environment(), issuer=ISSUER, jwks={"keys": []})


async def test_a_token_that_was_verified_once_is_refused_when_it_has_expired() -> None:
    now = [float(NOW)]
    verifier = Verifier(issuer=ISSUER, keys=KeySet(public_keys(JWKS)), clock=lambda: now[0])
    good = token(exp=NOW + 60)
    first = await accepted(good, by=verifier)

    now[0] = NOW + 59
    again = await accepted(good, by=verifier)
    now[0] = NOW + 60 + 31

    assert again is first, "not verified twice"
    await refusal_of(good, "expired", by=verifier)


async def test_a_token_that_was_verified_once_is_refused_when_its_key_is_gone() -> None:
    keys = KeySet(public_keys(JWKS))
    verifier = Verifier(issuer=ISSUER, keys=keys, clock=lambda: NOW)
    good = token()
    await accepted(good, by=verifier)

    keys._keys = {kid: key for kid, key in public_keys(JWKS).items() if kid != "es256"}

    await refusal_of(good, "not signed", by=verifier)


async def test_a_token_that_resembles_a_verified_one_is_verified_itself() -> None:
    good = token()
    await accepted(good)

    for other in (good[:-1], good + "A", good.swapcase(), good + "=", " " + good):
        await refusal_of(other)
