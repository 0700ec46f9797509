"""What a user is meant to read: one exception and one warning."""


class MolvaeError(Exception):
    """Something the user can mend: the message is one line, what is wrong and what to do."""


class MolvaeWarning(UserWarning):
    """Something the user should know, such as molecules that are left out; the work continues."""
