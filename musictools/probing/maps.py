"""Feature maps on disk: written batch by batch from one forward pass, read one map at a time.

Conventions
-----------
A *block* is what lies between two places that all computation passes through: its convolutions, normalisation,
activation and pooling. Its feature maps are the values at its end, just before the next convolution; in ckn19 they are
the outputs of its three poolings. Branches inside a block (shortcuts, gates, parallel filters) belong to it. A map is a
matrix (height, width), low frequency first; in a network on waveforms (1, n). Maps are counted from 0, as in the
thesis. The network's input is stored as one more layer with one map, `INPUT`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musictools import runs
from musictools.files import atomic_folder

if TYPE_CHECKING:
    import keras

    from musictools.inference import AudioModel
    from musictools.spectrograms import Segments

__all__ = [
    "INPUT",
    "FeatureMaps",
    "MapNames",
    "blocks",
    "bytes_of_map",
    "identify",
    "map_shapes",
    "maps_of",
    "untrained",
]

INPUT = "input"
_ROWS = 256  # clips per file of one map
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


def blocks(model: keras.Model) -> list[str]:
    """Name the layers at whose outputs the convolutional blocks end.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, one input, one output, channels last.

    Returns
    -------
    names : list of str
        One per block, first block first. Dropout layers are ignored.

    Raises
    ------
    ValueError
        If the model has no convolution.

    Examples
    --------
    >>> from musictools import models
    >>> blocks(models.build("ckn19", n_outputs=8, width=0.1))
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
            ends.append(None)  # to become the last place after it that everything passes through
        is_map = call.kind not in (*_NO_MAPS, "Dropout") and len(_shape(call)) == rank
        if ends and is_map and _is_cut(calls, call, last):
            ends[-1] = call.name
    return [name for name in ends if name is not None]


def untrained(audio_model: AudioModel, *, seed: int = 0) -> keras.Model:
    """Build the same architecture with random weights, as a baseline.

    Parameters
    ----------
    audio_model : AudioModel
        A trained model with its card, such as `musictools.inference.Tagger`.
    seed : int >= 0
        Seed of the weights.

    Returns
    -------
    model : keras.Model
    """
    from musictools import models

    return models.build(
        audio_model.card.model,
        n_outputs=len(audio_model.tags),
        width=audio_model.card.width,
        seed=seed,
        input_shape=tuple(audio_model.model.input_shape[1:]),
    )


def map_shapes(model: keras.Model, layers: Sequence[str] | None = None) -> dict[str, tuple[int, int, int]]:
    """Numbers and sizes of feature maps.

    Parameters
    ----------
    model : keras.Model
    layers : sequence of str or None
        Names of layers; None: `blocks`.

    Returns
    -------
    shapes : dict of str to tuple of int
        Layer, the input first -> (n_maps, height, width).

    Raises
    ------
    ValueError
        If a layer is unknown or has no maps, or the model has no convolution.
    """
    return _layers(model, layers)[2]


