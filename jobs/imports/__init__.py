"""What all imports of files share: how they show how far they are, and what they say when they cannot go on."""

from jobs.imports._database_errors import explained
from jobs.imports._problems import ImportFailed, Problems, shortened
from jobs.imports._progress import Progress, shown

__all__ = ["ImportFailed", "Problems", "Progress", "explained", "shortened", "shown"]
