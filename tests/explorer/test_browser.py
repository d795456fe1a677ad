"""The explorer in a real browser, served by Voilà and in JupyterLab; no request leaves this machine."""

import time

import psutil
import pytest
from support import browsing, tones

pytestmark = pytest.mark.full
LOW, HIGH, _ = tones.TONES


@pytest.fixture(scope="module")
def browser():
    lacking = browsing.missing()
    if lacking:
        pytest.skip(lacking)
    with browsing.browser() as one:
        yield one


@pytest.fixture(scope="module")
def place(tmp_path_factory, browser):
    return browsing.Place(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def served(place):
    with browsing.voila(place, song=place.song) as (address, _):
        yield address


@pytest.fixture(scope="module")
def page(served, browser):
    """The page, in which the song of the command is explained."""
    page = browsing.Page(browser, served)
    page.explained()
    page.screenshot("song")
    return page


class TestVoila:
    def test_no_request_leaves_this_machine_and_no_script_fails(self, page):
        assert [url for url in page.asked if not url.startswith(browsing.LOCAL)] == []
        assert page.faults == []

    def test_the_song_plays_and_pauses(self, page):
        page.tab.click(".mt-play")
        page.until("t > 0.3")
        page.tab.click(".mt-play")
        at = page.seconds
        time.sleep(0.4)
        assert page.seconds == at

    def test_click_and_keys_seek(self, page):
        page.tab.mouse.click(*page.at(0.5))
        assert page.seconds == pytest.approx(3.0, abs=0.1)
        page.tab.keyboard.press("ArrowLeft")
        page.until("t < 1.2")
        assert page.seconds == pytest.approx(1.0, abs=0.15)

    def test_evidence_goes_on_at_the_same_place(self, page):
        at = page.seconds
        page.tab.click('[data-key^="evidence"]')
        page.tab.wait_for_selector('[data-key^="evidence"][aria-pressed="true"]')
        assert page.seconds == pytest.approx(at, abs=0.05)
        page.tab.click('[data-key="song"]')

    def test_a_drag_repeats_a_part(self, page):
        page.tab.mouse.move(*page.at(1 / 3))
        page.tab.mouse.down()
        page.tab.mouse.move(*page.at(5 / 12), steps=5)
        page.tab.mouse.up()
        assert "repeating 2.0 to 2.5" in page.tab.get_attribute(".mt-over", "aria-valuetext")
        page.tab.keyboard.press("Space")
        page.until("t > 2.3")
        page.until("t < 2.2")  # it has begun again
        page.tab.keyboard.press("Space")
        page.screenshot("loop")
        page.tab.keyboard.press("Escape")
        assert "repeating" not in page.tab.get_attribute(".mt-over", "aria-valuetext")

    def test_a_second_descriptor_changes_the_picture(self, page):
        before, shown = page.pixels, page.tab.locator(".mt-legend").first.inner_text()
        other = HIGH if f"finds {LOW}" in shown else LOW
        page.chip(other).click()
        page.tab.wait_for_selector(f'.mt-legend >> text="where the tagger finds {other}"')
        page.changed(before)
        page.tab.wait_for_selector(f'[data-key="rest:{other}"]')
        page.screenshot("two descriptors")

    def test_evidence_that_is_turned_down_changes_the_scores(self, page):
        handle = page.tab.locator(".noUi-handle").first
        handle.focus()
        for _ in range(6):
            handle.press("PageDown")
        page.tab.wait_for_selector("th:has-text('after')")
        page.tab.wait_for_selector('[data-key="changed"]')
        page.screenshot("turned down")

    def test_a_broken_upload_is_a_sentence_and_the_page_goes_on(self, page, place):
        page.upload({"name": "<b>x.wav", "mimeType": "audio/wav", "buffer": b"no audio"})
        page.tab.wait_for_selector(".mt-error")
        assert page.tab.inner_text(".mt-error").startswith("<b>x.wav: not an audio file")
        page.screenshot("broken file")
        page.upload({"name": "song.exe", "mimeType": "audio/wav", "buffer": b"MZ"})
        page.tab.wait_for_selector(".mt-error:has-text('song.exe: the explorer takes')")
        page.upload(place.song)
        page.explained("two tones.wav")
        assert page.tab.locator(".mt-error").count() == 0
        assert place.left() == []

    def test_a_large_upload_is_refused_before_it_is_sent(self, page, tmp_path):
        with (tmp_path / "large.wav").open("wb") as file:
            file.truncate(60 * 2**20)
        began = time.monotonic()
        page.upload(tmp_path / "large.wav")
        page.tab.wait_for_selector(".mt-error:has-text('large.wav: too large. It has 60 MB, at most 50 MB')")
        assert time.monotonic() - began < 10

    def test_a_song_of_the_data_set_is_chosen(self, page):
        page.tab.locator("select", has_text="tweet").first.select_option(index=1)
        page.explained("tweet")

    def test_work_is_cancelled(self, page, place):
        place.slow.touch()
        try:
            page.upload(place.song)
            page.tab.wait_for_selector("text=/Asking the networks … 30%/")
            page.screenshot("progress")
            page.tab.click("button:has-text('Cancel')")
        finally:
            place.slow.unlink()
        page.tab.wait_for_selector("text=The song is not explained.")
        page.screenshot("cancelled")
        page.tab.click("button:has-text('Explain')")
        page.explained("two tones.wav")

    def test_another_tagger_explains_the_song_anew(self, page):
        page.tab.locator("select", has_text="tagger_b").first.select_option("tagger_b")
        page.tab.wait_for_selector(".mt-explorer h2 >> visible=true", state="detached")
        page.explained("two tones.wav")

    def test_a_real_song(self, page, shared_data):
        songs = sorted((shared_data / "songs").glob("*Vibe_Ace*.ogg"))
        page.upload(songs[0])
        page.explained("Vibe_Ace")
        page.screenshot("real song")

    def test_two_tabs_have_songs_of_their_own(self, page, browser, served, place):
        other = browsing.Page(browser, served)
        other.explained("two tones")
        other.upload({"name": "mine.wav", "mimeType": "audio/wav", "buffer": place.song.read_bytes()})
        other.explained("mine.wav")
        assert "mine.wav" not in page.tab.inner_text(".mt-explorer")
        other.tab.close()


def test_a_server_that_stops_during_work_leaves_nothing(browser, tmp_path):
    place = browsing.Place(tmp_path)
    place.slow.touch()
    with browsing.voila(place) as (address, process):
        page = browsing.Page(browser, address)
        page.tab.wait_for_selector(".mt-upload")
        page.upload(place.song)
        page.tab.wait_for_selector("text=/Asking the networks … 30%/")
        family = [process, *process.children(recursive=True)]
        process.terminate()
        alive = psutil.wait_procs(family, timeout=30)[1]
        assert alive == []
    assert place.left() == []
    assert page.tab.evaluate("1 + 1") == 2
    page.screenshot("server stopped")
    page.tab.close()


def test_in_jupyterlab_also_after_a_restart_of_the_kernel(browser, tmp_path):
    place = browsing.Place(tmp_path)
    with browsing.lab(place) as (address, _):
        page = browsing.Page(browser, f"{address}lab/tree/song_explorer.ipynb")
        page.tab.wait_for_selector(".jp-Notebook .jp-Cell")
        for entry in ("Restart Kernel and Run All Cells…", "Restart Kernel and Run All Cells…"):
            page.tab.wait_for_selector("#jp-main-statusbar >> text=/Idle/")
            page.tab.click(".lm-MenuBar-itemLabel:has-text('Kernel')")
            page.tab.click(f".lm-Menu-itemLabel:has-text('{entry}')")
            page.tab.click(".jp-Dialog button:has-text('Restart')")
            page.tab.wait_for_selector(".mt-upload", state="detached")
            page.tab.wait_for_selector(".mt-upload")
            page.upload(place.song)
            page.explained("two tones.wav")
            page.tab.click(".mt-play")
            page.until("t > 0.3")
            page.tab.click(".mt-play")
            before = page.pixels
            page.chip(LOW).click()
            page.changed(before)
        page.screenshot("lab")
        assert [url for url in page.asked if not url.startswith(browsing.LOCAL)] == []
        page.tab.close()
    assert place.left() == []
