"""Whether this process can answer: the database is there and has the tables, and tokens can be verified."""

from resolvers.database import Database
from resolvers.errors import ApiError, Refusal, face_of
from resolvers.identity import ANONYMOUS, Verifier
from resolvers.plan import Statement

_MISSING = ("42883", "42P01", "3F000")  # function, table, schema
# Signed out, this touches a function that the migrations make; it gives no row.
_PROBE = Statement("select id::text from private.viewer()", [])


async def is_ready(database: Database, verifier: Verifier) -> list[str]:
    """What is missing, in words; empty when nothing is."""
    problems = [] if verifier.ready else ["The keys that verify access tokens are not here yet."]
    try:
        await database.run(ANONYMOUS, [_PROBE], read_only=True)
    except ApiError as error:
        problems.append(error.message)
    except Refusal as refusal:
        missing = refusal.sqlstate in _MISSING
        not_migrated = "The database has not been migrated. Apply supabase/migrations."
        problems.append(not_migrated if missing else face_of(refusal, signed_in=True).message)
    return problems
