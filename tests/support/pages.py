"""What tests of HTML pages share: strings that break careless pages, and a reader that says what is wrong with one."""

import re
from html.parser import HTMLParser

NASTY = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "'\"><svg onload=alert(1)>",
    "x' onmouseover='alert(1)",
    'x" autofocus onfocus="alert(1)',
    "javascript:alert(1)",
    "</title><iframe src='//example.org'></iframe>",
    "</style></section><b>",
    "{{ 7 * 7 }}{% raise %}",
    "a &amp; b &lt; c",
    "hip hop",
    "hip-hop",
    "--><u>",
    "&#60;b&#62;",
    "../../x?y=1&z#w",
    "100 %41",
]
NASTY_NAMES = [name for name in NASTY if "/" not in name]  # fit for files
_VOID = {"meta", "img", "br", "source", "link", "input", "hr", "col"}
_ACTIVE = {"iframe", "object", "embed", "form", "base", "frame", "applet", "svg", "math", "link"}


def _harmless(name, value):
    """Whether an attribute neither runs a script nor loads anything from elsewhere."""
    scheme = re.match(r"[\s\0-\x1f]*([a-z][a-z0-9+.-]*)\s*:", value, re.IGNORECASE)
    if name in ("href", "action", "formaction"):
        return not scheme or scheme[1].lower() in ("https", "http")
    if name in ("src", "srcset", "poster", "data"):
        return not value.startswith("//") and (not scheme or re.match("data:(image/png|audio/)", value) is not None)
    return not name.startswith("on")


class Page(HTMLParser):
    """Tags with their attributes, the text that is shown, and what could run, load, or break the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.faults = [], [], []
        self.shown = ""
        self.feed(str(text))
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]
        ids = self.all(None, "id")
        self.faults += [f"id {name!r} is there twice" for name in set(ids) if ids.count(name) > 1]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag in _ACTIVE:
            self.faults.append(f"<{tag}>")
        self.faults += [f"<{tag} {name}={value!r}>" for name, value in attrs if not _harmless(name, value or "")]

    def handle_endtag(self, tag):
        if tag in _VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.shown += data

    @property
    def text(self):
        """What a reader sees, white space as one blank."""
        return re.sub(r"\s+", " ", self.shown)

    def all(self, tag, name):
        """Values of an attribute of all `tag`; of every tag where that is None."""
        return [attributes[name] for kind, attributes in self.tags if tag in (None, kind) and name in attributes]

    def scripts(self):
        return sum(tag == "script" for tag, _ in self.tags)


def check(page, *, shows=(), scripts=0):
    """Read a page; fail where it could run or load something, or does not show a text literally."""
    read = Page(page)
    assert read.faults == []
    assert read.scripts() == scripts
    policy = next(a["content"] for tag, a in read.tags if tag == "meta" and "http-equiv" in a)
    assert re.match("script-src '(none|sha256-[^' ]+)'; ", policy)
    assert not re.search(r"@import|url\((?!data:)", page)
    missing = [text for text in shows if re.sub(r"\s+", " ", text) not in read.text]
    assert missing == []
    return read
