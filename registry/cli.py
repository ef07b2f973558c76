"""What every command shares: one line per error, exit codes, and ``--debug`` for the traceback.

A command may be run by several processes at once ("ranks"). After :func:`speak_as` the first of them speaks for
all, and what befell another alone says so.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import attrs

from registry.errors import AgreedError, InputError, Problem, Stopped, nearest, system_problem

FAILED = 1
"""Exit code for a fault of the program, as Python has it."""
BAD_INPUT = 2
"""Exit code for what the user can put right: a spec, an option, a file, a full disk."""
REQUEUE = 75
"""Exit code for "not done, start the same command again": EX_TEMPFAIL of sysexits.h."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
"""Where ``torchrun``, ``srun`` and ``mpirun`` say which rank a process is."""

_rank, _world = 0, 1


def speak_as(rank: int, world: int) -> None:
    """Say that this process is ``rank`` of the ``world`` that run the command.

    From then on what ranks other than 0 :func:`say`, :func:`note` and show of progress is not written. Errors that
    all ranks agreed on are written by rank 0; one that a rank met by itself is written by it, with ``rank N:``.
    """
    global _rank, _world
    _rank, _world = rank, world


def speaks() -> bool:
    """Whether this process speaks for all that run the command."""
    return _rank == 0


def run(main: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser) -> int:
    """Parse the command line with ``parser``, call ``main`` with the result and return its exit code.

    An :class:`InputError` becomes one line on stderr per problem, an ``OSError`` one line with its path,
    and both end with exit code 2, as does a wrong command line; Ctrl-C ends with 130, :class:`Stopped` with the
    code it names. ``--debug``, which is added to ``parser``, lets the traceback through instead.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    arguments = _parsed(parser)
    try:
        return main(arguments)
    except Stopped as stop:
        if stop.line and (speaks() or stop.own):
            sys.stderr.write(f"rank {_rank}: {stop.line}\n" if stop.own and _world > 1 else f"{stop.line}\n")
        return stop.code
    except InputError as error:
        if arguments.debug:
            raise
        _complain_of(error)
        return BAD_INPUT
    except BrokenPipeError:
        # Whoever reads our output has seen enough (`| head`); there is nobody left to tell.
        sys.stderr.close()
        return FAILED
    except OSError as error:
        if arguments.debug:
            raise
        _complain_of(InputError(system_problem(error)))
        return BAD_INPUT
    except KeyboardInterrupt:
        if arguments.debug:
            raise
        if speaks():
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


def positive(text: str) -> int:
    """A whole number of at least 1, as an argument."""
    return _at_least(text, 1)


def whole(text: str) -> int:
    """A whole number of at least 0, as an argument."""
    return _at_least(text, 0)


def at_least_0(text: str) -> float:
    """A finite number of at least 0, as an argument."""
    if not 0 <= float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return float(text)


positive.__name__ = whole.__name__ = "whole number"  # argparse names them in its errors
at_least_0.__name__ = "number"


def _at_least(text: str, least: int) -> int:
    if int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not at least {least}")
    return int(text)


def say(*lines: str) -> None:
    """Write ``lines`` to stdout, if this process :func:`speaks`."""
    if speaks():
        sys.stdout.writelines(f"{line}\n" for line in lines)


def note(*lines: str) -> None:
    """Write each of ``lines`` to stderr as a note, if this process :func:`speaks`."""
    if speaks():
        sys.stderr.writelines(f"note: {line}\n" for line in lines)


def complain(*lines: str) -> None:
    """Write each of ``lines`` to stderr as an error, whichever process this is."""
    # One call: the lines of several processes must not mix.
    sys.stderr.write("".join(f"error: {line}\n" for line in lines))


def _complain_of(error: InputError) -> None:
    problems = error.problems
    if isinstance(error, AgreedError):
        problems = problems if speaks() else ()
    elif _world > 1:
        problems = tuple(attrs.evolve(problem, who=problem.who or f"rank {_rank}") for problem in problems)
    complain(*map(str, problems))


def _parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line's arguments; ends the process where it is wrong, with a line in the project's form."""
    for each in _with_subcommands(parser):
        each.error = partial(_refuse, each)  # type: ignore[method-assign]  # commands make plain parsers
        each.allow_abbrev = False  # `--re` is no way to say --restart
    arguments, unknown = parser.parse_known_args()
    if unknown:
        _end([_not_known(parser, text) for text in unknown if text.startswith("-")] or [_too_much(unknown[0])])
    return arguments


def _with_subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _with_subcommands(each)


def _not_known(parser: argparse.ArgumentParser, text: str) -> Problem:
    name = text.partition("=")[0]
    known = {name for each in _with_subcommands(parser) for name in each._option_string_actions if name[1:2] == "-"}
    return Problem(name, "no such option", ", ".join(sorted(known)), nearest(name, known))


def _too_much(text: str) -> Problem:
    return Problem(repr(text), "one argument too many; see --help")


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """In place of argparse's own, which prints the usage and tells no nearest match."""
    where, _, what = message.removeprefix("argument ").partition(": ")
    choice = re.fullmatch(r"invalid choice: (.*) \(choose from (.*)\)", what)
    if message.startswith("the following arguments are required"):
        problem = Problem(what, "missing; see --help")
    elif choice:
        given, allowed = choice[1].strip("'"), [name.strip("'") for name in choice[2].split(", ")]
        problem = Problem(where, f"{given!r} is not a choice", ", ".join(allowed), nearest(given, allowed))
    else:
        problem = Problem(where, f"{what}; see --help") if what else Problem("", message)
    _end([problem])


def _end(problems: list[Problem]) -> NoReturn:
    if _launched_rank() == 0:
        complain(*map(str, problems))
    raise SystemExit(BAD_INPUT)


def _launched_rank() -> int:
    """The rank of this process where the command line asks for a launcher; all ranks have the same command line."""
    if not any(text.startswith("--launcher") for text in sys.argv[1:]):
        return 0
    said = next((os.environ[name] for name in _RANKS if name in os.environ), "0")
    return int(said) if said.isdecimal() else 0
