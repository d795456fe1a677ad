"""Checks of this machine: Python, packages, memory, folders, data and programs, with advice where one fails."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from . import runs

__all__ = ["Check", "checks", "report"]

_GPU = "import tensorflow as t; print('; '.join(d.name for d in t.config.list_physical_devices('GPU')))"


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Parameters
    ----------
    name : str
    result : str
        What there is, in words.
    good : bool
    required : bool
        The package does not work without it.
    advice : str
        What to do if it is not good.

    Examples
    --------
    >>> Check("memory", "2.0 GiB", good=False, required=False, advice="The demo was measured with 4 GiB.").good
    False
    """

    name: str
    result: str
    good: bool = True
    required: bool = True
    advice: str = ""


def report() -> int:
    """Print the results of all checks.

    Returns
    -------
    status : int
        0 when everything required is there, else 1.

    See Also
    --------
    checks : The results themselves.

    Examples
    --------
    >>> status = report()  # doctest: +SKIP
    ok       Python       3.11.9 (/usr/bin/python3)
    ...
    """
    failed = 0
    for check in checks():
        failed += check.required and not check.good
        mark = "ok" if check.good else "MISSING" if check.required else "without"
        print(f"{mark:8} {check.name:12} {check.result}", flush=True)
        if check.advice and not check.good:
            print(f"{'':21} {check.advice}", flush=True)
    print("Everything required is there." if not failed else f"{failed} required things are missing.")
    return 1 if failed else 0


def checks() -> Iterator[Check]:
    """Run all checks one by one; TensorFlow, which takes seconds to load, is the last.

    Yields
    ------
    check : Check

    Examples
    --------
    >>> next(checks()).name
    'Python'
    """
    yield _python()
    yield _packages()
    at_once = runs.parallel.at_once()
    yield Check("CPU", f"{os.cpu_count()} cores; rebuild runs up to {at_once} notebooks at the same time")
    yield _memory()
    yield from _folders()
    yield _data()
    yield _font()
    yield _sound()
    yield _program("ffmpeg", ["ffmpeg"], "Only needed for AAC, M4A, WMA and other formats that soundfile cannot read.")
    browsers = ["chromium", "chromium-browser", "google-chrome", "chrome"]
    yield _program("Chromium", browsers, "Only needed for the explorer's browser test.")
    yield _kernel()
    yield _tensorflow()


def _python():
    here = sys.version_info[:2]
    advice = "Python 3.11, 3.12 or 3.13 is needed; make the environment anew with one of them."
    return Check("Python", f"{sys.version.split()[0]} ({sys.executable})", (3, 11) <= here < (3, 14), advice=advice)


def _packages():
    """Compare the installed packages with the direct dependencies that musictools names."""
    from packaging.requirements import Requirement

    advice = "Install the checkout: python -m pip install -r requirements.lock && python -m pip install -e ."
    try:
        needed = [Requirement(text) for text in metadata.requires("musictools") or [] if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        return Check("packages", "musictools is not installed", False, advice=advice)
    installed, wrong = {}, []
    for package in needed:
        try:
            installed[package.name] = metadata.version(package.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{package.name} is not installed")
            continue
        if not package.specifier.contains(installed[package.name], prereleases=True):
            wrong.append(f"{package.name} {installed[package.name]} is not {package.specifier}")
    shown = ["tensorflow", "keras", "numpy", "librosa", "papermill"]
    versions = ", ".join(f"{name} {installed[name]}" for name in shown if name in installed)
    return Check(
        "packages",
        "; ".join(wrong) or f"musictools {metadata.version('musictools')}, {versions}",
        not wrong,
        advice=advice,
    )


def _memory():
    if not hasattr(os, "sysconf"):
        return Check("memory", "unknown")
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Check("memory", f"{size:.1f} GiB", size > 3.5, required=False, advice="The demo was measured with 4 GiB.")


def _folders():
    """Check that results and data can be written."""
    for name, folder in (("outputs", runs.root() / "outputs"), ("data", runs.data_home())):
        advice = "Make the folder writable" + (", or name another in MUSICTOOLS_DATA." if name == "data" else ".")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                free = shutil.disk_usage(folder).free / 2**30
            yield Check(name, f"{folder}, {free:.0f} GiB free", free > 2, advice="The demo needs 2 GiB.")
        except OSError as error:
            yield Check(name, f"{folder} cannot be written ({error.strerror})", False, advice=advice)


def _data():
    names = ", ".join(runs.data_folders())
    advice = f"The composed corpus is made on first use. Real data sets go to {runs.data_home()}/<name>."
    return Check("data sets", names or "none yet", bool(names), required=False, advice=advice)


def _font():
    try:
        from matplotlib import font_manager

        path = font_manager.findfont("DejaVu Sans", fallback_to_default=False)
        return Check("font", f"DejaVu Sans ({os.path.basename(path)})")
    except (ImportError, ValueError) as error:
        return Check(
            "font", str(error), False, required=False, advice="Figures need DejaVu Sans: reinstall matplotlib."
        )


def _sound():
    try:
        import soundfile

        good = "MP3" in soundfile.available_formats()
        return Check("sound", f"{soundfile.__libsndfile_version__}", good, advice="libsndfile 1.1 or newer reads MP3.")
    except (ImportError, OSError) as error:
        return Check("sound", str(error), False, advice="Reinstall soundfile, whose wheels bring libsndfile along.")


def _program(name, commands, advice):
    path = next(filter(None, map(shutil.which, commands)), None)
    return Check(name, path or "not found", bool(path), required=False, advice=advice)


def _kernel():
    """Check which Python runs a notebook that is opened by hand (the rebuild always takes this one)."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Check("kernel", "jupyter_client is not installed", False, advice="Install the packages first.")
    advice = "Notebooks opened by hand would run elsewhere: python -m ipykernel install --sys-prefix"
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Check("kernel", "no kernel python3", False, required=False, advice=advice)
    here = re.fullmatch(r"python[\d.]*", command) or os.path.dirname(command) == os.path.dirname(sys.executable)
    return Check("kernel", f"python3 ({command})", bool(here), required=False, advice=advice)


def _tensorflow():
    """Load TensorFlow in a process of its own and ask for GPUs."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _GPU], capture_output=True, text=True, timeout=300, env=environment, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        return Check("TensorFlow", f"does not load ({' '.join(last)})", False, advice="Reinstall the packages.")
    gpus = answer.stdout.strip()
    return Check("TensorFlow", f"loads, GPU: {gpus or 'none, the CPU does the work'}")
