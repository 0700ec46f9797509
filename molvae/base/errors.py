"""The one exception a user is meant to read."""


class MolvaeError(Exception):
    """Something the user can mend: the message is one line, what is wrong and what to do."""
