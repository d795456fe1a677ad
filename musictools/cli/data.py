"""The commands ``data`` and ``doctor``."""

from __future__ import annotations

import argparse

from musictools import runs
from musictools.cli.arguments import named_values

__all__ = ["add"]

_SHOWN = 20  # clips named one by one


def add(commands: argparse._SubParsersAction, shared: argparse.ArgumentParser) -> None:
    """Add ``data`` and ``doctor`` to the parser.

    Parameters
    ----------
    commands : result of `argparse.ArgumentParser.add_subparsers`
    shared : argparse.ArgumentParser
        Options of every command.
    """
    data = commands.add_parser("data", help="list, build or validate data sets")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[shared], help="the data sets known, and which are here")
    listing.set_defaults(run=_data_list)
    for name, action, text in (
        ("build", _data_build, "make or open a data set; says where to get it when it is not here"),
        ("validate", _data_validate, "read every audio file of a data set"),
    ):
        command = actions.add_parser(name, parents=[shared], help=text)
        command.add_argument("name", metavar="NAME", help="the data set")
        command.add_argument("--data-dir", default="", metavar="DIR", help="its folder (default: in the data folder)")
        command.add_argument("-o", dest="options", action="append", default=[], metavar="NAME=VALUE", help="option")
        command.set_defaults(run=action)

    doctor = commands.add_parser("doctor", parents=[shared], help="check this machine and say what is missing")
    doctor.set_defaults(run=_doctor)


def _data_list(arguments):
    from musictools import datasets

    folders = runs.data_folders()
    for name, description in datasets.available().items():
        here = any(folder == name or folder.startswith(f"{name}-") for folder in folders)
        print(f"{name:20} {'here' if here else '':6} {description}")
    return 0


def _load(arguments):
    from musictools import datasets

    options = named_values(arguments.options)
    return datasets.load(arguments.name, data_dir=arguments.data_dir, **options)


def _data_build(arguments):
    data = _load(arguments)
    print(f"{arguments.name}: {len(data.tracks):,} clips.")
    return 0


def _data_validate(arguments):
    missing, invalid = _load(arguments).validate()
    for word, clips in (("missing", missing), ("invalid", invalid)):
        for clip in list(clips)[:_SHOWN]:
            print(f"{word}  {clip}  {clips[clip]}")
        if len(clips) > _SHOWN:
            print(f"{word}  … and {len(clips) - _SHOWN:,} more")
    print(f"{arguments.name}: {len(missing)} missing, {len(invalid)} invalid.")
    return 1 if missing or invalid else 0


def _doctor(arguments):
    from musictools import doctor

    return doctor.report()
