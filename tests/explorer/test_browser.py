"""The explorer in a real browser, served by Voilà: it plays, seeks, shows heatmaps, and asks no other machine."""

import importlib.util
import json
import shutil
import socket
import subprocess
import time
import urllib.request

import nbformat
import pytest
import soundfile
from support import tones

from musictools import runs
from musictools.explorer import serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [name for name in ("voila", "playwright") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
LOW, HIGH, _ = tones.TONES
SECONDS = 180_000  # of patience, in ms: machines that run tests are busy


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def prepared(folder, **parameters):
    """The notebook with other values in its parameters cell."""
    notebook = nbformat.read(runs.root() / "notebooks" / "song_explorer.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    path = folder / "song_explorer.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address of the page, with two networks that listen for tones and a song of two tones."""
    folder = tmp_path_factory.mktemp("served")
    tones.write_networks(folder / "profile")
    soundfile.write(folder / "two tones.wav", tones.song(), tones.SR)
    notebook = prepared(folder, output_dir=str(folder / "profile"), method="gradient")
    port = free_port()
    process = subprocess.Popen(
        serving.command(notebook, "--no-browser", f"--port={port}"),
        env=serving.environment(folder / "two tones.wav"),
        stdout=(folder / "log").open("w"),
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{address}voila/static/voila.js", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address, folder
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def opened(served):
    """The page, in which the song of the command is explained, and the addresses that it asked."""
    from playwright.sync_api import sync_playwright

    address, folder = served
    asked = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address, timeout=SECONDS)
        page.wait_for_selector(".mt-legend >> text=where", timeout=SECONDS)
        yield page, asked
        browser.close()


def seconds(page):
    """The cursor's time."""
    return float(page.get_attribute(".mt-over", "aria-valuenow"))


def upload(page, file):
    with page.expect_file_chooser() as chooser:
        page.click(".widget-upload")
    chooser.value.set_files(file)


def test_no_request_leaves_this_machine(opened):
    page, asked = opened
    assert [
        url for url in asked if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
    ] == []


def test_the_song_plays_and_the_cursor_moves(opened):
    page, _ = opened
    page.click(".mt-play")
    page.wait_for_function("+document.querySelector('.mt-over').getAttribute('aria-valuenow') > 0.3", timeout=SECONDS)
    page.click(".mt-play")
    at = seconds(page)
    time.sleep(0.5)
    assert seconds(page) == at, "it pauses"


def test_click_and_keys_seek(opened):
    page, _ = opened
    box = page.locator(".mt-over").bounding_box()
    left, right = 130, box["width"] - 8
    page.mouse.click(box["x"] + left + 0.5 * (right - left), box["y"] + 100)
    assert seconds(page) == pytest.approx(3.0, abs=0.1)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("+document.querySelector('.mt-over').getAttribute('aria-valuenow') < 1.2", timeout=SECONDS)
    assert seconds(page) == pytest.approx(1.0, abs=0.15)


def test_evidence_goes_on_at_the_same_place(opened):
    page, _ = opened
    page.wait_for_selector('[data-key^="evidence"]', timeout=SECONDS)
    at = seconds(page)
    page.click('[data-key^="evidence"]')
    page.wait_for_selector('[data-key^="evidence"][aria-pressed="true"]', timeout=SECONDS)
    assert seconds(page) == pytest.approx(at, abs=0.05)


def test_a_drag_repeats_a_part(opened):
    page, _ = opened
    box = page.locator(".mt-over").bounding_box()
    left, width = 130, box["width"] - 138
    page.mouse.move(box["x"] + left + width / 3, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + left + width / 2, box["y"] + 100, steps=5)
    page.mouse.up()
    assert "repeating 2.0 to 3.0" in page.get_attribute(".mt-over", "aria-valuetext")
    page.keyboard.press("Escape")
    assert "repeating" not in page.get_attribute(".mt-over", "aria-valuetext")


def test_a_second_descriptor_changes_the_picture(opened):
    page, _ = opened
    pixels = "document.querySelector('.mt-stage canvas').toDataURL()"
    before = page.evaluate(pixels)
    chosen = page.locator(".mt-legend").inner_text()
    other = HIGH if f"finds {LOW}" in chosen else LOW
    page.click(f'button.widget-toggle-button:has-text("{other}")')
    page.wait_for_selector(f'.mt-legend >> text="where the tagger finds {other}"', timeout=SECONDS)
    page.wait_for_function(f"{pixels} !== {json.dumps(before)}", timeout=SECONDS)


def test_a_broken_upload_is_a_sentence_and_the_page_goes_on(opened, served):
    page, _ = opened
    upload(page, {"name": "<b>x.wav", "mimeType": "audio/wav", "buffer": b"no audio"})
    page.wait_for_selector(".mt-error", timeout=SECONDS)
    assert page.inner_text(".mt-error").startswith("<b>x.wav: not an audio file")
    upload(page, served[1] / "two tones.wav")
    page.wait_for_selector(".mt-legend >> text=where", timeout=SECONDS)
    assert page.locator(".mt-error").count() == 0
