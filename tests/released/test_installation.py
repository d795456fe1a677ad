"""Released networks are installed from files and from a server, loaded by name, removed; what is wrong is refused."""

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from support import choi2018_files, won2020_states
from support.checkpoint_files import legacy, zipped
from support.released import files

from musictools import audio, cli, familiarity, released
from musictools.inference import Tagger
from musictools.released import choi2018, installation, registry

NAME = "won2020-mtat-fcn"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty data folder; return where networks are installed."""
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "models"


@pytest.fixture(scope="module")
def content():
    """A file of the FCN with random weights."""
    return legacy(won2020_states.state("fcn"))


@pytest.fixture
def published(content, tmp_path, monkeypatch):
    """The path of that file, which counts as what the authors published."""
    publish(monkeypatch, NAME, content)
    path = tmp_path / "best_model.pth"
    path.write_bytes(content)
    return path


def publish(monkeypatch, name, content):
    known = dict(registry._releases())
    sha256 = hashlib.sha256(content).hexdigest()
    known[name] = dataclasses.replace(known[name], sha256=sha256, size=len(content))
    monkeypatch.setattr(registry, "_releases", lambda: known)


def test_the_registry_is_complete():
    assert released.names() == (
        "won2020-mtat-fcn", "won2020-mtat-musicnn", "won2020-mtat-crnn", "won2020-msd-fcn", "won2020-msd-crnn",
        "won2020-jamendo-fcn", "won2020-jamendo-crnn", "won2020-jamendo-musicnn", "choi2018",
    )  # fmt: skip
    for name in released.names():
        known = released.describe(name)
        assert len(set(known.tags)) == 50
        assert known.source in known.url.replace("raw.githubusercontent.com", "github.com")
        assert all((known.licence, known.citation, known.size))
        assert len(known.sha256) == 64
    assert released.describe("choi2018").tags == choi2018.TAGS
    with pytest.raises(ValueError, match="No released network is called 'fcn'. Known: won2020-mtat-fcn"):
        released.describe("fcn")


@pytest.mark.real_data
def test_checksums_and_tags_are_those_of_the_files(shared_data):
    for name, path in files(shared_data).items():
        known = released.describe(name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == known.sha256
        assert path.stat().st_size == known.size
    tags = {
        "magnatagatune": np.load(shared_data / "won2020" / "mtat_tags.npy"),
        "million_song": (shared_data / "won2020" / "msd_50tagList.txt").read_text().split("\n")[:50],
        "mtg_jamendo": (shared_data / "mtg_jamendo" / "top50.txt").read_text().split(),
    }
    for name in released.names():
        assert list(released.describe(name).tags) == list(tags[released.describe(name).data])


def test_a_network_is_added_loaded_and_removed(published, place):
    assert released.installed() == ()
    with pytest.raises(ValueError, match=f"{NAME} is not installed. musictools models get {NAME} downloads"):
        released.load(NAME)
    assert released.add(NAME, published) == place / f"{NAME}.keras"
    assert released.installed() == (NAME,)
    assert sorted(p.name for p in place.iterdir()) == [f"{NAME}.json", f"{NAME}.keras"]
    tagger = released.load(NAME)
    assert type(tagger) is Tagger
    assert tagger.tags[:2] == ["guitar", "classical"]
    assert (tagger.card.data, tagger.card.licence) == ("magnatagatune", "MIT")
    assert tagger.card.provenance["release"] == NAME
    expected = installation.tagger_of(released.describe(NAME), published)
    y = won2020_states.sound(30)
    np.testing.assert_array_equal(tagger.taggram(y, sr=16000).scores, expected.taggram(y, sr=16000).scores)
    by_path = released.load(released.find(NAME))
    assert by_path.card == tagger.card
    released.remove(NAME)
    assert released.installed() == ()
    assert list(place.iterdir()) == []
    with pytest.raises(ValueError, match="is not installed"):
        released.remove(NAME)


def test_choi2018_keeps_its_framing(tmp_path, monkeypatch):
    layers = choi2018_files.config(n_tags=50)
    path = choi2018_files.write(
        tmp_path / "model.hdf5", layers, choi2018_files.arrays(layers, np.random.default_rng(0))
    )
    publish(monkeypatch, "choi2018", path.read_bytes())
    released.add("choi2018", path)
    tagger, expected = released.load("choi2018"), choi2018.load(path)
    assert isinstance(tagger, choi2018.Choi2018)
    assert tagger.card.licence == "none stated"
    y = won2020_states.sound(30)
    np.testing.assert_allclose(
        tagger.taggram(y, sr=12000).scores, expected.taggram(y, sr=12000).scores, atol=1e-6, rtol=0
    )


def test_another_file_is_refused_and_the_old_network_stays(content, published, place):
    released.add(NAME, published)
    before = (place / f"{NAME}.keras").read_bytes()
    other = won2020_states.state("fcn")
    other["dense.bias"][0] += 1
    published.write_bytes(zipped(other))
    with pytest.raises(ValueError, match=r"best_model\.pth: not the file that the authors of won2020-mtat-fcn publ"):
        released.add(NAME, published)
    published.write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"best_model\.pth: no checkpoint of PyTorch, or damaged or cut off"):
        released.add(NAME, published)
    assert (place / f"{NAME}.keras").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dense.bias": None}, "dense.bias is missing"),
        ({"layer6.conv.bias": np.zeros(3, np.float32)}, "layer6.conv.bias is no part of fcn"),
        ({"layer2.conv.weight": np.zeros((128, 64, 5, 5), np.float32)}, r"layer2.conv has weights of shape \(5, 5, "),
        ({"layer2.conv.weight": np.zeros(9, np.float32)}, r"layer2.conv.weight has shape \(9,\)"),
        ({"dense.weight": np.zeros((7, 64), np.float32)}, r"dense has weights of shape \(64, 7\), fcn \(64, 50\)"),
        ({"spec.mel_scale.fb": np.zeros((257, 96), np.float32)}, "spec.mel_scale.fb is not that of its front end"),
        ({"spec.mel_scale.fb": np.zeros((257, 128), np.float32)}, "spec.mel_scale.fb is not that of its front end"),
        ({"spec.spectrogram.window": None}, "spec.spectrogram.window is missing"),
    ],
)
def test_another_network_is_refused(change, words, published):
    state = {k: v for k, v in (won2020_states.state("fcn") | change).items() if v is not None}
    published.write_bytes(legacy(state))
    with pytest.raises(ValueError, match=rf"best_model\.pth: not the network of {NAME}: {words}"):
        released.add(NAME, published)


@pytest.mark.parametrize(
    ("name", "words"),
    [("mtat-crnn", "layer5.bias_ih_l0 is missing"), ("mtat-musicnn", "layers.0.conv.weight is missing")],
)
def test_another_family_is_refused(name, words, published):
    with pytest.raises(ValueError, match=f"not the network of won2020-{name}: {words}"):
        released.add(f"won2020-{name}", published)


# --- Downloads ------------------------------------------------------------------------------------------------------


class Server:
    """Serves one file on the loopback; may stop in the middle or know no ranges."""

    def __init__(self, content):
        self.content, self.stop_after, self.knows_ranges, self.stalls = content, None, True, False
        self.ranges = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/best_model.pth"

    def answer(self, handler):
        if not handler.path.endswith("best_model.pth"):
            return handler.send_error(404)
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.knows_ranges else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        handler.wfile.write(self.content[start : self.stop_after])
        handler.wfile.flush()
        while self.stalls:
            time.sleep(0.05)
        return handler.connection.close() if self.stop_after else None


@pytest.fixture
def server(published):
    server = Server(published.read_bytes())
    yield server
    server.stalls = False
    server.server.shutdown()


def downloaded(place):
    """Files in the folder for downloads but the lock."""
    return sorted(p.name for p in (place / "downloads").iterdir() if not p.name.startswith("."))


def get(server):
    return released.get(NAME, url=server.url, progress=False)


def test_a_network_is_downloaded_once(server, place):
    assert get(server) == place / f"{NAME}.keras"
    assert released.installed() == (NAME,)
    assert downloaded(place) == []
    get(server)
    assert server.ranges == [None]


def test_a_wrong_checksum_leaves_nothing(server, place):
    changed = bytearray(server.content)
    changed[-1] ^= 1
    server.content = bytes(changed)
    with pytest.raises(ValueError, match=r"hash of downloaded file .* does not match the known hash"):
        get(server)
    assert downloaded(place) == []
    assert released.installed() == ()


def test_more_than_the_file_is_not_stored(server, place, published):
    server.content += bytes(10**7)
    with pytest.raises(ValueError, match="does not match the known hash"):
        get(server)
    assert downloaded(place) == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_download_is_resumed(server, place, knows_ranges):
    server.stop_after = 131_072
    with pytest.raises(ValueError, match=r"the connection broke off. 131,072 of 1,9.* goes on"):
        get(server)
    assert downloaded(place) == [f"{NAME}.pth.part"]
    server.stop_after, server.knows_ranges = None, knows_ranges
    get(server)
    assert server.ranges == [None, "bytes=131072-"]
    assert released.installed() == (NAME,)
    assert downloaded(place) == []


def test_what_went_wrong_is_said(server, place):
    with pytest.raises(ValueError, match="cannot be downloaded: the server answers 404 Not Found.$"):
        released.get(NAME, url=server.url + "x", progress=False)
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(ValueError, match="cannot be downloaded: there is no connection.$"):
        get(server)
    assert released.installed() == ()


def test_an_interrupted_download_leaves_no_file_under_the_final_name(server, place):
    server.stop_after, server.stalls = 200_000, True
    command = [sys.executable, "-m", "musictools", "models", "get", NAME, "--url", server.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    partial = place / "downloads" / f"{NAME}.pth.part"
    try:
        until = time.monotonic() + 60
        while not (partial.is_file() and partial.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Interrupted." in errors
    assert "licence: MIT. Please cite: Won" in out
    assert downloaded(place) == [partial.name]
    assert released.installed() == ()


# --- The command ----------------------------------------------------------------------------------------------------


def test_the_command_adds_lists_gets_and_removes(published, server, place, capsys):
    assert cli.main(["models", "add", NAME, str(published)]) == 0
    assert capsys.readouterr().out == f"{place / NAME}.keras\n"
    assert cli.main(["models", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert rows[NAME].split()[1:4] == ["yes", "magnatagatune", "MIT"]
    assert rows["won2020-msd-fcn"].split()[1] == "million_song"
    assert cli.main(["models", "remove", NAME]) == 0
    assert capsys.readouterr().out == f"{NAME}: removed.\n"
    assert cli.main(["models", "get", NAME, "--url", server.url]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{place / NAME}.keras"
    for arguments in (["get", "none"], ["add", "none", "x"], ["remove", "won2020-msd-fcn"], ["add", NAME, "x.pth"]):
        assert cli.main(["models", *arguments]) == 2
        assert capsys.readouterr().err.startswith("musictools: ")


def test_listing_loads_no_tensorflow():
    code = "import sys\nfrom musictools import cli\ncli.main(['models', 'list'])\nsys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_songs_are_tagged_by_the_name_of_a_network(published, tmp_path, capsys):
    song = tmp_path / "swell.wav"
    audio.write(song, won2020_states.sound(4), sr=16000)
    assert cli.main(["tag", str(song), "--model", NAME]) == 2
    assert f"{NAME} is not installed. musictools models get {NAME}" in capsys.readouterr().err
    released.add(NAME, published)
    assert cli.main(["tag", str(song), "--model", NAME, "--top", "3", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    beginning = f"{song} (4.0 s, 1 input, rule "
    assert out[0].startswith(beginning)
    assert (tmp_path / "swell.taggram.csv").is_file()
    tagger = released.load(NAME)
    table = tagger.decide(
        tagger.taggram(audio.load(song)[0], sr=16000).joined(), rule=out[0].removeprefix(beginning).rstrip(")")
    )
    assert [line[2:26].strip() for line in out[2:5]] == list(table["tag"][:3])


def test_a_folder_of_songs_becomes_a_reference(published, tmp_path, capsys):
    """`tag` then says whether a song is like the folder's."""
    folder = tmp_path / "songs"
    released.add(NAME, published)
    for k in range(familiarity.LEAST - 1):
        audio.write(folder / f"{k}.wav", (1 + k) / 40 * won2020_states.sound(3), sr=16000)
    assert cli.main(["models", "reference", NAME, str(folder)]) == 2
    assert capsys.readouterr().err == f"musictools: {folder}: a reference needs at least 20 songs. Got 19.\n"
    audio.write(folder / "last.wav", won2020_states.sound(3), sr=16000)
    assert cli.main(["models", "reference", NAME, str(folder)]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()
    assert cli.main(["tag", str(folder / "7.wav"), "--model", NAME, "--out", str(tmp_path)]) == 0
    assert "reference clips (20 songs of the folder songs)" in capsys.readouterr().out
    song = tmp_path / "noise.wav"
    audio.write(song, np.random.default_rng(0).normal(0, 0.1, 48000), sr=16000)
    assert cli.main(["tag", str(song), "--model", NAME, "--out", str(tmp_path)]) == 0
    assert "The song is unlike what the network knows" in capsys.readouterr().out
