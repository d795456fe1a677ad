"""Networks that other people trained and released: known by name, installed from a file, loaded as taggers.

Nothing is downloaded unless `get` is called. `add` takes a file that is here already. Both write a Keras model and its
card to the folder ``models`` in the data folder.
"""

from musictools.released import shares
from musictools.released.downloads import get
from musictools.released.installation import add, find, installed, load, remove
from musictools.released.registry import Release, describe, names

__all__ = ["Release", "add", "describe", "find", "get", "installed", "load", "names", "remove", "shares"]
