"""Rebuilding a profile: unchanged notebooks are skipped, failed and killed ones are run again.

A notebook runs after those whose results it reads (``run.upstream("...")`` in its cells); independent ones run at the
same time, and those that no other waits for give way to the rest. ``01_*`` comes before all others with a higher
number: it checks the data and prepares what they share.
A notebook belongs to a profile when ``params/<profile>/<notebook>.yaml`` exists. It is skipped when all of these are
as they were when it last finished: its parameters, its cells, the package's sources, the versions of the packages that
matter, the data folders it used, the results of the notebooks it read, its own outputs.
"""

import graphlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from musictools.files import atomic, remove_stale
from musictools.runs import manifests, memory, parallel, settings
from musictools.runs.paths import from_root, root

__all__ = ["rebuild"]

_UPSTREAM = re.compile(r"""\.upstream\(\s*["']([\w.-]+)["']""")


@dataclass(frozen=True)
class _Job:
    """One notebook to be run: where it is, where its results go, with which parameters."""

    name: str
    source: Path
    folder: Path
    parameters: dict

    @property
    def executed(self):
        return self.folder / "notebooks" / f"{self.name}.ipynb"

    @property
    def record(self):
        return manifests.read_record(self.folder, self.name)


def rebuild(
    profile: str,
    *,
    only: list[str] | None = None,
    force: bool = False,
    parameters: dict | None = None,
    jobs: int | None = None,
    notebooks_dir: str | Path | None = None,
    params_dir: str | Path | None = None,
    output_root: str | Path | None = None,
) -> int:
    """Run a profile's notebooks, each in a fresh kernel, and write the report.

    A notebook runs after those that it reads; independent ones run at the same time. All parameters are checked before
    anything runs. Results go to ``<output_root>/<profile>``.

    Parameters
    ----------
    profile : str
        Folder below `params_dir`, such as ``"demo"``.
    only : list of str or None
        Numbers or names of notebooks to look at, such as ``["03"]``; None: all of the profile.
    force : bool
        Run them even when nothing changed.
    parameters : dict or None
        Values that win over the files'; each must be declared by a chosen notebook.
    jobs : int > 0 or None
        Maximum number of notebooks that run at the same time. None: as many as the cores and the free memory allow.
    notebooks_dir, params_dir, output_root : str, Path or None
        None: ``notebooks``, ``params`` and ``outputs`` of the checkout.

    Returns
    -------
    status : int
        0 when all is well, 1 when a notebook failed, 130 when interrupted.

    Raises
    ------
    ValueError
        If the profile, a notebook, a parameter or a parameter file is not as it should be.
    BlockingIOError
        If another process is rebuilding this profile.

    See Also
    --------
    start : What a notebook calls to write its results.

    Examples
    --------
    >>> rebuild("demo", only=["03"])  # doctest: +SKIP
    """
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ValueError(f"jobs must be a positive int or None. Got {jobs!r}.")
    folder = from_root(output_root or "outputs") / profile
    chosen = plan(
        profile,
        only=only,
        parameters=parameters,
        notebooks_dir=from_root(notebooks_dir or "notebooks"),
        params_dir=from_root(params_dir or "params"),
        folder=folder,
    )
    at_once = min(jobs or parallel.at_once(), len(chosen))
    with _alone(folder), _kernel_environment(folder, at_once=at_once):
        remove_stale(folder)
        try:
            outcome = _attend_all(chosen, force=force, at_once=at_once)
        except KeyboardInterrupt as interruption:
            _say(f"Interrupted in {interruption}. Go on with: musictools rebuild --profile {profile}")
            return 130
        return _close(folder, outcome)


