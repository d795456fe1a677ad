"""Parameters, writer, manifest, comparison of tables: what does not need a kernel. Rebuilding is in test_rebuild.py."""

import json
import os
import platform
import sys
import time
import zipfile
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from musictools import runs
from musictools.runs import manifests, settings

PARAMETERS = """
epochs = 3            # one comment each
learning_rate = 1e-3
name = "ckn19"
balanced: bool = True
units = [50, 100]
steps = [0.5, 1]
nothing = None
options = {"a": 1}
output_dir = "outputs/demo"
"""


def write_notebook(path, *cells, tagged=1):
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    for cell in cells[:tagged]:
        cell.metadata["tags"] = ["parameters"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Why?"), *cells]), path)
    return path


@pytest.fixture
def notebook(tmp_path):
    write_notebook(tmp_path / "notebooks" / "03_other.ipynb", "workers = 2")
    return write_notebook(tmp_path / "notebooks" / "02_train.ipynb", PARAMETERS, "x = epochs")


def write_yaml(tmp_path, text, name="02_train.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# --- parameters -----------------------------------------------------------------------------------------------------


def test_parameters_are_read_without_running_anything(notebook):
    defaults = runs.parameters(notebook)
    assert list(defaults)[:2] == ["epochs", "learning_rate"]
    assert defaults["learning_rate"] == 0.001
    assert defaults["balanced"] is True
    assert defaults["units"] == [50, 100]
    assert defaults["nothing"] is None


@pytest.mark.parametrize(
    ("cells", "tagged", "message"),
    [
        (["a = 1"], 0, r"exactly one cell tagged 'parameters'. Got 0"),
        (["a = 1", "b = 2"], 2, r"exactly one cell tagged 'parameters'. Got 2"),
        (["a = 1\nb = a * 2"], 1, r"'b' must be a literal.*Got a \* 2.*next cell"),
        (["import os"], 1, r"must be 'name = literal'. Got 'import os'"),
        (["a = b = 1"], 1, r"must be 'name = literal'. Got 'a = b = 1'"),
        (["a: int"], 1, r"must be 'name = literal'. Got 'a: int'"),
        (["a = (1, 2)"], 1, r"'a' must be a literal"),
        (["a = float('inf')"], 1, r"'a' must be a literal"),
        (["a = 1e999"], 1, r"'a' must be a literal"),
        (["a = 1\na = 2"], 1, r"sets 'a' twice"),
        (["%matplotlib inline\na = 1"], 1, r"is no Python \(line 1"),
    ],
)
def test_wrong_parameter_cells(tmp_path, cells, tagged, message):
    path = write_notebook(tmp_path / "01_bad.ipynb", *cells, tagged=tagged)
    with pytest.raises(ValueError, match=message) as caught:
        runs.parameters(path)
    assert "01_bad.ipynb" in str(caught.value)


def test_what_is_no_notebook(tmp_path):
    (tmp_path / "01_bad.ipynb").write_text("<html>")
    with pytest.raises(ValueError, match=r"01_bad.ipynb is no readable notebook"):
        runs.parameters(tmp_path / "01_bad.ipynb")
    with pytest.raises(FileNotFoundError, match="02_none.ipynb"):
        runs.parameters(tmp_path / "02_none.ipynb")


def test_later_sources_win_and_defaults_remain(notebook, tmp_path):
    common = write_yaml(tmp_path, "epochs: 5\nworkers: 1\nname: pg20\n", "common.yaml")
    own = write_yaml(tmp_path, "epochs: 7\nlearning_rate: 2\n")
    values = runs.resolve(notebook, common, own, {"units": [8]}, overrides={"balanced": False})
    assert values == runs.parameters(notebook) | {
        "epochs": 7, "learning_rate": 2.0, "name": "pg20", "units": [8], "balanced": False,
    }  # fmt: skip
    assert isinstance(values["learning_rate"], float)
    assert "workers" not in values


def test_a_typo_is_named_with_the_nearest_and_all_known(notebook, tmp_path):
    path = write_yaml(tmp_path, "epoch: 5\n")
    with pytest.raises(ValueError) as caught:
        runs.resolve(notebook, path)
    assert str(caught.value) == (
        f"{path}: unknown parameter 'epoch'. Did you mean 'epochs'? Known: balanced, epochs, learning_rate, name, "
        "nothing, options, output_dir, steps, units."
    )


def test_common_may_hold_what_another_notebook_declares_and_nothing_else(notebook, tmp_path):
    runs.resolve(notebook, write_yaml(tmp_path, "workers: 3\n", "common.yaml"))
    with pytest.raises(ValueError, match=r"common.yaml: unknown parameter 'worker'. Did you mean 'workers'\?"):
        runs.resolve(notebook, write_yaml(tmp_path, "worker: 3\n", "common.yaml"))
    with pytest.raises(ValueError, match=r"02_train.yaml: unknown parameter 'workers'"):
        runs.resolve(notebook, write_yaml(tmp_path, "workers: 3\n"))


def test_overrides_are_as_strict(notebook):
    with pytest.raises(ValueError, match=r"-p: unknown parameter 'epoch'. Did you mean 'epochs'\?"):
        runs.resolve(notebook, overrides={"epoch": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"02_train.yaml: is empty. Write \{\}"),
        ("# nothing\n", r"is empty"),
        ("- epochs\n- 3\n", r"must hold lines 'name: value'. Got a list"),
        ("epochs: [3\n", r"02_train.yaml: is no valid YAML"),
        ("epochs: 3\nepochs: 4\n", r"'epochs' is set twice"),
        ("epochs 3", r"Got a str at the top"),
        ("on: 3\n", r"reads one name as True"),
        ("epochs: '3'\n", r"02_train.yaml: epochs must be a whole number like its default 3. Got '3'"),
        ("epochs: 3.0\n", r"epochs must be a whole number .* Got 3.0. Write 3\."),
        ("epochs: true\n", r"epochs must be a whole number .* Got True"),
        ("epochs:\n", r"epochs must be a whole number .* Got None"),
        ("learning_rate: 1e-4\n", r"learning_rate must be a number .* Got '1e-4'.*write 1\.0e-4"),
        ("learning_rate: fast\n", r"learning_rate must be a number .* Got 'fast'\.$"),
        ("learning_rate: .nan\n", r"learning_rate must be a finite number. Got nan"),
        ("balanced: 'true'\n", r"balanced must be true or false .* Got 'true'. Write true or false, without quotes"),
        ("balanced: 1\n", r"balanced must be true or false"),
        ("name: 19\n", r"name must be text like its default 'ckn19'. Got 19. Put it in quotes: '19'"),
        ("units: 50\n", r"units must be a list like its default \[50, 100\]. Got 50. Write it as a list: \[50\]"),
        ("units: [50, many]\n", r"units\[1\] must be a whole number .* Got 'many'"),
        ("steps: [1e-4]\n", r"steps\[0\] must be a number .*write 1\.0e-4"),
        ("options: [1]\n", r"options must be a mapping"),
    ],
)
def test_bad_parameter_files(notebook, tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        runs.resolve(notebook, write_yaml(tmp_path, text))
    assert "02_train.yaml" in str(caught.value)


def test_missing_and_undecodable_parameter_files(notebook, tmp_path):
    with pytest.raises(ValueError, match=r"none.yaml: there is no such parameter file"):
        runs.resolve(notebook, tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ValueError, match=r"bytes.yaml: cannot be read"):
        runs.resolve(notebook, tmp_path / "bytes.yaml")
    with pytest.raises(ValueError, match="cannot be read"):
        runs.resolve(notebook, tmp_path)


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "1.5e3", "2e+10", "1e4"])
def test_the_advice_for_numbers_is_right(written):
    advice = settings._with_point(written)
    assert yaml.safe_load(advice) == float(written)


