"""Feature maps that do not fit the disk at once: computed in passes, each within a disk budget.

A pass runs the network over all clips, stores some of its maps, and deletes them when they have been used. All passes
together give what `FeatureMaps` of all maps give, at the cost of one forward pass over the clips for each of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musictools.probing.maps import FeatureMaps, MapNames, bytes_of_map, identify, map_shapes

if TYPE_CHECKING:
    import keras

    from musictools.spectrograms import Segments

__all__ = ["StreamedMaps", "open_maps"]


class StreamedMaps(MapNames):
    """Feature maps of many clips, on disk for one pass at a time.

    Parameters
    ----------
    folder : str or Path
        Where the maps of a pass are stored. It is emptied before and after every pass.
    model : keras.Model
        A network with convolutions.
    x : np.ndarray or Segments [shape=(n_clips, ...)]
        One input per clip, read in batches.
    ids : sequence of clip id
        The clips of the inputs.
    disk_gb : float > 0
        Disk space for the maps of one pass, in units of 10⁹ bytes.
    batch_size : int > 0
        Number of inputs computed at once.

    Attributes
    ----------
    ids, shapes, source
        As in `FeatureMaps`.

    Raises
    ------
    ValueError
        If a single map needs more space than `disk_gb`.

    See Also
    --------
    open_maps : Chooses between maps on disk and maps in passes.

    Examples
    --------
    >>> import tempfile
    >>> from musictools import models
    >>> model = models.build("ckn19", n_outputs=8, width=0.1, input_shape=(32, 32, 1), seed=0)
    >>> x = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)
    >>> maps = StreamedMaps(tempfile.mkdtemp(), model, x, ["clip a", "clip b"], disk_gb=8.2e-6)
    >>> [len(names) for _, names in maps.passes(maps.names(["pool1"]))]
    [4, 2]
    """

    def __init__(
        self,
        folder: str | Path,
        model: keras.Model,
        x: np.ndarray | Segments,
        ids: Sequence,
        *,
        disk_gb: float,
        batch_size: int = 16,
    ):
        self.folder, self.ids, self.disk_gb = Path(folder).absolute(), list(ids), disk_gb
        self.shapes, self.source = map_shapes(model), identify(model, x)
        self._model, self._x, self._batch_size = model, x, batch_size
        largest = max(self.shapes, key=lambda layer: bytes_of_map(self.shapes[layer], len(self.ids)))
        needed = bytes_of_map(self.shapes[largest], len(self.ids)) / 1e9
        if not disk_gb >= needed:
            raise ValueError(
                f"disk_gb must hold at least one map of {largest!r} of all {len(self.ids)} clips, "
                f"{needed:.3g} GB. Got {disk_gb!r}."
            )

    def passes(self, names: Sequence[tuple[str, int]]) -> Iterator[tuple[FeatureMaps, list[tuple[str, int]]]]:
        """Compute maps in groups that fit the disk budget.

        Parameters
        ----------
        names : sequence of (str, int)
            Layer and index of the maps, as from `names`.

        Yields
        ------
        maps : FeatureMaps
            Holds the maps of this pass; deleted when the next pass begins.
        names : list of (str, int)
            The maps of this pass. The passes together have all maps, in the order given.
        """
        for group in self._groups(list(names)):
            shutil.rmtree(self.folder, ignore_errors=True)  # of a run that was interrupted
            try:
                yield (
                    FeatureMaps.build(
                        self.folder, self._model, self._x, self.ids, only=group, batch_size=self._batch_size
                    ),
                    group,
                )
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _groups(self, names):
        groups, free = [], 0.0
        for name in names:
            size = bytes_of_map(self.shapes[name[0]], len(self.ids))
            if not groups or size > free:
                groups.append([])
                free = self.disk_gb * 1e9
            groups[-1].append(name)
            free -= size
        return groups


def open_maps(
    folder: str | Path,
    networks: dict[str, tuple[keras.Model, np.ndarray | Segments]],
    ids: Sequence,
    *,
    disk_gb: float = 0.0,
    batch_size: int = 16,
) -> dict[str, FeatureMaps | StreamedMaps]:
    """Feature maps of several networks: on disk if all of them fit a budget, else in passes.

    Parameters
    ----------
    folder : str or Path
        Where the maps are stored, a folder per network.
    networks : dict of str to (keras.Model, np.ndarray or Segments)
        Name -> network and its inputs, one per clip.
    ids : sequence of clip id
        The clips of the inputs.
    disk_gb : float >= 0
        Disk space for all maps that lie on disk at the same time, in units of 10⁹ bytes; 0: no limit.
    batch_size : int > 0
        Number of inputs computed at once.

    Returns
    -------
    maps : dict of str to FeatureMaps or StreamedMaps
        By network. Only one pass of one network may be open at a time.

    Raises
    ------
    ValueError
        If the budget is negative or too small for a single map.
    """
    if not disk_gb >= 0:
        raise ValueError(f"disk_gb must be at least 0. Got {disk_gb!r}.")
    shapes = [shape for model, _ in networks.values() for shape in map_shapes(model).values()]
    total = sum(shape[0] * bytes_of_map(shape, len(ids)) for shape in shapes) / 1e9
    places = {name: Path(folder) / name.replace(" ", "_") for name in networks}
    if disk_gb and total > disk_gb:
        return {
            name: StreamedMaps(places[name], model, x, ids, disk_gb=disk_gb, batch_size=batch_size)
            for name, (model, x) in networks.items()
        }
    return {
        name: FeatureMaps.build(places[name], model, x, ids, batch_size=batch_size)
        for name, (model, x) in networks.items()
    }
