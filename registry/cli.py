"""What every command shares: one line per error, exit codes, and ``--debug`` for the traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from registry.errors import InputError

BAD_INPUT = 2
"""Exit code for what the user can put right: a spec, an option, a file, a full disk."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def run(main: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser) -> int:
    """Parse the command line with ``parser``, call ``main`` with the result and return its exit code.

    An :class:`InputError` becomes one line on stderr per problem, an ``OSError`` one line with its path,
    and both end with exit code 2; Ctrl-C ends with 130. ``--debug``, which is added to ``parser``, lets
    the traceback through instead.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args()
    try:
        return main(arguments)
    except InputError as error:
        if arguments.debug:
            raise
        complain(*map(str, error.problems))
        return BAD_INPUT
    except BrokenPipeError:
        # Whoever reads our output has seen enough (`| head`); there is nobody left to tell.
        sys.stderr.close()
        return 1
    except OSError as error:
        if arguments.debug:
            raise
        complain(": ".join(filter(None, (error.filename and str(error.filename), error.strerror or str(error)))))
        return BAD_INPUT
    except KeyboardInterrupt:
        if arguments.debug:
            raise
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def named_path(text: str) -> Path:
    """The path that an argument names; an empty one, as of a shell's variable that is not set, is no path.

    Raises:
        argparse.ArgumentTypeError: it is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def say(*lines: str) -> None:
    """Write ``lines`` to stdout."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def complain(*lines: str) -> None:
    """Write each of ``lines`` to stderr as an error."""
    sys.stderr.writelines(f"error: {line}\n" for line in lines)
