"""Notebooks and a package that explain convolutional networks for music.

Importing the package is cheap: TensorFlow loads only when a model is used (``musictools.models``,
``musictools.training``). ``musictools.experiments`` holds what only the notebooks use; everything else is the library.
"""

__version__ = "0.1.0"
