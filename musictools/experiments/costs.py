"""What a plan costs on other machines than this one: storage, hours of cores, hours of GPUs.

All rates are those that `calibration.measure` has measured here. Numbers of machines, their speed and all prices are
given by the user; nothing is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pandas as pd

from musictools.experiments.calibration import Rates
from musictools.experiments.plans import NotebookPlan
from musictools.runs import parallel

__all__ = ["Machines", "report", "table"]


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Machines to use, and their prices in any currency.

    Parameters
    ----------
    cores : int > 0
        Number of cores, each as fast as one of this machine.
    gpus : int >= 0
        Number of GPUs. 0: networks are trained on the cores.
    gpu_speed : float > 0
        How many times one GPU is as fast as this machine with all its cores, or with its GPU if it has one.
    core_price, gpu_price : float >= 0
        Of an hour.
    disk_price : float >= 0
        Of 10⁹ bytes for a month.
    months : float >= 0
        Time for which the disk is kept.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    cores: int
    gpus: int = 0
    gpu_speed: float = 1.0
    core_price: float = 0.0
    gpu_price: float = 0.0
    disk_price: float = 0.0
    months: float = 1.0

    def __post_init__(self):
        for field in fields(self):
            value, positive = getattr(self, field.name), field.name in ("cores", "gpu_speed")
            if not (value > 0 if positive else value >= 0) or value == float("inf"):
                least = "positive" if positive else "at least 0"
                raise ValueError(f"{field.name} must be a number and {least}. Got {value!r}.")


def table(plans: Sequence[NotebookPlan], rates: Rates, machines: Machines) -> pd.DataFrame:
    """Amounts and costs of a plan.

    Parameters
    ----------
    plans : sequence of NotebookPlan
        Notebooks that have run already count as well.
    rates : Rates
        As measured on this machine.
    machines : Machines

    Returns
    -------
    costs : pd.DataFrame
        A row for storage (GB months), cores and GPUs (hours): what, amount, price, cost, and hours on these machines,
        when all of them are busy.

    Examples
    --------
    >>> plan = NotebookPlan(notebook="01", work={"decode": 72_000})
    >>> costs = table([plan], Rates(decode=1.0, cores=2), Machines(cores=8, core_price=0.05))
    >>> costs.loc[1, ["amount", "cost", "hours"]].tolist()
    [20.0, 1.0, 2.5]
    """
    core_hours = sum(plan.core_hours(rates) for plan in plans)
    network_hours = sum(plan.network_hours(rates) for plan in plans)
    gpu_hours = network_hours / machines.gpu_speed if machines.gpus else 0.0
    on_cores = core_hours + (0.0 if machines.gpus else network_hours * rates.cores)
    storage = sum(plan.disk_bytes(rates) for plan in plans) / 1e9 * machines.months
    rows = [
        ("storage, GB months", storage, machines.disk_price, 0.0),
        ("cores, hours", on_cores, machines.core_price, on_cores / machines.cores),
        ("GPUs, hours", gpu_hours, machines.gpu_price, gpu_hours / max(machines.gpus, 1)),
    ]
    costs = pd.DataFrame(rows, columns=["what", "amount", "price", "hours"])
    return costs.assign(cost=costs["amount"] * costs["price"])[["what", "amount", "price", "cost", "hours"]]


def report(plans: Sequence[NotebookPlan], rates: Rates, machines: Machines) -> str:
    """Say what a plan costs, with the assumptions.

    Parameters
    ----------
    plans : sequence of NotebookPlan
    rates : Rates
    machines : Machines

    Returns
    -------
    text : str
    """
    costs = table(plans, rates, machines)
    lines = [
        f"{row.what}: {row.amount:,.1f} at {row.price:g} each = {row.cost:,.2f}"
        + (f" ({row.hours:,.1f} hours with all of them)" if row.hours else "")
        for row in costs.itertuples()
    ]
    here = "its GPU" if parallel.has_gpu() else f"its {rates.cores} cores"
    speed = f"a GPU trains {machines.gpu_speed:g} times as fast as this machine with {here}, " if machines.gpus else ""
    return "\n".join([
        *lines,
        f"Cost: {costs['cost'].sum():,.2f}, with {machines.cores} cores and {machines.gpus} GPUs, "
        f"the disk for {machines.months:g} months.",
        f"Given, not measured: {speed}a core is as fast as one of this machine, the prices.",
    ])  # fmt: skip
