"""Costs of plans: amounts that can be worked out by hand."""

import pytest

from musictools import cli
from musictools.experiments import calibration, costs, plans, workloads

NETWORK = calibration.Network("ckn19", 1.0, 64, 128, 0)
TIMING = calibration.Timing(start=0.0, step=2.0, forward=0.5, parameters=10**6, activations=10, maps={})
RATES = calibration.Rates(networks={NETWORK: TIMING}, decode=0.5, spectrogram=1.0, cores=4)
TRAINING = workloads.Training(network=NETWORK, outputs=8, count=2, epochs=9, segments=6400, scored=0)
PLANS = [
    plans.NotebookPlan(notebook="01", work={"decode": 7200, "spectrogram": 7200}, workers=4, disk=10**9),
    plans.NotebookPlan(notebook="02", trainings=(TRAINING,), passes={NETWORK: 7200}, disk=2 * 10**9),
]
# 7200 x 1.5 s are 3 core hours; 2 trainings x 9 epochs x 100 steps x 2 s and 7200 x 0.5 s are 2 hours of four cores.


def test_without_gpus_the_cores_train():
    machines = costs.Machines(cores=10, core_price=0.1, disk_price=2.0, months=3)
    table = costs.table(PLANS, RATES, machines).set_index("what")
    weights = 2 * 12 * 10**6 / 1e9
    assert table["amount"].to_list() == pytest.approx([3 * (3 + weights), 3 + 2 * 4, 0])
    assert table["cost"].to_list() == pytest.approx([6 * (3 + weights), 1.1, 0])
    assert table["hours"].to_list() == pytest.approx([0, 1.1, 0])


def test_gpus_train_as_fast_as_the_user_says():
    machines = costs.Machines(cores=3, gpus=2, gpu_speed=4.0, gpu_price=5.0)
    table = costs.table(PLANS, RATES, machines).set_index("what")
    assert table.loc["cores, hours", ["amount", "hours"]].to_list() == pytest.approx([3, 1])
    assert table.loc["GPUs, hours", ["amount", "cost", "hours"]].to_list() == pytest.approx([0.5, 2.5, 0.25])
    text = costs.report(PLANS, RATES, machines)
    assert "cores, hours: 3.0 at 0 each = 0.00 (1.0 hours with all of them)" in text
    assert "a GPU trains 4 times as fast as this machine" in text


def test_hours_of_a_notebook_are_those_of_networks_and_cores():
    assert [plan.hours(RATES) for plan in PLANS] == pytest.approx([3 / 4, 2])
    assert [plan.core_hours(RATES) for plan in PLANS] == pytest.approx([3, 0])
    assert [plan.network_hours(RATES) for plan in PLANS] == pytest.approx([0, 2])


@pytest.mark.parametrize("wrong", [{"cores": 0}, {"gpu_speed": 0.0}, {"core_price": -1.0}, {"months": float("inf")},
                                   {"disk_price": float("nan")}])  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be a number and"):
        costs.Machines(**{"cores": 1} | wrong)


def test_the_command_prints_costs(monkeypatch, capsys):
    monkeypatch.setattr(plans, "make", lambda *_, **options: PLANS)
    monkeypatch.setattr(calibration, "measure", lambda networks, say: RATES)
    assert cli.main(["plan", "--cores", "10", "--core-price", "0.1"]) == 0
    assert "cores, hours: 11.0 at 0.1 each = 1.10 (1.1 hours with all of them)" in capsys.readouterr().out
    assert cli.main(["plan", "--core-price", "0.1"]) == 2
    assert "Costs need --cores" in capsys.readouterr().err
    assert cli.main(["plan", "--cores", "10", "--no-calibration"]) == 2
    assert "Costs need --cores, and the rates" in capsys.readouterr().err
