"""Taggers compared and two songs in a real browser: what is chosen, drawn and heard."""

import pytest
from support import browsing, tones

pytestmark = pytest.mark.full
LOW, HIGH, NEVER = tones.TONES


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page, in which the song of the command is explained."""
    lacking = browsing.missing()
    if lacking:
        pytest.skip(lacking)
    place = browsing.Place(tmp_path_factory.mktemp("served"))
    with browsing.browser() as browser, browsing.voila(place, song=place.song) as (address, _):
        page = browsing.Page(browser, address)
        page.explained()
        yield page


def view(page, name):
    page.tab.click(f".mt-tabs button:has-text('{name}')")


def box(page, label):
    """The visible box with this label, the last one if there are several."""
    return page.tab.locator(f".widget-dropdown:visible:has(label:text-is('{label}')) select").last


def players(page):
    return [page.tab.locator(".mt-half").nth(k) for k in range(2)]


def test_views_are_tabs_that_the_arrows_choose(page):
    chosen = page.tab.locator('[role="tab"][aria-selected="true"]')
    chosen.focus()
    page.tab.keyboard.press("End")
    page.tab.wait_for_selector("text=/has no concepts yet/")
    assert chosen.inner_text() == "Concepts"
    page.screenshot("no concepts")
    page.tab.keyboard.press("ArrowRight")  # the first one again
    page.tab.wait_for_selector('[role="tab"][aria-selected="true"]:text-is("Why this genre?")')
    assert page.tab.locator('[role="tab"][tabindex="0"]').count() == 1


def test_the_genre_itself_has_a_heatmap(page):
    page.tab.click("button:has-text('genre: ')")
    page.tab.wait_for_selector(".mt-legend:has-text('where the genre model finds')")
    page.tab.wait_for_selector('[data-key="evidence:genre"]')
    page.tab.wait_for_selector("text=/genre model.: mean score/")
    assert page.tab.locator(".mt-shades").first.is_visible()
    assert page.tab.locator(".mt-legend >> text=at the end: too short for another section").first.is_visible()
    page.screenshot("genre")
    page.tab.click("button:has-text('genre: ')")


def test_two_taggers_are_compared(page):
    view(page, "Compare taggers")
    page.tab.wait_for_selector(".mt-taggers .mt-wide td.n")
    page.tab.click(".mt-taggers button:text-is('tagger_b')")
    page.tab.wait_for_selector("text=/Rank correlation of the scores of common tags: tagger and tagger_b 1.00/")
    names = page.tab.locator(".mt-taggers .mt-wide tbody th")
    before = names.all_inner_texts()
    box(page, "Sort by").select_option(label="name of the tag")
    box(page, "Order").select_option(label="lowest first")
    shown = "JSON.stringify(Array.from(document.querySelectorAll('.mt-taggers .mt-wide tbody th'), e => e.innerText))"
    page.tab.wait_for_function(f"wanted => {shown} === JSON.stringify(wanted)", arg=sorted(before))
    drawn = page.tab.locator(".mt-taggers canvas").first
    assert drawn.bounding_box()["height"] > 110 + 8 * 18, "two headings and six rows below the spectrogram"
    page.screenshot("taggers")


def test_results_that_are_missing_are_a_sentence(page):
    view(page, "Compare taggers")
    assert page.tab.locator("text=/has no results of notebooks 03 and 15 yet/").is_visible()


def test_two_songs_have_one_time_axis_and_one_plays_at_a_time(page):
    view(page, "Two songs")
    page.tab.wait_for_selector("text=Choose a second song to see both")
    box(page, "Second song").select_option(index=1)
    first, second = players(page)
    for one in (first, second):
        one.locator(".mt-legend:has-text('where the tagger finds')").wait_for()
    title = page.tab.locator("h3:has-text('Second song')")
    assert "tweet" in title.inner_text()
    first.locator("button[aria-label='Zoom in']").click()
    for one in (first, second):
        page.tab.wait_for_function(
            "e => e.style.visibility === 'visible'", arg=one.locator(".mt-scroll").element_handle()
        )
    assert float(first.locator(".mt-scroll").get_attribute("max")) == pytest.approx(4.0, abs=0.1), "half of 8 s"
    first.locator(".mt-play").click()
    first.locator(".mt-play:text-is('Pause')").wait_for()
    second.locator(".mt-play").click()
    second.locator(".mt-play:text-is('Pause')").wait_for()
    first.locator(".mt-play:text-is('Play')").wait_for()
    second.locator(".mt-play").click()
    page.screenshot("two songs")


def test_descriptors_are_chosen_beside_the_songs(page):
    box(page, "and").select_option(HIGH if page.tab.locator("text=/finds low/").count() else LOW)
    for one in players(page):
        one.locator('[data-key^="rest"]').nth(1).wait_for()
    page.screenshot("two songs, two descriptors")
    box(page, "and").select_option("none")
    for one in players(page):
        one.locator('[data-key^="rest"]').nth(1).wait_for(state="detached")


def test_a_descriptor_is_chosen_for_both_songs(page):
    view(page, "Why this genre?")
    page.chip(NEVER).click()
    view(page, "Two songs")
    for one in players(page):
        one.locator(f".mt-legend:has-text('where the tagger finds {NEVER}')").wait_for()
    page.tab.wait_for_selector("text=/No section of the first and of the second song predicts never/")


def test_feature_maps_are_a_sentence_where_notebook_06_has_not_run(page):
    view(page, "Why this genre?")
    page.tab.click("button:has-text('Feature maps')")
    page.tab.wait_for_selector("text=/Which feature maps carry a descriptor is known after notebook 06/")
    page.screenshot("feature maps")


def test_no_script_failed_and_no_request_left(page):
    assert page.faults == []
    assert [url for url in page.asked if not url.startswith(browsing.LOCAL)] == []
