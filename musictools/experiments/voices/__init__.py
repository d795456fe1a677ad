"""Does the evidence for a voice lie where the voice is? Maps of vocal tags against the stems of real songs.

Conventions
-----------
A *clip* holds voice and accompaniment separately, and the times at which somebody sings. Its spectrogram x (n_mels,
n_frames) in [0, 1] is repeated until it fills the network's input; a cell's relevance is the mean over its copies, and
methods that change the input change all copies at once. A *voice cell* is one in which the voice has more power than
the accompaniment and the mix lies at most 60 dB below its maximum.

Targets: ``vocals`` is the vocal tag whose logit exceeds its base rate most, chosen for each clip; ``vocals -
instrumental`` is the difference of two logits; all others are tags. Deep Taylor explains the logit above a reference
below any score. Its maps for other references differ by a factor only, and with this one no map is empty.

Forms: ``raw``; ``smoothed`` (by a Gaussian of one band and two frames, signs included); ``smoothed x energy``. The
positive part of each is ranked. ``energy`` is x itself and ``change`` is x minus the mean of its band; neither uses the
network. ``/shuffled`` is the same method on the network with its weights shuffled layer by layer. A method that is not
better than these controls shows how it treats sound, not what the network knows about voices.

``voice_down`` is an oracle: integrated gradients from the clip with its voice 20 dB lower. It uses the stems, so that
it is an upper bound and not an explanation that one could have without stems.

``components`` is audioLIME (Haunschmid et al. 2020) without stems: the eight components of a non-negative matrix
factorisation are attenuated by 20 dB one after the other, and each spreads the loss of the logit over its cells.
"""

from musictools.experiments.voices.clips import Clip, choose_clips, components, voice_cells
from musictools.experiments.voices.probe import Probe
from musictools.experiments.voices.tables import compare, down_table, table
from musictools.experiments.voices.terms import (
    BASE_RATES,
    CONTROLS,
    DEFAULT_METHODS,
    FORMS,
    MEASURES,
    METHODS,
    ORACLE,
    TARGETS,
)

__all__ = [
    "BASE_RATES",
    "CONTROLS",
    "DEFAULT_METHODS",
    "FORMS",
    "MEASURES",
    "METHODS",
    "ORACLE",
    "TARGETS",
    "Clip",
    "Probe",
    "choose_clips",
    "compare",
    "components",
    "down_table",
    "table",
    "voice_cells",
]
