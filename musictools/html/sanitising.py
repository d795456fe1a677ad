"""Sanitise HTML from elsewhere: what remains can neither run a script nor load anything.

Only the tags and attributes that are listed here remain. Pictures and sounds must be part of the page, links must lead
to web pages, mail addresses or places beside the page.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

TAGS = {
    *("a", "abbr", "audio", "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl", "dt"),
    *("em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "s"),
    *("source", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u"),
    "ul",
}
_ATTRIBUTES = {"alt", "class", "colspan", "controls", "id", "open", "rowspan", "scope", "style", "title"}
_CSS = [
    "background-color",
    "color",
    "font-size",
    "font-style",
    "font-weight",
    "text-align",
    "vertical-align",
    "width",
    "white-space",
]
_LINK = re.compile(r"(https?://|mailto:|#).*|[^:]*", re.IGNORECASE)
_EMBEDDED = re.compile(r"data:(image/(png|jpeg|gif)|audio/[\w.-]+);base64,[\w+/=\s]*")
_STYLE = re.compile(r"<style\b[^<>]*>(.*?)</style\s*>", re.DOTALL | re.IGNORECASE)
# Styles of tables; no character that could end the style, escape another one, import a file or name a URL.
_HARMLESS = re.compile(r"[^<>@\\()\"']*")
# Types of outputs that a page shows, the best first. Scripts, widgets and SVG are left out: they can run code.
_SHOWN = ["text/html", "text/markdown", "text/latex", "image/png", "image/jpeg", "text/plain"]
# The template of nbconvert without its scripts, which come from the network.
_NOTEBOOK = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}
<meta http-equiv="Content-Security-Policy" content="script-src 'none'; connect-src 'none'; frame-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'">
{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}"""  # noqa: E501


def sanitised(text: str) -> Markup:
    """Reduce HTML to formatted text, tables, embedded pictures and sounds.

    Parameters
    ----------
    text : str

    Returns
    -------
    html : markupsafe.Markup
        Tags that are not allowed are shown as text. Attributes, styles and comments that are not allowed are left out.

    See Also
    --------
    musictools.html.render : For text that is no HTML.

    Examples
    --------
    >>> sanitised("<b onclick='alert(1)'>bold</b> <a href='javascript:alert(1)'>link</a> <script>alert(1)</script>")
    Markup('<b>bold</b> <a>link</a> &lt;script&gt;alert(1)&lt;/script&gt;')
    """
    from markupsafe import Markup

    styles = [style for style in _STYLE.findall(text) if _HARMLESS.fullmatch(style)]
    cleaned = _cleaner().clean(_STYLE.sub("", text))
    return Markup("".join(f"<style>{style}</style>" for style in styles) + cleaned)


@functools.cache
def _cleaner():
    from bleach import Cleaner
    from bleach.css_sanitizer import CSSSanitizer

    return Cleaner(
        tags=TAGS,
        attributes=_allowed,
        protocols={"http", "https", "mailto", "data"},
        css_sanitizer=CSSSanitizer(allowed_css_properties=_CSS),
    )


def _allowed(tag, name, value):
    if name == "href":
        return tag == "a" and _LINK.fullmatch(value) is not None
    if name == "src":
        return tag in {"img", "audio", "source"} and _EMBEDDED.fullmatch(value) is not None
    return name in _ATTRIBUTES or (tag == "source" and name == "type")


def markdown(text: str) -> Markup:
    r"""Turn Markdown into HTML; tags in it are shown as text.

    Parameters
    ----------
    text : str

    Returns
    -------
    html : markupsafe.Markup

    Examples
    --------
    >>> markdown("**80 %** of <b>")
    Markup('<p><strong>80 %</strong> of &lt;b&gt;</p>\n')
    """
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    return sanitised(MarkdownWithMath(renderer=IPythonRenderer(escape=True)).render(text))


def notebook(path: str | Path) -> str:
    """Turn an executed notebook into a page that runs no script and loads nothing.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    page : str
    """
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    node = nbformat.read(path, as_version=4)
    node.metadata = {key: node.metadata[key] for key in ("kernelspec", "language_info") if key in node.metadata}
    for output in (output for cell in node.cells for output in cell.get("outputs", [])):
        if "metadata" in output:  # sizes of pictures; the template writes them without quotes
            output.metadata = {
                kind: {k: v for k, v in sizes.items() if isinstance(v, int | float)}
                for kind, sizes in output.metadata.items()
                if isinstance(sizes, dict)
            }
    exporter = HTMLExporter(
        config=Config(NbConvertBase={"display_data_priority": _SHOWN}),
        raw_template=_NOTEBOOK,
        template_name="lab",
        embed_images=True,
        sanitize_html=True,
    )
    exporter.register_filter("clean_html", sanitised)
    page, _ = exporter.from_notebook_node(node, {"metadata": {"name": Path(path).stem, "path": str(Path(path).parent)}})
    return page
