"""Ctrl-C in a terminal: it reaches the whole process group of a rebuild, which ends with its kernels and workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

pytestmark = pytest.mark.full

TOKEN = "MUSICTOOLS_TEST_TOKEN"  # a variable that kernels and workers inherit: they are found by it
CELLS = [
    "pause = 0.0\noutput_dir = 'outputs/demo'",
    "from musictools import runs\nrun = runs.start(output_dir, notebook='{name}')",
    "def work(number):\n    import os, pathlib, time\n"
    "    pathlib.Path(os.environ['MUSICTOOLS_TEST_TOKEN'], f'{os.getpid()}.pid').touch()\n"
    "    time.sleep(pause)\n    return number",
    "numbers = runs.map(work, range(2), workers=2)",
    "run.path('tables', '{name}').write_text(f'x\\n{sum(numbers)}\\n')\nrun.finish()",
]
NAMES = ("02_first", "03_second")


def start(arguments, folder):
    """Start a process that leads its own group and session, as a shell starts a command in the foreground."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {TOKEN: str(folder)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def descendants(folder):
    """Return the processes that inherited the token; zombies, which have no environment any more, do not count."""
    mark, alive = f"{TOKEN}={folder}\0".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes():
                alive.append(int(path.parent.name))
        except OSError:  # it has ended by now, or is another user's
            continue
    return alive


def wait_for(condition, *, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def interrupt(process, folder, *, reached):
    """Send SIGINT to the group once `reached`; check that nothing stays; return what was printed."""
    try:
        wait_for(lambda: process.poll() is not None or reached(), seconds=600)
        assert process.poll() is None, process.communicate()[0]
        assert len(descendants(folder)) > 1, "the rebuild and its kernel at least"
        os.killpg(process.pid, signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
        wait_for(lambda: not descendants(folder), seconds=15)
    finally:
        for pid in descendants(folder):
            os.kill(pid, signal.SIGKILL)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    return printed


@pytest.fixture
def places(tmp_path):
    """Two tiny notebooks, which run at the same time, and their profile."""
    (tmp_path / "notebooks").mkdir()
    for name in NAMES:
        cells = [nbformat.v4.new_code_cell(cell.replace("{name}", name)) for cell in CELLS]
        cells[0].metadata["tags"] = ["parameters"]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}"), *cells])
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    (tmp_path / "params" / "demo").mkdir(parents=True)
    for name, values in {**dict.fromkeys(NAMES, {}), "common": {"output_dir": "outputs/demo"}}.items():
        (tmp_path / "params" / "demo" / f"{name}.yaml").write_text(yaml.safe_dump(values))
    names = {"notebooks_dir": "notebooks", "params_dir": "params", "output_root": "outputs"}
    return {name: str(tmp_path / folder) for name, folder in names.items()}


def test_ctrl_c_ends_kernels_and_workers_and_the_next_call_finishes(places, tmp_path):
    def rebuild(**parameters):
        call = f"runs.rebuild('demo', **{places!r}, jobs=2, parameters={parameters!r})"
        return start(["-c", f"import sys; from musictools import runs; sys.exit({call})"], tmp_path)

    printed = interrupt(rebuild(pause=600.0), tmp_path, reached=lambda: len(list(tmp_path.glob("*.pid"))) == 4)
    assert "Interrupted in 02_first, 03_second. Go on with: musictools rebuild --profile demo" in printed
    tables = [tmp_path / "outputs" / "demo" / "tables" / f"{name}.csv" for name in NAMES]
    assert not any(table.exists() for table in tables)
    process = rebuild()
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert "02_first …" in printed
    assert [table.read_text() for table in tables] == ["x\n1\n"] * 2
    assert not list((tmp_path / "outputs").rglob(".tmp-*"))


def test_ctrl_c_while_networks_are_trained(tmp_path):
    """The real command on the real notebooks: what is finished stays, the rest is done by the next call."""
    output = tmp_path / "outputs"
    arguments = ["-m", "musictools", "rebuild", "--profile", "smoke", "--only", "01", "02", "--output-root", output]
    # The folder of a training job is there from its first epoch until the notebook ends.
    printed = interrupt(start(arguments, tmp_path), tmp_path, reached=lambda: any(output.glob("smoke/*/02_*/*")))
    assert "Interrupted in 02_train_genre_model. Go on with: musictools rebuild --profile smoke" in printed
    process = start(arguments, tmp_path)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert "skipped: unchanged" in printed
    assert (output / "smoke" / "tables" / "genre_performance.csv").is_file()
    assert not list(output.rglob(".tmp-*"))
