"""The networks of Won et al. 2020: the same function as in PyTorch, from the audio file to the logit."""

import numpy as np
import pytest
from support.released import files

from musictools import audio, explain, released
from musictools.files import read_npz
from musictools.released.installation import tagger_of

NAMES = [name for name in released.names() if name.startswith("won2020")]
FEW = ("Karissa", "joram", "solo-trumpet", "metal")  # two of them shorter than 29 s


@pytest.fixture(scope="module")
def oracle(request):
    return read_npz(request.path.parents[1] / "fixtures" / "won2020.npz")


def compare(shared_data, oracle, name, clips):
    release = released.describe(name)
    tagger = tagger_of(release, files(shared_data)[name])
    assert list(tagger.tags) == list(release.tags)
    n_samples = 16000 * (3 if release.network == "musicnn" else 29)
    inputs = [tagger.inputs(audio.load(shared_data / clip, sr=16000)[0][:n_samples]) for clip in clips]
    assert all(len(x) == 1 for x in inputs)
    places = [list(oracle["clips"]).index(clip) for clip in clips]
    logits = explain.logits(tagger.model)(np.concatenate(inputs))
    np.testing.assert_allclose(logits, oracle[name][places], atol=1e-3, rtol=0)


@pytest.mark.real_data
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_pytorch(shared_data, oracle, name):
    compare(shared_data, oracle, name, [c for c in oracle["clips"] if any(part in c for part in FEW)])


@pytest.mark.full
@pytest.mark.real_data
@pytest.mark.parametrize("name", NAMES)
def test_logits_of_all_clips_are_those_of_pytorch(shared_data, oracle, name):
    compare(shared_data, oracle, name, list(oracle["clips"]))
