"""Feature maps on disk: written batch by batch from one forward pass, read one map at a time.

Conventions
-----------
A *block* is what stands between two places that all computation passes through: its convolutions, normalisation,
activation and pooling. Its feature maps are the values at its end, just before the next convolution; of ckn19 the
outputs of its three poolings. Branches inside a block (shortcuts, gates, parallel filters) belong to it. A map is a
matrix (height, width), low frequency first; of a network on waveforms (1, n). Maps are counted from 0, as in the
thesis. The network's input is served as one more layer with one map, `INPUT`.
"""

import hashlib
from pathlib import Path

import numpy as np

from musictools import runs
from musictools.files import atomic_folder

__all__ = ["INPUT", "FeatureMaps", "blocks", "untrained"]

INPUT = "input"
_ROWS = 256  # clips in one file of one map
_NO_MAPS = (
    "Permute",
    "Reshape",
    "Flatten",
    "Dense",
    "EinsumDense",
    "MultiHeadAttention",
    "Embedding",
    "GRU",
    "LSTM",
    "SimpleRNN",
    "Bidirectional",
    "TimeDistributed",
    "Cropping1D",
    "Cropping2D",
    "ClassToken",
)


def blocks(model):
    """Layers at whose output the convolutional blocks end.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, one input, one output, channels last.

    Returns
    -------
    names : list of str
        Of layers, first block first. Dropout does nothing here and is passed over.

    Raises
    ------
    ValueError
        If the model has no convolution.

    Examples
    --------
    >>> blocks(models.build("ckn19", n_outputs=8))  # doctest: +SKIP
    ['pool1', 'pool2', 'pool3']
    """
    from musictools.models.graph.reading import calls_before, read

    graph = read(model)
    convolutions = [call for call in graph.calls if _is_convolution(call)]
    if not convolutions:
        raise ValueError(f"{graph.name} has no convolution: there are no feature maps to probe.")
    rank, behind = len(_shape(convolutions[-1])), graph.calls.index(convolutions[-1])
    last = [call for call in graph.calls[behind:] if call.kind not in _NO_MAPS and len(_shape(call)) == rank][-1]
    calls, ends = calls_before(graph.calls, last.outputs[0]), []
    for call in calls:
        if _is_convolution(call):
            ends.append(None)  # the last place behind it that everything passes through
        is_map = call.kind not in (*_NO_MAPS, "Dropout") and len(_shape(call)) == rank
        if ends and is_map and _is_cut(calls, call, last):
            ends[-1] = call.name
    return [name for name in ends if name is not None]


def untrained(listener, *, seed=0):
    """The network of a trained model with weights drawn anew: what its maps carry, no training has put there.

    Parameters
    ----------
    listener : listener
        A trained model with its card, such as `musictools.inference.Tagger`.
    seed : int >= 0

    Returns
    -------
    model : keras.Model
    """
    from musictools import models

    return models.build(
        listener.card.model,
        n_outputs=len(listener.tags),
        width=listener.card.width,
        seed=seed,
        input_shape=tuple(listener.model.input_shape[1:]),
    )


