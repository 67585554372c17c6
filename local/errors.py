"""What goes wrong with the local platform, in words that say what to do next."""


class LocalError(Exception):
    """Something that the person at the keyboard can put right. Show the message, without a traceback."""


class ForeignServerError(LocalError):
    """The server at the other end is not the one that this checkout started."""
