"""The parallel map on a real Dask cluster: equal results, killed workers, wrong workers, a scheduler that goes away."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.clusters import ROOT, Cluster, wait_for

from musictools import runs, spectrograms
from musictools.runs import cluster, execution, parallel

full = pytest.mark.full


# --- One process: what is sent, in which order, to whom --------------------------------------------------------------


@pytest.fixture(scope="module")
def here():
    """The address of a scheduler and one worker of two threads in this process."""
    from distributed import LocalCluster

    options = {"processes": False, "dashboard_address": None, "protocol": "tcp", "host": "127.0.0.1"}
    with pytest.MonkeyPatch.context() as patch, LocalCluster(n_workers=1, threads_per_worker=2, **options) as local:
        patch.setenv("MUSICTOOLS_MEMORY", "1")  # or the worker would set it in this process
        yield local.scheduler_address


def test_results_arrive_one_at_a_time_and_are_put_in_order(here):
    def results(function, values):
        return list(cluster.results(function, values, here))

    def work(number):
        began = time.monotonic()
        time.sleep(0.05)
        return began, time.monotonic()

    spans = sorted(span for _, span in results(work, range(6)))
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:], strict=False)), "two calls at once"
    assert runs.map(lambda n: n * n, range(5), scheduler=here) == [0, 1, 4, 9, 16]
    streamed = runs.map(lambda n: n * n, range(5), scheduler=here, stream=True)
    assert next(streamed) == 0
    assert list(streamed) == [1, 4, 9, 16]
    assert runs.map(len, [], scheduler=here) == []


def test_early_results_wait_for_those_before_them():
    pairs = iter([(2, "c"), (0, "a"), (3, "d"), (1, "b")])
    ordered = parallel._in_order(pairs)
    assert next(ordered) == "a"
    assert next(pairs) == (3, "d"), "a result was awaited that is not due yet"
    assert list(parallel._in_order(iter([(1, "b"), (2, "c"), (0, "a")]))) == ["a", "b", "c"]


def test_errors_name_the_value(here):
    with pytest.raises(ZeroDivisionError, match=r"item 1 \(0\)"):
        runs.map(lambda number: 1 / number, [1, 0], scheduler=here)


def test_a_map_within_a_call_is_a_plain_loop(here):
    def outer(number):
        inner = runs.map(lambda n: (os.getpid(), n), range(3), workers=2, scheduler="tcp://127.0.0.1:1")
        return {pid for pid, _ in inner} == {os.getpid()}

    assert runs.map(outer, range(3), scheduler=here) == [True] * 3


def test_a_run_names_the_scheduler_for_every_map_until_it_ends(tmp_path, monkeypatch):
    sent_to = []

    def results(function, values, scheduler, shared):
        sent_to.append(scheduler)
        return enumerate(map(function, values))

    monkeypatch.setattr(cluster, "results", results)
    run = runs.start(tmp_path, notebook="01_try", parameters={}, scheduler="tcp://one:1")
    assert runs.map(len, ["a"], workers=1) == [1]
    assert runs.map(len, ["a"], scheduler="tcp://two:2") == [1]
    run.finish()
    assert runs.map(len, ["a"], workers=1) == [1]
    assert sent_to == ["tcp://one:1", "tcp://two:2"]


def test_another_scheduler_repeats_no_notebook():
    def inputs(**parameters):
        source = ROOT / "notebooks" / "01_preprocess.ipynb"
        return execution._inputs(SimpleNamespace(source=source, parameters={"n_clips": 48} | parameters))

    assert inputs(scheduler="tcp://one:1") == inputs(scheduler="tcp://two:2") == inputs()
    assert inputs(scheduler="tcp://one:1", n_clips=49) != inputs()


@pytest.mark.parametrize("name", ["numpy", "python", "Keras backend", "musictools sources", "musictools"])
def test_other_versions_are_refused_before_the_work(here, monkeypatch, name):
    called = []
    monkeypatch.setattr(cluster, "_own_versions", lambda: cluster._versions() | {name: "0.0.1"})
    with pytest.raises(RuntimeError, match=rf"1 of 1 workers .* nothing was sent.*: {name} is 0\.0\.1 here and"):
        runs.map(called.append, ["a"], scheduler=here)
    assert called == []


def test_a_worker_that_joins_later_is_refused_as_well(here, monkeypatch):
    monkeypatch.setattr(cluster, "_check_workers", lambda *_: None)
    monkeypatch.setattr(cluster, "_own_versions", lambda: cluster._versions() | {"numpy": "0.0.1"})
    with pytest.raises(RuntimeError, match=r"The worker tcp://.* cannot do this work: numpy is 0\.0\.1"):
        runs.map(len, ["a"], scheduler=here)


def test_what_is_shared_is_compared(here, tmp_path, monkeypatch):
    (tmp_path / "clip.wav").write_bytes(b"clip")
    assert runs.map(len, ["a"], scheduler=here, shared=[tmp_path, tmp_path / "clip.wav"]) == [1]
    assert os.listdir(tmp_path) == ["clip.wav"]
    real = cluster._mark
    monkeypatch.setattr(cluster, "_mark", lambda place: f"{real(place)} {threading.current_thread().name}")
    with pytest.raises(RuntimeError, match="is not the caller's"):
        runs.map(len, ["a"], scheduler=here, shared=[tmp_path / "clip.wav"])


# --- Processes: killed workers, wrong workers, no scheduler ----------------------------------------------------------


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """A scheduler with two workers, which a nanny starts again when they die."""
    with Cluster(tmp_path_factory.mktemp("cluster"), failures=1) as made:
        made.add(2)
        yield made


@pytest.fixture
def clips(tmp_path):
    paths = {}
    for k in range(48):
        noise = np.random.default_rng(k).uniform(-0.5, 0.5, 24_000)
        paths[f"clip {k}"] = tmp_path / f"{k}.wav"
        soundfile.write(paths[f"clip {k}"], noise[: 24_000 - 100 * k], 16_000)
    return paths


def kill_when(condition, pid):
    """Kill a process as soon as the condition holds; return the thread that waits for it."""

    def wait():
        wait_for(condition, pause=0.01)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def contents(folder):
    """The bytes of all files of a store."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@full
