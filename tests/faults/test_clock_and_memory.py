"""Clocks that were wrong, and memory that does not suffice."""

import os
import re
import time
from pathlib import Path

import nbformat
import pytest

from musictools import html, runs
from musictools.runs import manifests, memory, one_notebook, report

ROOT = Path(__file__).resolve().parents[2]
FUTURE, LONG_AGO = 4e9, 10.0  # the years 2096 and 1970


def test_no_duration_depends_on_the_clock_of_the_wall():
    """`time.time` may step back: durations come from `time.monotonic`, `perf_counter` or `process_time`."""
    ages = ROOT / "musictools" / "datasets" / "base.py"  # asks how old a file is; if in doubt, it hashes the file
    for path in {*(ROOT / "musictools").rglob("*.py")} - {ages}:
        assert not re.search(r"\btime\.time(_ns)?\(|\bdatetime\.now\(", path.read_text()), path


def test_a_run_that_the_clock_steps_back_in_lasts_no_negative_time(tmp_path, monkeypatch):
    run = runs.start(tmp_path / "demo", notebook="02_a", parameters={})
    monkeypatch.setattr(time, "time", lambda: LONG_AGO)
    run.finish()
    assert manifests.read_record(tmp_path / "demo", "02_a")["seconds"] >= 0


@pytest.mark.parametrize("when", [FUTURE, LONG_AGO])
def test_pages_of_notebooks_follow_what_is_in_them_and_not_the_times_of_files(tmp_path, monkeypatch, when):
    exported, notebook = [], html.notebook
    monkeypatch.setattr(html, "notebook", lambda path: exported.append(path.stem) or notebook(path))
    source = tmp_path / "notebooks" / "01_a.ipynb"
    source.parent.mkdir()

    def write(text):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="a")]), source)

    page = tmp_path / "report" / "notebooks" / "01_a.html"
    write("first words")
    assert report._export(tmp_path, "01_a")
    os.utime(source, (when, when))
    report._export(tmp_path, "01_a")
    assert exported == ["01_a"], "nothing changed"
    os.utime(page, (FUTURE, FUTURE))
    write("other words")
    os.utime(source, (when, when))
    report._export(tmp_path, "01_a")
    assert exported == ["01_a"] * 2
    assert "other words" in page.read_text()
    page.write_text(page.read_text()[:-100])
    report._export(tmp_path, "01_a")
    assert exported == ["01_a"] * 3, "the page was damaged"


def test_times_of_data_files_count_once(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"1")
    stamps = [manifests.folder_stamp(tmp_path)]
    for when in (FUTURE, LONG_AGO):
        os.utime(tmp_path / "a.mp3", (when, when))
        stamps += [manifests.folder_stamp(tmp_path) for _ in range(2)]
    assert stamps[1] == stamps[2]
    assert stamps[3] == stamps[4]
    assert len(set(stamps)) == 3


# --- memory -----------------------------------------------------------------------------------------------------------


def execute(monkeypatch, tmp_path, error, *, kills=(0, 0)):
    """What is said of a notebook that ends with an error in its second cell."""
    import papermill

    cells = [nbformat.v4.new_code_cell("1", metadata={"papermill": {"start_time": "1"}}) for _ in range(2)]

    def execute_notebook(source, executed, **_):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), executed)
        raise error

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    counts = iter(kills)
    monkeypatch.setattr(one_notebook, "system_kills", lambda: next(counts))
    return one_notebook.execute("a.ipynb", tmp_path / "b.ipynb", parameters={}, cwd=tmp_path)


def test_a_kernel_without_memory_is_told_what_to_change(monkeypatch, tmp_path):
    import papermill
    from nbclient.exceptions import DeadKernelError

    advice = "(--jobs 1), set its parameter workers to 1, or set MUSICTOOLS_MEMORY to a smaller number of GiB."
    said = execute(monkeypatch, tmp_path, DeadKernelError("Kernel died"))
    assert said == f"cell 2: the kernel died (out of memory?). {memory.ADVICE}"
    assert said.endswith(advice)
    said = execute(monkeypatch, tmp_path, DeadKernelError("Kernel died"), kills=(3, 4))
    assert said == f"cell 2: the kernel died (the system killed a process for lack of memory). {memory.ADVICE}"
    for name in ("MemoryError", "_ArrayMemoryError", "ResourceExhaustedError", "TerminatedWorkerError"):
        error = papermill.PapermillExecutionError(1, 1, "x", name, "no more", [])
        said = execute(monkeypatch, tmp_path, error)
        assert said == f"cell 2: {name}: no more The memory is exhausted. {memory.ADVICE}"
    error = papermill.PapermillExecutionError(1, 1, "x", "ValueError", "no more", [])
    assert execute(monkeypatch, tmp_path, error) == "cell 2: ValueError: no more"


def test_a_disk_that_is_full_is_said(monkeypatch, tmp_path):
    said = execute(monkeypatch, tmp_path, OSError(28, "No space left on device"))
    assert said == f"OSError: [Errno 28] No space left on device while writing {tmp_path / 'b.ipynb'}"


def test_what_the_system_killed_is_counted():
    assert memory.system_kills() >= 0


@pytest.mark.full
def test_a_real_kernel_that_runs_out_of_memory(tmp_path, capsys):
    """The cell limits its own address space, as a small machine does, and then is killed as by the system."""
    texts = ["kind = ''\noutput_dir = 'outputs/demo'", (
        "import os, resource, signal\n"
        "if kind == 'limit':\n    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n    x = bytearray(2**31)\n"
        "else:\n    os.kill(os.getpid(), signal.SIGKILL)"
    )]  # fmt: skip
    cells = [nbformat.v4.new_code_cell(text) for text in texts]
    cells[0].metadata["tags"] = ["parameters"]
    for name in ("notebooks", "params/demo"):
        (tmp_path / name).mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "02_a.ipynb")
    (tmp_path / "params" / "demo" / "02_a.yaml").write_text("{}\n")
    places = {
        "notebooks_dir": tmp_path / "notebooks",
        "params_dir": tmp_path / "params",
        "output_root": tmp_path / "out",
    }
    for kind, words in (
        ("limit", "cell 2: MemoryError: The memory is exhausted."),
        ("kill", "cell 2: the kernel died ("),
    ):
        assert runs.rebuild("demo", parameters={"kind": kind}, **places) == 1
        said = " ".join(capsys.readouterr().out.split())
        assert words in said
        assert memory.ADVICE in said
        assert "Traceback" not in said
