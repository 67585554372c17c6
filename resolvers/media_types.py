"""Which media type is a request in, and which does its answer get? (RFC 9110, sections 8.3 and 12.5.1)"""

import re
from functools import lru_cache
from typing import NamedTuple

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
HTML = "text/html"
EVENT_STREAM = "text/event-stream"

_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class _Range(NamedTuple):
    """One entry of an `Accept` header."""

    pattern: str
    quality: float


class _Liking(NamedTuple):
    """How much a client likes a type; of two equal ones, what it names counts more than what a wildcard covers."""

    quality: float
    exactness: int


# Headers repeat from request to request, so that reading one costs a look-up.
@lru_cache(maxsize=256)
def preferred(accept: bytes, offers: tuple[str, ...]) -> str | None:
    """The offer that an `Accept` header likes best, among equals the first; None if it refuses all of them."""
    if not accept.strip():
        return offers[0]
    ranges = [entry for text in accept.decode("latin-1").split(",") if (entry := _range(text))]
    likings = {offer: _liking(offer, ranges) for offer in offers}
    best = max(offers, key=lambda offer: likings[offer])
    return best if likings[best].quality > 0 else None


@lru_cache(maxsize=64)
def is_json(content_type: bytes) -> bool:
    """Whether this is exactly `application/json`, in UTF-8 if it names an encoding."""
    media_type, *parameters = content_type.decode("latin-1").lower().split(";")
    return media_type.strip() == JSON and all(
        text.strip() in ("", "charset=utf-8", 'charset="utf-8"') for text in parameters
    )


def _range(text: str) -> _Range | None:
    pattern, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")] or ["1"]
    if not pattern or not _QUALITY.fullmatch(weights[0]):
        return None
    return _Range(pattern, float(weights[0]))


def _liking(offer: str, ranges: list[_Range]) -> _Liking:
    """The most exact entry decides, so that `*/*, text/html;q=0` refuses HTML."""
    family = offer.split("/")[0]
    for exactness, pattern in enumerate((offer, f"{family}/*", "*/*")):
        qualities = [entry.quality for entry in ranges if entry.pattern == pattern]
        if qualities:
            return _Liking(max(qualities), -exactness)
    return _Liking(0, 0)
