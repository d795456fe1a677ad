"""The explorer and strangers: what they call their songs, tags and genres, who may reach the page, and what is left."""

import json
import os
import re
import stat
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import soundfile
from support import browsing, tones

from musictools.explorer import serving, songs
from musictools.explorer.upload import Upload

EVIL = "<img src=x onerror=hit()>"
CONFIG = Path(serving.__file__).with_name("jupyter") / "config.json"


# --- Temporary files --------------------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, MemoryError, None])
def test_uploads_are_private_and_removed_whatever_happens(temporary, monkeypatch, end, tmp_path):
    seen = []

    def read(path, **options):
        seen.append((stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode), path.name))
        if end is not None:
            raise end
        return "song"

    monkeypatch.setattr(songs, "read", read)
    before = os.umask(0)
    try:
        with pytest.raises(end) if end is not None else monkeypatch.context():
            songs.read_upload(f"../../{EVIL}.wav", b"content")
    finally:
        os.umask(before)
    assert seen == [(0o600, 0o700, "song.wav")]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("size", [None, "7", 1.5, float("nan"), [], -1, 0])
def test_sizes_that_are_none_are_refused(size):
    failed = []
    widget = Upload(received=lambda *file: failed.append("received"), failed=failed.append)
    widget._handle_custom_msg({"kind": "begin", "name": "a.wav", "size": size}, [])
    widget._handle_custom_msg({"kind": "piece"}, [memoryview(b"x")])
    assert failed in (["a.wav: the file is empty."], [])
    assert not widget._pieces


# --- The server -------------------------------------------------------------------------------------------------------


def test_the_page_is_served_here_only_and_asks_for_a_token():
    command = serving.command()
    assert "--Voila.ip=127.0.0.1" in command
    assert "--Voila.auto_token=True" in command
    text = CONFIG.read_text() + (serving.runs.root() / "Makefile").read_text()
    assert not re.search(r"token|password|allow_origin|disable_check_xsrf|allow_remote|0\.0\.0\.0", text)
    assert json.loads(CONFIG.read_text())["Voila"]["ip"] == "127.0.0.1"


@pytest.mark.parametrize(
    "option",
    ["--Voila.token=", "--token=", "--Voila.token=''", "--IdentityProvider.token=", "--Voila.auto_token=False"],
)
def test_no_option_turns_the_token_off(option, monkeypatch):
    monkeypatch.setattr(os, "execve", lambda *arguments: pytest.fail("served"))
    monkeypatch.setattr(sys, "argv", ["serving", option])
    with pytest.raises(SystemExit, match=f"error: {option}: the explorer is not served without a token"):
        serving.main()


@pytest.mark.parametrize("option", ["--Voila.token=abc", "--token", "--Voila.auto_token=True", "--no-browser"])
def test_other_options_are_passed_on(option, monkeypatch):
    called = []
    monkeypatch.setattr(os, "execve", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(sys, "argv", ["serving", option])
    serving.main()
    assert called[0][1][-1] == option


# --- In a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """(page, address without token): everything that a stranger names is called `EVIL`, and a song is explained."""
    if lacking := browsing.missing():
        pytest.skip(lacking)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tones, "TONES", {EVIL: 440, f"b {EVIL}": 3000, "never": 6500})
        place = browsing.Place(tmp_path_factory.mktemp("evil"))
    card = place.folder / "profile" / "cards" / "genre_model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"outputs": [EVIL, "birds"], "data": EVIL}))
    (place.folder / "songs" / EVIL).mkdir()
    soundfile.write(place.folder / "songs" / EVIL / f"{EVIL}.wav", tones.song(), tones.SR)
    with browsing.browser() as browser, browsing.voila(place) as (address, _):
        page = browsing.Page(browser, "about:blank", watched=False)
        page.tab.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1; };")
        page.tab.goto(address, timeout=browsing.PATIENCE)
        yield page, address.partition("?")[0], place


def unharmed(page):
    """Whether no element was made of a name, so that no script of it ran."""
    frames = "document.querySelectorAll('img[src=x]').length + window.hits"
    return page.tab.evaluate(frames) == 0


@pytest.mark.full
def test_names_with_html_are_text_everywhere(evil):
    page, _, place = evil
    page.tab.wait_for_selector(".mt-upload")
    page.upload({"name": f"{EVIL}.wav", "mimeType": "audio/wav", "buffer": b"no audio"})
    page.tab.wait_for_selector(".mt-error")
    assert page.tab.inner_text(".mt-error").startswith(f"{EVIL}.wav: not an audio file")
    assert unharmed(page)
    page.upload({"name": f"{EVIL}.wav", "mimeType": "audio/wav", "buffer": place.song.read_bytes()})
    page.explained(f"{EVIL}.wav")
    assert EVIL in page.tab.inner_text(".mt-explorer")
    page.tab.mouse.move(*page.at(0.3))  # the text beside the cursor
    page.screenshot("evil")
    assert unharmed(page)
    names = page.tab.locator(".mt-tabs button").all_inner_texts()
    assert len(names) > 2
    for name in names:
        page.tab.click(f".mt-tabs button:has-text('{name}')")
        page.tab.wait_for_timeout(1500)
        assert unharmed(page), name
    assert page.faults == []
    assert place.left() == []


@pytest.mark.full
def test_the_server_answers_nobody_without_the_token(evil):
    _, address, _ = evil
    with urllib.request.urlopen(address, timeout=20) as answer:  # the page that asks for the token
        content = answer.read().decode()
    assert "/login" in answer.url
    assert "mt-explorer" not in content
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{address}api/kernels/00000000-0000-0000-0000-000000000000", timeout=20)
