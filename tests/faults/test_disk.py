"""A disk that is full or cannot be written: file and reason are named, nothing half is left, a rerun completes."""

import errno
import os
import resource
import subprocess
import sys
import warnings
from contextlib import contextmanager, suppress

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import audio, cli, files, runs
from musictools.runs import execution, manifests
from musictools.spectrograms import FrontEnd, SpectrogramStore


@contextmanager
def full(limit):
    """No file can be larger than so many bytes: the system refuses to write on, as it does where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder):
    """The folder cannot be written, also not by root, who may write where the mode forbids it."""
    if os.geteuid():
        os.chmod(folder, 0o500)
        try:
            yield
        finally:
            os.chmod(folder, 0o700)
        return
    commands = (["mount", "--bind", folder, folder], ["mount", "-o", "remount,bind,ro", folder])
    if any(subprocess.run(command, capture_output=True, check=False).returncode for command in commands):
        subprocess.run(["umount", folder], capture_output=True, check=False)
        pytest.skip("root may write everywhere and cannot mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


NOISE = np.random.default_rng(0).uniform(-1, 1, 40_000)


def _figure():
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    ax.imshow(NOISE.reshape(200, 200))
    return figure


def _cached(run):
    runs.cached(lambda _: NOISE, folder=run.output_dir / "tables", name="a", depends_on=1)


WRITERS = {
    "table": lambda run: run.table("a", pd.DataFrame({"a": NOISE})),
    "figure": lambda run: run.figure("a", _figure()),
    "wav": lambda run: run.audio("a.wav", NOISE, 8000),
    "flac": lambda run: run.audio("a.flac", NOISE, 8000),
    "mp3": lambda run: run.audio("a.mp3", NOISE, 8000),
    "record": lambda run: [run.say("word " * 5000)],
    "cached": _cached,
    "audio.write": lambda run: audio.write(run.output_dir / "audio" / "a.wav", NOISE, sr=8000),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_named_and_leaves_nothing_half(kind, tmp_path):
    run = runs.start(tmp_path / "demo", notebook="02_a", parameters={})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full(6000), pytest.raises((OSError, ValueError)) as raised:
        WRITERS[kind](run)
    text = str(raised.value)
    assert str(tmp_path / "demo") in text, text
    assert ".tmp-" not in text
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert left == {path: content for path, content in before.items() if path.suffix != ".lock"}
    WRITERS[kind](run)
    other = runs.start(tmp_path / "other" / "demo", notebook="02_a", parameters={})
    WRITERS[kind](other)
    left = {path: content for path, content in results(run.output_dir).items() if path.suffix != ".json"}
    assert left == {path: content for path, content in results(other.output_dir).items() if path.suffix != ".json"}


def results(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"}


def build(folder, clips):
    return SpectrogramStore.build(folder, clips, front_end=FrontEnd(8000, 256, 128, 64), seconds=1, workers=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for number in range(20):
        soundfile.write(folder / f"{number:02d}.wav", NOISE[: 400 * (number + 1)], 8000)
    (folder / "05.wav").write_bytes(b"no audio")
    return {number: folder / f"{number:02d}.wav" for number in range(20)}


def test_a_store_on_a_full_disk_goes_on_when_there_is_space(tmp_path, clips):
    whole = build(tmp_path / "whole.zarr", clips)
    with full(2000), pytest.raises(OSError, match=r"a\.zarr") as raised:
        build(tmp_path / "a.zarr", clips)
    assert raised.value.errno == errno.EFBIG
    assert not list(tmp_path.rglob("*.partial"))
    build(tmp_path / "a.zarr", clips)
    assert results(tmp_path / "a.zarr") == results(whole.folder)


def test_a_finished_store_with_a_broken_clip_needs_no_writing(tmp_path, clips):
    home = tmp_path / "data"
    store = build(home / "a.zarr", clips)
    assert list(store.failed) == [5]
    with read_only(home), warnings.catch_warnings(action="error"):
        there = build(home / "a.zarr", clips)
        np.testing.assert_array_equal(there.raw(7), store.raw(7))
        with pytest.raises(OSError, match=r"b\.zarr") as raised:
            build(home / "b.zarr", clips)
    assert raised.value.errno in (errno.EROFS, errno.EACCES)


def test_a_damaged_row_of_a_store_that_cannot_be_written_is_computed_each_time(tmp_path, clips):
    home = tmp_path / "data"
    store = build(home / "a.zarr", clips)
    expected = store.raw(7)
    chunk = home / "a.zarr" / "S" / "c.7.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with read_only(home):
        for _ in range(2):
            with pytest.warns(UserWarning, match="clip 7 is damaged"):
                np.testing.assert_array_equal(build(home / "a.zarr", clips).raw(7), expected)


def test_outputs_that_cannot_be_written_are_named(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    with read_only(tmp_path / "out"):
        with pytest.raises(OSError, match=r"/out/demo'$"):
            runs.start(tmp_path / "out" / "demo", notebook="02_a", parameters={})
        command = ["rebuild", "--profile", "smoke", "--only", "00", "--output-root", str(tmp_path / "out")]
        assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert f"'{tmp_path / 'out' / 'smoke'}'" in said


def test_only_one_rebuild_of_a_folder(tmp_path):
    with (
        execution._alone(tmp_path),
        pytest.raises(BlockingIOError, match=rf"{tmp_path} is being rebuilt by process {os.getpid()}\. Wait for it"),
        execution._alone(tmp_path),
    ):
        pass


@pytest.mark.parametrize("message", ["Can't write data (errno = 28, error message = 'No space left on device')"])
def test_errors_of_libraries_name_the_file_too(tmp_path, message):
    with pytest.raises(OSError, match=rf"a\.h5 cannot be written: {message[:9]}"), files.atomic(tmp_path / "a.h5"):
        raise OSError(message)
    with pytest.raises(FileNotFoundError, match="'elsewhere'"), files.atomic(tmp_path / "a.h5"):
        open("elsewhere")  # noqa: SIM115 - it does not exist


@pytest.mark.full
def test_a_rebuild_on_a_full_disk_says_so_and_completes_later(tmp_path, capfd):
    """On a file system of one megabyte, which a file fills but for some bytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        write = "run.path('tables', 'a').write_text('x\\n' + '1234567\\n' * 5000)\nrun.finish()"
        start = "from musictools import runs\nrun = runs.start(output_dir, notebook='02_a')"
        cells = ["output_dir = 'outputs/demo'", start, write]
        cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        cells[0].metadata["tags"] = ["parameters"]
        for name in ("notebooks", "params/demo"):
            (tmp_path / name).mkdir(parents=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "02_a.ipynb")
        (tmp_path / "params" / "demo" / "02_a.yaml").write_text("{}\n")
        places = {"notebooks_dir": tmp_path / "notebooks", "params_dir": tmp_path / "params", "output_root": disk}
        filler = disk / "filler"
        with suppress(OSError):
            filler.write_bytes(bytes(2**20))
        os.truncate(filler, filler.stat().st_size - 40_000)
        status, said = None, ""
        try:
            status = runs.rebuild("demo", **places)
        except OSError as error:
            said = str(error)
        said += capfd.readouterr().out
        assert status != 0
        assert "No space left on device" in said
        assert str(disk) in said
        assert "Traceback" not in said
        filler.unlink()
        assert runs.rebuild("demo", **places) == 0
        assert (disk / "demo" / "tables" / "a.csv").stat().st_size == 40_002
        assert not list(disk.rglob(".tmp-*"))
        assert manifests.read_record(disk / "demo", "02_a")["finished"]
    finally:
        subprocess.run(["umount", disk], check=False)


