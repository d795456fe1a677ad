"""The view of concepts in a real browser: what lights up, what a click fills, and what is heard."""

import pytest
from support import browsing, concept_files

pytestmark = pytest.mark.full
BIRDS, BASS = "birds 1", "bass & co 1"
_HOVER = """([x, y]) => new Promise((done) => {
  const began = performance.now(), svg = document.querySelector(".mt-panel-1 svg");
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page with the view of concepts."""
    lacking = browsing.missing()
    if lacking:
        pytest.skip(lacking)
    place = browsing.Place(tmp_path_factory.mktemp("served"))
    concept_files.write(place.folder / "profile", concept_files.songs(place.folder / "songs"))
    with browsing.browser() as browser, browsing.voila(place) as (address, _):
        page = browsing.Page(browser, address)
        page.tab.click(".mt-tabs button:has-text('Concepts')")
        page.tab.wait_for_selector(".mt-panel-1 .mt-dot")
        yield page


def dot(page, name, panel=1):
    return page.tab.locator(f'.mt-panel-{panel} .mt-dot[aria-label^="{name}."] circle')


def middle(page, name):
    box = dot(page, name).bounding_box()
    return [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]


def lit(page, kind, panel):
    return {
        name.split(".")[0]
        for name in page.tab.locator(f".mt-panel-{panel} .mt-dot.{kind}").evaluate_all(
            "all => all.map((one) => one.getAttribute('aria-label'))"
        )
    }


def hears(page):
    """Wait until the sound plays."""
    page.tab.wait_for_function(
        "(one => one && !one.paused && one.currentTime > 0.05)(document.querySelector('.mt-concepts audio'))"
    )


def test_hovering_lights_up_similar_concepts_and_the_cluster(page):
    page.screenshot("concepts")
    assert page.tab.locator(".mt-panel-1 .mt-dot").count() == page.tab.locator(".mt-panel-2 .mt-dot").count() == 5
    milliseconds = page.tab.evaluate(_HOVER, middle(page, BIRDS))
    print(f"hover: {milliseconds:.0f} ms until it is drawn")  # shown with -s
    page.tab.mouse.move(*middle(page, BIRDS))
    page.tab.wait_for_selector(".mt-tip >> text=It raises the score of birds")
    assert lit(page, "mt-on", 1) == lit(page, "mt-on", 2) == {BIRDS}
    assert lit(page, "mt-like", 1) == {"birds 2", "birds 3", BASS, "bass & co 2"}
    assert BIRDS in lit(page, "mt-same", 2)
    assert lit(page, "mt-same", 1) == set()
    page.screenshot("concepts hover")
    page.tab.mouse.move(2, 2)
    assert page.tab.locator(".mt-lit").count() == 0


def test_a_click_fills_panels_3_to_5(page):
    page.tab.mouse.click(*middle(page, BIRDS))
    page.tab.wait_for_selector(f".mt-detail h2:has-text('{BIRDS}')")
    assert page.tab.locator("figure").count() == 6, "two patches of each of three songs"
    assert page.tab.locator("figure img").evaluate_all("all => all.every((one) => one.alt.includes('The patch of'))")
    page.tab.wait_for_function("document.querySelectorAll('.mt-blob').length === 3")
    assert page.tab.locator(".mt-radar >> text=/estimated, [0-9]+ bpm/").count() == 3
    assert page.tab.locator(".mt-tag").first.inner_text().strip() == f"↑ {BIRDS}"
    page.screenshot("concept")


def test_a_patch_and_its_song_play(page):
    page.tab.locator('figure button[data-sound^="patch"]').first.click()
    hears(page)
    page.tab.locator('figure button[data-sound^="song"]').first.click()
    page.tab.wait_for_function("document.querySelector('.mt-concepts audio').duration > 2")
    hears(page)
    page.tab.locator("figure button:has-text('■')").click()
    page.tab.wait_for_selector("figure button:has-text('■')", state="detached")


def test_the_cursor_runs_over_the_concepts_of_a_song(page):
    stage = page.tab.locator(".mt-wide-picture")
    stage.click(position={"x": 0.25 * stage.bounding_box()["width"], "y": 5})
    hears(page)
    page.tab.wait_for_function("+document.querySelector('.mt-wide-picture').ariaValueNow > 1.2")  # 0.5 s + a quarter
    page.tab.click(".mt-detail .mt-play")
    page.tab.wait_for_selector(".mt-play:text-is('Play') >> visible=true")
    at = float(stage.get_attribute("aria-valuenow"))
    stage.focus()
    stage.press("Home")
    page.tab.wait_for_function(f"+document.querySelector('.mt-wide-picture').ariaValueNow < {at} - 0.2")
    stage.press("Space")


def test_another_song_is_chosen_by_its_chart(page):
    page.tab.locator(".mt-radar").nth(1).click()
    page.tab.wait_for_selector("h3:has-text('Concepts within birds song 1')")
    assert page.tab.locator(".mt-radar[aria-pressed='true']").count() == 1


def test_the_keyboard_chooses_a_second_concept(page):
    page.tab.click("button:has-text('second concept')")
    page.tab.locator(".mt-panel-1 .mt-dot[tabindex='0']").focus()
    for _ in range(8):
        page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_function("document.querySelectorAll('.mt-detail').length === 2")
    assert page.tab.locator(".mt-detail h2").nth(1).inner_text().strip().startswith("bass & co")
    assert page.tab.locator(".mt-panel-1 .mt-ring").count() == 2
    page.screenshot("two concepts")


def test_the_height_of_the_dots_is_chosen(page):
    before = middle(page, BIRDS)
    page.tab.click("button:text-is('TCAV score')")
    page.tab.wait_for_selector(".mt-panel-1 text:text-is('TCAV score')")
    assert middle(page, BIRDS) != before


def test_it_fits_a_narrow_window(page):
    page.tab.set_viewport_size({"width": 800, "height": 800})
    page.tab.wait_for_selector(".mt-narrow")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 800
    page.screenshot("concepts narrow")
    page.tab.set_viewport_size({"width": 1280, "height": 800})


def test_no_script_failed_and_no_request_left(page):
    assert page.faults == []
    assert [url for url in page.asked if not url.startswith(browsing.LOCAL)] == []