def test_list_elements_and_whole_numbers_fit_floats(notebook, tmp_path):
    values = runs.resolve(notebook, write_yaml(tmp_path, "steps: [1, 2.5]\nnothing: 3\nunits: []\n"))
    assert values["steps"] == [1.0, 2.5]
    assert isinstance(values["steps"][0], float)
    assert values["nothing"] == 3
    assert values["units"] == []


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("rate=1e-4", "rate", 1e-4),
        ("name=pg20", "name", "pg20"),
        ("name='1e-4'", "name", "1e-4"),
        ("units=[1, 2]", "units", [1, 2]),
        ("balanced=true", "balanced", True),
        ("data_dir=", "data_dir", ""),
        ("x=a=b", "x", "a=b"),
    ],
)
def test_command_line_values(text, name, value):
    assert settings.from_command_line(text) == (name, value)


@pytest.mark.parametrize("text", ["epochs", "=3", "a b=3", "units=[1"])
def test_command_line_nonsense(text):
    with pytest.raises(ValueError, match="-p"):
        settings.from_command_line(text)


# --- paths and atomic writes ----------------------------------------------------------------------------------------


def test_paths(monkeypatch, tmp_path, data_home):
    assert (runs.root() / "pyproject.toml").is_file()
    assert runs.data_home() == data_home
    monkeypatch.delenv("MUSICTOOLS_DATA")
    assert runs.data_home() == runs.root() / "data"
    monkeypatch.setenv("MUSICTOOLS_SHARED_DATA", str(tmp_path))
    assert runs.shared_data() == tmp_path
    monkeypatch.setenv("MUSICTOOLS_SHARED_DATA", str(tmp_path / "none"))
    assert runs.shared_data() is None