TWO = """
import sys
from musictools.spectrograms import FrontEnd, SpectrogramStore, store
folder, log, *paths = sys.argv[1:]
compute = store.compute_file
def noted(path, *arguments, **options):
    with open(log, "a") as file:
        file.write(f"{path}\\n")
    return compute(path, *arguments, **options)
store.compute_file = noted
sys.stdin.readline()
front_end = FrontEnd(8000, 256, 128, 32)
made = SpectrogramStore.build(folder, dict(enumerate(paths)), front_end=front_end, seconds=1, workers=1)
print(len(made))
"""


@pytest.mark.full
def test_two_processes_that_need_one_store_build_it_once(tmp_path, clips):
    paths = [path for number, path in clips.items() if number != 5]
    arguments = [sys.executable, "-c", TWO, tmp_path / "a.zarr", tmp_path / "log", *paths]
    both = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=120)[0] for process in both] == ["19\n"] * 2
    assert sorted((tmp_path / "log").read_text().split()) == sorted(map(str, paths)), "each clip once"
    alone = SpectrogramStore.build(tmp_path / "b.zarr", dict(enumerate(paths)), front_end=FrontEnd(8000, 256, 128, 32),
                                   seconds=1, workers=1)  # fmt: skip
    assert results(tmp_path / "a.zarr") == results(alone.folder)
