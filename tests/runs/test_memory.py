"""The memory budget is one for a process and all workers that it starts."""

import pytest

from musictools import runs


def allotted(_):
    return runs.memory_budget()


def test_workers_share_half_of_the_budget(monkeypatch):
    monkeypatch.setenv("MUSICTOOLS_MEMORY", "8")
    assert runs.memory_budget() == 8 * 2**30
    assert set(runs.map(allotted, range(4), workers=2)) == {2 * 2**30}
    assert set(runs.map(allotted, range(4), workers=1)) == {8 * 2**30}  # in this process
    assert runs.memory_budget() == 8 * 2**30


def test_without_a_setting_it_follows_from_the_machine(monkeypatch):
    monkeypatch.delenv("MUSICTOOLS_MEMORY", raising=False)
    assert runs.memory_budget() > 2**26
    assert runs.memory_budget(sharers=3) == pytest.approx(runs.memory_budget() / 3, abs=1)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much"])
def test_a_budget_is_a_positive_number(monkeypatch, text):
    monkeypatch.setenv("MUSICTOOLS_MEMORY", text)
    with pytest.raises(ValueError, match="MUSICTOOLS_MEMORY must be a positive number of GiB. Got"):
        runs.memory_budget()
