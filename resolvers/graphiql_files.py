"""The files that the built page at `/graphql` loads."""

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

# Not from the system's table, which differs from machine to machine.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
}
# A worker has the policy of its own script, not the page's.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
# The names of these files change with what is in them.
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}


def routes(built: Path) -> list[BaseRoute]:
    """None while nothing is built."""
    if not (built / "index.html").exists():
        return []

    async def licenses(_: Request) -> Response:
        return FileResponse(built / "licenses.txt", headers=_HEADERS, media_type="text/plain; charset=utf-8")

    return [
        Route("/graphiql/licenses.txt", licenses),
        Mount("/graphiql/assets", _Assets(directory=built / "assets")),
    ]


class _Assets(StaticFiles):
    """Nothing outside its folder: paths are resolved, links too, before they are compared with it."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS | _FOREVER)
        kind = _TYPES.get(Path(full_path).suffix)
        if kind is not None and "content-type" in response.headers:
            response.headers["content-type"] = kind
        return response