# --- writer and manifest --------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    return runs.start(tmp_path / "demo", notebook="02_train", parameters={"epochs": 3, "rate": float("nan")})


def test_the_manifest_tells_what_was_done(run, tmp_path):
    table = pd.DataFrame({"accuracy": [0.5, np.nan]}, index=pd.Index(["a", "b"], name="model"))
    assert run.table("choi2018_1_x", table) is table
    run.say("Half of them.")
    run.uses("composed", "abc", path=tmp_path)
    run.path("files", "notes.txt").write_text("hi")
    run.finish()
    manifest = json.loads((run.output_dir / "manifest.json").read_text())
    record = manifest["notebooks"]["02_train"]
    assert manifest["profile"] == "demo"
    assert record["finished"]
    assert record["parameters"] == {"epochs": 3, "rate": None}
    assert record["said"] == ["Half of them."]
    assert record["data"]["composed"]["checksum"] == "abc"
    assert record["versions"]["numpy"] == np.__version__
    assert record["device"] == manifests.device()
    assert record["outputs"] == {
        name: manifests.file_digest(run.output_dir / name) for name in ("tables/choi2018_1_x.csv", "files/notes.txt")
    }
    assert (run.output_dir / "tables/choi2018_1_x.csv").read_bytes() == b"model,accuracy\na,0.5\nb,\n"


