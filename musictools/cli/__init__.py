"""The command ``musictools``: plan and rebuild a profile, tag, explain and compare songs, list models, manage data.

Exit status: 0 success, 1 something failed or is missing, 2 wrong use, 130 interrupted, 141 the output was cut off.
Each module adds its commands.
"""

import argparse
import os
import sys

from musictools import __version__
from musictools.cli import compare, data, models, profiles, songs

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str or None
        Arguments without the program's name; None: those of this process.

    Returns
    -------
    status : int
        The exit status.

    Examples
    --------
    >>> main(["data", "list"])  # doctest: +SKIP
    >>> main(["tag", "song.mp3", "--top", "5"])  # doctest: +SKIP
    """
    arguments = _parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output is gone, as `head` is after some lines
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        if arguments.traceback:
            raise
        notes = getattr(error, "__notes__", [])
        print(f"musictools: {' '.join(' '.join([str(error), *notes]).split())}", file=sys.stderr)
        return 2
    except MemoryError:
        if arguments.traceback:
            raise
        print("musictools: there is not enough memory for this.", file=sys.stderr)
        return 1


def _parser():
    about = "Explain convolutional networks that classify music."
    parser = argparse.ArgumentParser(prog="musictools", description=about)
    parser.add_argument("--version", action="version", version=f"musictools {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for module in (profiles, songs, compare, models, data):
        module.add(commands, shared)
    return parser
