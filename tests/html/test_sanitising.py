"""HTML from elsewhere: notebooks, Markdown. Nothing of it runs or loads anything; tables, pictures and sounds stay."""

import base64

import nbformat
import pandas as pd
import pytest
from nbformat import v4
from support.pages import NASTY, Page

from musictools import html

ATTACKS = [
    "<img src=x onerror=alert(1)>",
    "<b onclick='alert(1)'>a</b>",
    "<a href='javascript:alert(1)'>a</a>",
    "<a href=' java\nscript:alert(1)'>a</a>",
    "<a href='&#106;avascript:alert(1)'>a</a>",
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</script>",
    "<SCRIPT SRC=//example.org/x.js></SCRIPT>",
    "<iframe src='//example.org'></iframe>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<math><mtext><style><img src=x onerror=alert(1)></style>",
    "<object data='x.swf'></object><embed src='x'>",
    "<form action='//example.org'><button formaction='javascript:x'>",
    "<a href='data:text/html,<script>alert(1)</script>'>a</a>",
    "<img src='http://example.org/a.png'>",
    "<img src='data:image/svg+xml;base64,PHN2Zz4='>",
    "<img src='//example.org/a.png' srcset='//example.org/b.png 2x'>",
    "<div style='background: url(http://example.org/a.png)'>a</div>",
    "<base href='//example.org/'>",
    "<style>@import url(http://example.org/a.css)</style>",
    "<style>b { color: red }</style ><script>alert(1)</script>",
    "<style>a {} </sty</style>le><script>alert(1)</script>",
    "<style>p { background: image-set('//example.org/a') }</style>",
    "<meta http-equiv=refresh content='0;url=//example.org'>",
    "<link rel=stylesheet href='//example.org/a.css'>",
    "<!--><script>alert(1)</script>-->",
    "<details open ontoggle=alert(1)>a</details>",
    "<video src=x onerror=alert(1)>",
    "<p id=a class=b title=\"x' onmouseover='alert(1)\">a</p>",
    "<noscript><p title='</noscript><img src=x onerror=y>'>",
]


def wrong(text):
    """What a page that holds `text` could run or load; other faults of a piece of a page do not matter."""
    page = Page(text)
    faults = [fault for fault in page.faults if fault.startswith("<") and not fault.endswith("not closed")]
    styles = "".join(text.split("<style>")[1:] + page.all(None, "style"))
    return faults + ["<script>"] * page.scripts() + [word for word in ("@import", "//", "url(") if word in styles]


@pytest.mark.parametrize("attack", [*ATTACKS, *NASTY])
def test_nothing_is_left_that_runs_or_loads(attack):
    assert wrong(html.sanitised(attack)) == []
    assert wrong(html.sanitised(html.sanitised(attack))) == []
    assert wrong(html.markdown(attack)) == []
    assert wrong(html.markdown(f"[a]({attack}) ![b]({attack})\n\n- {attack}\n\n    {attack}")) == []


def test_most_attacks_are_seen_where_nothing_is_sanitised():
    assert sum(bool(wrong(attack)) for attack in ATTACKS) > 0.7 * len(ATTACKS)


def test_tables_pictures_and_sounds_stay():
    table = pd.DataFrame({"a": [1.5]}, index=["x<y"])
    styled = table.style.format_index(escape="html").set_properties(**{"text-align": "left"}).to_html()
    for text in (
        table.to_html(),
        styled,
        "<p>a <code>b</code> <sub>c</sub></p>",
        "<img alt='x' src='data:image/png;base64,QUJD'>",
        "<h2 id='a'>a</h2><a href='#a:b'>b</a>",
        "<audio controls><source src='data:audio/wav;base64,QUJD' type='audio/wav'></audio>",
        "<a href='../c.html'>d</a><a href='https://example.org/?a=b:c'>e</a>",
    ):
        before, after = Page(text), Page(html.sanitised(text))
        assert [tag for tag, _ in after.tags] == [tag for tag, _ in before.tags]
        assert after.text == before.text
        for name in ("src", "href", "id", "class", "colspan"):
            assert after.all(None, name) == before.all(None, name)
    assert "text-align: left" in html.sanitised(styled)


def test_markdown_of_notebooks():
    text = html.markdown("The **accuracy** of `a<b` is $x<y$.\n\n| a |\n|---|\n| 1 |\n")
    assert "<strong>accuracy</strong> of <code>a&lt;b</code> is $x&lt;y$." in text
    assert "<td>1</td>" in text


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A notebook whose every place holds something nasty, as a page."""
    png = base64.b64encode(b"\x89PNG").decode()
    cells = [v4.new_markdown_cell("\n\n".join([*ATTACKS, *NASTY])), v4.new_raw_cell("<script>alert(1)</script>")]
    for text in NASTY:
        outputs = [
            v4.new_output("stream", text=text),
            v4.new_output("error", ename=text, evalue=text, traceback=[text]),
        ]
        outputs += [
            v4.new_output(
                "display_data",
                {kind: text if kind != "image/png" else png},
                metadata={kind: {"width": "1 onload=alert(1)", "height": 20}},
            )
            for kind in (
                "text/plain",
                "text/html",
                "text/markdown",
                "text/latex",
                "image/png",
                "image/svg+xml",
                "text/vnd.mermaid",
                "application/javascript",
                "application/vnd.jupyter.widget-view+json",
            )
        ]
        cells.append(v4.new_code_cell(f"print({text!r})", outputs=outputs, metadata={"tags": [text]}))
    cells.append(v4.new_code_cell("", outputs=[v4.new_output("display_data", {"text/html": "".join(ATTACKS)})]))
    notebook = v4.new_notebook(
        cells=cells,
        metadata={
            "title": NASTY[1],
            "kernelspec": {"name": "python3", "display_name": NASTY[1]},
            "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"a": NASTY[1]}}},
        },
    )
    path = tmp_path_factory.mktemp("notebook") / "<img src=x onerror=alert(1)>.ipynb"
    nbformat.write(notebook, path)
    return html.notebook(path)


def test_no_place_of_a_notebook_runs_or_loads_anything(page):
    read = Page(page)
    assert [fault for fault in read.faults if fault.startswith("<") and not fault.endswith("not closed")] == []
    assert read.scripts() == 0
    policies = [a["content"] for tag, a in read.tags if tag == "meta" and "http-equiv" in a]
    assert policies[0].startswith("script-src 'none'")
    assert "example.org" not in "".join(read.all(None, "src") + read.all("link", "href"))


def test_what_a_notebook_shows_is_still_there(page):
    read = Page(page)
    for text in NASTY:
        assert " ".join(text.split()) in read.text
    assert read.text.count("alert(1)") > 20  # as text
    assert [a.get("height") for tag, a in read.tags if tag == "img" and "height" in a] == ["20"] * len(NASTY)
