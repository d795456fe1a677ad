"""The sources on the other Python versions that ``requires-python`` names, where their interpreters are here."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOW, HIGH = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups())
LIGHT = ["musictools", "musictools.files", "musictools.tags", "musictools.runs", "musictools.datasets"]

pytestmark = pytest.mark.full


@pytest.fixture(params=[f"3.{minor}" for minor in range(LOW, HIGH)])
def interpreter(request):
    """An interpreter of each version: this one, one on the path or one of pyenv's; the test skips where none works."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, shutil.which(f"python{request.param}"), *pyenv.glob(f"{request.param}.*/bin/python")]
    version = "import sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"
    for candidate in filter(None, candidates):
        if python(candidate, "-c", version).stdout.strip() == request.param:
            return candidate
    return pytest.skip(f"no Python {request.param} here")


def python(interpreter, *arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [interpreter, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_sources_compile_without_a_warning(interpreter):
    code = (
        "import pathlib, sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "paths = [p for folder in sys.argv[1:] for p in sorted(pathlib.Path(folder).rglob('*.py'))]\n"
        "for path in paths:\n"
        "    compile(path.read_bytes(), str(path), 'exec')\n"
        "print(len(paths))"
    )
    done = python(interpreter, "-c", code, "musictools", "tests")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_light_modules_are_imported(interpreter):
    packages = "import numpy, pandas, yaml, pydantic, soundfile"
    if python(interpreter, "-c", packages).returncode:
        pytest.skip("the packages of requirements.lock are not installed for this interpreter")
    done = python(interpreter, "-W", "error::DeprecationWarning:musictools", "-c", "import " + ", ".join(LIGHT))
    assert done.returncode == 0, done.stderr


def test_classifiers_name_every_version():
    named = {c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert named == {f"3.{minor}" for minor in range(LOW, HIGH)}
