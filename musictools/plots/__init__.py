"""Drawing: arrays in, Axes out.

Every function takes ``ax=None`` (the current Axes) and returns the Axes. None of them saves, shows, or changes
settings. Maps are perceptual: ``magma`` for levels, ``Blues`` for shares, a diverging one centred at 0 for signed
values. Axes and colour bars carry units. Figures have one width, `WIDTH`, so that on a page their text has one size.
"""

from musictools.plots.charts import bars, confusion, history, intervals, table_heatmap
from musictools.plots.networks import layers
from musictools.plots.over_time import heatmap, spectrogram, taggram, waveform
from musictools.plots.style import PALETTE, SMALL, WIDTH, figure, legend

__all__ = [
    "PALETTE",
    "SMALL",
    "WIDTH",
    "bars",
    "confusion",
    "figure",
    "heatmap",
    "history",
    "intervals",
    "layers",
    "legend",
    "spectrogram",
    "table_heatmap",
    "taggram",
    "waveform",
]
