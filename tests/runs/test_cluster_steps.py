"""Relevance, feature maps and concepts on a real Dask cluster: the results are those of this process."""

import sys

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from support import planted
from support.clusters import Cluster

from musictools import inference, models
from musictools.concepts import discover
from musictools.experiments import explanations, robustness_reasons
from musictools.models.card import ModelCard
from musictools.probing.maps import FeatureMaps
from musictools.runs import cluster, parallel
from musictools.spectrograms import FrontEnd, ModelInput

pytestmark = pytest.mark.full
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers do not see this file

SR = 8000
TAGS = ["bass", "flute"]
FRONT_END = FrontEnd(SR, 512, 256, 32)


class Corpus:
    """Clips of a bass and a flute."""

    complete_descriptors = pd.DataFrame(True, index=[200, 300, 400], columns=TAGS)

    def stems(self, clip_id, *, sr=SR):
        t = np.arange(3 * SR) / SR
        waves = np.sin(2 * np.pi * clip_id * t), np.sin(2 * np.pi * 8 * clip_id * t) * (t > 1)
        return {name: (0.3 * y).astype(np.float32) for name, y in zip(TAGS, waves, strict=True)}, sr

    def truth(self, clip_id):
        return {"instruments": TAGS}

    def tag_stems(self, clip_id, tag):
        return [tag]

    def audio(self, clip_id, *, sr=SR):
        return sum(self.stems(clip_id)[0].values()), sr


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A function that does some work here and on a cluster of two workers, and returns both results."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as machines:
        machines.add(2)

        def both(work, **options):
            here = work(**options)
            sent = []
            with pytest.MonkeyPatch.context() as patch:
                results = cluster.results
                patch.setattr(cluster, "results", lambda *a: sent.append(a[0]) or results(*a))
                patch.setitem(parallel._default, "scheduler", machines.address)
                there = work(**options)
            assert sent, "nothing was sent to the cluster"
            return here, there

        yield both


@pytest.fixture(scope="module")
def tagger():
    shape = ModelInput(FRONT_END, 64, 32).shape
    model = models.build("se_cnn", n_outputs=2, input_shape=shape, width=0.1, seed=0)
    card = ModelCard(task="tags", model="se_cnn", outputs=TAGS, front_end=FRONT_END, length=64, step=32,
                     thresholds={"f1": dict.fromkeys(TAGS, 0.0)})  # fmt: skip
    return inference.Tagger(model, card)


@pytest.fixture(scope="module")
def methods(tagger):
    labels = {"lrp_composite": {}, "against others": {"method": "lrp_composite", "contrast": "others"}, "gradient": {}}
    return explanations.explainers(tagger.model, labels, conservation=False, seed=0)


@pytest.mark.parametrize("what", ["localisation", "faithfulness", "evidence", "reasons"])
def test_relevance(far, tagger, methods, what):
    data = Corpus()
    ids = list(data.complete_descriptors.index)
    x, table = explanations.accepted_inputs(tagger, data, ids)

    def work():
        if what == "localisation":
            return [explanations.localisation_rows(tagger, data, ids, methods=methods)]
        if what == "faithfulness":
            return explanations.faithfulness_tables(tagger, x, table, methods=methods, steps=3)
        if what == "evidence":
            return [explanations.feedback_table(tagger, data, ids, method=methods["lrp_composite"])]
        options = {"deformations": ["pitch up"], "thresholds": pd.Series(0.0, TAGS), "seconds": 2.5}
        return [robustness_reasons.reasons(tagger, data.audio, ids, **options)]

    for one, other in zip(*far(work), strict=True):
        assert len(one)
        pd.testing.assert_frame_equal(other, one, check_exact=True)


def test_feature_maps(far, tagger, tmp_path):
    x = np.random.default_rng(0).random((300, *tagger.model.input_shape[1:]), dtype=np.float32)
    folders = iter([tmp_path / "here", tmp_path / "there"])
    here, there = far(lambda: FeatureMaps.build(next(folders), tagger.model, x, range(300)))
    assert not list(there.missing())
    files = [{p.relative_to(one.folder): p.read_bytes() for p in one.folder.rglob("*") if p.is_file()}
             for one in (here, there)]  # fmt: skip
    assert len(files[0]) > 2
    assert files[0] == files[1]


def test_concepts(far):
    x, labels = planted.planted()
    model = planted.trained(x, labels)
    here, there = far(lambda: discover(model, x, labels, n_segments=(6,), n_concepts=4, n_runs=4, n_null=20, n_seeds=2))
    pd.testing.assert_frame_equal(there.table, here.table, check_exact=True)
    np.testing.assert_array_equal(there.vectors, here.vectors)
    np.testing.assert_array_equal(there.concept, here.concept)
