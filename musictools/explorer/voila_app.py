"""Voilà that opens the browser at its address. Voilà's own way is a file in the temporary folder, which stays there."""

from __future__ import annotations

import threading
import webbrowser
from urllib.parse import quote

from jupyter_server.utils import url_path_join
from voila.app import Voila

__all__ = ["Page"]


class Page(Voila):
    """Voilà, but for how the browser is opened.

    Parameters
    ----------
    **kwargs
        As for Voilà.
    """

    def launch_browser(self) -> None:
        """Open the page in the browser, if there is one."""
        try:
            browser = webbrowser.get(self.browser or None)
        except webbrowser.Error as error:
            self.log.warning("No web browser found: %s. Open %s", error, self.display_url)
            return
        address = url_path_join(self.connection_url, self.base_url)
        if token := getattr(getattr(self, "identity_provider", None), "token", ""):
            address += f"?token={quote(token)}"
        threading.Thread(target=lambda: browser.open(address, new=self.webbrowser_open_new)).start()


if __name__ == "__main__":
    Page.launch_instance()