def test_a_store_is_equal_though_a_worker_is_killed(machines, clips, tmp_path):
    front_end = spectrograms.FrontEnd(16_000, 512, 256, 64)
    settings = {"front_end": front_end, "seconds": 1.5}
    local = spectrograms.SpectrogramStore.build(tmp_path / "local.zarr", clips, workers=1, **settings)
    folder = tmp_path / "far.zarr"
    killer = kill_when(lambda: len(list(folder.glob("S/**/*"))) > 5, next(iter(machines.pids().values())))
    far = spectrograms.SpectrogramStore.build(folder, clips, scheduler=machines.address, **settings)
    killer.join()
    assert far.ids == local.ids == list(clips)
    assert contents(folder) == contents(tmp_path / "local.zarr")


@full
def test_probing_is_equal_though_a_worker_is_killed(machines, tmp_path):
    from musictools.probing import probes
    from musictools.probing.maps import FeatureMaps

    rng, labels = (
        np.random.default_rng(0),
        pd.DataFrame({"guitar": [True, False] * 10, "drums": [True] * 9 + [False] * 11}),
    )
    maps = FeatureMaps.create(tmp_path / "maps", {"conv": (12, 3, 4)}, range(20))
    for rows in maps.missing():
        maps.write(rows.start, {"conv": rng.random((12, 20, 3, 4), dtype=np.float32)[:, rows.start : rows.stop]})
    settings = {"methods": {"knn": {"ks": [3]}, "rf": {"sizes": [5]}}}
    splits = [(np.arange(12), np.arange(12, 20))]
    local, _ = probes.probe(maps, labels, splits, workers=1, **settings)
    folder = tmp_path / "counts"
    killer = kill_when(lambda: any(folder.rglob("*.joblib")), next(iter(machines.pids().values())))
    far, _ = probes.probe(maps, labels, splits, scheduler=machines.address, folder=folder, **settings)
    killer.join()
    pd.testing.assert_frame_equal(far, local, check_exact=True)


