"""A browser and the servers that it opens: Voilà's page and JupyterLab, with the song explorer for tones."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import soundfile

from musictools import runs
from musictools.explorer import serving
from support import tones

PATIENCE = 120_000  # in ms: machines that run tests are busy
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TOKEN = "token-of-the-tests"
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
SLOW = """
import pathlib, time
from musictools.explain.application.system import ExplanationSystem
explain = ExplanationSystem.explain
def waiting(self, *arguments, **options):
    while pathlib.Path({path!r}).exists():
        time.sleep(0.05)
    return explain(self, *arguments, **options)
ExplanationSystem.explain = waiting"""


def missing():
    """What is missing for these tests, in words; empty if all is there."""
    for name in ("voila", "jupyterlab", "playwright"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    if CHROMIUM is None:
        return "no Chromium is installed"
    works = subprocess.run([CHROMIUM, "--version"], capture_output=True, check=False, timeout=60).returncode == 0
    return "" if works else "Chromium does not start"


@dataclass
class Place:
    """Files of one server: profile with networks, songs, notebook, log, and the folder for temporary files."""

    folder: Path

    def __post_init__(self):
        tones.write_networks(self.folder / "profile")
        for kind, end in (("models", "keras"), ("cards", "json")):
            shutil.copy(
                self.folder / "profile" / kind / f"tagger.{end}", self.folder / f"profile/{kind}/tagger_b.{end}"
            )
        (self.folder / "profile" / "manifests").mkdir()
        (self.folder / "profile" / "manifests" / "01_preprocess.json").write_text("{}")
        for name in ("songs/birds", "temporary", "notebooks"):
            (self.folder / name).mkdir(parents=True)
        soundfile.write(self.song, tones.song(), tones.SR)
        soundfile.write(self.folder / "songs" / "birds" / "tweet.wav", tones.song(seconds=8.0), tones.SR)
        notebook = nbformat.read(runs.root() / "notebooks" / "song_explorer.ipynb", as_version=4)
        cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        values = {"output_dir": str(self.folder / "profile"), "method": "gradient", "dataset": "folder"}
        values["data_dir"] = str(self.folder / "songs")
        cell.source += "".join(f"\n{name} = {value!r}" for name, value in values.items())
        cell.source += SLOW.format(path=str(self.slow))
        nbformat.write(notebook, self.notebook)

    @property
    def song(self):
        return self.folder / "two tones.wav"

    @property
    def slow(self):
        """While this file exists, no song is explained."""
        return self.folder / "slow"

    @property
    def notebook(self):
        return self.folder / "notebooks" / "song_explorer.ipynb"

    def left(self):
        """The explorer's files among the temporary ones."""
        return sorted((self.folder / "temporary").glob("musictools*"))


@contextlib.contextmanager
def serving_at(place, command, *, probe, song=None):
    """Start a server; gives its address and its process, and ends it with all its kernels."""
    folder, values = place.folder, serving.environment(song)
    values |= {"TMPDIR": str(folder / "temporary"), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    values |= {"JUPYTER_DATA_DIR": str(folder / "data"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with (folder / "log").open("a") as log:
        process = psutil.Popen([*command, f"--port={port}"], env=values, stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}/"
    try:
        until = time.monotonic() + PATIENCE / 1000
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address + probe, timeout=5).close()
                break
            time.sleep(0.2)
        yield address, process
    finally:
        family = [process, *process.children(recursive=True)] if process.is_running() else []
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        for one in psutil.wait_procs(family, timeout=20)[1]:
            one.kill()


@contextlib.contextmanager
def voila(place, *, song=None):
    """Voilà with the page of ``make explorer``; the address has the token."""
    command = serving.command(place.notebook, "--no-browser", f"--Voila.token={TOKEN}")
    with serving_at(place, command, probe="voila/static/voila.js", song=song) as (address, process):
        yield f"{address}?token={TOKEN}", process


def lab(place):
    """JupyterLab as ``make lab`` starts it."""
    config = Path(serving.__file__).with_name("jupyter") / "config.json"
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "--no-browser",
        f"--config={config}",
        "--IdentityProvider.token=",
    ]
    command += ["--ServerApp.ip=127.0.0.1", "--allow-root", str(place.notebook.parent)]
    return serving_at(place, command, probe="api")


class Page:
    """The explorer in a tab of the browser; watched, its requests are noted, and those to other machines fail."""

    def __init__(self, browser, address, *, watched=True):
        self.asked, self.faults = [], []
        self.tab = browser.new_page(viewport={"width": 1280, "height": 800})
        self.tab.set_default_timeout(PATIENCE)
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        if watched:
            self.tab.route("**/*", self._route)
        self.tab.goto(address, timeout=PATIENCE)

    def _route(self, route):
        self.asked.append(route.request.url)
        if route.request.url.startswith(LOCAL):
            route.continue_()
        else:
            route.abort()

    def explained(self, title="two tones"):
        """Wait until a song is explained, and its first heatmap tested."""
        self.tab.wait_for_selector(f'.mt-explorer h2:has-text("{title}")')
        self.tab.wait_for_selector(".mt-legend >> visible=true >> text=where")
        self.tab.wait_for_selector("text=/Whether the network is right/")

    @property
    def seconds(self):
        """The cursor's time, which is that of the sound."""
        return float(self.tab.locator(".mt-over").first.get_attribute("aria-valuenow"))

    def until(self, condition):
        """Wait for a condition on the cursor's time ``t`` in s."""
        self.tab.wait_for_function(
            f"(t => {condition})(+document.querySelector('.mt-over').getAttribute('aria-valuenow'))"
        )

    def at(self, share, height=100):
        """Place on the time axis: x and y."""
        box = self.tab.locator(".mt-over").first.bounding_box()
        return box["x"] + 130 + share * (box["width"] - 138), box["y"] + height

    @property
    def pixels(self):
        return self.tab.evaluate("document.querySelector('.mt-stage canvas').toDataURL()")

    def changed(self, pixels):
        """Wait until the picture is another one."""
        self.tab.wait_for_function(f"document.querySelector('.mt-stage canvas').toDataURL() !== {json.dumps(pixels)}")

    def upload(self, file):
        self.tab.set_input_files(".mt-upload input", file)

    def chip(self, tag):
        return self.tab.locator(".mt-chips button", has_text=re.compile(f"^\\s*{re.escape(tag)}\\s*$")).first

    def screenshot(self, name):
        """Kept where ``MUSICTOOLS_SCREENSHOTS`` names a folder."""
        folder = os.environ.get("MUSICTOOLS_SCREENSHOTS")
        if folder:
            self.tab.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@contextlib.contextmanager
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield one
        one.close()
