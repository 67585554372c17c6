"""What every test can ask for: a real database, and somebody to be in it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from local.cluster import Cluster
from tests import cast
from tests.api import Api, api_of
from tests.databases import Database, build_template, cloned, running_cluster
from tests.people import Person, signed_in, signed_out
from tests.stating import Xapi, xapi_over


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One server for each test process."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> Database:
    """Migrated and with the cast in it. Nobody connects to it: that would stop the cloning."""
    return build_template(cluster)


@pytest.fixture(scope="session")
def shared_database(template: Database) -> Iterator[Database]:
    """For tests that write nothing: a file of such tests makes it its fixture `database`."""
    with cloned(template) as database:
        yield database


@pytest.fixture
def database(template: Database) -> Iterator[Database]:
    """This test's own."""
    with cloned(template) as database:
        yield database


@pytest.fixture
def as_anon(database: Database) -> Person:
    """Signed out."""
    return signed_out(database)


@pytest.fixture
def as_visitor(database: Database) -> Person:
    """Signed in without a name, by Supabase's anonymous sign-in."""
    return signed_in(database, cast.VISITOR)


@pytest.fixture
def as_learner(database: Database) -> Person:
    return signed_in(database, cast.LEARNER)


@pytest.fixture
def as_peer(database: Database) -> Person:
    """Another learner of the learner's community."""
    return signed_in(database, cast.PEER)


@pytest.fixture
def as_traveller(database: Database) -> Person:
    """A learner in both communities, acting in Alpha."""
    return signed_in(database, cast.TRAVELLER)


@pytest.fixture
def as_suspended(database: Database) -> Person:
    return signed_in(database, cast.SUSPENDED)


@pytest.fixture
def as_admin(database: Database) -> Person:
    return signed_in(database, cast.ADMIN)


@pytest.fixture
def as_other_community(database: Database) -> Person:
    """The admin of Beta."""
    return signed_in(database, cast.OTHER_ADMIN)


@pytest.fixture
def as_other_learner(database: Database) -> Person:
    return signed_in(database, cast.OTHER_LEARNER)


@pytest.fixture
def as_super_admin(database: Database) -> Person:
    """Acting in Alpha, a member of nothing."""
    return signed_in(database, cast.SUPER_ADMIN)


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Api]:
    """GraphQL over this test's database."""
    async with api_of(database) as api:
        yield api


@pytest.fixture
async def xapi(database: Database) -> AsyncIterator[Xapi]:
    """xAPI over this test's database."""
    async with xapi_over(database) as xapi:
        yield xapi
