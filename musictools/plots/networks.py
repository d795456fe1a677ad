"""Networks as stacked volumes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from musictools.plots.style import current_axes

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

__all__ = ["layers"]


def layers(model: keras.Model, *, ax: Axes | None = None, title: str = "") -> Axes:
    """A network as stacked volumes, drawn by visualkeras.

    Parameters
    ----------
    model : keras.Model
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    import keras
    import visualkeras
    from matplotlib import font_manager
    from PIL import ImageFont

    ax = current_axes(ax)
    copy = keras.models.clone_model(model)
    for layer in copy.layers:  # visualkeras still asks for an attribute that Keras 3 has given up
        layer.output_shape = layer.output.shape
    hidden = [keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Softmax, keras.layers.Flatten]
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 28)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # visualkeras warns of its own defaults
        image = visualkeras.layered_view(
            copy, legend=True, type_ignore=hidden, scale_xy=2, scale_z=1, max_z=200, max_xy=300, spacing=24, font=font
        )
    ax.imshow(image)
    ax.set_axis_off()
    ax.set_title(title)
    return ax
