"""Templates: every value is escaped, none may be missing; names of anchors, numbers, pictures."""

import jinja2
import pytest
from support.pages import NASTY, Page, check

from musictools import html


@pytest.mark.parametrize("text", NASTY)
def test_values_are_shown_literally(text):
    page = html.render(
        "auralisation.html.jinja",
        title=text,
        note=text,
        layers=[(text, [(text, [{"clip": text, "file": text, "picture": None, "numbers": {text: text}}])])],
    )
    read = check(page, shows=[text])
    places = ("title", "h1", "p", "h2", "h3", "figcaption", "dt", "dd")
    assert read.shown.count(text) == len(places)
    assert read.all("audio", "aria-label") == [f"{text}, {text}"]


def test_the_reader_of_these_tests_sees_what_is_wrong():
    for text, fault in (
        ("<p onclick='x'>a</p>", "<p onclick='x'>"),
        ("<a href=' javascript:x'>a</a>", "<a href=' javascript:x'>"),
        ("<iframe></iframe>", "<iframe>"),
        ("<img src='http://a.b/c.png'>", "<img src='http://a.b/c.png'>"),
        ("<div><p></div></p>", "</div> closes nothing"),
        ("<b>", "<b> is not closed"),
        ("<i id='a'></i><i id='a'></i>", "id 'a' is there twice"),
    ):
        assert fault in Page(text).faults
    assert Page("<a href='#a'>a &lt;b&gt;</a><img src='../a.png'>").faults == []


def test_a_missing_value_is_an_error_and_no_empty_place():
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        html.render("auralisation.html.jinja", note="", layers=[])


def test_every_template_escapes():
    from musictools.html import pages

    environment = pages._environment()
    assert environment.autoescape is True
    for name in environment.list_templates():
        text = environment.loader.get_source(environment, name)[0]
        assert "|safe" not in text.replace(" ", "")
        assert "autoescape" not in text


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "page.html"
    assert html.write(path, "auralisation.html.jinja", title="a", note="", layers=[]) == path
    before = path.read_text()
    with pytest.raises(jinja2.UndefinedError):
        html.write(path, "auralisation.html.jinja", title="b")
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_every_name_has_an_anchor_of_its_own():
    names = html.anchors([*NASTY, "HIP HOP", "hip hop 2", "音楽"])
    assert len(set(names.values())) == len(names) == len(NASTY) + 3
    assert (names["hip hop"], names["hip-hop"], names["HIP HOP"]) == ("hip-hop", "hip-hop-2", "hip-hop-3")
    assert names["hip hop 2"] == "hip-hop-2-2"
    assert names["音楽"] == "tag"
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in names.values())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.126, "0.13"),
        (-99.99, "-99.99"),
        (100, "100"),
        (12345.6, "12,346"),
        (float("nan"), "–"),
        (float("-inf"), "–"),
        ("7 of 8", "7 of 8"),
    ],
)
def test_numbers_for_people(value, text):
    assert html.number(value) == text
