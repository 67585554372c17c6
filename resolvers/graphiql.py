"""The page that a browser gets at `/graphql`: GraphiQL as `make web` has built it, or else one from a CDN."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import orjson
from strawberry.http.ides import get_graphql_ide_html

from resolvers.http_response import Header, Response
from resolvers.media_types import HTML

_CONFIGURATION = 'data-configuration="{}"'

# A page that other sites could put in a frame could be made to send what its user never meant.
_NO_REFERRER: Header = (b"referrer-policy", b"no-referrer")
_POLICY_OF_CDN = "frame-ancestors 'none'"
# The editor writes styles as it goes, and its style sheets carry their fonts and pictures in them.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self' data:; img-src 'self' data:; connect-src 'self'{}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PLACEHOLDER = "Loading..."
# GraphiQL takes its place. Where the scripts cannot be loaded it stays, in place of an empty page.
_NOTICE = """
<div style="font: 16px/1.5 sans-serif; max-width: 44rem; margin: 4rem auto; padding: 0 1rem">
  <h1>GraphiQL is loading</h1>
  <p>It comes from unpkg.com. If this text stays, your browser cannot reach that site: <code>make web</code> and a new
  start of the server give a page that needs none. The API works without it, too:</p>
  <pre id="curl" style="overflow: auto; padding: 1rem; background: #eee; color: #111"></pre>
  <script>
    document.getElementById("curl").textContent = `curl ${location.origin}${location.pathname} \\\\
  -H 'Content-Type: application/json' \\\\
  -d '{"query": "{ __typename }"}'`;
  </script>
</div>
"""


@dataclass(frozen=True)
class DemoPeople:
    """Whom one becomes at one click: who they are, by e-mail address, and the password of all of them."""

    people: Mapping[str, str]
    password: str


@dataclass(frozen=True)
class SignIn:
    """Where the page signs in, as any client of Supabase's does. Whoever opens the page can read all of it."""

    url: str
    publishable_key: str
    demo: DemoPeople | None = None

    def __post_init__(self) -> None:
        if not _is_publishable(self.publishable_key):
            raise ValueError(
                "SUPABASE_PUBLISHABLE_KEY is no publishable key (sb_publishable_…, or the legacy anon key); "
                "a secret one would be shown to whoever opens GraphiQL."
            )


def page(built: Path, sign_in: SignIn | None) -> Response:
    """The page with its headers. What is built is read once: a new build shows after a new start."""
    try:
        template = (built / "index.html").read_text()
    except FileNotFoundError:
        return _response(_page_of_cdn(), _POLICY_OF_CDN)
    if template.count(_CONFIGURATION) != 1:
        raise ValueError(f"{built} is of another version of the page: build it again with `make web`.")
    return _response(
        template.replace(_CONFIGURATION, f'data-configuration="{_configuration(sign_in)}"'),
        _POLICY.format(_other_origin(sign_in)),
    )


def _page_of_cdn() -> str:
    page = get_graphql_ide_html("graphiql")
    if page.count(_PLACEHOLDER) != 1:
        raise ValueError("Strawberry's GraphiQL page has changed: put the notice into its new placeholder.")
    return page.replace(_PLACEHOLDER, _NOTICE)


def _response(page: str, policy: str) -> Response:
    return Response(200, HTML, page.encode(), ((b"content-security-policy", policy.encode()), _NO_REFERRER))


def _configuration(sign_in: SignIn | None) -> str:
    told = None
    if sign_in is not None:
        told = {
            "url": sign_in.url,
            "publishableKey": sign_in.publishable_key,
            "demo": sign_in.demo
            and {
                "password": sign_in.demo.password,
                "people": [{"email": email, "who": who} for email, who in sign_in.demo.people.items()],
            },
        }
    return html.escape(orjson.dumps({"signIn": told}).decode())


def _is_publishable(key: str) -> bool:
    """Legacy keys are tokens, alike but for the role in them."""
    if key.startswith("sb_publishable_"):
        return True
    try:
        return bool(jwt.decode(key, options={"verify_signature": False})["role"] == "anon")
    except (jwt.InvalidTokenError, KeyError):
        return False


def _other_origin(sign_in: SignIn | None) -> str:
    """Where else than to this server the page may connect: to a hosted Supabase, to sign in."""
    url = urlsplit(sign_in.url) if sign_in is not None else urlsplit("")
    return f" {url.scheme}://{url.netloc}" if url.netloc else ""
