"""The commands ``rebuild`` and ``plan``."""

from __future__ import annotations

import argparse
import sys

from musictools import runs
from musictools.cli.arguments import named_values, positive

__all__ = ["add"]

_COSTS = {
    "cores": "number of cores",
    "gpus": "number of GPUs (default: none, the cores train)",
    "gpu_speed": "how many times a GPU is as fast as this machine in training (default: 1)",
    "core_price": "price of a core for an hour",
    "gpu_price": "price of a GPU for an hour",
    "disk_price": "price of a GB for a month",
    "months": "how long the disk is kept (default: 1)",
}


def add(commands: argparse._SubParsersAction, shared: argparse.ArgumentParser) -> None:
    """Add ``rebuild`` and ``plan`` to the parser.

    Parameters
    ----------
    commands : result of `argparse.ArgumentParser.add_subparsers`
    shared : argparse.ArgumentParser
        Options of every command.
    """
    _add_rebuild(commands, shared)
    _add_plan(commands, shared)


def _add_rebuild(commands, shared):
    rebuild = commands.add_parser("rebuild", parents=[shared], help="run a profile's notebooks and write the report")
    _add_profile(rebuild)
    rebuild.add_argument("--force", action="store_true", help="run also what is unchanged")
    rebuild.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="notebooks that run at the same time (default: one per core, as far as the memory allows; 1 with a GPU)",
    )
    rebuild.add_argument("--anyway", action="store_true", help="start although data or disk space are missing")
    rebuild.set_defaults(run=_rebuild)


def _add_plan(commands, shared):
    plan = commands.add_parser(
        "plan", parents=[shared], help="say what a profile trains and writes, how long it takes, what is missing"
    )
    _add_profile(plan)
    plan.add_argument(
        "--no-calibration", action="store_true", help="do not measure this machine, which takes a minute or two"
    )
    costs = plan.add_argument_group("costs on other machines", "printed if --cores is given; prices in any currency")
    for name, text in _COSTS.items():
        kind = positive if name in ("cores", "gpus") else float
        costs.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=text)
    plan.set_defaults(run=_plan)


def _add_profile(command):
    command.add_argument("--profile", default="demo", help="folder below params/ (default: demo)")
    command.add_argument("--only", nargs="+", metavar="NN", help="numbers or names of notebooks, such as 03")
    command.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="parameter")
    command.add_argument("--output-root", metavar="DIR", help="folder for results (default: outputs of the checkout)")


def _rebuild(arguments):
    parameters = named_values(arguments.parameters)
    chosen = {"only": arguments.only, "parameters": parameters, "output_root": arguments.output_root}
    if not arguments.anyway:
        from musictools.experiments import plans

        planned = plans.make(arguments.profile, **chosen)
        if reasons := plans.obstacles(planned, output_root=arguments.output_root):
            raise ValueError(f"{arguments.profile} cannot end here: {'; '.join(reasons)}. Start with --anyway to try.")
    return runs.rebuild(arguments.profile, force=arguments.force, jobs=arguments.jobs, **chosen)


def _plan(arguments):
    from musictools.experiments import calibration, costs, plans

    given = {name: value for name in _COSTS if (value := getattr(arguments, name)) is not None}
    if given and ("cores" not in given or arguments.no_calibration):
        raise ValueError("Costs need --cores, and the rates that --no-calibration leaves out.")
    machines = costs.Machines(**given) if given else None
    planned = plans.make(
        arguments.profile,
        only=arguments.only,
        parameters=named_values(arguments.parameters),
        output_root=arguments.output_root,
    )
    rates = None
    if not arguments.no_calibration:
        networks = sorted({network for plan in planned for network in plan.networks}, key=str)
        rates = calibration.measure(networks, say=lambda text: print(f"{text} …", file=sys.stderr, flush=True))
    print(plans.report(planned, rates))
    if machines is not None:
        print(f"\n{costs.report(planned, rates, machines)}")
    return 0
