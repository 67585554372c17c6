"""A project's published keys: fetched in the background, kept while the endpoint is down."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import httpx
import structlog

from resolvers.errors import ApiError
from resolvers.keys import Key, public_keys
from resolvers.tokens import parse_object

_FETCH_SECONDS = 5.0
_MAX_BYTES = 256 * 1024
# A removed key is refused within ten minutes: half of that leaves room for a fetch that fails.
_REFRESH_SECONDS = 300.0
_RETRY_SECONDS = 5.0
_COOLDOWN_SECONDS = 30.0
# One request waits this long for a fetch, which then goes on without it: a refusal may not take a second.
_PATIENCE_SECONDS = 0.75

_log = structlog.get_logger()


class KeySet:
    """Public keys by key id; `None` until there are any."""

    def __init__(self, keys: Mapping[str, Key] | None) -> None:
        self._keys = keys

    @property
    def ready(self) -> bool:
        return self._keys is not None

    @property
    def current(self) -> object:
        """The very set that is in use: another object when it has been fetched anew."""
        return self._keys

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def find(self, kid: str) -> Key | None:
        if self._keys is None:
            raise ApiError(
                "UNAVAILABLE",
                "The keys that verify access tokens are not here yet; try again in a few seconds.",
            )
        return self._keys.get(kid)


class PublishedKeySet(KeySet):
    """Keys behind a URL. A request waits for a fetch only when it names a key that nobody has seen."""

    def __init__(
        self,
        url: str,
        *,
        may_be_empty: bool = False,
        refresh_seconds: float = _REFRESH_SECONDS,
        retry_seconds: float = _RETRY_SECONDS,
        cooldown_seconds: float = _COOLDOWN_SECONDS,
        fetch_seconds: float = _FETCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(
                "JWKS_URL (or SUPABASE_URL) must be an address that begins with https:// or http://."
            )
        super().__init__(None)
        self._url = url
        self._may_be_empty = may_be_empty
        self._refresh_seconds = refresh_seconds
        self._retry_seconds = retry_seconds
        self._cooldown_seconds = cooldown_seconds
        self._fetch_seconds = fetch_seconds
        self._clock = clock
        # Uncompressed: the size limit has to hold for what is unpacked, too.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        self._client = httpx.AsyncClient(follow_redirects=False, timeout=fetch_seconds, headers=headers)
        self._fetched_at = -math.inf
        self._fetch: asyncio.Task[bool] | None = None
        self._refresher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._refresher = asyncio.create_task(self._keep_fresh())
        await self._wait_for_keys()

    async def close(self) -> None:
        tasks = [task for task in (self._refresher, self._fetch) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def find(self, kid: str) -> Key | None:
        if self._keys is None or kid not in self._keys:
            await self._look_again()
        return await super().find(kid)

    async def _look_again(self) -> None:
        cooled_down = self._clock() - self._fetched_at >= self._cooldown_seconds
        if cooled_down or self._is_fetching():
            await self._wait_for_keys()

    async def _wait_for_keys(self) -> None:
        await asyncio.wait({self._shared_fetch()}, timeout=_PATIENCE_SECONDS)

    async def _keep_fresh(self) -> None:
        while True:
            succeeded = await self._shared_fetch()
            await asyncio.sleep(self._refresh_seconds if succeeded else self._retry_seconds)

    def _is_fetching(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    def _shared_fetch(self) -> asyncio.Task[bool]:
        if self._fetch is None or self._fetch.done():
            self._fetched_at = self._clock()
            self._fetch = asyncio.create_task(self._replace_keys())
        return self._fetch

    async def _replace_keys(self) -> bool:
        try:
            async with asyncio.timeout(self._fetch_seconds):
                keys = public_keys(parse_object(await self._download()))
            if not keys and not self._may_be_empty:
                raise ValueError("The key set has no usable key.")
        except Exception as error:  # whatever the endpoint does, the keys at hand go on
            _log.warning("jwks_fetch_failed", url=self._url, error=repr(error))
            return False
        self._keys = keys
        return True

    async def _download(self) -> bytes:
        body = bytearray()
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"Status {response.status_code}.")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"More than {_MAX_BYTES} bytes.")
        return bytes(body)
