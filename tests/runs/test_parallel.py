"""The parallel map on processes (test_cluster.py has Dask), and what keeps every test off the network."""

import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from musictools import runs
from musictools.runs import parallel


@pytest.fixture
def slow_first():
    """Return a function made here: workers then need not load this module and pandas with it."""

    def work(number):
        time.sleep(0.2 if number == 0 else 0)
        return number, os.getpid()

    return work


@pytest.mark.parametrize("workers", [1, 2])
def test_map_keeps_the_order(slow_first, workers):
    results = runs.map(slow_first, range(6), workers=workers)
    assert [number for number, _ in results] == list(range(6))
    assert (os.getpid() in {pid for _, pid in results}) == (workers == 1)


def test_map_streams_and_takes_lambdas_and_nothing():
    results = runs.map(lambda number: number + 1, iter([1, 2, 3]), workers=2, stream=True)
    assert next(results) == 2
    assert list(results) == [3, 4]
    assert runs.map(len, []) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_map_names_the_item_that_failed(workers):
    def load(name):
        if name == "b.mp3":
            raise ValueError("it is empty")
        return name

    with pytest.raises(ValueError, match=r"item 1 \('b.mp3'\): it is empty"):
        runs.map(load, ["a.mp3", "b.mp3"], workers=workers)


def test_map_names_the_item_in_a_note_where_the_message_is_not_plain():
    with pytest.raises(KeyError) as caught:
        runs.map({}.__getitem__, ["a"], workers=1)
    assert caught.value.__notes__ == ["while working on item 0 ('a')"]


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_map_refuses_odd_workers(workers):
    with pytest.raises(ValueError, match="workers must be a positive int or None"):
        runs.map(len, ["a"], workers=workers)


def test_map_without_an_answering_scheduler(monkeypatch):
    monkeypatch.setattr("musictools.runs.cluster.PATIENCE", "1s")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectionError, match=r"No Dask scheduler answers at 'tcp://127.0.0.1"):
        runs.map(len, ["a"], scheduler=f"tcp://127.0.0.1:{port}")


def test_workers_end_with_a_killed_parent(tmp_path):
    code = (
        "import os, time, pathlib; from musictools import runs\n"
        f"def work(n): pathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch(); time.sleep(60)\n"
        "runs.map(work, range(2), workers=2)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(running(int(path.name)) for path in tmp_path.iterdir()), seconds=5)


def test_how_many_notebooks_at_once(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(parallel, "has_gpu", lambda: False)
    for free, number in ((None, 4), (2**30, 1), (9 * 2**30, 2), (2**40, 4)):
        monkeypatch.setattr(parallel, "available_memory", lambda free=free: free)
        assert parallel.at_once() == number
    monkeypatch.setattr(parallel, "has_gpu", lambda: True)
    assert parallel.at_once() == 1


def test_a_gpu_that_programs_may_not_use_is_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not parallel.has_gpu()
    assert parallel.available_memory() is None or parallel.available_memory() > 0


def test_a_lock_makes_the_second_process_wait(tmp_path):
    code = (
        "import pathlib, sys, time; from musictools.files import locked\n"
        f"with locked({str(tmp_path / 'store')!r}):\n"
        f"    place = pathlib.Path({str(tmp_path)!r}, sys.argv[1]); began = time.time(); time.sleep(0.3)\n"
        "    place.write_text(f'{began} {time.time()}')"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    first, second = sorted([float(word) for word in (tmp_path / name).read_text().split()] for name in "ab")
    assert first[1] <= second[0]


def running(pid):
    """Tell whether a process runs (a zombie that nobody waits for does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, *, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def test_progress_is_quiet_where_nobody_can_type(monkeypatch):
    """None leaves it to tqdm, which is quiet where there is no terminal."""
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
    monkeypatch.setattr("musictools.runs.parallel.kernel_shell", lambda: shell)
    disabled = []
    monkeypatch.setattr("tqdm.auto.tqdm", lambda values, *, disable, **_: disabled.append(disable) or values)
    assert list(runs.progress([1, 2])) == [1, 2]
    shell.kernel._allow_stdin = True
    assert list(runs.progress([1, 2])) == [1, 2]
    assert disabled == [True, None]


def test_there_is_no_network_here_nor_in_children():
    code = "import socket; socket.create_connection(('example.org', 80), timeout=5)"
    with pytest.raises(PermissionError, match="Tests use no network, but something asked for 'example.org'"):
        socket.create_connection(("example.org", 80), timeout=5)
    with socket.socket() as plain, pytest.raises(PermissionError, match="no network"):
        plain.connect(("192.0.2.1", 80))
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Tests use no network" in child.stderr
    assert runs.map(lambda _: hasattr(socket, "without_network"), range(2), workers=2) == [True, True]


def test_importing_is_cheap():
    code = "import sys, musictools.runs, musictools.cli; print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("'tensorflow'", "'numpy'", "'pandas'", "'matplotlib'", "'papermill'", "'joblib'"):
        assert heavy not in modules
