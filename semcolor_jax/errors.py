"""`UserError`: the exception for mistakes that the user can fix."""


class UserError(Exception):
    """A mistake in what the user gave us: a path, a file, a config field.

    The text is one sentence that says what is wrong, where, and what to do. The command line prints it alone and
    leaves with exit code 2; any other exception is a bug of ours and keeps its traceback.
    """