@full
def test_a_training_is_equal(machines, tmp_path):
    import keras

    from musictools.experiments import jobs, protocols

    ids = [f"clip {k}" for k in range(12)]
    levels = np.random.default_rng(0).integers(0, 256, (12, 128, 64), np.uint8)
    labels = pd.DataFrame({"rock": [True, False] * 6, "pop": [False, True] * 6}, index=ids)
    split = pd.Series(["train"] * 8 + ["validation"] * 2 + ["test"] * 2, index=ids)
    plan = protocols.protocol("rotheneder2023", "se_cnn", epochs=1, batch_size=8)
    job = jobs.Job(model="se_cnn", n_tags=2, labels="annotated", protocol="rotheneder2023")
    task = jobs.Task(
        job=job, store=spectrograms.ArrayStore(levels, ids), labels=labels, split=split, length=64, step=32,
        protocol=plan, width=0.125,
    )  # fmt: skip
    (local,) = jobs.run([task], folder=tmp_path / "local", workers=1)
    (far,), (again,) = (jobs.run([task], folder=tmp_path / "far", scheduler=machines.address) for _ in range(2))
    weights = [keras.models.load_model(one.model_file, compile=False).get_weights() for one in (local, far)]
    for own, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(own, other)
    assert str(far.model_file).startswith(str(tmp_path / "far"))
    np.testing.assert_array_equal(far.scores["test"], local.scores["test"])
    np.testing.assert_array_equal(again.scores["test"], local.scores["test"])
    pd.testing.assert_frame_equal(
        far.history.filter(regex="loss|acc"), local.history.filter(regex="loss|acc"), check_exact=True
    )


@full
def test_a_call_that_kills_its_workers_is_named(machines):
    def work(number):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(RuntimeError, match=r"item 1 \(1\): 2 workers died .* more memory than a worker has"):
        runs.map(work, range(3), scheduler=machines.address)
    assert runs.map(abs, [-1, 2], scheduler=machines.address) == [1, 2]


@full
def test_a_smaller_worker_is_fine(machines):
    def work(_):
        time.sleep(0.1)
        return os.getpid(), runs.memory_budget(), os.environ["MUSICTOOLS_DATA"]

    small = machines.add(threads=3, environment={"MUSICTOOLS_MEMORY": "0.25", "MUSICTOOLS_DATA": "/elsewhere"})
    done = runs.map(work, range(12), scheduler=machines.address)
    assert {budget for _, budget, _ in done} == {2**28, 2**30}, "a quarter of the limit of 4 GiB, or its own budget"
    assert {data for *_, data in done} == {str(runs.data_home())}
    machines.end(small)


@full
@pytest.mark.parametrize("why", ["numpy", "sources", "no musictools", "no data"])
def test_wrong_workers_are_refused(machines, tmp_path, why):
    environment, shared, done = {}, [], []
    if why == "numpy":
        (tmp_path / "numpy-0.0.1.dist-info").mkdir()
        (tmp_path / "numpy-0.0.1.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n"
        )
        words = r"numpy is 0\.0\.1 here"
    elif why == "sources":
        shutil.copytree(ROOT / "musictools", tmp_path / "musictools", ignore=shutil.ignore_patterns("__pycache__"))
        with (tmp_path / "musictools" / "tags.py").open("a") as file:
            file.write("\n# an older state\n")
        words = "musictools sources is"
    elif why == "no musictools":
        (tmp_path / "musictools.py").write_text("raise ModuleNotFoundError(\"No module named 'musictools'\")")
        words = "musictools cannot be loaded"
    else:  # every process has a folder of its own at this path: the one that it works in
        shared, words = ["/proc/self/cwd"], "/proc/self/cwd is not the caller's"
    wrong = machines.add(folder=tmp_path, first=tmp_path, environment=environment)
    with pytest.raises(RuntimeError, match=f"of 3 workers at .* cannot do this work, so nothing was sent.*{words}"):
        runs.map(done.append, range(3), scheduler=machines.address, shared=shared)
    machines.end(wrong)
    if why != "no data":
        assert runs.map(abs, range(3), scheduler=machines.address) == [0, 1, 2]