def plan(
    profile: str,
    *,
    only: list[str] | None,
    parameters: dict | None,
    notebooks_dir: Path,
    params_dir: Path,
    folder: Path,
) -> list[_Job]:
    """Return the jobs of a profile in order, with all parameters checked.

    Raises
    ------
    ValueError
        As in `rebuild`.
    """
    params = params_dir / profile
    profiles = [path.name for path in params_dir.iterdir() if path.is_dir()] if params_dir.is_dir() else []
    if profile not in profiles:
        raise settings.unknown(profile, profiles, where=params_dir, what="profile")
    notebooks = {path.stem: path for path in sorted(notebooks_dir.glob("[0-9][0-9]_*.ipynb"))}
    notebooks |= {path.stem: path for path in notebooks_dir.glob("song_explorer.ipynb")}
    files = {path.stem: path for path in sorted(params.glob("*.yaml")) if path.name != settings.COMMON}
    for name in files:
        if name not in notebooks:
            raise settings.unknown(name, notebooks, where=files[name], what="notebook")
    chosen = [name for name in notebooks if name in files]
    if only:
        wanted = {_named(word, chosen, where=params) for word in only}
        chosen = [name for name in chosen if name in wanted]
    if not chosen:
        raise ValueError(f"{params}: holds no <notebook>.yaml, so this profile has no notebooks.")
    common = [params / settings.COMMON] if (params / settings.COMMON).is_file() else []
    resolved = {name: settings.resolve(notebooks[name], *common, files[name]) for name in chosen}
    _override(resolved, notebooks, parameters or {})
    return [
        _Job(name, notebooks[name], folder, _directed(values, folder, where=params))
        for name, values in resolved.items()
    ]


def _override(resolved, notebooks, parameters):
    """Put the command line's values over the files', in place."""
    known = {name for values in resolved.values() for name in values} - {"output_dir"}
    for name in parameters:
        if name not in known:
            raise settings.unknown(name, known, where="-p")
    for notebook, values in resolved.items():
        given = {name: value for name, value in parameters.items() if name in values}
        defaults = settings.parameters(notebooks[notebook])
        values |= {name: settings.fitting(value, defaults[name], where=f"-p {name}") for name, value in given.items()}


def _directed(values, folder, *, where):
    """Set ``output_dir`` to the profile's folder, after a look at what the files say."""
    if "output_dir" not in values:
        return values
    if Path(values["output_dir"]).name != folder.name:
        raise ValueError(
            f"{where}: output_dir is {values['output_dir']!r}, but profile {folder.name!r} writes to "
            f"'outputs/{folder.name}'. Say so in {settings.COMMON}."
        )
    shown = folder.relative_to(root()) if folder.is_relative_to(root()) else folder
    return values | {"output_dir": shown.as_posix()}


def _named(word, names, *, where):
    """Return the notebook that a number or name given to ``--only`` means."""
    for name in names:
        if word in (name, f"{name}.ipynb") or (word.isdigit() and name.startswith(f"{int(word):02d}_")):
            return name
    raise settings.unknown(word, names, where=f"--only, {where}", what="notebook")


def order(jobs: list[_Job]) -> dict[str, set[str]]:
    """Return for every notebook the chosen ones that must have ended before it begins.

    Raises
    ------
    ValueError
        If notebooks read each other in a circle.
    """
    names = [job.name for job in jobs]
    first = {name for name in names if name.startswith("01_")}
    before = {}
    for job in jobs:
        before[job.name] = set(upstream_names(job.source)) & set(names) - {job.name}
        if job.name > "01" and job.name not in first:
            before[job.name] |= first
    try:
        graphlib.TopologicalSorter(before).prepare()
    except graphlib.CycleError as error:
        raise ValueError(f"Notebooks read each other in a circle: {' → '.join(error.args[1])}.") from None
    return before


def _attend_all(jobs, *, force, at_once):
    """Skip or run every notebook, at most `at_once` at the same time; return what happened, in the order of `jobs`."""
    named = {job.name: (number, job) for number, job in enumerate(jobs, start=1)}
    before = order(jobs)
    sorter = graphlib.TopologicalSorter(before)
    sorter.prepare()
    outcome, waiting, running, kernels = {}, [], {}, _Kernels(awaited=set().union(*before.values()))

    def say(name, text):
        _say(f"[{named[name][0]}/{len(jobs)}] {name} {text}")

    with ThreadPoolExecutor(at_once) as pool:
        try:
            while sorter.is_active():
                waiting = sorted([*waiting, *sorter.get_ready()], key=named.get)
                while waiting and len(running) < at_once:
                    name = waiting.pop(0)
                    say(name, "…")
                    call = pool.submit(_attend, named[name][1], force=force, outcome=dict(outcome), kernels=kernels)
                    running[call] = name
                for call in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome[running[call]] = call.result()
                    name = running.pop(call)
                    say(name, ": ".join(filter(None, outcome[name])))
                    sorter.done(name)
        except BaseException as error:
            kernels.interrupt()
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(", ".join(sorted(running.values()))) from None
            raise
    return {name: outcome[name] for name in named}


