"""A Dask cluster of processes on this machine, started by the commands that the README names."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """A scheduler, and workers that `add` starts; all end with the block.

    Parameters
    ----------
    folder : Path
        For the workers' files and the logs.
    failures : int
        How often a worker may die while it works on one call.
    """

    def __init__(self, folder, *, failures=3, port=0):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.workers = port, []
        self.environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures)}
        self.environment.pop("MUSICTOOLS_MEMORY", None)
        self.start()

    def start(self):
        """Start a scheduler, again at the same address after it has died."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.n = 0  # workers that should be there; a killed one is away until its nanny has started another
        self.scheduler = self._run("scheduler", "--port", self.port, "--scheduler-file", file)
        wait_for(file.is_file)
        from dask.distributed import Client

        with Client(scheduler_file=str(file), timeout="60s", set_as_default=False) as client:
            self.address = client.scheduler.address
        self.port = int(self.address.rsplit(":", 1)[1])

    def add(self, n=1, *, nanny=True, threads=1, environment=None, folder=None, first=ROOT):
        """Start workers and wait for them. `first`: the folder whose musictools they import."""
        path = os.pathsep.join(filter(None, [str(first), str(ROOT), os.environ.get("PYTHONPATH")]))
        options = ["--nworkers", n, "--nthreads", threads, "--nanny" if nanny else "--no-nanny"]
        options += ["--local-directory", self.folder, "--memory-limit", "4GiB"]
        environment = {"PYTHONPATH": path} | (environment or {})
        process = self._run("worker", self.address, *options, environment=environment, folder=folder)
        self.workers.append(process)
        self.n += n
        wait_for(lambda: len(self.pids()) == self.n)
        return process

    def end(self, process):
        """End one worker that `add` has started."""
        process.terminate()
        process.wait()
        self.n -= 1
        wait_for(lambda: len(self.pids()) == self.n)

    def pids(self):
        """Process ids of the workers by their address."""
        from dask.distributed import Client

        with Client(self.address, timeout="60s", set_as_default=False) as client:
            return {worker: pid for worker, pid in client.run(os.getpid, on_error="ignore").items()}

    def _run(self, what, *options, environment=None, folder=None):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--host", "127.0.0.1"]
        log = (self.folder / f"{what}.log").open("a")
        with log:
            return subprocess.Popen(
                [*map(str, command), "--no-dashboard"],
                stdout=log,
                stderr=log,
                cwd=folder or self.folder,
                env=self.environment | (environment or {}),
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (*self.workers, self.scheduler):
            process.send_signal(signal.SIGTERM)
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(condition, *, seconds=90, pause=0.1):
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(pause)