def test_the_device_is_the_gpus_where_tensorflow_sees_some_else_the_cpu(monkeypatch):
    names = {"gpu:0": {"device_name": "H100"}, "gpu:1": {}}
    config = SimpleNamespace(
        list_physical_devices=lambda kind: list(names) if kind == "GPU" else [],
        experimental=SimpleNamespace(get_device_details=names.get),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert manifests.device() == "H100, GPU"
    names.clear()
    assert manifests.device() == f"CPU ({os.cpu_count()} cores, {platform.machine()})"


def test_records_of_several_notebooks_are_merged(run):
    run.finish()
    runs.start(run.output_dir, notebook="03_other").finish()
    manifest = json.loads((run.output_dir / "manifest.json").read_text())
    assert list(manifest["notebooks"]) == ["02_train", "03_other"]


def test_an_announced_file_must_be_written(run):
    run.model_path("ckn19")
    with pytest.raises(FileNotFoundError, match="announced models/ckn19.keras and never wrote it"):
        run.finish()


def test_models_are_saved_whole(run):
    class Model:
        def save(self, path):
            assert path.suffix == ".keras"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("metadata.json", json.dumps({"date_saved": str(time.time_ns())}))
                archive.writestr(zipfile.ZipInfo("weights", (2026, 1, 1, 0, 0, 0)), "weights")

    run.model("ckn19", Model())
    first = run.model_path("ckn19").read_bytes()
    run.model("ckn19", Model())
    run.finish()
    assert run.model_path("ckn19").read_bytes() == first, "no time is part of the file"
    assert zipfile.ZipFile(run.model_path("ckn19")).read("weights") == b"weights"


def test_upstream_results(run):
    with pytest.raises(FileNotFoundError, match="01_preprocess has no finished results .* --only 01"):
        run.upstream("01_preprocess")
    first = runs.start(run.output_dir, notebook="01_preprocess", parameters={"a": 1})
    first.table("genres", pd.DataFrame({"clips": [3]}))
    with pytest.raises(FileNotFoundError, match="no finished results"):
        run.upstream("01_preprocess")
    first.finish()
    results = run.upstream("01_preprocess")
    assert results.table("genres")["clips"].tolist() == [3]
    assert results.parameters == {"a": 1}
    with pytest.raises(FileNotFoundError, match=r"has no tables/genre.csv. It wrote: tables/genres.csv"):
        results.table("genre")


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", ".hidden", None, "ä"])
def test_odd_names(run, name):
    with pytest.raises(ValueError, match="A name may hold letters"):
        run.path("tables", name)


def test_odd_kinds_and_folders(run):
    with pytest.raises(ValueError, match="kind must be one of tables, figures"):
        run.path("table", "a")
    with pytest.raises(ValueError, match="output_dir must name a folder"):
        runs.start(" ", notebook="a")
    with pytest.raises(ValueError, match="table must be a DataFrame. Got list"):
        run.table("a", [1])


def test_relative_folders_are_meant_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert runs.paths.from_root("outputs/demo") == runs.root() / "outputs" / "demo"


def test_a_running_notebook_tells_its_parameters_and_their_types_are_checked(notebook, tmp_path, monkeypatch):
    shell = SimpleNamespace(kernel=None, user_ns={"epochs": 9, "name": "pg20", "x": 1})
    monkeypatch.setattr("musictools.runs.writer.kernel_shell", lambda: shell)
    monkeypatch.setattr("musictools.runs.writer.root", lambda: tmp_path)
    run = runs.start(tmp_path / "demo", notebook="02_train")
    assert run.parameters == runs.parameters(notebook) | {"epochs": 9, "name": "pg20"}
    shell.user_ns["learning_rate"] = "1e-4"
    with pytest.raises(ValueError, match=r"learning_rate must be a number .* write 1.0e-4"):
        runs.start(tmp_path / "demo", notebook="02_train")


def test_figures_are_equal_to_the_byte(run):
    import matplotlib.pyplot as plt

    for name in ("a", "b"):
        figure, ax = plt.subplots()
        ax.plot([1, 2, 3], label=name[:0] + "x")
        ax.legend()
        run.figure(name, figure)
        assert not plt.fignum_exists(figure.number)
    a, b = (run.output_dir / "figures" / f"{name}.png" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    assert a.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", ["", ".wav", ".flac", ".ogg"])
def test_sounds_come_back(run, suffix):
    import soundfile

    y = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    run.audio("tone" + suffix, y, 16000)
    path = run.output_dir / "audio" / ("tone" + (suffix or ".mp3"))
    first = path.read_bytes()
    heard, sr = soundfile.read(path)
    assert sr == 16000
    spectrum = np.abs(np.fft.rfft(heard[:16000], 16000))
    assert spectrum.argmax() == 440
    if suffix != ".ogg":
        run.audio("tone" + suffix, y, 16000)
        assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([], "'tone' is empty"),
        ([0.0, np.nan], "holds NaN"),
        ([0.0, np.inf], "holds NaN"),
        ([0.0, 1.5], "peak of 1.5 and would clip"),
    ],
)
def test_bad_sounds(run, y, message):
    with pytest.raises(ValueError, match=message):
        run.audio("tone", np.array(y), 16000)
    run.finish()
    assert not list(run.output_dir.rglob("tone*"))


def test_json_holds_no_nan():
    value = {"a": [np.float32("nan"), np.inf, np.int64(3), np.array([1.0, np.nan])], "b": {2, 1}, 3: manifests.PACKAGE}
    assert manifests.plain(value) == {"a": [None, None, 3, [1.0, None]], "b": [1, 2], "3": str(manifests.PACKAGE)}


def test_folder_stamps_notice_every_change_but_stores(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    before = manifests.folder_stamp(tmp_path)
    (tmp_path / "mel.zarr").mkdir()
    (tmp_path / "mel.zarr" / "0").write_text("x")
    assert manifests.folder_stamp(tmp_path) == before
    (tmp_path / "b.csv").touch()
    assert manifests.folder_stamp(tmp_path) != before
    assert manifests.folder_stamp(tmp_path / "none") is None
