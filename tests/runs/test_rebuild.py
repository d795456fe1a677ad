"""Rebuilding a profile of tiny notebooks in real kernels: skip, go on after failures and kills, say what went wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

from musictools import runs
from musictools.runs import execution, manifests, one_notebook

START = "from musictools import runs\nrun = runs.start(output_dir, notebook={name!r})"
PUBLISHED = "rotheneder2023_table_3_4_genre_performance"

# Tables are written as text here: a kernel that loads pandas takes seconds.
FIRST = [
    "n = 3\noutput_dir = 'outputs/demo'",
    START.format(name="01_first"),
    f"run.path('tables', '{PUBLISHED}').write_text(f'model,data,accuracy\\nckn19,balanced,{{n / 10}}\\n')",
    "run.say(f'The **accuracy** is {n / 10}.')\nrun.finish()",
]
SECOND = [
    "pause = 0.0\nfault = ''\noutput_dir = 'outputs/demo'",
    START.format(name="02_second"),
    f"row = run.upstream('01_first').path('tables', '{PUBLISHED}').read_text().split()[1]",
    "import os, time\nif pause:\n    (run.output_dir / 'pid').write_text(str(os.getpid()))\n    time.sleep(pause)",
    "if fault == 'error':\n    raise ValueError('broken on purpose')\nif fault == 'death':\n    os._exit(9)",
    "run.path('tables', 'doubled').write_text(f'x\\n{2 * float(row.split(\",\")[2])}\\n')",
    "if fault != 'unfinished':\n    run.finish()",
]
# Each waits for the other one to begin, a minute at most, and writes when it began and ended.
TIMED = [
    "partner = ''\noutput_dir = 'outputs/demo'",
    "import os, time\nbegan = time.time()",
    "from musictools import runs\nrun = runs.start(output_dir, notebook={name!r})",
    "run.output_dir.joinpath({name!r} + '.began').touch()\n"
    "while partner and not run.output_dir.joinpath(partner + '.began').exists() and time.time() < began + 60:\n"
    "    time.sleep(0.05)",
    "# run.upstream('{upstream}')",
    "run.path('tables', {name!r}).write_text(\n"
    "    f'began,ended,nice\\n{{began}},{{time.time()}},{{os.nice(0)}}\\n')\nrun.finish()",
]
PLAIN = "m = 1\noutput_dir = 'outputs/demo'"
THIRD = [PLAIN, "doubled = runs = None\nassert m == 1"]


class Suite:
    """Three notebooks, one profile, one place for results."""

    def __init__(self, folder, notebooks=None):
        self.folder = folder
        self.output = folder / "outputs" / "demo"
        for name, cells in (notebooks or {"01_first": FIRST, "02_second": SECOND, "03_third": THIRD}).items():
            self.write(name, cells)
            self.set(name)
        self.set("common", output_dir="outputs/demo")

    def write(self, name, cells):
        cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        cells[0].metadata["tags"] = ["parameters"]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}"), *cells])
        (self.folder / "notebooks").mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, self.folder / "notebooks" / f"{name}.ipynb")

    def set(self, name, **values):
        path = self.folder / "params" / "demo" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values))

    @property
    def places(self):
        return {
            "notebooks_dir": self.folder / "notebooks",
            "params_dir": self.folder / "params",
            "output_root": self.folder / "outputs",
        }

    def rebuild(self, **options):
        return runs.rebuild("demo", **self.places, **options)

    def reasons(self, **parameters):
        """Say why each notebook would run now; empty where it would not."""
        places = self.places | {"folder": self.output}
        places.pop("output_root")
        jobs = execution.plan("demo", only=None, parameters=parameters, **places)
        return {job.name[:2]: execution.changed(job, execution._inputs(job)) for job in jobs}

    def command(self, **options):
        """Start the rebuild in a process of its own, from another folder."""
        places = {name: str(path) for name, path in self.places.items()}
        code = f"import sys; from musictools import runs; sys.exit(runs.rebuild('demo', **{places!r}, **{options!r}))"
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )  # fmt: skip

    def tables(self):
        return {path.name: path.read_bytes() for path in (self.output / "tables").glob("*.csv")}


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    """Let a small folder stand for the package, which does not change while these tests run."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "audio.py").write_text("x = 1")
    (folder / "published").symlink_to(manifests.PACKAGE / "published")  # the report shows what is published
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "PACKAGE", folder)
        yield folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, package):
    made = Suite(tmp_path_factory.mktemp("undisturbed"))
    assert made.rebuild() == 0
    return made


