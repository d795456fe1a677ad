"""Schematic figures of the sources, drawn from their descriptions: models in, Axes out, as in `musictools.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from musictools.plots.diagrams import boxes_and_arrows

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

__all__ = ["explanation_system", "feature_map_probing", "network"]

_GENRE, _DESCRIPTOR, _MAPPING, _EVALUATION = "#dbe9f6", "#fde5c8", "#e4e0f0", "#d9efdc"


def explanation_system(
    *, evaluation: tuple[str, str] | None = None, ax: Axes | None = None, title: str = "", fontsize: float = 10
) -> Axes:
    """Components of the explanation system with semantic descriptors (`rotheneder2023` figures 2.1 and 5.2).

    Parameters
    ----------
    evaluation : (str, str) or None
        Adds the two evaluations of figure 5.2. The texts stand in their boxes: how well the predicted descriptors fit
        the audio, and how well they fit the genre. They may be empty. None: figure 2.1, without evaluations.
    ax : Axes or None
    title : str
    fontsize : float > 0

    Returns
    -------
    ax : Axes

    See Also
    --------
    musictools.plots.diagrams.workflow : The steps for one song (`rotheneder2023` figure 5.4).

    Examples
    --------
    >>> from musictools import plots
    >>> fig, ax = plots.figure(width=10, height=4)
    >>> explanation_system(ax=ax, title="figure 2.1").get_title()
    'figure 2.1'
    """
    boxes = {
        "clip": (0, 1, "audio clip"),
        "spectrogram": (1, 1, "mel-\nspectrogram"),
        "genre model": (2, 0, "model to be\nexplained:\ngenre CNN"),
        "genre": (5, 0, "predicted\ngenre"),
        "descriptor model": (2, 2, "descriptor\nmodel: multi-\nlabel CNN"),
        "descriptors": (3, 2, "predicted\ndescriptors"),
        "mapping": (4, 1, "mapping of\ndescriptors\nto genres"),
        "degree": (5, 1, "membership\ndegree in\nthe genre"),
        "heatmap": (4, 2, "place in the\nspectrogram:\nDeep Taylor"),
    }
    arrows = [
        ("clip", "spectrogram"),
        ("spectrogram", "genre model"),
        ("genre model", "genre"),
        ("spectrogram", "descriptor model"),
        ("descriptor model", "descriptors"),
        ("descriptors", "mapping"),
        ("mapping", "degree"),
        ("genre", "degree"),
        ("descriptors", "heatmap"),
    ]
    colours = dict.fromkeys(("genre model", "genre"), _GENRE)
    colours |= dict.fromkeys(("descriptor model", "descriptors", "heatmap"), _DESCRIPTOR)
    colours |= dict.fromkeys(("mapping", "degree"), _MAPPING)
    if evaluation is not None:
        audio, genre = evaluation
        boxes |= {
            "annotations": (2, 3, "annotated\ndescriptors"),
            "fits audio": (3, 3, "\n".join(filter(None, ("do descriptors\nfit the audio?", audio)))),
            "true genre": (6, 0, "true genre"),
            "fits genre": (6, 1, "\n".join(filter(None, ("do descriptors\nfit the genre?", genre)))),
        }
        arrows += [
            ("annotations", "fits audio"),
            ("descriptors", "fits audio"),
            ("true genre", "fits genre"),
            ("degree", "fits genre"),
        ]
        colours |= dict.fromkeys(("fits audio", "fits genre"), _EVALUATION)
    return boxes_and_arrows(boxes, arrows, colours=colours, ax=ax, title=title, fontsize=fontsize)


def feature_map_probing(
    shapes: Mapping[str, Sequence[int]], *, ax: Axes | None = None, title: str = "", fontsize: float = 10
) -> Axes:
    """How descriptors are assigned to feature maps (`rotheneder2023` figure 2.2).

    Parameters
    ----------
    shapes : dict of str to sequence of int
        Layer -> number of maps, height and width of a map, in the order of the computation.
    ax : Axes or None
    title : str
    fontsize : float > 0

    Returns
    -------
    ax : Axes

    Examples
    --------
    >>> from musictools import plots
    >>> fig, ax = plots.figure(width=9, height=3.5)
    >>> feature_map_probing({"pool1": (64, 64, 64), "pool2": (128, 32, 32)}, ax=ax, title="figure 2.2").get_title()
    'figure 2.2'
    """
    middle = (len(shapes) - 1) // 2
    boxes = {
        "input": (0, 0, "mel-\nspectrogram"),
        "probe": (3, middle, "a classifier\nper map and\ndescriptor"),
        "tags": (3, middle + 1, "annotated\ndescriptors"),
        "score": (4, middle, "F1: best and\nworst maps of a\ndescriptor"),
    }
    arrows, before = [("tags", "probe"), ("probe", "score")], "input"
    for row, (layer, (n_maps, *size)) in enumerate(shapes.items()):
        block, maps = f"block {row}", f"maps {row}"
        boxes |= {block: (1, row, f"genre model:\n{layer}"), maps: (2, row, f"{n_maps} maps of\n{_product(size)}")}
        arrows += [(before, block), (block, maps), (maps, "probe")]
        before = block
    colours = {name: _GENRE for name in boxes if name.startswith("block")}
    colours |= {"tags": _DESCRIPTOR, "probe": _MAPPING, "score": _EVALUATION}
    return boxes_and_arrows(boxes, arrows, colours=colours, ax=ax, title=title, fontsize=fontsize)


def network(
    model: keras.Model, *, per_row: int = 5, ax: Axes | None = None, title: str = "", fontsize: float = 10
) -> Axes:
    """A network without branches as a chain of blocks (`choi2018` figure 7.2).

    A block is a convolution with its pooling, or a fully connected layer. Its last line is the shape of its output.
    Every second row runs from right to left.

    Parameters
    ----------
    model : keras.Model
        Its layers in the order of the computation.
    per_row : int > 0
        Blocks per row.
    ax : Axes or None
    title : str
    fontsize : float > 0

    Returns
    -------
    ax : Axes

    See Also
    --------
    musictools.plots.layers : A network as stacked volumes.

    Examples
    --------
    >>> from musictools import models, plots
    >>> model = models.build("ckn19", n_outputs=8, width=0.125, seed=0)
    >>> fig, ax = plots.figure(width=10, height=2)
    >>> [text.get_text().splitlines()[0] for text in network(model, ax=ax).texts if text.get_text()]
    ['input', 'convolution 3×3', 'convolution 3×3', 'convolution 3×3', 'fully connected', 'output']
    """
    blocks = []
    for layer in model.layers:
        kind, size = type(layer).__name__, layer.output.shape[1:]
        if kind == "InputLayer":
            blocks.append(["input", ""])
        elif kind.startswith("Conv"):
            blocks.append([f"convolution {_product(layer.kernel_size)}", ""])
        elif kind == "Dense":
            blocks.append(["fully connected", ""])
        elif "Pooling" in kind:
            pool = getattr(layer, "pool_size", None)
            blocks[-1].insert(-1, f"max-pooling {_product(pool)}" if pool and "Max" in kind else "average pooling")
        elif kind == "Flatten":
            continue
        blocks[-1][-1] = _product(size)
    blocks[-1][0] = "output"
    boxes = {}
    for k, lines in enumerate(blocks):
        row, place = divmod(k, per_row)
        boxes[str(k)] = (per_row - 1 - place if row % 2 else place, row, "\n".join(lines))
    arrows = [(str(k - 1), str(k)) for k in range(1, len(blocks))]
    colours = {str(k): _GENRE if lines[0].startswith("conv") else _DESCRIPTOR for k, lines in enumerate(blocks)}
    colours |= {"0": "#eeeeee"}
    return boxes_and_arrows(boxes, arrows, colours=colours, ax=ax, title=title, fontsize=fontsize)


def _product(sides):
    return " × ".join(map(str, sides)) if len(sides) != 2 else "×".join(map(str, sides))