class FeatureMaps:
    """Feature maps of many clips in a folder (Zarr); made by `FeatureMaps.build`, opened by the folder.

    Attributes
    ----------
    folder : Path
    ids : list of clip id
        The rows of every map.
    shapes : dict of str to tuple of int
        Layer -> (n_maps, height, width).
    """

    def __init__(self, folder):
        import zarr

        self.folder = Path(folder).absolute()  # workers that read the maps may stand in another folder
        if not (self.folder / "zarr.json").is_file():
            raise ValueError(f"{self.folder}: no feature maps. Build them with FeatureMaps.build.")
        group = zarr.open_group(self.folder, mode="r")
        self.ids, self.source = list(group.attrs["ids"]), group.attrs["source"]
        self.shapes = {name: tuple(shape) for name, shape in group.attrs["shapes"].items()}

    @classmethod
    def build(cls, folder, model, x, ids, *, layers=None, batch_size=16):
        """Run a model over all clips once and keep what its layers give.

        Parameters
        ----------
        folder : str or Path
            A build that broke off there is taken up again.
        model : keras.Model
        x : np.ndarray or Segments [shape=(n_clips, ...)]
            One input a clip; read in batches.
        ids : sequence of clip id
            Of the inputs.
        layers : sequence of str or None
            None: `blocks`. The input comes first in any case.
        batch_size : int > 0
            Of speed and memory only.

        Returns
        -------
        maps : FeatureMaps

        Raises
        ------
        ValueError
            If a layer is unknown or gives no maps, the model has no convolution, the inputs do not fit the ids, or
            the folder holds maps of something else.
        """
        from musictools.models.graph import autodiff
        from musictools.models.graph.reading import read

        if len(ids) != len(x) or not len(ids):
            raise ValueError(f"ids must name every input, at least one. Got {len(ids)} ids and {len(x)} inputs.")
        graph = read(model)
        calls = {name: graph.find(name) for name in (blocks(model) if layers is None else layers)}
        shapes = {INPUT: _map_shape(INPUT, graph.input_shape, channels=False)}
        shapes |= {name: _map_shape(name, _shape(call)) for name, call in calls.items()}
        maps = cls.create(folder, shapes, ids, source=_digest(model, x))
        forward = autodiff.compiled(lambda batch: _values(graph, batch, calls), (None, *graph.input_shape))
        for rows in runs.progress(maps.missing(), description="feature maps"):
            inputs = np.asarray(x[rows.start : rows.stop], np.float32)
            values = {name: np.empty((n, len(rows), *sides), np.float32) for name, (n, *sides) in shapes.items()}
            values[INPUT][:] = inputs.reshape(values[INPUT].shape)
            for k in range(0, len(rows), batch_size):
                for name, part in forward(inputs[k : k + batch_size]).items():
                    part = np.moveaxis(np.asarray(part), -1, 0)
                    values[name][:, k : k + batch_size] = part.reshape(*part.shape[:2], *shapes[name][1:])
            maps.write(rows.start, values)
        return maps

    @classmethod
    def create(cls, folder, shapes, ids, *, source=""):
        """Make a place for maps, to be filled with `write`.

        Parameters
        ----------
        folder : str or Path
        shapes : dict of str to tuple of int
            Layer -> (n_maps, height, width).
        ids : sequence of clip id
        source : str
            Says what the maps are of; the same folder takes the same source only.

        Returns
        -------
        maps : FeatureMaps
        """
        folder, ids = Path(folder), [i.item() if isinstance(i, np.generic) else i for i in ids]
        wanted = {"ids": ids, "shapes": {name: [int(n) for n in s] for name, s in shapes.items()}, "source": source}
        if not (folder / "zarr.json").is_file():
            _create(folder, shapes, wanted)
        maps = cls(folder)
        if (maps.ids, {k: list(s) for k, s in maps.shapes.items()}, maps.source) != tuple(wanted.values()):
            raise ValueError(f"{folder} holds feature maps of other clips, other layers or another model.")
        return maps

    def missing(self):
        """The clips that are not there yet, in the blocks that `write` takes, list of range (of rows)."""
        n_clips = len(self.ids)
        return [
            range(int(k) * _ROWS, min((int(k) + 1) * _ROWS, n_clips))
            for k in np.flatnonzero(~self._open()["complete"][:])
        ]

    def write(self, start, values):
        """Write the maps of a block of clips.

        Parameters
        ----------
        start : int
            Where a block of `missing` starts.
        values : dict of str to np.ndarray [shape=(n_maps, n_rows, height, width)]
            Of every layer, as many rows as the block has.
        """
        group, n_rows = self._open("r+"), min(_ROWS, len(self.ids) - start)
        if set(values) != set(self.shapes):
            raise ValueError(f"values must have the layers {', '.join(self.shapes)}. Got {', '.join(values)}.")
        for name, array in values.items():
            n_maps, height, width = self.shapes[name]
            if array.shape != (n_maps, n_rows, height, width):
                raise ValueError(
                    f"{name} must have shape {(n_maps, n_rows, height, width)} from clip {start} on. Got {array.shape}."
                )
            group[name][:, start : start + n_rows] = array.reshape(n_maps, n_rows, -1)
        group["complete"][start // _ROWS] = True

    def read(self, layer, index):
        """One map of all clips.

        Parameters
        ----------
        layer : str
        index : int
            From 0.

        Returns
        -------
        X : np.ndarray [shape=(n_clips, height * width), float32]

        Raises
        ------
        ValueError
            If there is no such layer or map, maps are missing, or the map holds NaN or Inf.
        """
        self._check(layer, index)
        X = np.ascontiguousarray(self._open()[layer][int(index)])
        bad = ~np.isfinite(X).all(axis=1)
        if bad.any():
            raise ValueError(
                f"Map {index} of {layer!r} holds NaN or Inf for {bad.sum()} of {len(X)} clips, first "
                f"{self.ids[int(bad.argmax())]!r}, or its build broke off."
            )
        return X

    def clip(self, layer, clip_id):
        """All maps of one layer of one clip, np.ndarray [shape=(n_maps, height, width), float32]."""
        self._check(layer, 0)
        if clip_id not in self.ids:
            raise ValueError(f"There are no feature maps of clip {clip_id!r}.")
        return self._open()[layer][:, self.ids.index(clip_id)].reshape(self.shapes[layer])

    def items(self, layers=None, *, at_most=0):
        """Names of single maps, to go through.

        Parameters
        ----------
        layers : sequence of str or None
            None: all but the input.
        at_most : int >= 0
            So many maps of every layer, evenly spread over it; 0: all.

        Returns
        -------
        items : list of (str, int)
            Layer and index.
        """
        layers = [name for name in self.shapes if name != INPUT] if layers is None else list(layers)
        items = []
        for layer in layers:
            self._check(layer, 0)
            n_maps = self.shapes[layer][0]
            n_chosen = min(at_most, n_maps) if at_most else n_maps
            items += [(layer, int(k)) for k in np.arange(n_chosen) * n_maps // n_chosen]
        return items

    def rows(self, ids):
        """Rows of some clips, np.ndarray [shape=(n,), int]."""
        place = {clip_id: row for row, clip_id in enumerate(self.ids)}
        unknown = [clip_id for clip_id in ids if clip_id not in place]
        if unknown:
            raise ValueError(f"There are no feature maps of {len(unknown)} clips, first {unknown[0]!r}.")
        return np.array([place[clip_id] for clip_id in ids], dtype=int)

    def _check(self, layer, index):
        if layer not in self.shapes:
            raise ValueError(f"layer must be one of {', '.join(self.shapes)}. Got {layer!r}.")
        if not isinstance(index, int | np.integer) or not 0 <= index < self.shapes[layer][0]:
            raise ValueError(f"index must be an int from 0 to {self.shapes[layer][0] - 1} in {layer!r}. Got {index!r}.")

    def _open(self, mode="r"):
        import zarr

        return zarr.open_group(self.folder, mode=mode)


def _create(folder, shapes, attributes):
    """An empty store, complete or absent."""
    import zarr

    n_clips = len(attributes["ids"])
    with atomic_folder(folder) as temporary:
        group = zarr.open_group(temporary, mode="w", attributes=attributes)
        for name, (n_maps, height, width) in shapes.items():
            cells = height * width
            group.create_array(
                name,
                shape=(n_maps, n_clips, cells),
                chunks=(1, min(_ROWS, n_clips), cells),
                dtype="float32",
                fill_value=np.nan,
                compressors=None,
            )
        group.create_array("complete", shape=(-(-n_clips // _ROWS),), chunks=(1,), dtype="bool", fill_value=False)


def _is_convolution(call):
    return "Conv" in call.kind and not call.kind.endswith("Transpose")


def _shape(call):
    """Shape of a call's output without the batch."""
    return tuple(call.node.outputs[0].shape[1:])


def _is_cut(calls, call, last):
    """Whether every way from the input to `last` leads through a call."""
    reached = {0}
    for other in calls:
        if other is not call and reached & set(other.inputs):
            reached |= set(other.outputs)
    return call is last or not reached & set(last.outputs)


def _map_shape(name, shape, *, channels=True):
    """(n_maps, height, width) of an output; of an input (1, height, width)."""
    if len(shape) not in (2, 3) or None in shape:
        raise ValueError(f"Layer {name!r} gives no feature maps: its output has shape {shape}.")
    *sides, n_maps = shape
    if not channels:
        sides, n_maps = [*sides[:-1], sides[-1] * n_maps], 1
    return (n_maps, *([1] * (2 - len(sides))), *sides)


def _values(graph, x, calls):
    """Outputs of some calls, dict of str to tensor, in one pass."""
    wanted, values = {call.outputs[0] for call in calls.values()}, {0: x}
    for call in graph.calls:
        if wanted <= set(values):
            break
        values.update(zip(call.outputs, call(*(values[i] for i in call.inputs))))
    return {name: values[call.outputs[0]] for name, call in calls.items()}


def _digest(model, x):
    """Hash of a model's weights and of its first and last input."""
    digest = hashlib.sha256(repr([w.path for w in model.weights]).encode())
    for array in (*model.get_weights(), np.asarray(x[0]), np.asarray(x[len(x) - 1])):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
