"""Seconds that the song explorer takes in a browser, and its memory over many songs.

    python tests/benchmarks/bench_explorer.py SONG [SONG ...] [--profile outputs/demo] [--clips 600] [--songs 20]

Voilà serves the page and Debian's Chromium opens it. Stated are the seconds from opening the page to the first useful
view (the songs can be chosen; where no network is installed, the stored song is shown), for the first and for later
songs until genre and descriptors, first heatmap and badge are there, from a click on a descriptor to its heatmap, and
from a click on its evidence to the other sound. Then ``--songs`` songs are explained one after the other. Memory is the
resident set of the kernel.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import browsing  # noqa: E402

from musictools import runs  # noqa: E402

WANTED = {"first view": 5.0, "song explained": 10.0, "descriptor to heatmap": 1.0, "evidence to sound": 0.2}
ANSWER, LEGEND = ".mt-explorer h2:has-text('{}')", ".mt-legend >> visible=true >> text=where"
BADGE = "text=/Whether the network is right/"


class Copy(browsing.Place):
    """The checkout's notebook with other parameters, in a temporary folder."""

    def __init__(self, folder, **parameters):
        self.folder = folder
        for name in ("notebooks", "temporary"):
            (folder / name).mkdir()
        notebook = nbformat.read(runs.root() / "notebooks" / "song_explorer.ipynb", as_version=4)
        cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
        nbformat.write(notebook, self.notebook)


def report(name, seconds):
    wanted = next((f", wanted {limit:g} s" for start, limit in WANTED.items() if name.startswith(start)), "")
    print(f"{name:34} {seconds:6.2f} s{wanted}", flush=True)


def megabytes(server):
    """Resident memory of the kernel, the largest process below the server."""
    return max(one.memory_info().rss for one in server.children(recursive=True)) / 1e6


def explain(tab, song, name, *, say=True):
    """Upload a song under a name of its own."""
    began = time.perf_counter()
    tab.set_input_files(".mt-upload input", {"name": name, "mimeType": "audio/wav", "buffer": song})
    for what, selector in (("genre and descriptors", ANSWER.format(name)), ("heatmap", LEGEND), ("badge", BADGE)):
        tab.wait_for_selector(selector, state="attached" if what == "badge" else "visible")
        if say:
            report(f"song explained: {what}", time.perf_counter() - began)


def descriptors(page):
    """Click on the first descriptors that are not shown yet, one after the other."""
    for _ in range(3):
        chip = page.tab.locator(".mt-chips button:not(.mod-active)").filter(has_not_text="genre:").first
        tag = chip.inner_text()
        began = time.perf_counter()
        chip.click()
        page.tab.wait_for_selector(f'.mt-legend >> text="where the tagger finds {tag}"')
        report(f"descriptor to heatmap: {tag}", time.perf_counter() - began)
        page.tab.wait_for_selector(f'[data-key="evidence:{tag}"]')
        report(f"  and its evidence: {tag}", time.perf_counter() - began)
        began = time.perf_counter()
        page.tab.click(f'[data-key="evidence:{tag}"]')
        page.tab.wait_for_selector(f'[data-key="evidence:{tag}"][aria-pressed="true"]')
        report("evidence to sound", time.perf_counter() - began)
        time.sleep(3)


def memory(page, server, arguments):
    """Explain many songs, and state the kernel's memory after each."""
    used = []
    for k in range(arguments.songs):
        song = Path(arguments.song[k % len(arguments.song)])
        explain(page.tab, song.read_bytes(), f"song {k}{song.suffix}", say=False)
        used.append(megabytes(server))
    if len(used) >= 4:
        later = used[len(used) // 2 :]
        slope = np.polyfit(range(len(later)), later, 1)[0]
        print("memory in MB:", " ".join(f"{value:.0f}" for value in used))
        print(f"growth over the second half: {slope:.1f} MB a song")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("song", nargs="+")
    parser.add_argument("--profile", default="outputs/demo")
    parser.add_argument("--clips", type=int, default=600, help="of the composed corpus that the profile was built on")
    parser.add_argument("--songs", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=30)
    arguments = parser.parse_args()
    lacking = browsing.missing()
    if lacking:
        raise SystemExit(f"error: {lacking}")
    profile = str(Path(arguments.profile).resolve())
    with tempfile.TemporaryDirectory() as folder, browsing.browser() as browser:
        place = Copy(Path(folder), output_dir=profile, n_clips=arguments.clips, seconds=arguments.seconds)
        with browsing.voila(place) as (address, server):
            began = time.perf_counter()
            page = browsing.Page(browser, address, watched=False)
            page.tab.wait_for_selector(".mt-upload:visible, .mt-stage:visible")
            report("first view", time.perf_counter() - began)
            if not page.tab.locator(".mt-upload").first.is_visible():
                return
            song = Path(arguments.song[0])
            for name in ("first", "second"):
                explain(page.tab, song.read_bytes(), name + song.suffix)
            time.sleep(5)
            descriptors(page)
            memory(page, server, arguments)


if __name__ == "__main__":
    main()
