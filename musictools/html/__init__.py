"""HTML pages from templates in which every value is escaped.

Templates lie in ``templates/`` and extend ``base.html.jinja``: pages that ask nothing of the network, run no script but
their own, and can be used with a keyboard. What comes as HTML already (Markdown, outputs of notebooks) is sanitised,
by a list of what is allowed.
"""

from .pages import anchors, data_url, number, render, write
from .sanitising import markdown, notebook, sanitised

__all__ = ["anchors", "data_url", "markdown", "notebook", "number", "render", "sanitised", "write"]
