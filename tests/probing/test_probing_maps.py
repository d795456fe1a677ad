"""Feature maps on disk are the layers' outputs; masks of stems find the map that is active with them."""

import pickle
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from keras import layers as L
from sklearn.metrics import roc_auc_score
from support.networks import shaken

from musictools import models, runs, spectrograms
from musictools.datasets import composed, splits
from musictools.explain.metrics import localisation
from musictools.plots import probing as figures
from musictools.probing import clips, dissection, map_sets, probes, scores, streams
from musictools.probing.maps import INPUT, FeatureMaps, blocks, bytes_of_map, maps_of, untrained

# --- where blocks end -------------------------------------------------------------------------------------------------

BLOCKS = {
    "ckn19": ["pool1", "pool2", "pool3"],
    "se_cnn": ["pool1", "pool2", "pool3", "gate4", "pool5"],  # gates belong to their block, the fourth has no pooling
    "short_chunk_res": [f"pool{k}" for k in range(1, 8)],  # shortcuts too
    "vgg_cnn": ["pool1", "pool2", "pool3", "pool4"],  # dropout is passed over
    "musicnn": ["front_end", "norm1", "pool2", "add3"],  # parallel filters are one block
    "sample_cnn_se": ["relu1", *(f"gated{k}" for k in range(2, 11))],  # its side branches do not count
    "self_attention": [f"relu{k}" for k in range(1, 8)],  # what is behind the convolutions gives no maps
    "crnn": ["pool1", "pool2", "pool3", "pool4"],
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_all_kinds_of_networks(name):
    assert blocks(models.build(name, n_outputs=2, width=0.03)) == BLOCKS[name]


def test_ckn19_at_full_width_has_the_maps_of_the_thesis(tmp_path):
    model, rng = models.build("ckn19", n_outputs=8, seed=0), np.random.default_rng(0)
    x = rng.random((2, 128, 128, 1), dtype=np.float32)
    maps = FeatureMaps.build(tmp_path / "maps", model, x, ["a", "b"])
    assert maps.shapes == {INPUT: (1, 128, 128), "pool1": (64, 64, 64), "pool2": (128, 32, 32), "pool3": (256, 16, 16)}


def test_maps_in_a_relative_folder_are_read_from_anywhere(tmp_path, monkeypatch):
    """Worker processes that were started earlier have another working directory."""
    monkeypatch.chdir(tmp_path)
    maps = FeatureMaps.create("maps", {"layer": (1, 2, 2)}, ["a", "b"])
    maps.write(0, {"layer": np.ones((1, 2, 2, 2), np.float32)})
    monkeypatch.chdir(tmp_path.parent)
    assert pickle.loads(pickle.dumps(maps)).read("layer", 0).sum() == 8


def test_a_model_without_convolutions_is_refused(tmp_path):
    dense = keras.Sequential([L.Input((8, 8, 1)), L.Flatten(), L.Dense(2, name="logits")], name="flat")
    with pytest.raises(ValueError, match="flat has no convolution: there are no feature maps to probe"):
        blocks(dense)
    x = np.zeros((3, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="flat has no convolution"):
        FeatureMaps.build(tmp_path / "maps", dense, x, range(3))
    with pytest.raises(ValueError, match="Layer 'logits' gives no feature maps: its output has shape"):
        FeatureMaps.build(tmp_path / "maps", dense, x, range(3), layers=["logits"])


# --- maps on disk -----------------------------------------------------------------------------------------------------


def small(seed=0):
    inputs = L.Input((8, 12, 1))
    x = L.Conv2D(3, 3, padding="same", activation="relu", name="conv1")(inputs)
    x = L.MaxPooling2D(2, name="pool1")(L.BatchNormalization(name="norm1")(x))
    y = L.Conv2D(3, 3, padding="same", name="conv2")(L.Dropout(0.5)(x))
    x = L.ReLU(name="relu2")(L.Add(name="add2")([x, y]))
    return shaken(keras.Model(inputs, L.Dense(2)(L.Flatten()(x)), name="small"), seed)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    model, rng = small(), np.random.default_rng(0)
    x = rng.random((300, 8, 12, 1), dtype=np.float32)  # more than one block of clips
    folder = tmp_path_factory.mktemp("maps") / "maps"
    return FeatureMaps.build(folder, model, x, range(1000, 1300), batch_size=7), model, x


def test_maps_are_what_the_layers_give(built):
    maps, model, x = built
    assert maps.shapes == {INPUT: (1, 8, 12), "pool1": (3, 4, 6), "relu2": (3, 4, 6)}
    for name in ("pool1", "relu2"):
        expected = keras.Model(model.inputs, model.get_layer(name).output).predict(x, verbose=0)
        for index in range(3):
            np.testing.assert_allclose(maps.read(name, index), expected[..., index].reshape(300, -1), atol=1e-5)
        np.testing.assert_allclose(maps_of(model, x[299])[name], np.moveaxis(expected[299], -1, 0), atol=1e-5)
    np.testing.assert_array_equal(maps.read(INPUT, 0), x.reshape(300, -1))
    assert maps.read("pool1", 0).dtype == np.float32
    again = pickle.loads(pickle.dumps(maps))
    np.testing.assert_array_equal(again.read("relu2", 2), maps.read("relu2", 2))


def test_names_and_rows(built):
    maps = built[0]
    assert maps.names() == [(layer, k) for layer in ("pool1", "relu2") for k in range(3)]
    assert maps.names([INPUT]) == [(INPUT, 0)]
    assert maps.names(["pool1"], at_most=2) == [("pool1", 0), ("pool1", 1)]
    assert maps.rows([1299, 1000]).tolist() == [299, 0]
    with pytest.raises(ValueError, match="no feature maps of 1 clips, first 7"):
        maps.rows([1000, 7])
    with pytest.raises(ValueError, match="layer must be one of input, pool1, relu2. Got 'pool9'"):
        maps.read("pool9", 0)
    with pytest.raises(ValueError, match="index must be an int from 0 to 2 in 'pool1'. Got 3"):
        maps.read("pool1", 3)
    with pytest.raises(ValueError, match="no feature maps. Build them"):
        FeatureMaps("nowhere")


def test_an_interrupted_build_is_resumed_and_others_are_refused(built, tmp_path, monkeypatch):
    _, model, x = built
    real, calls = FeatureMaps.write, []

    def killed(self, start, values):
        calls.append(start)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, start, values)

    monkeypatch.setattr(FeatureMaps, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        FeatureMaps.build(tmp_path / "maps", model, x, range(300))
    with pytest.raises(ValueError, match="NaN or Inf for 44 of 300 clips, first 256, or its build broke off"):
        FeatureMaps(tmp_path / "maps").read("pool1", 0)
    maps = FeatureMaps.build(tmp_path / "maps", model, x, range(300))
    assert calls == [0, 256, 256]
    np.testing.assert_array_equal(maps.read("pool1", 1), built[0].read("pool1", 1))
    for other, ids in ((keras.models.clone_model(model), range(300)), (model, range(1, 301))):
        with pytest.raises(ValueError, match="holds feature maps of other clips, other layers or another model"):
            FeatureMaps.build(tmp_path / "maps", other, x, ids)


def test_building_refuses_what_does_not_fit(built, tmp_path):
    _, model, x = built
    with pytest.raises(ValueError, match="small has no layer 'conv7'. It has: conv1"):
        FeatureMaps.build(tmp_path / "maps", model, x, range(300), layers=["conv7"])
    with pytest.raises(ValueError, match="Got 299 ids and 300 inputs"):
        FeatureMaps.build(tmp_path / "maps", model, x, range(299))
    maps = FeatureMaps.create(tmp_path / "other", {"conv": (2, 3, 4)}, range(5))
    with pytest.raises(ValueError, match=r"conv must have shape \(2, 5, 3, 4\) from clip 0 on. Got \(2, 4, 3, 4\)"):
        maps.write(0, {"conv": np.zeros((2, 4, 3, 4))})
    with pytest.raises(ValueError, match="values must have the layers conv. Got pool"):
        maps.write(0, {"pool": np.zeros((2, 5, 3, 4))})


# --- maps in passes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def streamed(built, tmp_path):
    """The maps of `built`, four of the small ones or one of the input at a time."""
    _, model, x = built
    return streams.StreamedMaps(tmp_path / "pass", model, x, range(1000, 1300), disk_gb=4 * 512 * 96e-9)


def test_passes_fit_the_disk_budget_and_leave_nothing(streamed, built):
    names, seen = streamed.names([INPUT, "pool1", "relu2"]), []
    for stored, group in streamed.passes(names):
        size = sum(bytes_of_map(stored.shapes[layer], 300) * len(k) for layer, k in stored.stored.items())
        on_disk = sum(p.stat().st_size for p in streamed.folder.rglob("c/**/*") if p.is_file())
        assert size <= streamed.disk_gb * 1e9
        assert size <= on_disk <= size + 100
        seen += group
        for name in group:
            np.testing.assert_array_equal(stored.read(*name), built[0].read(*name))
        other = next(name for name in names if name not in group)
        with pytest.raises(ValueError, match=f"Map {other[1]} of '{other[0]}' is not stored"):
            stored.read(*other)
    assert seen == names
    assert not streamed.folder.exists()


def test_an_interrupted_pass_is_cleared_away(streamed):
    passes = streamed.passes(streamed.names())
    next(passes)
    assert streamed.folder.exists()
    passes.close()
    assert not streamed.folder.exists()
    streamed.folder.mkdir()
    (streamed.folder / "left over").touch()
    assert len(list(streamed.passes(streamed.names()))) == 2


def test_results_of_passes_are_those_of_maps_on_disk(streamed, built, tmp_path):
    """Probes, pooled maps, dissection and the planted map do not depend on how the maps are kept."""
    maps, _, x = built
    labels = pd.DataFrame({"a": x.mean(axis=(1, 2, 3)) > 0.5}, index=maps.ids)
    folds, methods = splits.folds(300), {"knn": {"ks": [3]}, "svm": {}}
    counts = [probes.probe(m, labels, folds, methods=methods, workers=1)[0] for m in (maps, streamed)]
    pd.testing.assert_frame_equal(*counts)
    pd.testing.assert_frame_equal(*(map_sets.pooled(m, maps.ids[::3], workers=1) for m in (maps, streamed)))
    mask = np.random.default_rng(1).random((6, 8, 12)) < 0.3
    masks = dissection.Masks(maps.ids[:6], ["a"] * 6, mask)
    pd.testing.assert_frame_equal(*(dissection.dissect(m, masks, workers=1) for m in (maps, streamed)))
    planted = [
        dissection.planted(tmp_path / str(k), m, masks, tag="a", layer="relu2")[0]
        for k, m in enumerate((maps, streamed))
    ]
    for index in range(planted[0].shapes["planted"][0]):
        np.testing.assert_array_equal(*(m.read("planted", index) for m in planted))


def test_maps_are_streamed_where_they_do_not_fit(built, tmp_path):
    _, model, x = built
    networks = {"one": (model, x), "one untrained": (small(1), x)}
    total = 2 * 4 * 512 * (96 + 6 * 24) / 1e9
    for disk_gb, kind in ((0, FeatureMaps), (total, FeatureMaps), (0.99 * total, streams.StreamedMaps)):
        stores = streams.open_maps(tmp_path / str(disk_gb), networks, range(300), disk_gb=disk_gb)
        assert [type(store) for store in stores.values()] == [kind] * 2
        assert list(stores) == list(networks)
    with pytest.raises(ValueError, match="disk_gb must hold at least one map of 'input' of all 300 clips"):
        streams.open_maps(tmp_path, networks, range(300), disk_gb=1e-5)
    with pytest.raises(ValueError, match="disk_gb must be at least 0. Got -1"):
        streams.open_maps(tmp_path, networks, range(300), disk_gb=-1)


def test_waveform_networks_have_maps_of_one_row(tmp_path):
    model = models.build("sample_cnn", n_outputs=2, width=0.02, seed=0)
    x = np.random.default_rng(0).normal(0, 0.1, (2, 59049, 1)).astype(np.float32)
    maps = FeatureMaps.build(tmp_path / "maps", model, x, "ab", layers=["relu1", "pool5"])
    assert maps.shapes == {INPUT: (1, 1, 59049), "relu1": (3, 1, 19683), "pool5": (5, 1, 243)}
    expected = keras.Model(model.inputs, model.get_layer("pool5").output).predict(x, verbose=0)
    np.testing.assert_allclose(maps.read("pool5", 3), expected[..., 3], atol=1e-5)


def test_untrained_networks_are_the_same_network_with_other_weights():
    trained = models.build("ckn19", n_outputs=3, width=0.03, input_shape=(32, 32, 1), seed=0)
    card = SimpleNamespace(model="ckn19", width=0.03)
    audio_model = SimpleNamespace(model=trained, tags=list("abc"), card=card)
    fresh, again = untrained(audio_model, seed=4), untrained(audio_model, seed=4)
    assert [w.shape for w in fresh.weights] == [w.shape for w in trained.weights]
    assert not np.allclose(fresh.get_weights()[0], trained.get_weights()[0])
    np.testing.assert_array_equal(fresh.get_weights()[0], again.get_weights()[0])


def test_the_middle_segment_of_every_clip():
    S = np.zeros((4, 3, 50), np.uint8)
    segments = spectrograms.Segments(spectrograms.ArrayStore(S, "abcd"), "abcd", length=10, step=10)
    assert clips.middle(segments).start.tolist() == [20] * 4
    assert clips.middle(segments).clip.tolist() == [0, 1, 2, 3]
    even = spectrograms.Segments(spectrograms.ArrayStore(S, "abcd"), "abcd", length=14, step=12)
    assert clips.middle(even).start.tolist() == [24] * 4
    none = spectrograms.Segments(spectrograms.ArrayStore(S, "abcd"), "abcd", length=60, step=10)
    assert len(clips.middle(none)) == 0


# --- dissection -------------------------------------------------------------------------------------------------------


def entries(n=12, shape=(8, 12), seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((n, *shape), bool)
    for own in mask:
        row, column = rng.integers(0, 5), rng.integers(0, 8)
        own[row : row + 3, column : column + 4] = True
    return dissection.Masks(list(range(n)), ["a", "b"] * (n // 2), mask)


def stored(folder, masks, layers):
    layers = {INPUT: np.random.default_rng(9).random((1, *masks.mask.shape))} | layers
    n_clips = len(masks.clip)
    maps = FeatureMaps.create(folder, {k: (a.shape[0], *a.shape[2:]) for k, a in layers.items()}, range(n_clips))
    maps.write(0, layers)
    return maps


def test_dissection_is_that_of_the_stretched_map(tmp_path):
    masks, rng = entries(), np.random.default_rng(1)
    values = {"even": rng.random((2, 12, 4, 6)), "uneven": np.round(rng.random((2, 12, 3, 5)), 1)}
    rows = dissection.dissect(stored(tmp_path / "maps", masks, values), masks, top=0.2, workers=1)
    assert len(rows) == 12 * (1 + 4)
    for (layer, index), group in rows[rows["layer"] != INPUT].groupby(["layer", "map"]):
        a = values[layer][index].astype(np.float32)
        high, wide = (np.arange(n) * a.shape[k + 1] // n for k, n in enumerate((8, 12)))
        large = a[:, high][:, :, wide]
        np.testing.assert_allclose(group["auc"], localisation.auc(large, masks.mask))
        others = np.array([10, 11, *range(10)])  # the clip before with the same tag
        np.testing.assert_allclose(group["shuffled_auc"], localisation.auc(large, masks.mask[others]))
        for tag in "ab":
            own = np.array(masks.tag) == tag
            active = large[own] > np.sort(large[own].ravel())[::-1][int(0.2 * large[own].size)]
            result = group[own]["shared"].sum() / group[own]["joined"].sum()
            expected = (active & masks.mask[own]).sum() / (active | masks.mask[own]).sum()
            assert result == pytest.approx(expected, abs=1e-9)
            assert active.mean() <= 0.2
    np.testing.assert_allclose(roc_auc_score(masks.mask[3].ravel(), large[3].ravel()), group["auc"].iloc[3])


def test_a_map_of_an_instrument_is_clear_and_noise_is_not(tmp_path):
    masks, rng = entries(40), np.random.default_rng(1)
    noise = rng.random((6, 40, 8, 12))
    noise[2] += masks.mask  # is active in every clip
    maps = stored(tmp_path / "maps", masks, {"conv": noise})
    result = dissection.summary(dissection.dissect(maps, masks, workers=1)).set_index(["tag", "layer"])
    for tag in "ab":
        line = result.loc[(tag, "all")]
        assert line["feature_map"] == "conv 2"
        assert line["clips"] == 10
        assert line["auc"] == pytest.approx(1)
        assert line["iou"] > 0.99
        assert line["clear"]
        assert line["energy_auc"] == pytest.approx(0.5, abs=0.1)
        assert line["shuffled_auc"] < 0.8
    bare = stored(tmp_path / "bare", masks, {"conv": rng.random((30, 40, 8, 12))})
    assert not dissection.summary(dissection.dissect(bare, masks, workers=1))["clear"].any()


def test_a_map_of_the_usual_place_is_not_clear(tmp_path):
    """Clips whose masks lie at one place: a map of that place is perfect without any information about the clip."""
    masks = entries(40)
    usual = np.zeros_like(masks.mask)
    usual[:, 2:5, 3:9] = True
    masks = dissection.Masks(masks.clip, masks.tag, usual)
    maps = stored(tmp_path / "maps", masks, {"conv": usual[None] + 0.0})
    result = dissection.summary(dissection.dissect(maps, masks, workers=1))
    assert result["auc"].eq(1).all()
    assert not result["clear"].any()


def test_dissection_refuses_what_does_not_fit(tmp_path):
    masks = entries()
    maps = stored(tmp_path / "maps", masks, {"conv": np.zeros((1, 12, 4, 6)), "dot": np.zeros((9, 12, 1, 1))})
    rows = dissection.dissect(maps, masks, workers=1)
    assert set(rows["layer"]) == {INPUT, "conv"}, "a map of one cell cannot show a place"
    assert rows[rows["layer"] == "conv"]["auc"].eq(0.5).all(), "a dead map is at chance"
    alone = dissection.Masks([0, 1], ["a", "b"], masks.mask[:2])
    assert dissection.dissect(maps, alone, workers=1)["shuffled_auc"].isna().all()
    with pytest.raises(ValueError, match="No descriptor has masks in four clips or more"):
        dissection.summary(dissection.dissect(maps, alone, workers=1))
    with pytest.raises(ValueError, match=r"masks must have the shape of the input, \(8, 12\)"):
        dissection.dissect(maps, dissection.Masks([0], ["a"], masks.mask[:1, :4]))
    with pytest.raises(ValueError, match=r"top must lie in \(0, 1\) or be None. Got 2"):
        dissection.dissect(maps, masks, top=2)
    with pytest.raises(ValueError, match="clip, tag and mask must be equally long"):
        dissection.Masks([0], ["a", "b"], masks.mask[:2])
    with pytest.raises(ValueError, match="tag must be one of a, b. Got 'c'"):
        dissection.planted(tmp_path / "new", maps, masks, tag="c", layer="conv")


# --- real stems -------------------------------------------------------------------------------------------------------


class Corpus:
    """Composed clips, half of them with guitars beside other instruments, without their files."""

    def __init__(self, n_clips):
        plans = [p for p in composed.plan(120) if len(composed.truth(p)["instruments"]) > 1]
        having = [p for p in plans if composed.tag_stems(p, "guitar")]
        lacking = [p for p in plans if not composed.tag_stems(p, "guitar")]
        self.plans = {p.clip_id: p for p in having[: n_clips // 2] + lacking[: n_clips // 2]}

    def stems(self, clip_id):
        return composed.stems(self.plans[clip_id]), composed.SR

    def tag_stems(self, clip_id, tag):
        return composed.tag_stems(self.plans[clip_id], tag)


@pytest.fixture(scope="module")
def corpus():
    data = Corpus(28)
    store = spectrograms.ArrayStore(np.zeros((28, 128, 911), np.uint8), list(data.plans))
    store.front_end = models.describe("ckn19").front_end
    return data, clips.middle(spectrograms.Segments(store, store.ids, length=128, step=64))


@pytest.fixture(scope="module")
def stored_masks(corpus, tmp_path_factory):
    data, segments = corpus
    masks = dissection.masks(data, {"ckn19": segments}, segments.ids, clips.TAGS, workers=1)["ckn19"]
    shapes = {INPUT: (1, 128, 128), "pool3": (6, 16, 16)}
    maps = FeatureMaps.create(tmp_path_factory.mktemp("stored_masks") / "maps", shapes, segments.ids)
    rng = np.random.default_rng(0)
    maps.write(0, {name: rng.random((n, 28, *sides)) for name, (n, *sides) in shapes.items()})
    return masks, maps


def test_masks_are_cut_where_the_inputs_are(corpus, stored_masks):
    data, segments = corpus
    masks, _ = stored_masks
    shares = localisation.stem_shares(data.stems(masks.clip[0])[0], segments.store.front_end)
    expected = localisation.target_mask(shares, data.tag_stems(masks.clip[0], masks.tag[0]))
    start = segments.start[list(segments.ids).index(masks.clip[0])]
    np.testing.assert_array_equal(masks.mask[0], expected[:, start : start + 128])
    assert set(masks.tag) <= set(clips.TAGS) - {"fast", "slow"}, "no stem carries a tempo"
    assert 0 < masks.mask.mean() < 1


def test_probing_ranks_the_planted_map_first(stored_masks, tmp_path):
    masks, maps = stored_masks
    tag = "guitar"
    new, labels = dissection.planted(tmp_path / "planted", maps, masks, tag=tag, layer="pool3", noise=20)
    n_maps = maps.shapes["pool3"][0]
    np.testing.assert_array_equal(new.read("planted", 1), maps.read("pool3", 1)[maps.rows(labels.index)])
    assert labels[tag].sum() >= 10
    assert (~labels[tag]).sum() >= 10
    counts, _ = probes.probe(new, labels, splits.folds(len(labels)), methods={"knn": {"ks": [3]}}, workers=1)
    total = scores.measures(counts.groupby("map", as_index=False)[list(scores.COUNTS)].sum()).set_index("map")
    assert total["f1"].idxmax() == n_maps
    assert total.loc[n_maps, "f1"] > 0.9
    assert total["f1"].drop(n_maps).mean() < total["guess_f1"].iloc[0]


def test_waveform_front_ends_and_unknown_clips_are_refused(corpus):
    data, segments = corpus
    with pytest.raises(ValueError, match="'model' has no input of 1 clips, first 'other'"):
        dissection.masks(data, {"model": segments}, ["other"], ["guitar"])
    with pytest.raises(ValueError, match="No clip has a tag that some of its stems carry"):
        dissection.masks(data, {"model": segments}, segments.ids, ["slow"], workers=1)
    bare = spectrograms.Segments(spectrograms.ArrayStore(np.zeros((1, 3, 9), np.uint8), "a"), "a", length=4, step=4)
    with pytest.raises(ValueError, match="needs the front end of a spectrogram model. 'model' has none"):
        dissection.masks(data, {"model": bare}, ["a"], ["guitar"])


def test_silent_clips_are_probed_like_others(tmp_path):
    model = small()
    x = np.zeros((40, 8, 12, 1), np.float32)
    maps = FeatureMaps.build(tmp_path / "maps", model, x, range(40))
    labels = pd.DataFrame({"a": np.arange(40) % 4 == 0})
    methods = {"knn": {"ks": [3]}, "rf": {"sizes": [3]}, "svm": {}}
    counts, _ = probes.probe(maps, labels, splits.folds(40), methods=methods, workers=1)
    assert np.isfinite(scores.measures(counts)["f1"]).all()


# --- figures ----------------------------------------------------------------------------------------------------------


def test_mosaic_shows_every_map_with_low_frequency_at_the_bottom():
    maps = np.zeros((5, 4, 6))
    maps[0, 0, :] = 1.0  # lowest band
    plt.figure()
    ax = figures.mosaic(maps, columns=3, names=list("abcde"), highlight={4: "guitar, slow"}, title="maps")
    assert len(ax.images) == 5
    image = ax.images[0]
    assert image.origin == "lower"
    np.testing.assert_array_equal(image.get_array()[0], 1)
    extents = [i.get_extent() for i in ax.images]
    assert extents[0][3] > extents[3][3], "the second row is below the first"
    assert len(ax.patches) == 1
    assert "guitar, slow" in [t.get_text() for t in ax.texts]
    plt.close("all")
    with pytest.raises(ValueError, match=r"maps must have shape \(n_maps, height, width\)"):
        figures.mosaic(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="highlight must name places from 0 to 4. Got .5."):
        figures.mosaic(maps, highlight={5: "x"})


def test_intervals_and_guess_of_every_tag():
    table = pd.DataFrame(
        {
            "tag": ["a", "b"],
            "label": "net",
            "f1": [0.5, 0.2],
            "f1_low": [0.4, 0.1],
            "f1_high": [0.6, 0.4],
            "guess_f1": [0.3, 0.25],
        }
    )
    ax = figures.jackknifed(table)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["always yes", "net"]
    plt.close("all")


def test_importing_the_package_is_light():
    import subprocess
    import sys

    code = (
        "import sys, musictools.probing; from musictools.probing import clips, maps, probes, scores\n"
        "bad = {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=runs.root())
    assert done.returncode == 0, done.stderr
