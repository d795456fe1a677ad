"""HTML pages from templates in which every value is escaped.

Templates lie in ``templates/`` and extend ``base.html.jinja``. Pages load nothing from the network, run only their own
scripts and can be used with a keyboard. Text that is HTML already (Markdown, outputs of notebooks) is sanitised: only
listed tags and attributes remain.
"""

from .pages import anchors, data_url, number, render, write
from .sanitising import markdown, notebook, sanitised

__all__ = ["anchors", "data_url", "markdown", "notebook", "number", "render", "sanitised", "write"]
