"""Children that take Ctrl-C, however the test run itself was started."""

import sys

_START = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "signal.pthread_sigmask(signal.SIG_SETMASK, ()); os.execv(sys.argv[1], sys.argv[1:])"
)


def foreground(words):
    """A command line that runs `words` as a terminal would: SIGINT ends it, no signal is blocked.

    A shell ignores SIGINT for what it starts in the background, and a child inherits that.
    """
    return [sys.executable, "-c", _START, *words]
