"""Rendering of templates; numbers, names of anchors and embedded pictures for several of them."""

import base64
import functools
import hashlib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from musictools.files import atomic


@functools.cache
def _environment():
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("musictools.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        # The browser runs a page's script only if its text has the checksum that the page's head names.
        "checksum": lambda text: "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
    }
    environment.globals["source"] = lambda name: Markup(environment.loader.get_source(environment, name)[0])
    return environment


def render(template: str, **values: Any) -> str:
    """Fill in a template; every value is escaped, unless it is `markupsafe.Markup`.

    Parameters
    ----------
    template : str
        Name of a file in ``musictools/html/templates``.
    **values
        Values of the template. A missing one is an error and not an empty string.

    Returns
    -------
    page : str

    Raises
    ------
    jinja2.UndefinedError
        If the template uses a value that is not given.
    jinja2.TemplateNotFound
        If there is no such template.

    See Also
    --------
    write : Writes the page to a file.
    sanitised : For text that is HTML already.

    Examples
    --------
    >>> page = render("auralisation.html.jinja", title="<b>", note="", layers=[])
    >>> "<h1>&lt;b&gt;</h1>" in page
    True
    """
    return _environment().get_template(template).render(values)


def write(path: str | Path, template: str, **values: Any) -> Path:
    """Fill in a template and write the page, complete or not at all.

    Parameters
    ----------
    path : str or Path
    template : str
    **values
        As for :func:`render`.

    Returns
    -------
    path : Path
    """
    page = render(template, **values)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def number(value: float | str) -> str:
    """Format a number to be read: two decimals, none from 100 on, a dash for NaN and infinities.

    Parameters
    ----------
    value : float or str
        Text is returned as it is.

    Returns
    -------
    text : str

    Examples
    --------
    >>> number(0.126), number(1234.5), number(float("nan"))
    ('0.13', '1,234', '–')
    """
    if isinstance(value, str):
        return value
    return "–" if not math.isfinite(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def anchors(names: Iterable[str]) -> dict[str, str]:
    """Choose a unique name for every text, fit for an anchor or a file: lower-case letters, digits and hyphens.

    Parameters
    ----------
    names : iterable of str

    Returns
    -------
    anchors : dict of str to str

    Examples
    --------
    >>> anchors(["hip hop", "hip-hop", "<b>"])
    {'hip hop': 'hip-hop', 'hip-hop': 'hip-hop-2', '<b>': 'b'}
    """
    chosen = {}
    for name in names:
        anchor = base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "tag"
        count = 2
        while anchor in chosen.values():
            anchor, count = f"{base}-{count}", count + 1
        chosen[name] = anchor
    return chosen


def data_url(png: bytes) -> str:
    """Encode a picture as a data URL.

    Parameters
    ----------
    png : bytes

    Returns
    -------
    url : str

    Examples
    --------
    >>> data_url(b"picture")
    'data:image/png;base64,cGljdHVyZQ=='
    """
    return "data:image/png;base64," + base64.b64encode(png).decode()
