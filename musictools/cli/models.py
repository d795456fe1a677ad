"""The command ``models``."""

from __future__ import annotations

import argparse
import os

__all__ = ["add"]


def add(commands: argparse._SubParsersAction, shared: argparse.ArgumentParser) -> None:
    """Add ``models`` to the parser.

    Parameters
    ----------
    commands : result of `argparse.ArgumentParser.add_subparsers`
    shared : argparse.ArgumentParser
        Options of every command.
    """
    models = commands.add_parser("models", help="list the models that can be built; get or add released networks")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", parents=[shared], help="name, kind, source and front end of every model, and the released networks"
    )
    listing.add_argument(
        "--parameters", action="store_true", help="also count the parameters at width 1, for 8 genres or 108 tags"
    )
    listing.set_defaults(run=_list)
    for name, action, text in (
        ("get", _get, "download a released network from its authors and install it"),
        ("add", _add, "install a released network from its authors' file"),
        ("remove", _remove, "remove an installed network"),
    ):
        command = actions.add_parser(name, parents=[shared], help=text)
        command.add_argument("name", metavar="NAME", help="one of the released networks in musictools models list")
        if action is _get:
            command.add_argument("--url", metavar="URL", help="another place of the same file")
        if action is _add:
            command.add_argument("path", metavar="PATH", help="the file that its authors published")
        command.set_defaults(run=action)


def _list(arguments):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from musictools import models, released

    counted = f" {'parameters':>11}" if arguments.parameters else ""
    print(f"{'name':16} {'kind':6} {'source':14}{counted} front end")
    for name in models.names():
        known = models.describe(name)
        if arguments.parameters:
            n_outputs = 8 if known.kind == "genre" else 108
            counted = f" {models.build(name, n_outputs=n_outputs).count_params():11,}"
        print(f"{name:16} {known.kind:6} {known.source:14}{counted} {_shown(known)}")
    here = released.installed()
    print(f"\n{'released network':23} {'here':4} {'trained on':13} {'licence':11} front end")
    for name in released.names():
        known = released.describe(name)
        yes = "yes" if name in here else ""
        print(f"{name:23} {yes:4} {known.data:13} {known.licence:11} {_shown(known)}")
    return 0


def _shown(known):
    """The front end of a model and the length of its input."""
    front_end = known.front_end
    text = f"{front_end.kind}, {front_end.sr} Hz"
    if front_end.kind != "waveform":
        text += f", n_fft {front_end.n_fft}, hop {front_end.hop_length}, {front_end.n_bins} bins"
    return f"{text}, {known.input.length} columns"


def _get(arguments):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from musictools import released

    if arguments.name not in released.installed():
        known = released.describe(arguments.name)
        print(f"{known.name}: from {known.source}, licence: {known.licence}. Please cite: {known.citation}")
    print(released.get(arguments.name, url=arguments.url))
    return 0


def _add(arguments):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from musictools import released

    print(released.add(arguments.name, arguments.path))
    return 0


def _remove(arguments):
    from musictools import released

    released.remove(arguments.name)
    print(f"{arguments.name}: removed.")
    return 0