@full
def test_a_scheduler_that_goes_away_and_one_without_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", "2s")
    monkeypatch.setattr(cluster, "LONELY", 2.0)
    finished = tmp_path / "finished"
    finished.mkdir()

    def work(number):
        if (own := finished / str(number)).exists():
            return "kept"
        if number == 2 and not (finished / "again").exists():
            (finished / "waits").touch()
            time.sleep(60)
        own.touch()
        return "made"

    with Cluster(tmp_path / "cluster") as own:
        with pytest.raises(ConnectionError, match=r"has no workers. Start some with `dask worker tcp://127"):
            runs.map(abs, [1], scheduler=own.address)
        alone = own.add(nanny=False)
        killer = kill_when((finished / "waits").exists, own.scheduler.pid)
        with pytest.raises(ConnectionError, match="has gone. Results that were written are kept"):
            runs.map(work, range(4), scheduler=own.address)
        killer.join()
        own.scheduler.wait()
        alone.kill()
        (finished / "again").touch()
        own.start()
        alone = own.add(nanny=False)
        assert runs.map(work, range(4), scheduler=own.address) == ["kept", "kept", "made", "made"]
        with pytest.raises(ConnectionError, match="has had no worker for 2 s"):
            runs.map(lambda _: os._exit(1), [1], scheduler=own.address)


# --- Two machines, one data folder -----------------------------------------------------------------------------------

BUILD = """
import fcntl, os, pathlib, platform, sys, time
platform.node = lambda: sys.argv[1]
if sys.argv[2] == "no locks":
    def flock(*_):
        raise OSError("no locks here")
    fcntl.flock = flock
from musictools import datasets, models, runs, spectrograms
pathlib.Path(f"{sys.argv[1]}.ready").touch()
while not os.path.exists("go"):
    time.sleep(0.01)
data = datasets.load("composed", n_clips=2, workers=1)
store = spectrograms.open_store(data, models.describe("fcn4").front_end, workers=1)
print(len(store), store.checksum)
"""


def build(folder, *names, locks="locks"):
    """Build corpus and store in processes of machines with these names; return what they print and all files."""
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    environment = os.environ | {"MUSICTOOLS_DATA": str(folder / "data"), "PYTHONPATH": path}
    command = [sys.executable, "-c", BUILD]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([*command, name, locks], cwd=folder, env=environment, **pipes) for name in names]
    wait_for(lambda: len(list(folder.glob("*.ready"))) == len(names))
    (folder / "go").touch()
    printed = [process.communicate() for process in started]
    assert not any(process.returncode for process in started), printed
    files = {name: values for name, values in contents(folder / "data").items() if not name.endswith(".lock")}
    return {out for out, _ in printed}, files


@full
def test_two_machines_build_one_store_at_the_same_time(tmp_path):
    """Where one waits for the other, and where the file system has no locks and both do all of the work."""
    for name in ("in turn", "at once"):
        (tmp_path / name).mkdir()
    printed, files = build(tmp_path / "in turn", "ann", "bob")
    assert (printed, files) == build(tmp_path / "at once", "ann", "bob", locks="no locks")
    assert [line.split()[0] for line in printed] == ["2"]
    assert not [name for name in files if Path(name).name.startswith(".tmp-")]