@pytest.fixture
def done(undisturbed, tmp_path):
    """Return a copy of the finished output folder, to be tampered with."""
    shutil.copytree(undisturbed.folder, tmp_path / "copy")
    copy = Suite.__new__(Suite)
    copy.folder, copy.output = tmp_path / "copy", tmp_path / "copy" / "outputs" / "demo"
    return copy


def test_what_a_rebuild_leaves(undisturbed):
    manifest = json.loads((undisturbed.output / "manifest.json").read_text())
    first, second, third = manifest["notebooks"].values()
    assert [record["finished"] for record in (first, second, third)] == [True] * 3
    assert first["parameters"]["n"] == 3
    assert list(second["upstream"]) == ["01_first"]
    assert third["outputs"] == {}
    assert set(first["rebuild"]["inputs"]) == {"parameters", "notebook", "package", "versions"}
    assert set(undisturbed.tables()) == {f"{PUBLISHED}.csv", "doubled.csv"}
    executed = nbformat.read(undisturbed.output / "notebooks" / "01_first.ipynb", as_version=4)
    assert any("injected-parameters" in cell.metadata.get("tags", []) for cell in executed.cells)
    assert not list(undisturbed.output.rglob(".tmp-*"))


def test_kernels_run_on_this_python_whatever_the_user_has_set_up(tmp_path, monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager

    foreign = tmp_path / "user" / "kernels" / "python3" / "kernel.json"
    manifests.write_json(foreign, {"argv": ["/usr/bin/false"], "display_name": "Python 2", "language": "python"})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "user"))
    assert KernelSpecManager().get_kernel_spec("python3").argv[0] == "/usr/bin/false"
    monkeypatch.setenv("MUSICTOOLS_MEMORY", "3")
    before = dict(os.environ)
    with execution._kernel_environment(tmp_path / "demo", at_once=2):
        assert runs.memory_budget() == 1.5 * 2**30
        argv = KernelSpecManager().get_kernel_spec("python3").argv
        assert argv[:2] == ["/bin/sh", "-c"]  # sends what libraries write past Python into a file …
        assert argv[2].startswith('exec "$0" "$@"')
        assert argv[3] == sys.executable  # … and becomes this interpreter
        assert os.environ["PYTHONHASHSEED"] == "0"
        assert "MPLBACKEND" not in os.environ
    assert dict(os.environ) == before


def test_nothing_runs_twice(undisturbed, capsys):
    before = undisturbed.tables()
    executed = [path.stat().st_mtime_ns for path in sorted((undisturbed.output / "notebooks").iterdir())]
    assert undisturbed.rebuild() == 0
    assert capsys.readouterr().out.count("skipped: unchanged") == 3
    assert [path.stat().st_mtime_ns for path in sorted((undisturbed.output / "notebooks").iterdir())] == executed
    assert undisturbed.tables() == before


def test_every_changed_input_is_noticed(done, package):
    unchanged = {"01": "", "02": "", "03": ""}
    assert done.reasons() == unchanged
    assert done.reasons(m=2) == unchanged | {"03": "parameters changed"}
    done.set("01_first", n=4)
    assert done.reasons() == unchanged | {"01": "parameters changed"}
    done.set("01_first")
    done.write("03_third", [*THIRD, "1 + 1"])
    assert done.reasons() == unchanged | {"03": "notebook changed"}
    done.write("03_third", THIRD)
    (package / "audio.py").write_text("x = 2")
    assert done.reasons() == {name: "package changed" for name in unchanged}
    (package / "audio.py").write_text("x = 1")
    assert done.reasons() == unchanged


def test_every_changed_result_is_noticed(done):
    table = done.output / "tables" / f"{PUBLISHED}.csv"
    text = table.read_text()
    table.write_text(text.replace("0.3", "0.4"))
    assert done.reasons()["01"] == f"tables/{PUBLISHED}.csv changed"
    table.unlink()
    assert done.reasons()["01"] == f"tables/{PUBLISHED}.csv is missing"
    table.write_text(text)
    (done.output / "notebooks" / "03_third.ipynb").unlink()
    assert done.reasons() == {"01": "", "02": "", "03": "notebooks/03_third.ipynb is missing"}


def test_changed_data_and_upstream_results_are_noticed(done, tmp_path):
    data = tmp_path / "songs"
    data.mkdir()
    record = manifests.read_records(done.output)["01_first"]
    record["data"] = {"folder": {"checksum": "", "path": str(data), "stamp": manifests.folder_stamp(data)}}
    manifests.write_record(done.output, "01_first", record)
    assert done.reasons()["01"] == ""
    (data / "new.mp3").touch()
    assert done.reasons()["01"] == "data set folder changed"
    record["outputs"] |= {"tables/more.csv": "0"}
    manifests.write_record(done.output, "01_first", record)
    assert done.reasons()["02"] == "results of 01_first changed"


