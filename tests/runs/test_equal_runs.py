"""The comparison of two runs, which tests/soak/determinism.py reports."""

import pytest
from support.equal_runs import compare


@pytest.fixture
def runs(tmp_path):
    """Two output folders with the same table, model and table of times."""
    for name, seconds in (("one", 1.5), ("other", 2.5)):
        for kind in ("tables", "models"):
            (tmp_path / name / kind).mkdir(parents=True)
        (tmp_path / name / "tables" / "scores.csv").write_text("model,auc\na,0.5\n")
        (tmp_path / name / "tables" / "costs.csv").write_text(f"model,train_seconds\na,{seconds}\n")
        (tmp_path / name / "models" / "a.keras").write_bytes(b"weights")
    return tmp_path / "one", tmp_path / "other"


def test_wall_clock_times_do_not_count(runs):
    counts, times, problems = compare(*runs)
    assert counts["tables"] == {"files": 2, "equal": 1}
    assert counts["models"] == {"files": 1, "equal": 1}
    assert (times, problems) == (["costs"], [])


@pytest.mark.parametrize(("name", "counted"), [("choi2018_figure_4_4.png", False), ("choi2018_figure_4_2.png", True)])
def test_the_figure_of_a_wall_clock_time_does_not_count(runs, name, counted):
    for folder in runs:
        (folder / "figures").mkdir()
        (folder / "figures" / name).write_bytes(folder.name.encode())
    _, times, problems = compare(*runs)
    assert problems == ([f"figures/{name} differs"] if counted else [])
    assert times == ["costs", *([] if counted else ["choi2018_figure_4_4"])]


def test_everything_else_counts(runs):
    one, other = runs
    (one / "tables" / "scores.csv").write_text("model,auc\na,0.5000001\n")
    (one / "tables" / "costs.csv").write_text("model,train_seconds\nb,1.5\n")
    (other / "models" / "a.keras").write_bytes(b"weightz")
    (other / "models" / "b.keras").write_bytes(b"more")
    _, times, problems = compare(one, other)
    assert times == []
    assert problems == [
        "tables/costs.csv differs",
        "tables/scores.csv differs",
        "models/b.keras is in one of the runs only",
        "models/a.keras differs",
    ]
