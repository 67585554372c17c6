"""Who is in every test database, and the ids of what surrounds them there (`scenery.py`)."""

from dataclasses import dataclass
from uuid import UUID


def _id(kind: str, number: int) -> UUID:
    return UUID(f"{kind}0000000-0000-4000-8000-{number:012}")


@dataclass(frozen=True)
class Character:
    """One person, and the community that their token names."""

    id: UUID
    name: str
    community: UUID | None
    is_anonymous: bool = False

    @property
    def email(self) -> str | None:
        return None if self.is_anonymous else f"{self.name.lower()}@cast.test"


ALPHA, BETA = _id("a", 1), _id("a", 2)

ADMIN = Character(_id("1", 1), "Ada", ALPHA)
LEARNER = Character(_id("1", 2), "Lena", ALPHA)
PEER = Character(_id("1", 3), "Piet", ALPHA)
SUSPENDED = Character(_id("1", 4), "Sami", ALPHA)
TRAVELLER = Character(_id("1", 5), "Toni", ALPHA)  # a learner in Alpha, and in Beta
OTHER_ADMIN = Character(_id("1", 6), "Bert", BETA)
OTHER_LEARNER = Character(_id("1", 7), "Olga", BETA)
OTHER_PEER = Character(_id("1", 8), "Omar", BETA)
SUPER_ADMIN = Character(_id("1", 9), "Sue", ALPHA)
NEWCOMER = Character(_id("1", 11), "Nora", None)  # invited to Alpha, and a member of nothing
VISITOR = Character(_id("1", 10), "Visitor", ALPHA, is_anonymous=True)  # Supabase's anonymous sign-in

EVERYBODY = (
    *(ADMIN, LEARNER, PEER, SUSPENDED, TRAVELLER),
    *(OTHER_ADMIN, OTHER_LEARNER, OTHER_PEER, SUPER_ADMIN, NEWCOMER, VISITOR),
)

COURSE, SECOND_COURSE, DRAFT_COURSE = _id("c", 1), _id("c", 2), _id("c", 3)
OTHER_COURSE, OTHER_DRAFT_COURSE = _id("c", 11), _id("c", 12)
BLOCKS = tuple(_id("b", number) for number in (1, 2, 3))
DRAFT_BLOCK = _id("b", 4)
DROPPED_BLOCK = _id("b", 5)  # once in DRAFT_COURSE, no more

DRAFT = _id("d", 1)
PUBLISHED = _id("d", 2)  # LEARNER is active in it, PEER in a second attempt
OPEN_TO_ALL = _id("d", 3)  # published, and nobody is enrolled
ARCHIVED = _id("d", 4)  # LEARNER has completed it
ARCHIVED_UNSEEN = _id("d", 5)  # nobody was ever enrolled
UNFINISHED = _id("d", 6)  # a draft with a course that is one, too
RENEWED = _id("d", 7)  # archived at version 2; PEER was kept in version 1
OTHER_DRAFT, OTHER_PUBLISHED = _id("d", 11), _id("d", 12)

ASSIGNMENT, NEXT_ASSIGNMENT, OTHER_ASSIGNMENT = _id("e", 1), _id("e", 2), _id("e", 11)
ARCHIVED_ASSIGNMENT, DRAFT_ASSIGNMENT = _id("e", 3), _id("e", 4)
MOVE = _id("7", 1)  # the decision to keep KEPT_ENROLLMENT

ENROLLMENT = _id("f", 1)  # LEARNER's, active
COMPLETED_ENROLLMENT = _id("f", 2)  # LEARNER's, in ARCHIVED
PEER_WITHDRAWN, PEER_ENROLLMENT = _id("f", 3), _id("f", 4)
KEPT_ENROLLMENT = _id("f", 6)  # PEER's, in RENEWED
TRAVELLER_ENROLLMENT, TRAVELLER_ELSEWHERE = _id("f", 5), _id("f", 11)
OTHER_ENROLLMENT = _id("f", 12)
SESSION, PEER_SESSION = _id("8", 1), _id("8", 2)  # learning sessions, both ended
OTHER_SESSION = _id("8", 11)  # OTHER_PEER's, open

INVITATION, OTHER_INVITATION = _id("a", 11), _id("a", 12)  # NEWCOMER's to Alpha, and somebody's to Beta
COHORT = _id("9", 1)  # of PUBLISHED, with LEARNER's enrolment in it
EMPTY_COHORT = _id("9", 2)  # of PUBLISHED, and nobody was ever in it
OPEN_COHORT = _id("9", 3)  # of OPEN_TO_ALL
OTHER_COHORT = _id("9", 11)