def test_a_run_by_hand_makes_the_rebuild_run_again(done):
    runs.start(done.output, notebook="03_third").finish()
    assert done.reasons() == {"01": "", "02": "", "03": "not finished before"}


def test_only_what_changed_runs_and_only_what_it_changes_follows(done, capsys):
    (done.output / "tables" / f"{PUBLISHED}.csv").write_text("spoilt")
    assert done.rebuild() == 0
    states = [line.split()[1] for line in capsys.readouterr().out.split("\n\n")[1].splitlines()[:3]]
    assert states == ["done", "skipped", "skipped"]
    done.set("01_first", n=5)
    assert done.rebuild(only=["1", "02_second"]) == 0
    assert pd.read_csv(done.output / "tables" / "doubled.csv")["x"].tolist() == [1.0]


def test_a_failed_notebook_is_named_and_the_next_call_goes_on(done, undisturbed, capsys):
    done.write("04_fourth", ["m = 1", "run = None  # run.upstream('02_second')"])
    done.set("04_fourth")
    done.set("02_second", fault="error")
    assert done.rebuild() == 1
    out = capsys.readouterr().out
    assert "02_second  failed   cell 6: ValueError: broken on purpose (see" in out
    assert "03_third   skipped  unchanged" in out
    assert "04_fourth  not run  it reads 02_second, which failed" in out
    assert "2 of 4 notebooks did not finish: 02_second, 04_fourth." in out
    assert "broken on purpose" in (done.output / "report" / "index.html").read_text()
    done.set("02_second")
    assert done.rebuild() == 0
    out = capsys.readouterr().out
    assert "01_first   skipped" in out
    assert "02_second  done" in out
    assert "04_fourth  done" in out
    assert done.tables() == undisturbed.tables()


def timed(name, upstream):
    return [cell.format(name=name, upstream=upstream) if "{" in cell else cell for cell in TIMED]


def test_independent_notebooks_overlap_and_dependent_ones_do_not(tmp_path, capsys):
    upstream = {"02_left": "none", "03_right": "none", "04_reader": "03_right"}
    made = Suite(tmp_path, {name: timed(name, other) for name, other in upstream.items()})
    made.set("02_left", partner="03_right")
    made.set("03_right", partner="02_left")
    assert made.rebuild(jobs=2) == 0
    at = {name: pd.read_csv(made.output / "tables" / f"{name}.csv").iloc[0] for name in upstream}
    assert at["02_left"]["began"] < at["03_right"]["ended"]
    assert at["03_right"]["began"] < at["02_left"]["ended"]
    assert at["04_reader"]["began"] > at["03_right"]["ended"]
    own = os.nice(0)
    assert [row["nice"] - own for row in at.values()] == [10, 0, 10], "the reader waits for 03 only"
    progress, summary = capsys.readouterr().out.split("\n\n")
    assert progress.splitlines()[:2] == ["[1/3] 02_left …", "[2/3] 03_right …"]
    assert [line.split()[:2] for line in summary.splitlines()[:3]] == [[name, "done"] for name in upstream]
    assert list(json.loads((made.output / "manifest.json").read_text())["notebooks"]) == list(upstream)


def test_what_runs_before_what(tmp_path):
    names = ["00_index", "01_data", "02_left", "03_right", "song_explorer"]
    made = Suite(tmp_path, {name: [PLAIN, "# run.upstream('02_left')" if "right" in name else ""] for name in names})
    places = {name: place for name, place in made.places.items() if name != "output_root"} | {"folder": made.output}
    jobs = execution.plan("demo", only=None, parameters=None, **places)
    assert execution.order(jobs) == {
        "00_index": set(),
        "01_data": set(),
        "02_left": {"01_data"},
        "03_right": {"01_data", "02_left"},
        "song_explorer": {"01_data"},
    }
    assert execution.order(jobs[3:])["03_right"] == set()
    made.write("02_left", [PLAIN, "# run.upstream('03_right')"])
    refused(made, "read each other in a circle: ")


@pytest.mark.parametrize("jobs", [0, -1, True, 1.5])
def test_odd_numbers_of_jobs_are_refused(tmp_path, jobs):
    refused(Suite(tmp_path), "jobs must be a positive int or None", jobs=jobs)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("death", "cell 6: the kernel died (out of memory?)"), ("unfinished", "it ended without run.finish()")],
)
def test_other_ways_to_fail(done, capsys, fault, message):
    assert done.rebuild(only=["02"], parameters={"fault": fault}) == 1
    assert f"failed   {message}" in capsys.readouterr().out