def bytes_of_map(shape: tuple[int, int, int], n_clips: int) -> int:
    """Disk space of one map of all clips, whose files hold 256 clips each.

    Parameters
    ----------
    shape : (int, int, int)
        (n_maps, height, width) of its layer.
    n_clips : int > 0

    Returns
    -------
    n_bytes : int

    Examples
    --------
    >>> bytes_of_map((64, 64, 64), 10_240) / 1e9
    0.16777216
    """
    _, height, width = shape
    rows = min(_ROWS, n_clips)
    return 4 * height * width * rows * -(-n_clips // rows)


def maps_of(model: keras.Model, x: np.ndarray, layers: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Compute the feature maps of one input.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=input_shape]
    layers : sequence of str or None
        Names of layers; None: `blocks`.

    Returns
    -------
    maps : dict of str to np.ndarray [shape=(n_maps, height, width), float32]
        By layer, the input first.

    Examples
    --------
    >>> from musictools import models
    >>> model = models.build("ckn19", n_outputs=8, width=0.1, input_shape=(32, 32, 1), seed=0)
    >>> {layer: maps.shape for layer, maps in maps_of(model, np.zeros((32, 32, 1))).items()}
    {'input': (1, 32, 32), 'pool1': (6, 16, 16), 'pool2': (13, 8, 8), 'pool3': (26, 4, 4)}
    """
    import tensorflow as tf

    graph, calls, shapes = _layers(model, layers)
    values = _values(graph, tf.constant(np.asarray(x, np.float32)[None]), calls)
    maps = {INPUT: np.asarray(x, np.float32)} | {
        name: np.moveaxis(np.asarray(values[name])[0], -1, 0) for name in calls
    }
    return {name: array.reshape(shapes[name]) for name, array in maps.items()}


def identify(model: keras.Model, x: np.ndarray | Segments) -> str:
    """Hash of a model's weights and of its first and last input.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray or Segments [shape=(n_clips, ...)]

    Returns
    -------
    source : str
    """
    digest = hashlib.sha256(repr([w.path for w in model.weights]).encode())
    for array in (*model.get_weights(), np.asarray(x[0]), np.asarray(x[len(x) - 1])):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class MapNames:
    """What stored and streamed feature maps share: which maps there are, and of which clips.

    Attributes
    ----------
    ids : list of clip id
        The rows of every map.
    shapes : dict of str to tuple of int
        Layer -> (n_maps, height, width).
    source : str
        Identifies what the maps were computed from.
    """

    ids: list
    shapes: dict[str, tuple[int, int, int]]
    source: str

    def names(self, layers: Sequence[str] | None = None, *, at_most: int = 0) -> list[tuple[str, int]]:
        """List single maps.

        Parameters
        ----------
        layers : sequence of str or None
            Names of layers; None: all but the input.
        at_most : int >= 0
            Maximum number of maps per layer, evenly spread over it; 0: all.

        Returns
        -------
        names : list of (str, int)
            Layer and index of every map.
        """
        layers = [name for name in self.shapes if name != INPUT] if layers is None else list(layers)
        names = []
        for layer in layers:
            self._check(layer, 0)
            n_maps = self.shapes[layer][0]
            n_chosen = min(at_most, n_maps) if at_most else n_maps
            names += [(layer, int(k)) for k in np.arange(n_chosen) * n_maps // n_chosen]
        return names

    def rows(self, ids: Sequence) -> np.ndarray:
        """Find the rows of some clips.

        Parameters
        ----------
        ids : sequence of clip id
            Some of `ids`, in any order.

        Returns
        -------
        rows : np.ndarray [shape=(n,), int]

        Raises
        ------
        ValueError
            If there are no maps of a clip.
        """
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


@dataclass(frozen=True)
class _Forward:
    """Compute and store the maps of some rows."""

    model: keras.Model
    layers: Sequence[str] | None
    x: np.ndarray | Segments
    maps: FeatureMaps
    batch_size: int

    @functools.cached_property
    def _run(self):
        from musictools.models.graph import autodiff

        graph, calls, _ = _layers(self.model, self.layers)
        wanted = {name: calls[name] for name in self.maps.stored if name != INPUT}
        if not wanted:
            return None
        return autodiff.compiled_arrays(lambda y: _values(graph, y, wanted), (None, *graph.input_shape))

    def __call__(self, rows):
        maps, shapes = self.maps, self.maps.shapes
        inputs = np.asarray(self.x[rows.start : rows.stop], np.float32)
        values = {
            name: np.empty((len(kept), len(rows), *shapes[name][1:]), np.float32) for name, kept in maps.stored.items()
        }
        if INPUT in values:
            values[INPUT][:] = inputs.reshape(values[INPUT].shape)
        for k in range(0, len(rows), self.batch_size) if self._run else ():
            for name, part in self._run(inputs[k : k + self.batch_size]).items():
                part = np.moveaxis(part, -1, 0)[maps.stored[name]]
                values[name][:, k : k + self.batch_size] = part.reshape(*part.shape[:2], *shapes[name][1:])
        maps.write(rows.start, values)


class FeatureMaps(MapNames):
    """Feature maps of many clips in a Zarr folder.

    Parameters
    ----------
    folder : str or Path
        A folder that `FeatureMaps.build` or `FeatureMaps.create` has made.

    Attributes
    ----------
    folder : Path
        Absolute, so that worker processes in another directory can open it.
    ids : list of clip id
        The rows of every map.
    shapes : dict of str to tuple of int
        Layer -> (n_maps, height, width).
    source : str
        Identifies what the maps were computed from.
    stored : dict of str to list of int
        Layer -> indices of the maps that the folder holds.

    Raises
    ------
    ValueError
        If the folder holds no feature maps.

    Examples
    --------
    >>> import tempfile
    >>> from musictools import models
    >>> model = models.build("ckn19", n_outputs=8, width=0.1, input_shape=(32, 32, 1), seed=0)
    >>> x = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)
    >>> maps = FeatureMaps.build(tempfile.mkdtemp(), model, x, ["clip a", "clip b"])
    >>> maps.shapes
    {'input': (1, 32, 32), 'pool1': (6, 16, 16), 'pool2': (13, 8, 8), 'pool3': (26, 4, 4)}
    >>> maps.read("pool3", 25).shape
    (2, 16)
    """

    def __init__(self, folder: str | Path):
        import zarr

        self.folder = Path(folder).absolute()
        if not (self.folder / "zarr.json").is_file():
            raise ValueError(f"{self.folder}: no feature maps. Build them with FeatureMaps.build.")
        group = zarr.open_group(self.folder, mode="r")
        self.ids, self.source = list(group.attrs["ids"]), group.attrs["source"]
        self.shapes = {name: tuple(shape) for name, shape in group.attrs["shapes"].items()}
        self.stored = dict(group.attrs["stored"])

    @classmethod
    def build(
        cls,
        folder: str | Path,
        model: keras.Model,
        x: np.ndarray | Segments,
        ids: Sequence,
        *,
        layers: Sequence[str] | None = None,
        only: Sequence[tuple[str, int]] | None = None,
        batch_size: int = 16,
    ) -> FeatureMaps:
        """Run a model over all clips once and store the outputs of its layers.

        Parameters
        ----------
        folder : str or Path
            Where the maps are stored. An interrupted build there is resumed.
        model : keras.Model
            A network with convolutions.
        x : np.ndarray or Segments [shape=(n_clips, ...)]
            One input per clip, read in batches.
        ids : sequence of clip id
            The clips of the inputs.
        layers : sequence of str or None
            Names of layers; None: `blocks`.
        only : sequence of (str, int) or None
            Layer and index of the maps to store; None: all, and the input.
        batch_size : int > 0
            Number of inputs computed at once. It affects speed and memory only.

        Returns
        -------
        maps : FeatureMaps

        Raises
        ------
        ValueError
            If a layer is unknown or has no maps, the model has no convolution, the inputs do not fit the ids, or the
            folder holds other maps.
        """
        if len(ids) != len(x) or not len(ids):
            raise ValueError(f"ids must name every input, at least one. Got {len(ids)} ids and {len(x)} inputs.")
        maps = cls.create(folder, _layers(model, layers)[2], ids, source=identify(model, x), only=only)
        job = _Forward(model, layers, x, maps, batch_size)
        runs.map(job, maps.missing(), workers=1, description="feature maps", shared=[maps.folder])
        return maps

    @classmethod
    def create(
        cls,
        folder: str | Path,
        shapes: dict[str, tuple[int, int, int]],
        ids: Sequence,
        *,
        source: str = "",
        only: Sequence[tuple[str, int]] | None = None,
    ) -> FeatureMaps:
        """Create an empty store, to be filled with `write`, or open it if it exists.

        Parameters
        ----------
        folder : str or Path
            Where the maps are stored.
        shapes : dict of str to tuple of int
            Layer -> (n_maps, height, width).
        ids : sequence of clip id
            The rows of every map.
        source : str
            Identifies what the maps are computed from.
        only : sequence of (str, int) or None
            Layer and index of the maps to store; None: all.

        Returns
        -------
        maps : FeatureMaps

        Raises
        ------
        ValueError
            If the folder holds maps of other clips or layers, or from another source.
        """
        folder, ids = Path(folder), [i.item() if isinstance(i, np.generic) else i for i in ids]
        stored = {name: list(range(shape[0])) for name, shape in shapes.items()}
        if only is not None:
            stored = {name: sorted({int(k) for layer, k in only if layer == name}) for name in shapes}
            stored = {name: kept for name, kept in stored.items() if kept}
        wanted = {
            "ids": ids,
            "shapes": {name: [int(n) for n in s] for name, s in shapes.items()},
            "source": source,
            "stored": stored,
        }
        if not (folder / "zarr.json").is_file():
            _create(folder, shapes, wanted)
        for partial in folder.rglob("*.partial"):  # left by a build that was killed while zarr wrote a chunk
            partial.unlink()
        maps = cls(folder)
        shapes = {name: list(shape) for name, shape in maps.shapes.items()}
        if (maps.ids, shapes, maps.source, maps.stored) != tuple(wanted.values()):
            raise ValueError(f"{folder} holds feature maps of other clips, other layers or another model.")
        return maps

    def missing(self) -> list[range]:
        """List the rows that have not been written yet.

        Returns
        -------
        missing : list of range
            Rows, in the portions that `write` takes.
        """
        n_clips = len(self.ids)
        return [
            range(int(k) * _ROWS, min((int(k) + 1) * _ROWS, n_clips))
            for k in np.flatnonzero(~self._open()["complete"][:])
        ]

    def write(self, start: int, values: dict[str, np.ndarray]) -> None:
        """Write all maps of some clips.

        Parameters
        ----------
        start : int
            First row of a range of `missing`.
        values : dict of str to np.ndarray [shape=(n_maps, n_rows, height, width)]
            By layer, for every row of the range.

        Raises
        ------
        ValueError
            If layers or shapes do not fit.
        """
        group, n_rows = self._open("r+"), min(_ROWS, len(self.ids) - start)
        if set(values) != set(self.stored):
            raise ValueError(f"values must have the layers {', '.join(self.stored)}. Got {', '.join(values)}.")
        for name, array in values.items():
            n_maps, (_, height, width) = len(self.stored[name]), self.shapes[name]
            if array.shape != (n_maps, n_rows, height, width):
                raise ValueError(
                    f"{name} must have shape {(n_maps, n_rows, height, width)} from clip {start} on. Got {array.shape}."
                )
            group[name][:, start : start + n_rows] = array.reshape(n_maps, n_rows, -1)
        group["complete"][start // _ROWS] = True

    def read(self, layer: str, index: int) -> np.ndarray:
        """Read one map of all clips.

        Parameters
        ----------
        layer : str
            One of `shapes`.
        index : int
            Index of the map, from 0.

        Returns
        -------
        X : np.ndarray [shape=(n_clips, height * width), float32]

        Raises
        ------
        ValueError
            If there is no such layer or map, maps are missing, or the map holds NaN or Inf.
        """
        self._check(layer, index)
        if index not in self.stored.get(layer, ()):
            raise ValueError(f"Map {index} of {layer!r} is not stored in {self.folder}.")
        X = np.ascontiguousarray(self._open()[layer][self.stored[layer].index(index)])
        bad = ~np.isfinite(X).all(axis=1)
        if bad.any():
            raise ValueError(
                f"Map {index} of {layer!r} holds NaN or Inf for {bad.sum()} of {len(X)} clips, first "
                f"{self.ids[int(bad.argmax())]!r}, or its build broke off."
            )
        return X

    def passes(self, names: Sequence[tuple[str, int]]) -> Iterator[tuple[FeatureMaps, list[tuple[str, int]]]]:
        """All maps at once, as `StreamedMaps.passes` gives them in groups.

        Parameters
        ----------
        names : sequence of (str, int)
            Layer and index of the maps.

        Yields
        ------
        maps : FeatureMaps
        names : list of (str, int)
        """
        yield self, list(names)

    def _open(self, mode="r"):
        import zarr

        return zarr.open_group(self.folder, mode=mode)


def _create(folder, shapes, attributes):
    """An empty store, complete or absent."""
    import zarr

    n_clips = len(attributes["ids"])
    with atomic_folder(folder) as temporary:
        group = zarr.open_group(temporary, mode="w", attributes=attributes)
        for name, kept in attributes["stored"].items():
            cells = shapes[name][1] * shapes[name][2]
            group.create_array(
                name,
                shape=(len(kept), n_clips, cells),
                chunks=(1, min(_ROWS, n_clips), cells),
                dtype="float32",
                fill_value=np.nan,
                compressors=None,
            )
        group.create_array("complete", shape=(-(-n_clips // _ROWS),), chunks=(1,), dtype="bool", fill_value=False)


def _layers(model, layers):
    """A model's graph, the calls of its layers, and the shapes of their maps."""
    from musictools.models.graph.reading import read

    graph = read(model)
    calls = {name: graph.find(name) for name in (blocks(model) if layers is None else layers)}
    shapes = {INPUT: _map_shape(INPUT, graph.input_shape, channels=False)}
    return graph, calls, shapes | {name: _map_shape(name, _shape(call)) for name, call in calls.items()}


def _is_convolution(call):
    return "Conv" in call.kind and not call.kind.endswith("Transpose")


def _shape(call):
    """Shape of a call's output without the batch."""
    return tuple(call.node.outputs[0].shape[1:])


def _is_cut(calls, call, last):
    """Whether every path from the input to `last` passes through a call."""
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
    """Outputs of some calls in one pass, dict of str to tensor."""
    wanted, values = {call.outputs[0] for call in calls.values()}, {0: x}
    for call in graph.calls:
        if wanted <= set(values):
            break
        values.update(zip(call.outputs, call(*(values[i] for i in call.inputs)), strict=True))
    return {name: values[call.outputs[0]] for name, call in calls.items()}
