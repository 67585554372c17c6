"""Those who watch the same: one look for all of them, and the same bytes to all."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from contextvars import Context
from typing import Protocol

import orjson

from resolvers.engine import Engine, Standing, Watch
from resolvers.errors import ApiError, internal
from resolvers.identity import Identity
from resolvers.live.outbox import Change, Outbox, Source

# Looks at the same time, of all groups: requests shall not have to wait for those who watch.
_MOST_LOOKS = 8
_RETRY_SECONDS = 0.5
_PASSING = ("UNAVAILABLE", "TIMEOUT")
# Of a token; that of a session which goes on is another one every hour.
_NOT_WHO = frozenset({"exp", "iat", "nbf", "jti", "session_id"})

Topic = tuple[str, str | None]


class Watcher(Protocol):
    """One subscription of one client."""

    def latest(self, payload: bytes) -> None:
        """The answer as it is now; one that was not yet sent may be left out."""

    def each(self, payload: bytes) -> None:
        """One of many, none of which may be left out."""

    def end(self, error: ApiError) -> None:
        """There is no more."""


class Group:
    """A subscription with the same values, for the same person."""

    def __init__(self, live: "Live", key: bytes, watch: Watch) -> None:
        self.key = key
        self.watch = watch
        self.watchers: set[Watcher] = set()
        self.topics: frozenset[Topic] = frozenset()
        self._live = live
        self._new: set[Watcher] = set()  # those who were told nothing yet
        self._payload: bytes | None = None
        self._rows: set[str] = set()
        self._standing: Standing | None = None
        self._is_due = False
        self._looking: asyncio.Task[None] | None = None

    def add(self, watcher: Watcher) -> None:
        self.watchers.add(watcher)
        if self._payload is not None and self._looking is None:
            watcher.latest(self._payload)
        elif self._standing is None:
            self._new.add(watcher)
            self.due()

    def discard(self, watcher: Watcher) -> None:
        self.watchers.discard(watcher)
        self._new.discard(watcher)

    def due(self, rows: Iterable[str] = ()) -> None:
        """Looks again; once more, if it is looking already. Without rows, also at who the caller is by now."""
        self._rows.update(rows)
        if not rows:
            self._standing = None
        self._is_due = True
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.create_task(self._look_while_due(), context=Context())

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    async def _look_while_due(self) -> None:
        try:
            while self._is_due and self.watchers:
                await self._look()
        finally:
            self._looking = None

    async def _look(self) -> None:
        self._is_due = False
        rows, self._rows = self._rows, set()
        try:
            async with self._live.looks:
                if self.watch.hearing.of_rows:
                    await self._look_at_rows(rows)
                else:
                    self._tell(*await self._live.engine.look(self.watch))
        except ApiError as error:
            if error.code in _PASSING:
                self._is_due = True
                self._rows |= rows
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._end(error)
        except Exception as error:
            self._end(internal(error))

    async def _look_at_rows(self, rows: set[str]) -> None:
        if self._standing is None:
            self._standing = await self._live.engine.standing(self.watch.bound.identity)
            self._live.hear(self, _topics_of_rows(self.watch, self._standing))
        if rows:
            for payload in await self._live.engine.look(self.watch, sorted(rows)):
                for watcher in list(self.watchers):
                    watcher.each(payload)

    def _tell(self, payload: bytes) -> None:
        told = self._new if payload == self._payload else self.watchers
        self._payload = payload
        for watcher in list(told):
            watcher.latest(payload)
        self._new.clear()

    def _end(self, error: ApiError) -> None:
        watchers, self.watchers = self.watchers, set()
        self._live.forget(self)
        for watcher in watchers:
            watcher.end(error)


class Live:
    """All groups of a process, by what they hear of."""

    def __init__(self, engine: Engine, source: Source) -> None:
        self.engine = engine
        self.looks = asyncio.Semaphore(_MOST_LOOKS)
        self._outbox = Outbox(source, self._changed, self._missed)
        self._groups: dict[bytes, Group] = {}
        self._hearing: defaultdict[Topic, set[Group]] = defaultdict(set)

    async def subscribe(self, watch: Watch, watcher: Watcher) -> Group:
        """The first answer comes to the watcher at once, later ones as they come."""
        await self._outbox.watch()
        key = _key(watch)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(self, key, watch)
            self.hear(group, _topics(watch))
        elif watch.bound.identity.expires_at > group.watch.bound.identity.expires_at:
            group.watch = watch
        group.add(watcher)
        return group

    def unsubscribe(self, group: Group, watcher: Watcher) -> None:
        group.discard(watcher)
        if not group.watchers:
            group.close()
            self.forget(group)

    def hear(self, group: Group, topics: Iterable[Topic]) -> None:
        """From now on it hears of these, and of no others."""
        for topic in group.topics:
            self._hearing[topic].discard(group)
            if not self._hearing[topic]:
                del self._hearing[topic]
        group.topics = frozenset(topics)
        for topic in group.topics:
            self._hearing[topic].add(group)

    def forget(self, group: Group) -> None:
        if self._groups.get(group.key) is not group:
            return
        del self._groups[group.key]
        self.hear(group, ())
        if not self._groups:
            self._outbox.rest()

    async def close(self) -> None:
        self._outbox.rest()
        for group in list(self._groups.values()):
            group.close()

    async def open(self) -> None:
        """Begins when somebody watches."""

    def _changed(self, changes: list[Change]) -> None:
        due: defaultdict[Group, set[str]] = defaultdict(set)
        for change in changes:
            for topic in _topics_of(change):
                for group in self._hearing.get(topic, ()):
                    due[group].update(() if change.object_id is None else (change.object_id,))
        for group, rows in due.items():
            group.due(rows)

    def _missed(self) -> None:
        for group in list(self._groups.values()):
            group.due()


def _topics(watch: Watch) -> Iterable[Topic]:
    """What a group hears of. Also about the caller, for they may lose what lets them see it."""
    identity, hearing = watch.bound.identity, watch.hearing
    yield "member", _text(identity.user_id)
    if hearing.of_rows:
        # Of all, until it is known whose rows they see: nothing that happens meanwhile is missed.
        yield hearing.topics[0], _text(identity.community_id)
        return
    yield "content", _text(identity.community_id)
    for topic in hearing.topics:
        yield topic, _text(watch.about)


def _topics_of_rows(watch: Watch, standing: Standing) -> Iterable[Topic]:
    """Of rows, end users hear of what is about them: else each change would be looked up for each of them, in vain."""
    identity, (topic,) = watch.bound.identity, watch.hearing.topics
    yield "member", _text(identity.user_id)
    yield topic, _text(identity.community_id if standing.is_admin else identity.user_id)


def _topics_of(change: Change) -> Iterable[Topic]:
    yield change.topic, change.user_id
    yield change.topic, change.community_id


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _key(watch: Watch) -> bytes:
    """The same for those who would see the same: the same statements, for the same person with the same claims."""
    digest = hashlib.blake2b(_who(watch.bound.identity), digest_size=16)
    for root in watch.plan.fields:
        digest.update(root.key.encode() + b"\0")
    for statement in watch.plan.bind(watch.bound):
        for part in (statement.sql, *statement.parameters):
            digest.update(b"\1" if part is None else part.encode() + b"\0")
    return digest.digest()


def _who(identity: Identity) -> bytes:
    claims = {name: value for name, value in orjson.loads(identity.claims).items() if name not in _NOT_WHO}
    # By which ways somebody has proved who they are, rules may ask; when they did is different in each session.
    if isinstance(ways := claims.get("amr"), list):
        claims["amr"] = [way.get("method") if isinstance(way, dict) else way for way in ways]
    return orjson.dumps(claims, option=orjson.OPT_SORT_KEYS)