def wait_for_pid(made):
    deadline = time.monotonic() + 90
    while not ((made.output / "pid").exists() and (made.output / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return int((made.output / "pid").read_text())


def running(pid):
    """Tell whether a process runs (a zombie that nobody waits for does not)."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and ") Z " not in state.read_text()


def test_killed_in_the_middle_the_next_call_finishes(done, undisturbed, capsys):
    process = done.command(parameters={"pause": 600.0}, only=["02"])
    kernel = wait_for_pid(done)
    with pytest.raises(BlockingIOError, match=f"is being rebuilt by process {process.pid}"):
        done.rebuild()
    (done.output / "tables" / f".tmp-{process.pid}-doubled.csv").write_text("half")
    process.kill()
    process.wait()
    assert done.reasons()["02"] == "not finished before"
    assert done.rebuild() == 0
    out = capsys.readouterr().out
    assert "01_first   skipped" in out
    assert "02_second  done" in out
    assert done.tables() == undisturbed.tables()
    assert not list(done.output.rglob(".tmp-*"))
    assert not running(kernel)


def test_interrupted_it_says_how_to_go_on(done):
    process = done.command(parameters={"pause": 600.0}, only=["02"])
    kernel = wait_for_pid(done)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted in 02_second. Go on with: musictools rebuild --profile demo" in out
    assert "Traceback" not in out
    assert not running(kernel)


def test_plain_papermill_works(undisturbed, tmp_path):
    import papermill

    source = undisturbed.folder / "notebooks" / "01_first.ipynb"
    parameters = {"output_dir": str(tmp_path / "out"), "n": 5}
    papermill.execute_notebook(
        source,
        tmp_path / "out.ipynb",
        parameters=parameters,
        progress_bar=False,
        kernel_name="python3",
        language="python",
    )
    assert pd.read_csv(tmp_path / "out" / "tables" / f"{PUBLISHED}.csv")["accuracy"].tolist() == [0.5]


# --- what is checked before anything runs ---------------------------------------------------------------------------


def refused(made, message, **options):
    with pytest.raises(ValueError, match=message):
        made.rebuild(**options)


def test_typos_are_refused_before_anything_runs(tmp_path):
    made = Suite(tmp_path)
    with pytest.raises(ValueError, match=r"unknown profile 'dmeo'. Did you mean 'demo'\? Known: demo"):
        runs.rebuild("dmeo", **made.places)
    refused(made, r"--only.*unknown notebook '09'. Known: 01_first, 02_second, 03_third", only=["09"])
    refused(made, r"unknown notebook '02_secnd'. Did you mean '02_second'\?", only=["02_secnd"])
    refused(made, r"-p: unknown parameter 'paus'. Did you mean 'pause'\?", parameters={"paus": 1.0})
    refused(made, r"-p: unknown parameter 'pause'", parameters={"pause": 1.0}, only=["01"])
    refused(made, r"-p pause must be a number", parameters={"pause": "long"})
    made.set("02_second", puase=1.0)
    refused(made, r"02_second.yaml: unknown parameter 'puase'. Did you mean 'pause'\?")
    made.set("02_second")
    made.set("common", output_dir="outputs/smoke")
    refused(made, r"output_dir is 'outputs/smoke', but profile 'demo' writes to 'outputs/demo'")
    made.set("common", output_dir="outputs/demo")
    made.set("04_forth")
    refused(made, r"04_forth.yaml: unknown notebook '04_forth'")
    assert not made.output.exists()


def test_a_notebook_belongs_to_a_profile_by_its_file(tmp_path):
    made = Suite(tmp_path)
    (made.folder / "params" / "demo" / "02_second.yaml").unlink()
    assert list(made.reasons()) == ["01", "03"]
    for path in (made.folder / "params" / "demo").iterdir():
        path.unlink()
    refused(made, "holds no <notebook>.yaml")


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_kernel_that_does_not_start_is_started_again(monkeypatch, tmp_path, deaths):
    import papermill

    calls = []

    def dies(*arguments, **options):
        calls.append(arguments)
        if len(calls) <= deaths:
            raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(papermill, "execute_notebook", dies)
    failure = one_notebook.execute("a.ipynb", "b.ipynb", parameters={}, cwd=tmp_path)
    assert len(calls) == min(deaths + 1, one_notebook.STARTS)
    expected = "RuntimeError: Kernel died before replying to kernel_info" if deaths > 1 else ""
    assert failure == expected
