"""The composed corpus as a data set: MagnaTagATune's loader plus what only a composer knows.

It is built on the first load and completed if a build was interrupted.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import audio, runs, tags
from musictools.datasets.magnatagatune import MagnaTagATune

from . import annotating, rendering, writer

__all__ = ["Composed"]


class Composed(MagnaTagATune):
    """Music that this package composes and renders, with complete tags and stems.

    Parameters
    ----------
    folder : str, Path or None
        Where it is, or shall be built; None: ``composed-<n_clips>-<seed>`` in `musictools.runs.data_home()`.
    n_clips : int > 0
    seed : int >= 0
    workers : int > 0 or None
        Processes that build it.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the folder holds other data.

    See Also
    --------
    musictools.datasets.load : Data sets by name.

    Examples
    --------
    >>> data = Composed(n_clips=400)  # doctest: +SKIP
    >>> data.truth(1)["meter"], sorted(data.stems(1)[0])  # doctest: +SKIP
    ('4/4', ['cello', 'harpsichord', 'violin'])
    """

    name = "composed"
    description = "music composed and rendered here, with stems and complete tags (built on first use)"
    licence = "MIT (the composer); its sounds come from the bank TimGM6mb (GPL-2), which pretty_midi installs"
    where = "musictools data build composed"
    bibtex = ""
    has_stems = True

    def __init__(
        self, folder: str | Path | None = None, *, n_clips: int = 400, seed: int = 0, workers: int | None = None
    ):
        if folder is None:
            folder = runs.data_home() / f"composed-v{writer.VERSION}-{n_clips}-{seed}"
        folder = writer.build(folder, n_clips=n_clips, seed=seed, workers=workers)
        super().__init__(folder)
        self.corpus = json.loads((Path(folder) / "corpus.json").read_text())

    @cached_property
    def _plans(self):
        return writer.load_plans(self.folder)

    def stems(self, clip_id: int, *, sr: int | None = None) -> tuple[dict[str, np.ndarray], int]:
        """Render a clip's instruments apart; their sum is the clip before MP3 coding.

        Parameters
        ----------
        clip_id : int
        sr : int > 0 or None
            Hz; None: 16 kHz, as they are rendered.

        Returns
        -------
        stems : dict of str to np.ndarray [shape=(n,), float32]
            By name; 465,984 samples each at 16 kHz.
        sr : int

        Raises
        ------
        ValueError
            If there is no such clip.
        """
        stems, own = rendering.stems(self._plan(clip_id)), rendering.SR
        if sr in (None, own):
            return stems, own
        return {name: audio.resample(y, orig_sr=own, sr=sr) for name, y in stems.items()}, sr

    def truth(self, clip_id: int) -> dict:
        """What the composer knows of a clip.

        Parameters
        ----------
        clip_id : int

        Returns
        -------
        truth : dict
            As `composed.truth` returns it: tempo in bpm, key, chords, meter, genre, instruments, complete tags.
        """
        return annotating.truth(self._plan(clip_id))

    def tag_stems(self, clip_id: int, tag: str) -> list[str]:
        """Names of the stems that carry a tag.

        Parameters
        ----------
        clip_id : int
        tag : str
            A tag of MagnaTagATune.

        Returns
        -------
        names : list of str
            Empty if the tag belongs to no stem ("slow") or is not true of the clip.
        """
        return annotating.tag_stems(self._plan(clip_id), tag)

    @cached_property
    def complete_tags(self) -> pd.DataFrame:
        """True tags of every clip in all spellings, written by annotators or not; the rows and columns of `tags`."""
        true = pd.DataFrame(False, index=self.tags.index, columns=self.tags.columns)
        for clip_id in true.index:
            true.loc[clip_id, sorted(self.truth(clip_id)["tags"] & set(true.columns))] = True
        return true

    @cached_property
    def complete_descriptors(self) -> pd.DataFrame:
        """True descriptors of every clip, written by annotators or not; the rows and columns of `descriptors`."""
        return tags.vocabulary().descriptor_table(self.complete_tags)[self.descriptors.columns]

    def _plan(self, clip_id):
        if clip_id not in self._plans:
            raise ValueError(f"{self.name} has no clip {clip_id!r}.")
        return self._plans[int(clip_id)]
