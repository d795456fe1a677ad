"""The command line: quick, one-line complaints, exit statuses."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from musictools import cli, datasets, doctor, models, runs


def test_help_loads_nothing_slow_and_works_from_any_folder():
    command = [sys.executable, "-X", "importtime", "-m", "musictools", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert answer.returncode == 0
    assert "rebuild" in answer.stdout
    imported = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}
    assert "musictools.cli" in imported
    assert not imported & {
        "tensorflow",
        "numpy",
        "pandas",
        "matplotlib",
        "nbformat",
        "papermill",
        "joblib",
        "soundfile",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rebuild", "--profile", "dmeo"], "unknown profile 'dmeo'"),
        (["rebuild", "-p", "epochs"], "-p takes name=value, such as -p epochs=3. Got 'epochs'."),
        (["data", "validate", "magnatagatun"], "magnatagatun"),
        (["data", "validate", "folder", "--data-dir", "/none"], "/none"),
        (["tag", "song.mp3", "--model", "/none.keras"], "/none.keras: no such model. Make one with: musictools"),
    ],
)
def test_complaints_take_one_line_and_status_2(arguments, message, capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("musictools: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize(
    "arguments", [[], ["rebild"], ["data"], ["models"], ["rebuild", "--jobs", "0"], ["rebuild", "--prophile", "demo"]]
)
def test_wrong_use(arguments):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)


def test_a_reader_that_stops_early_is_no_error():
    command = [sys.executable, "-m", "musictools", "data", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stdout.close()
        said = running.stderr.read()
    assert (running.returncode, said) == (141, "")


def test_the_names_of_models_that_were_made_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "root", lambda: tmp_path)
    folder = tmp_path / "outputs" / "demo" / "models"
    folder.mkdir(parents=True)
    for name in ("tagger_vgg_cnn", "genre_model"):
        (folder / f"{name}.keras").touch()
    assert cli.main(["tag", "song.mp3", "--model", "vgg_cnn"]) == 2
    assert capsys.readouterr().err.endswith("Made already: genre_model, tagger_vgg_cnn\n")


def test_a_traceback_on_request():
    with pytest.raises(ValueError, match="unknown profile"):
        cli.main(["rebuild", "--profile", "dmeo", "--traceback"])


def test_rebuild_passes_everything_on(monkeypatch):
    seen = {}

    def rebuild(profile, **options):
        seen.update(options, profile=profile)
        return 1

    monkeypatch.setattr(runs, "rebuild", rebuild)
    arguments = ["--profile", "smoke", "--only", "01", "02", "--force", "-p", "rate=1e-4", "-p", "name=a"]
    assert cli.main(["rebuild", *arguments, "--anyway", "--jobs", "3"]) == 1
    assert seen == {
        "profile": "smoke", "only": ["01", "02"], "force": True, "output_root": None, "jobs": 3,
        "parameters": {"rate": 1e-4, "name": "a"},
    }  # fmt: skip


def test_rebuild_refuses_what_cannot_end(monkeypatch, capsys, tmp_path):
    called = []
    data = tmp_path / "data"  # in which no corpus lies: what is stored needs no disk
    data.mkdir()
    monkeypatch.setenv("MUSICTOOLS_DATA", str(data))
    monkeypatch.setattr(runs, "rebuild", lambda profile, **options: called.append(profile) or 0)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10**6))
    arguments = ["rebuild", "--profile", "smoke", "--only", "01", "--output-root", str(tmp_path)]
    assert cli.main(arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("musictools: smoke cannot end here: about 0 GB of disk are needed")
    assert complaint.count("\n") == 1
    assert called == []
    assert cli.main([*arguments, "--anyway"]) == 0
    monkeypatch.undo()
    monkeypatch.setattr(runs, "rebuild", lambda profile, **options: called.append(profile) or 0)
    assert cli.main(arguments) == 0
    assert called == ["smoke", "smoke"]


def test_plan_prints_a_table_and_a_summary(monkeypatch, capsys):
    from musictools.experiments import calibration

    assert cli.main(["plan", "--profile", "smoke", "--only", "02", "04", "--no-calibration"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("notebook ")
    assert "02_train_genre_model" in out
    assert "ckn19, width" in out
    assert "2 notebooks, " in out
    timing = calibration.Timing(start=1.0, step=36.0, forward=0.0, parameters=10, activations=10, maps={})
    monkeypatch.setattr(
        calibration,
        "measure",
        lambda networks, say: calibration.Rates(networks=dict.fromkeys(networks, timing), cores=2),
    )
    assert cli.main(["plan", "--profile", "smoke", "--only", "02"]) == 0
    assert "hours one after the other on this machine" in capsys.readouterr().out


def test_models_list(capsys):
    assert cli.main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.index("") == 1 + len(models.names())
    assert lines[1].split()[:3] == ["ckn19", "genre", "rotheneder2023"]
    assert "parameters" not in lines[0]


def test_interrupted(monkeypatch):
    def rebuild(profile, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "rebuild", rebuild)
    assert cli.main(["rebuild"]) == 130


def test_data_commands(monkeypatch, capsys):
    data = SimpleNamespace(tracks=range(1200), validate=lambda: ({"a": "a.mp3"}, {"b": "b.mp3: is empty"}))
    options = {}

    def load(name, **given):
        options.update(given)
        return data

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(datasets, "available", lambda: {"composed": "made here"})
    assert cli.main(["data", "list"]) == 0
    assert "made here" in capsys.readouterr().out
    assert cli.main(["data", "build", "composed", "-o", "n_clips=48"]) == 0
    assert options == {"data_dir": "", "n_clips": 48}
    assert capsys.readouterr().out == "composed: 1,200 clips.\n"
    assert cli.main(["data", "validate", "composed"]) == 1
    assert "missing  a  a.mp3\ninvalid  b  b.mp3: is empty\n" in capsys.readouterr().out
    data.validate = lambda: ({str(number): "gone" for number in range(1020)}, {})
    assert cli.main(["data", "validate", "composed"]) == 1
    out = capsys.readouterr().out
    assert out.count("gone") == 20
    assert "missing  … and 1,000 more" in out
    data.validate = lambda: ({}, {})
    assert cli.main(["data", "validate", "composed"]) == 0


def test_doctor_names_what_is_missing_and_what_to_do(monkeypatch, capsys):
    results = [
        doctor.Check("Python", "3.11"),
        doctor.Check("ffmpeg", "not found", False, required=False, advice="Only …"),
    ]
    monkeypatch.setattr(doctor, "checks", lambda: results)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "without  ffmpeg" in out
    assert "Everything required is there." in out
    results.append(doctor.Check("outputs", "cannot be written", False, advice="Make the folder writable."))
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "MISSING  outputs" in out
    assert "Make the folder writable." in out
    assert "1 required things are missing." in out


def test_doctor_on_this_machine(monkeypatch):
    monkeypatch.setattr(doctor, "_GPU", "print('one')")
    checks = {check.name: check for check in doctor.checks()}
    assert all(check.good for check in checks.values() if check.required), checks
    assert "GPU: one" in checks["TensorFlow"].result
    assert "tensorflow" in checks["packages"].result
    assert "notebooks at the same time" in checks["CPU"].result


def test_doctor_sees_a_package_that_does_not_load(monkeypatch):
    monkeypatch.setattr(doctor, "_GPU", "raise ImportError('libcuda is missing')")
    check = doctor._tensorflow()
    assert not check.good
    assert "libcuda is missing" in check.result


def test_a_command_prints_nothing_while_tensorflow_loads():
    """A process of its own: in this one TensorFlow is loaded already."""
    code = "from musictools.cli.keras_import import import_keras; import_keras(); import os; os.write(2, b'after')"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("", "after")
