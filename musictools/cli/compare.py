"""The command ``compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from musictools.cli.arguments import model_file, positive
from musictools.cli.keras_import import import_keras

__all__ = ["add"]


def add(commands: argparse._SubParsersAction, shared: argparse.ArgumentParser) -> None:
    """Add ``compare`` to the parser.

    Parameters
    ----------
    commands : result of `argparse.ArgumentParser.add_subparsers`
    shared : argparse.ArgumentParser
        Options of every command.
    """
    command = commands.add_parser(
        "compare", parents=[shared], help="show what several taggers say of a song, side by side on one page"
    )
    command.add_argument("song", metavar="SONG", help="audio file")
    command.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="NAME",
        help="released networks that are installed, .keras files, or models of the profile demo",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the page, its pictures and the song")
    command.add_argument(
        "--top",
        type=positive,
        default=12,
        metavar="N",
        help="tags to show first; predicted ones always are (default: 12)",
    )
    command.add_argument(
        "--seconds", type=positive, default=60, metavar="N", help="how much of the song, from its start (default: 60)"
    )
    command.set_defaults(run=_compare)


def _compare(arguments):
    import_keras()
    from musictools import audio, comparison, released

    y, sr = audio.load(arguments.song)
    y = y[: arguments.seconds * sr]
    taggers = {_label(name): released.load(model_file(name)) for name in dict.fromkeys(arguments.models)}
    if len(taggers) < len(set(arguments.models)):
        raise ValueError(f"Several models are called alike: {', '.join(map(_label, arguments.models))}.")
    compared = comparison.compare(taggers, y, sr=sr)
    title = Path(arguments.song).stem
    index = comparison.write(Path(arguments.out).expanduser(), compared, y, sr=sr, title=title, top=arguments.top)
    for name, decided in compared.decisions.items():
        predicted = decided[decided["predicted"]]
        print(f"{name}: " + (", ".join(f"{r.Index} {r.score:.2f}" for r in predicted.itertuples()) or "no tag"))
    print(index)
    return 0


def _label(name):
    return Path(name).stem if name.endswith(".keras") else name