def _attend(job, *, force, outcome, kernels):
    """Skip or run one notebook; return what happened, in two words: state and detail."""
    missing = [name for name in upstream_names(job.source) if outcome.get(name, ("",))[0] in ("failed", "not run")]
    if missing:
        return "not run", f"it reads {', '.join(missing)}, which failed"
    inputs = _inputs(job)
    reason = "forced" if force else changed(job, inputs)
    if not reason:
        manifests.remove_scratch(job.folder, job.name)  # left by a rebuild that was killed at the end of the notebook
        return "skipped", "unchanged"
    began = time.monotonic()
    failure = _execute(job, kernels)
    seconds = time.monotonic() - began
    if failure:
        return "failed", f"{failure} (see {job.executed})"
    record = job.record | {"rebuild": {"inputs": inputs, "executed": manifests.file_digest(job.executed)}}
    record |= {"seconds": round(seconds, 3), "parameters": job.parameters}
    manifests.write_record(job.folder, job.name, record)
    manifests.remove_scratch(job.folder, job.name)
    return "done", f"{seconds:.1f} s ({reason})"


def upstream_names(source: Path) -> list[str]:
    """Return the notebooks that a notebook reads results of, as its cells spell them out."""
    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    return _UPSTREAM.findall("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


def _inputs(job):
    elsewhere = ("output_dir", "scheduler")  # they change where results are made and kept, not what they are
    return {
        "parameters": manifests.digest({k: value for k, value in job.parameters.items() if k not in elsewhere}),
        "notebook": manifests.notebook_digest(job.source),
        "package": manifests.package_digest(),
        "versions": manifests.digest(manifests.versions()),
    }


def changed(job: _Job, inputs: dict) -> str:
    """Say why a notebook must run, in a few words; empty when nothing changed since it finished."""
    record = job.record
    if record is None and manifests.record_path(job.folder, job.name).is_file():
        return "its manifest is damaged"
    if not record or "rebuild" not in record:
        return "not finished before" if record or job.executed.exists() else "first run"
    for name, value in inputs.items():
        if record["rebuild"]["inputs"].get(name) != value:
            return f"{name} changed"
    for name, data in record["data"].items():
        if data["path"] and manifests.folder_stamp(data["path"]) != data["stamp"]:
            return f"data set {name} changed"
    for name, seen in record["upstream"].items():
        other = manifests.read_record(job.folder, name) or {}
        if not other.get("finished") or manifests.digest(other["outputs"]) != seen:
            return f"results of {name} changed"
    outputs = record["outputs"] | {f"notebooks/{job.name}.ipynb": record["rebuild"]["executed"]}
    for name, known in outputs.items():
        path = job.folder / name
        if not path.is_file() or manifests.file_digest(path) != known:
            return f"{name} {'changed' if path.is_file() else 'is missing'}"
    return ""


def pending(job: _Job) -> bool:
    """Tell whether `rebuild` would run a notebook, by what there is now."""
    return bool(changed(job, _inputs(job)))


def _execute(job, kernels):
    """Run one notebook in a fresh kernel; return what went wrong, empty when nothing."""
    manifests.record_path(job.folder, job.name).unlink(missing_ok=True)
    job.executed.parent.mkdir(parents=True, exist_ok=True)
    failure = kernels.run(job)
    if failure:
        return failure
    if job.record is None:
        manifests.write_record(job.folder, job.name, _bare_record(job))
    return "" if job.record["finished"] else "it ended without run.finish()"


class _Kernels:
    """The processes that run notebooks, each with a kernel; after `interrupt` none begins.

    The processor goes first to notebooks that others wait for, `awaited`.
    """

    def __init__(self, *, awaited):
        self._lock, self._processes, self._interrupted = threading.Lock(), set(), False
        self._awaited = awaited

    def run(self, job):
        """Run a notebook to its end; return what went wrong, empty when nothing."""
        request = {"source": str(job.source), "executed": str(job.executed), "parameters": job.parameters}
        gives_way = bool(self._awaited) and job.name not in self._awaited
        request |= {"cwd": str(root()), "parent": os.getpid(), "nice": 10 if gives_way else 0}
        with open(job.folder / ".jupyter" / "kernel.log", "a", encoding="utf-8") as log:
            with self._lock:
                if self._interrupted:
                    return "interrupted"
                process = subprocess.Popen(
                    [sys.executable, "-m", "musictools.runs.one_notebook"],
                    cwd=root(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
                self._processes.add(process)
            answer, _ = process.communicate(json.dumps(request))
        with self._lock:
            self._processes.remove(process)
        try:
            return json.loads(answer)["failure"]
        except ValueError:
            if process.returncode == -signal.SIGKILL:
                return f"its process was killed, by somebody or because the memory was exhausted. {memory.ADVICE}"
            return f"its process ended with status {process.returncode} (see {log.name})"

    def interrupt(self):
        """Interrupt all processes; each shuts its kernel down before it ends, or is killed after 30 s."""
        with self._lock:
            self._interrupted = True
            for process in self._processes:
                process.send_signal(signal.SIGINT)
                timer = threading.Timer(30.0, process.kill)
                timer.daemon = True
                timer.start()


def _bare_record(job):
    """Return the manifest record of a notebook that keeps no results."""
    record = {"notebook": job.name, "finished": True, "seconds": 0, "parameters": job.parameters}
    return record | {"data": {}, "upstream": {}, "outputs": {}, "said": [], "versions": manifests.versions()}


def _close(folder, outcome):
    """Write the report, print the summary, return the exit status."""
    from musictools.runs import report

    manifests.merge(folder)
    index = report.write(folder, outcome=outcome)
    width = max(map(len, outcome))
    _say("")
    for name, (state, detail) in outcome.items():
        _say(f"{name:{width}}  {state:8} {detail}")
    failed = [name for name, (state, _) in outcome.items() if state in ("failed", "not run")]
    _say(f"Report: {index}")
    if failed:
        _say(f"{len(failed)} of {len(outcome)} notebooks did not finish: {', '.join(failed)}.")
    return 1 if failed else 0


def _say(text):
    print(text, flush=True)


@contextmanager
def _alone(folder):
    """Hold the profile's lock; the system frees it when this process ends, however it ends."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BlockingIOError(
                f"{folder} is being rebuilt by process {file.read().strip()}. Wait for it, or end it first."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _kernel_environment(folder, *, at_once=1):
    """Set up what kernels inherit: this interpreter, nobody's own configuration, equal bytes for equal results.

    Kernels that run at the same time share the memory budget.
    """
    home = folder / ".jupyter"
    home.mkdir(parents=True, exist_ok=True)
    # Whatever libraries write past Python goes into a file; what cells print is in the executed notebook.
    command = ["/bin/sh", "-c", f'exec "$0" "$@" 2>>{shlex.quote(str(home / "kernel.log"))}']
    command += [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    command += ["--log-level=50", "--IPKernelApp.capture_fd_output=False"]
    kernel = {"argv": command, "display_name": "Python 3 (ipykernel)", "language": "python"}
    manifests.write_json(home / "kernels" / "python3" / "kernel.json", kernel)
    with atomic(home / "matplotlibrc") as temporary:
        temporary.write_text("svg.hashsalt: musictools\n", encoding="utf-8")
    before = dict(os.environ)
    os.environ.update(
        JUPYTER_PATH=str(home),
        IPYTHONDIR=str(home / "ipython"),
        MATPLOTLIBRC=str(home / "matplotlibrc"),
        PYTHONHASHSEED="0",
        **{manifests.REBUILD: "1"},
        SOURCE_DATE_EPOCH="946684800",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
    )
    memory.give(memory.memory_budget(sharers=at_once))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
