"""Running notebooks: paths, parameters, the one output writer, its manifest, the parallel map, the rebuild.

Conventions: relative output folders are relative to :func:`root`, never to the working folder; files are written
beside their final place and moved there when complete; every output is recorded with its SHA-256.

Importing this package is cheap: numpy, pandas and TensorFlow are loaded only where a function needs them.
"""

from musictools.runs.execution import rebuild
from musictools.runs.notebook_index import index

from .caching import PROGRESS, cached
from .manifests import package_digest
from .memory import machine_memory, memory_budget
from .parallel import map, progress
from .paths import data_folders, data_home, root, shared_data
from .settings import parameters, resolve
from .writer import Run, start

__all__ = [
    "PROGRESS",
    "Run",
    "cached",
    "data_folders",
    "data_home",
    "index",
    "machine_memory",
    "map",
    "memory_budget",
    "package_digest",
    "parameters",
    "progress",
    "rebuild",
    "resolve",
    "root",
    "shared_data",
    "start",
]
