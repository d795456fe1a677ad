"""musictools: notebooks and a small package that explain convolutional networks which listen to music.

Importing the package is cheap: TensorFlow loads only when a model is touched (``musictools.models``,
``musictools.training``). Rooms and who may import whom are described in the README, section *The house*.
"""

__version__ = "0.1.0"
