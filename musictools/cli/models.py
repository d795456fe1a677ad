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
    listing = commands.add_parser("models", help="list the models that can be built").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = listing.add_parser("list", parents=[shared], help="name, kind, source and front end of every model")
    listing.add_argument(
        "--parameters", action="store_true", help="also count the parameters at width 1, for 8 genres or 108 tags"
    )
    listing.set_defaults(run=_models_list)


def _models_list(arguments):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from musictools import models

    counted = f" {'parameters':>11}" if arguments.parameters else ""
    print(f"{'name':16} {'kind':6} {'source':14}{counted} front end")
    for name in models.names():
        known = models.describe(name)
        front_end = known.front_end
        shown = f"{front_end.kind}, {front_end.sr} Hz"
        if front_end.kind != "waveform":
            shown += f", n_fft {front_end.n_fft}, hop {front_end.hop_length}, {front_end.n_bins} bins"
        if arguments.parameters:
            n_outputs = 8 if known.kind == "genre" else 108
            counted = f" {models.build(name, n_outputs=n_outputs).count_params():11,}"
        print(f"{name:16} {known.kind:6} {known.source:14}{counted} {shown}, {known.input.length} columns")
    return 0
