"""Ids that are the same on every import and in every database."""

from uuid import NAMESPACE_URL, UUID, uuid5

_NAMESPACE = uuid5(NAMESPACE_URL, "https://analyse.kmi.open.ac.uk/open_dataset")


def id_of(*natural_key: object) -> UUID:
    """The id of what the data set knows by this key, such as ("program", "AAA")."""
    return uuid5(_NAMESPACE, "/".join(map(str, natural_key)))
