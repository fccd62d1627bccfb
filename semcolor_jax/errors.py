"""`UserError`: the exception for mistakes that the user can fix; and the exit codes of the program."""

MISTAKE, PREEMPTED, INTERRUPTED, CLOSED_PIPE = 2, 75, 130, 141
"""Exit codes: a mistake of the user's; a training that saved at SIGTERM and goes on when started again (sysexits.h:
EX_TEMPFAIL); Ctrl-C (128 + SIGINT); the reader of our output left (128 + SIGPIPE)."""


class UserError(Exception):
    """A mistake in what the user gave us: a path, a file, a config field.

    The text is one sentence that says what is wrong, where, and what to do. The command line prints it alone and
    exits with code 2; any other exception is a bug of ours and keeps its traceback.
    """
