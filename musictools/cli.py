"""The command ``musictools``: rebuild a profile, look after data sets, look at the machine.

Exit status: 0 all well, 1 something failed or is missing, 2 wrong use, 130 interrupted.
"""

import argparse
import sys

from . import __version__, runs

_SHOWN = 20  # clips named one by one


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str or None
        Arguments without the program's name; None: those of this process.

    Returns
    -------
    status : int
        The exit status.
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if arguments.traceback:
            raise
        notes = getattr(error, "__notes__", [])
        print(f"musictools: {' '.join(' '.join([str(error), *notes]).split())}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="musictools", description="Explain networks that listen to music.")
    parser.add_argument("--version", action="version", version=f"musictools {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    rebuild = commands.add_parser("rebuild", parents=[shared], help="run a profile's notebooks and write the report")
    rebuild.add_argument("--profile", default="demo", help="folder below params/ (default: demo)")
    rebuild.add_argument("--only", nargs="+", metavar="NN", help="numbers or names of notebooks, such as 03")
    rebuild.add_argument("--force", action="store_true", help="run also what is unchanged")
    rebuild.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="parameter")
    rebuild.add_argument("--output-root", metavar="DIR", help="folder for results (default: outputs of the checkout)")
    rebuild.set_defaults(run=_rebuild)

    data = commands.add_parser("data", help="list, build or validate data sets")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[shared], help="the data sets known, and which are here")
    listing.set_defaults(run=_data_list)
    for name, action, text in (
        ("build", _data_build, "make or open a data set; says where to get it when it is not here"),
        ("validate", _data_validate, "look at every audio file of a data set"),
    ):
        command = actions.add_parser(name, parents=[shared], help=text)
        command.add_argument("name", metavar="NAME", help="the data set")
        command.add_argument("--data-dir", default="", metavar="DIR", help="where it lies (default: the suite's place)")
        command.add_argument("-o", dest="options", action="append", default=[], metavar="NAME=VALUE", help="option")
        command.set_defaults(run=action)

    doctor = commands.add_parser("doctor", parents=[shared], help="look at this machine and say what is missing")
    doctor.set_defaults(run=_doctor)
    return parser


def _rebuild(arguments):
    parameters = dict(runs.settings.from_command_line(text) for text in arguments.parameters)
    return runs.rebuild(
        arguments.profile,
        only=arguments.only,
        force=arguments.force,
        parameters=parameters,
        output_root=arguments.output_root,
    )


def _data_list(arguments):
    from . import datasets

    folders = runs.data_folders()
    for name, description in datasets.available().items():
        here = any(folder == name or folder.startswith(f"{name}-") for folder in folders)
        print(f"{name:20} {'here' if here else '':6} {description}")
    return 0


def _load(arguments):
    from . import datasets

    options = dict(runs.settings.from_command_line(text) for text in arguments.options)
    return datasets.load(arguments.name, data_dir=arguments.data_dir, **options)


def _data_build(arguments):
    data = _load(arguments)
    print(f"{arguments.name}: {len(data.tracks):,} clips.")
    return 0


def _data_validate(arguments):
    missing, invalid = _load(arguments).validate()
    for word, found in (("missing", missing), ("invalid", invalid)):
        for clip in list(found)[:_SHOWN]:
            print(f"{word}  {clip}  {found[clip]}")
        if len(found) > _SHOWN:
            print(f"{word}  … and {len(found) - _SHOWN:,} more")
    print(f"{arguments.name}: {len(missing)} missing, {len(invalid)} invalid.")
    return 1 if missing or invalid else 0


def _doctor(arguments):
    from . import doctor

    return doctor.report()
