"""Running notebooks: paths, parameters, the one output writer, its manifest, the parallel map, the rebuild.

Conventions: relative output folders are meant from :func:`root`, never from the working folder; files are written
beside their place and moved into it when complete; every output is recorded with its SHA-256.

Importing this room is cheap and touches nothing else of the package.
"""

from musictools.files import atomic
from musictools.runs.execution import rebuild
from musictools.runs.notebook_index import index

from .caching import cached
from .manifests import package_digest
from .parallel import map, progress
from .paths import data_folders, data_home, root, shared_data
from .settings import parameters, resolve
from .writer import Run, start

__all__ = [
    "Run",
    "atomic",
    "cached",
    "data_folders",
    "data_home",
    "index",
    "map",
    "package_digest",
    "parameters",
    "progress",
    "rebuild",
    "resolve",
    "root",
    "shared_data",
    "start",
]
