"""From image to sound, sizes of kernels, measures, pruning, choice of clips: each against a known answer."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile
from keras import layers

from musictools import auralisation, models, published, runs
from musictools.auralisation import Deconvolution, effective_sizes, measures, page, pruning, sanity, sound
from musictools.experiments import auralisation as tables
from musictools.experiments import clip_selection
from musictools.plots import auralisation as figures
from musictools.spectrograms import FrontEnd

STFT = FrontEnd(8000, 256, 128, 129, kind="stft")
MEL = FrontEnd(8000, 256, 128, 24)
LENGTH = 40


def planted(front_end=STFT, *, name="planted"):
    """One convolution: feature 0 responds to onsets, 1 to horizontal lines, 2 to nothing, 3 to everything."""
    inputs = layers.Input((front_end.n_bins, LENGTH, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    logits = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Softmax(name="softmax")(logits), name=name)
    W = np.zeros((3, 3, 1, 4), np.float32)
    W[:, 0, 0, 0], W[:, 2, 0, 0] = -1, 1
    W[0, :, 0, 1], W[1, :, 0, 1], W[2, :, 0, 1] = -1, 2, -1
    W[1, 1, 0, 3] = 1
    model.get_layer("conv1").set_weights([W, np.array([0, 0, -1, 0], np.float32)])
    return model


@pytest.fixture(scope="module")
def model():
    return planted()


def db(part, whole):
    """Level of a known part in a sound, by projection."""
    return 20 * np.log10(max(abs(float(part @ whole)) / float(whole @ whole), 1e-9))


class TestSound:
    clicks, tone = measures.clicks_and_tone(sr=STFT.sr, seconds=3.0)

    @pytest.mark.parametrize("reading", sound.READINGS)
    def test_an_onset_feature_keeps_clicks_and_suppresses_a_tone(self, model, reading):
        clips = {"clicks": self.clicks, "tone": self.tone, "both": self.clicks + self.tone}
        sounds = auralisation.auralise(
            Deconvolution(model, "conv1"), clips, [0], front_end=STFT, length=LENGTH, reading=reading
        )
        assert db(sounds["clicks", 0].sound, self.clicks) > -6
        assert db(sounds["both", 0].sound, self.clicks) > -6
        assert db(sounds["both", 0].sound, self.tone) < -25
        assert db(sounds["tone", 0].sound, self.tone) < -20
        kept = tables.clicks_kept(Deconvolution(model, "conv1"), [0, 1], front_end=STFT, length=LENGTH, reading=reading)
        assert kept.at[0, "clicks_db"] > -6 > -25 > kept.at[0, "tone_db"]
        assert kept.at[1, "tone_db"] > kept.at[0, "tone_db"] + 10

    @pytest.mark.parametrize("front_end", [STFT, MEL], ids=["stft", "mel"])
    @pytest.mark.parametrize("n", [100, LENGTH * 128, 30011])
    def test_sounds_have_the_clips_length_and_do_not_clip(self, front_end, n):
        y = np.clip(np.random.default_rng(0).normal(0, 0.5, n), -1, 1).astype(np.float32)
        deconvolution = Deconvolution(planted(front_end), "pool1")
        for one in auralisation.auralise(
            deconvolution, {"noise": y}, range(4), front_end=front_end, length=LENGTH
        ).values():
            assert one.sound.shape == one.rest.shape == y.shape
            assert np.isfinite(one.sound).all()
            assert np.abs(one.sound).max() <= 1
            assert one.image.shape == one.mask.shape == (front_end.n_bins, front_end.n_frames(n))
            assert one.mask.min() >= 0
            assert one.mask.max() <= 1
            np.testing.assert_allclose(one.sound + one.rest, one.gain * y, atol=1e-6)

    def test_a_silent_clip_and_a_dead_feature_are_silent(self, model):
        deconvolution, y = Deconvolution(model, "conv1"), 0.1 * self.tone
        sounds = auralisation.auralise(
            deconvolution, {"silence": 0 * y, "tone": y}, range(4), front_end=STFT, length=LENGTH
        )
        assert all(not sounds["silence", k].sound.any() and sounds["silence", k].activation == 0 for k in range(4))
        assert not sounds["tone", 2].sound.any()
        assert sounds["tone", 2].gain == 1
        alone = auralisation.auralise(deconvolution, {"silence": 0 * y}, [0, 2], front_end=STFT, length=LENGTH)
        assert not any(one.sound.any() or one.image.any() for one in alone.values())

    def test_one_scale_for_all_clips(self, model):
        deconvolution = Deconvolution(model, "conv1")
        both = auralisation.auralise(
            deconvolution, {"loud": self.clicks, "faint": 1e-4 * self.clicks}, [0], front_end=STFT, length=LENGTH
        )
        level = {
            name: np.sqrt(np.mean(both[name, 0].sound ** 2) / np.mean(y**2))
            for name, y in {"loud": self.clicks, "faint": 1e-4 * self.clicks}.items()
        }
        assert level["faint"] < 0.7 * level["loud"]  # not turned up to the level that it would have alone
        images = [np.array([[2.0, -5.0]]), np.array([[0.5, 0.0]])]
        spectra = [np.array([[0.8, 0.1]]), np.array([[0.2, 0.1]])]
        assert sound.scale_of(images, spectra) == pytest.approx(0.4, rel=0.01)
        assert sound.scale_of([-np.ones((2, 2))], [np.ones((2, 2))]) == 0

    def test_readings(self):
        image, S = np.array([[0.5, 0.0, 2.0, -1.0]]), np.array([[0.6, 0.6, 0.6, 0.6]])
        np.testing.assert_allclose(sound.mask_of(image, S, front_end=STFT), [[0.5, 0, 1, 0]])
        mask = sound.mask_of(image, S, front_end=STFT, reading="decibels")
        np.testing.assert_allclose(mask, [[10 ** (-12 / 20), 0, 1, 0]], rtol=1e-5)  # 0.1 of 120 dB

    def test_decibels_give_the_magnitude_that_the_image_says(self):
        """A tone at full scale, an image 20 dB below it: the sound is the tone, 20 dB lower."""
        S = STFT.scale(STFT.compute(self.tone))
        mask = sound.mask_of(np.maximum(S - 20 / 120, 1e-9), S, front_end=STFT, reading="decibels")
        quieter, _, _ = sound.sound_of(self.tone, mask, front_end=STFT)
        assert db(quieter, self.tone) == pytest.approx(-20, abs=0.1)

    @pytest.mark.parametrize(("n", "starts"), [(40, [0]), (90, [0, 20, 40, 50]), (100, [0, 20, 40, 60]), (25, [0])])
    def test_long_clips_are_put_together(self, n, starts):
        class Stub:
            layer = "numbers"

            def images(self, x, features, *, batch_size):
                self.seen = x[:, 0, 0, 0]
                return np.ones((len(x), 1, 2, LENGTH), np.float32) * np.arange(1, len(x) + 1).reshape(-1, 1, 1, 1)

            def maps(self, x):
                return x

        stub, S = Stub(), np.tile(np.arange(n, dtype=np.float32), (2, 1))
        for join, merge in (("mean", np.mean), ("max", np.max)):
            images, levels = sound.image_of_clip(stub, S, [0], length=LENGTH, step=20, join=join)
            assert stub.seen.tolist() == starts
            assert images.shape == (1, 2, n)
            assert levels.shape == (1,)
            for j in range(n):
                covering = [i + 1 for i, start in enumerate(starts) if start <= j < start + LENGTH]
                assert images[0, 0, j] == pytest.approx(merge(covering))

    def test_peaks_above_full_scale_are_brought_down(self, monkeypatch):
        monkeypatch.setattr(sound.evidence, "resynthesise", lambda y, mask, front_end: (4 * y, -3 * y))
        y = np.array([0.5, -0.5], np.float32)
        heard, rest, gain = sound.sound_of(y, np.ones((1, 1)), front_end=STFT)
        assert gain == 0.5
        assert np.abs(heard).max() == 1
        np.testing.assert_allclose(heard + rest, gain * y)


class TestKernels:
    def test_table_7_a(self):
        wanted = models.describe("choi_stft").input
        model = models.build("choi_stft", n_outputs=3, width=0.05, input_shape=wanted.shape)
        sizes, theirs = (
            effective_sizes(model, front_end=wanted.front_end),
            published.table("choi2018_table_7_a_effective_kernel_sizes"),
        )
        assert (sizes["kernel"] == theirs["kernel"]).all()
        assert (sizes["width_ms"] - theirs["width_ms"]).abs().max() < 1  # printed cut off or rounded
        np.testing.assert_array_equal(sizes["height_hz"].round()[:4], theirs["height_hz"][:4])
        assert sizes["height_hz"][4].round() == 1055  # 1270 is printed: 59 bins' width where 49 would be
        assert theirs["height_hz"][4] == pytest.approx(59 * 11025 / 512, abs=1)
        assert sizes["field_frames"].tolist() == sizes["field_bins"].tolist() == [3, 8, 18, 38, 78]

    def test_receptive_field_is_what_a_cell_depends_on(self):
        """With mean pooling and positive weights the backward pass from one cell reaches exactly its field."""
        inputs = layers.Input((40, 50, 1))
        x = layers.Conv2D(1, (3, 5), padding="same", name="conv1")(inputs)
        x = layers.AveragePooling2D((2, 3), strides=(2, 2))(x)
        x = layers.Conv2D(1, (1, 2), strides=(1, 2), padding="same", name="conv2")(x)
        x = layers.Conv2D(1, 2, dilation_rate=2, name="conv3")(x)
        model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        sizes = effective_sizes(model, front_end=FrontEnd(8000, 256, 128, 40)).set_index("layer")
        for name in sizes.index:
            deconvolution = Deconvolution(model, name)
            shape = deconvolution.maps(np.zeros((1, 40, 50, 1))).shape
            y = np.zeros(shape)
            y[0, shape[1] // 2, shape[2] // 2] = 1
            reached = np.argwhere(deconvolution.transposed(np.zeros((1, 40, 50, 1)), y)[0])
            assert tuple(np.ptp(reached, axis=0) + 1) == tuple(sizes.loc[name, ["field_bins", "field_frames"]]), name

    def test_mel_bands_are_measured_around_a_place(self):
        inputs = layers.Input((24, 40, 1))
        x = layers.Conv2D(1, (24, 1), name="whole")(layers.Conv2D(1, 3, padding="same", name="some")(inputs))
        model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
        table = effective_sizes(model, front_end=MEL, at=2000.0).set_index("layer")
        assert table.at["whole", "height_hz"] == pytest.approx(4000)
        edges = np.r_[0, MEL.frequencies(), 4000]
        middle = int(np.argmin(np.abs(edges - 2000)))
        assert table.at["some", "height_hz"] == pytest.approx(edges[middle + 2] - edges[middle - 2], rel=0.1)
        assert table.at["some", "height_hz"] > effective_sizes(model, front_end=MEL, at=500.0).at[0, "height_hz"]

    @pytest.mark.parametrize("name", [n for n in models.names() if n != "harmonic_cnn"])
    def test_every_network_has_sizes(self, name):
        wanted = models.describe(name).input
        model = models.build(name, width=0.02, input_shape=wanted.shape, n_outputs=2)
        table = effective_sizes(model, front_end=wanted.front_end)
        assert len(table) >= 3
        assert (table["field_ms"] >= table["width_ms"] - 1e-9).all()
        assert (table["width_ms"] > 0).all()
        assert table["height_hz"].isna().all() == (wanted.front_end.kind == "waveform")

    def test_bad_input(self):
        plain = keras.Sequential([layers.Input((24, 40, 1)), layers.Flatten(), layers.Dense(2)], name="plain")
        for arguments, match in (
            (({"front_end": STFT}), r"model must take inputs of the front end \(stft, 129 bins\)"),
            (({"front_end": MEL}), "plain has no convolution over its input"),
            (({"front_end": MEL, "at": 5000}), "at must lie between 0 and 4000 Hz. Got 5000"),
        ):
            with pytest.raises(ValueError, match=match):
                effective_sizes(plain, front_end=arguments.pop("front_end"), **arguments)


class TestMeasures:
    sr = 11025
    clicks, tone = measures.clicks_and_tone(sr=11025, seconds=6.0)

    def drum(self, *, decay=14.0, pitch=50.0, noise=False):
        y, rng = np.zeros(6 * self.sr, np.float32), np.random.default_rng(0)
        for start in np.arange(0.2, 5.5, 0.5):
            t = np.arange(int(0.25 * self.sr)) / self.sr
            hit = (
                np.diff(rng.standard_normal(len(t) + 1)) * 0.1
                if noise
                else 0.8 * np.sin(2 * np.pi * (pitch * t + 2 * (1 - np.exp(-30 * t))))
            )
            y[int(start * self.sr) : int(start * self.sr) + len(t)] += hit * np.exp(-decay * t)
        return y

    def test_known_sounds(self):
        rng, t = np.random.default_rng(0), np.arange(6 * self.sr) / self.sr
        sounds = {
            "clicks": self.clicks,
            "tone": self.tone,
            "kick": self.drum(),
            "hat": self.drum(decay=80, noise=True),
            "noise": 0.1 * rng.standard_normal(len(t)),
            "low": 0.5 * np.sin(2 * np.pi * 60 * t),
        }
        measured = pd.DataFrame({name: measures.measure(y, sr=self.sr) for name, y in sounds.items()})
        onset, percussive, kick = measured.loc["onset"], measured.loc["percussive"], measured.loc["kick"]
        assert onset["clicks"] > 0.95
        assert onset["hat"] > 0.9
        assert onset["kick"] > 0.5
        assert onset.max() <= 1 + 1e-6
        assert onset["tone"] < 0.02
        assert onset["low"] < 0.02
        assert 0.02 < onset["noise"] < 0.3
        assert percussive["clicks"] > 0.99
        assert percussive["hat"] > 0.95
        assert percussive["tone"] < 0.01
        assert 0.3 < percussive["noise"] < 0.7
        assert kick["kick"] > 0.5
        assert kick.drop("kick").max() < 0.05
        assert measured.at["centroid_hz", "tone"] == pytest.approx(1000, abs=3)
        assert measured.at["centroid_hz", "noise"] == pytest.approx(self.sr / 4, rel=0.03)
        bins = self.sr / 512
        for edge, share in (("band_low_hz", 0.05), ("band_high_hz", 0.95)):
            assert measured.at[edge, "noise"] == pytest.approx(share * self.sr / 2, rel=0.1)
            assert measured.at[edge, "tone"] == pytest.approx(1000, abs=1.5 * bins)
        assert measured.at["level_db", "low"] == pytest.approx(-9.03, abs=0.01)  # a sine of amplitude 0.5

    def test_against_the_clip(self):
        both = self.clicks + self.tone
        mine, other = (measures.measure(y, sr=self.sr, clip=both) for y in (self.clicks, self.tone))
        assert mine["onset_correlation"] > 0.9 > 0.2 > other["onset_correlation"]
        assert measures.measure(0.1 * both, sr=self.sr, clip=both)["level_db"] == pytest.approx(-20, abs=0.01)

    def test_stems(self):
        stems = {"clicks": self.clicks, "tone": self.tone, "silence": 0 * self.tone}
        likeness = measures.stem_correlations(self.clicks, stems, sr=self.sr)
        assert likeness["clicks"] == pytest.approx(1)
        assert abs(likeness["tone"]) < 0.1
        assert np.isnan(likeness["silence"])
        gain = measures.stem_correlations(self.clicks, stems, sr=self.sr, clip=self.clicks + self.tone)
        assert gain["clicks"] > 0.3
        assert gain["tone"] < -0.3

    def test_silence_is_defined(self):
        silent = measures.measure(np.zeros(4000), sr=8000, clip=np.zeros(4000))
        assert silent.pop("level_db") == -120
        assert all(np.isnan(v) for v in silent.values())

    def test_bad_input(self):
        for y, clip, match in (
            (np.zeros((2, 9)), None, r"y must be a finite mono waveform .* Got shape \(2, 9\)"),
            (np.full(9, np.nan), None, "y must be a finite"),
            (np.ones(900), np.ones(8), "clip must have the length of y, 900 samples. Got 8"),
        ):
            with pytest.raises(ValueError, match=match):
                measures.measure(y, sr=8000, clip=clip)
        with pytest.raises(ValueError, match="stem 'a' must have the length of y, 9000 samples. Got 1900"):
            measures.stem_correlations(np.ones(9000), {"a": np.ones(1900)}, sr=8000)


class TestPruning:
    @pytest.fixture(scope="class")
    def carried(self):
        """A network in which feature 2 of conv1 alone tells the classes, 1 is dead, and 0 and 3 do not matter."""
        inputs = layers.Input((8, 8, 1))
        x = layers.Conv2D(4, 1, activation="relu", name="conv1")(inputs)
        x = layers.Conv2D(2, 1, activation="relu", name="conv2")(x)
        logits = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x))
        model = keras.Model(inputs, layers.Softmax()(logits), name="carried")
        model.get_layer("conv1").set_weights([np.array([1.0, 0, 1, 1]).reshape(1, 1, 1, 4), np.array([0.0, -1, 0, 0])])
        W = np.zeros((1, 1, 4, 2))
        W[0, 0, 2, 0], W[0, 0, 0, 1] = 1, 1
        model.get_layer("conv2").set_weights([W, np.zeros(2)])
        model.get_layer("logits").set_weights([np.array([[20.0, -20], [0, 0]]), np.array([-10.0, 10])])
        rng = np.random.default_rng(0)
        labels = np.arange(40) % 2
        x = ((1 - labels)[:, None, None, None] + 0.1 * rng.random((40, 8, 8, 1))).astype(np.float32)
        return model, x, labels

    @pytest.mark.parametrize("fill", pruning.FILLS)
    def test_the_planted_feature_comes_first_and_a_dead_one_has_no_effect(self, carried, fill):
        model, x, labels = carried
        table = pruning.ablate(
            model, x, labels, layers=["conv1", "conv2"], fill=fill, clip=labels, repeats=10, batch_size=16
        )
        first = table[table["rank"] == 1]
        assert first["layer"].tolist() == ["conv1", "conv2"]
        assert first["feature"].tolist() == [2, 0]
        assert (first["accuracy_drop"] > 0.4).all()
        assert (first["loss_rise"] > 0.5).all()
        others = table[table["rank"] > 1]
        assert (others[["accuracy_drop", "loss_rise"]] == 0).all(axis=None)
        dead = table[(table["layer"] == "conv1") & (table["feature"] == 1)].iloc[0]
        assert dead["active"] == dead["activation"] == 0
        assert (table["loss_low"] <= table["loss_rise"] + 1e-6).all()
        assert pruning.best(table, 2) == {"conv1": [2, 0], "conv2": [0, 1]}

    def test_it_is_the_loss_of_a_network_without_the_map(self, carried):
        """Ablation with 0 equals setting the outgoing weights to 0 by hand."""
        model, x, labels = carried
        rise = pruning.ablate(model, x, labels, layers=["conv1"], fill="zero").set_index("feature")["loss_rise"]
        cut = keras.models.clone_model(model)
        cut.set_weights(model.get_weights())
        W, b = cut.get_layer("conv2").get_weights()
        W[:, :, 2] = 0
        cut.get_layer("conv2").set_weights([W, b])
        loss = [-np.log(m.predict(x, verbose=0)[np.arange(40), labels]).mean() for m in (model, cut)]
        assert rise[2] == pytest.approx(loss[1] - loss[0], rel=1e-4)

    def test_bad_input(self, carried):
        model, x, labels = carried
        tagger = models.build("fcn4", n_outputs=2, width=0.02, input_shape=(48, 96, 1))
        cases = (
            (tagger, x, labels, ["conv1"], "mean", "must be a classifier that ends in a softmax"),
            (model, x, labels[:3], ["conv1"], "mean", "labels must name a class from 0 to 1 for each of 40"),
            (model, x, labels + 1, ["conv1"], "mean", "labels must name a class from 0 to 1"),
            (model, x, labels, ["conv7"], "mean", "carried has no layer 'conv7'"),
            (model, x, labels, ["conv1"], "noise", "fill must be one of mean, zero. Got 'noise'"),
        )
        for network, inputs, truth, names, fill, match in cases:
            with pytest.raises(ValueError, match=match):
                pruning.ablate(network, inputs, truth, layers=names, fill=fill)


def test_clips_are_the_nearest_and_none_is_chosen_twice():
    tags = pd.DataFrame(False, index=[7, 8, 9], columns=["piano", "solo", "drums", "pop"])
    tags.loc[7, ["piano", "drums"]] = tags.loc[8, ["piano", "solo"]] = tags.loc[9, ["pop"]] = True
    chosen = clip_selection.choose(
        tags, {"a": ("piano", "solo", "-drums"), "b": ("piano", "rap"), "c": ("rap", "-piano")}
    )
    assert chosen["clip"].tolist() == [8, 7, 9]
    assert chosen["has"].tolist() == ["piano, solo, no drums", "piano", "no piano"]
    assert chosen["lacks"].tolist() == ["", "rap", "rap"]
    apart = clip_selection.choose(
        tags, {"a": ("piano", "solo"), "b": ("piano",)}, groups=pd.Series([1, 1, 2], index=[7, 8, 9])
    )
    assert apart["clip"].tolist() == [8, 9]
    with pytest.raises(ValueError, match="at least 4 clips, one for each name and from different groups. Got 3"):
        clip_selection.choose(tags)
    with pytest.raises(ValueError, match="Got 1"):
        clip_selection.choose(tags, {"a": ("piano",), "b": ("pop",)}, groups=pd.Series(0, index=tags.index))


def test_likeness_tells_images_from_the_input(model):
    x = np.random.default_rng(0).random((2, 129, LENGTH, 1)).astype(np.float32)
    table = sanity.likeness(model, x, layers=["conv1"], features={"conv1": [3, 2]}).iloc[0]
    assert table["input"] == pytest.approx(1, abs=1e-5)
    assert table["features"] == 1
    assert np.isnan(table["others"])
    assert sanity.likeness(model, x, layers=["conv1"]).at[0, "others"] < 0.9


def test_edges_name_the_onset_kernel(model):
    table = tables.edges(model.get_layer("conv1").get_weights()[0])
    assert table["onset"].tolist() == [1, 0, 0, 0]
    assert table["level"].tolist() == [0, 0, 0, 1]


def test_the_stem_that_a_feature_leans_to(model):
    """An onset feature makes a mixture more like its clicks, a feature of horizontal lines more like its tone."""
    clicks, tone = measures.clicks_and_tone(sr=STFT.sr, seconds=1.5)
    clips, stems = {"both": clicks + tone, "silence": 0 * tone}, {"clicks": clicks, "tone": tone}
    sounds = auralisation.auralise(Deconvolution(model, "conv1"), clips, [0, 1], front_end=STFT, length=LENGTH)
    table = tables.describe(sounds, clips, front_end=STFT, stems=dict.fromkeys(clips, stems))
    table = table.set_index(["clip", "feature"])
    assert table.loc["both", "stem"].to_dict() == {0: "clicks", 1: "tone"}
    for feature, stem in table.loc["both", "stem"].items():
        gains = measures.stem_correlations(sounds["both", feature].sound, stems, sr=STFT.sr, clip=clips["both"])
        assert table.at[("both", feature), "stem_gain"] == pytest.approx(gains[stem])
        assert gains[stem] > 0 > gains.drop(stem).max()
    assert table.loc["silence", "stem"].eq("").all()
    assert table.loc["silence", "stem_gain"].isna().all()


def test_sounds_and_page(tmp_path, model):
    run = runs.start(tmp_path, notebook="07_test", parameters={})
    clicks, tone = measures.clicks_and_tone(sr=STFT.sr, seconds=1.5)
    clips = {"clicks": clicks, "soft": 0.2 * tone, "silence": 0 * tone}
    sounds = auralisation.auralise(Deconvolution(model, "conv1"), clips, [0, 2], front_end=STFT, length=LENGTH)
    table = tables.describe(sounds, clips, front_end=STFT, stems=dict.fromkeys(clips, {"clicks": clicks, "tone": tone}))
    assert tables.gains(sounds)[2] == pytest.approx(100)
    assert tables.gains(sounds, max_db=0)[0] == 1
    entries = tables.write_sounds(run, sounds, table, front_end=STFT, source="choi2018")
    row = table.set_index(["clip", "feature"]).loc[("clicks", 0)]
    assert entries[0]["numbers"]["leans to"] == f"{row['stem']} ({row['stem_gain']:+.2f})"
    for entry in entries:
        assert ("leans to" in entry["numbers"]) == (
            entry["clip"] != "silence" and entry["feature"] == "conv1, feature 0"
        )
        y, sr = soundfile.read(tmp_path / "audio" / entry["file"].removeprefix("../audio/"))
        assert sr == STFT.sr
        assert len(y) == len(tone)
        assert np.isfinite(y).all()
        assert np.abs(y).max() <= 1
    text = page.write(run.path("files", "page.html"), entries, title="sounds").read_text()
    assert text.count("<audio controls") == text.count("data:image/png;base64,") == len(entries) == 6
    run.finish()


def test_figures(model):
    S = STFT.compute(measures.clicks_and_tone(sr=STFT.sr, seconds=1.0)[0])
    fig, axes = plt.subplots(2, 2)
    figures.gallery({"clip": {"a": S, "b": S}, "1-0": {"a": S - 20, "b": S}}, front_end=STFT, axes=axes)
    assert [ax.get_title() for ax in axes[0]] == ["a", "b"]
    assert axes[1, 0].get_ylabel().startswith("1-0")
    assert axes[1, 0].images[0].get_array().max() == pytest.approx(-20)
    assert axes[0, 0].images[0].get_clim() == (-70, 0)
    with pytest.raises(ValueError, match=r"axes must have shape \(1, 2\)\. Got \(2, 2\)"):
        figures.gallery({"clip": {"a": S, "b": S}}, front_end=STFT, axes=axes)
    ax = figures.weights(model.get_layer("conv1").get_weights()[0][:, :, 0, 0], ax=plt.figure().gca())
    assert ax.images[0].get_clim() == (-1, 1)
    assert [t.get_text().split("Σ ")[1] for t in ax.get_xticklabels()] == ["-3.00", "+0.00", "+3.00"]
    plt.close("all")


BAD = {
    "front end": ({"front_end": FrontEnd(8000, 256, 128, 24, kind="cqt")}, "Only front ends of kind 'mel' and 'stft'"),
    "waveform": ({"front_end": FrontEnd(8000, 2, 1, 1, kind="waveform")}, "Got 'waveform'"),
    "no clips": ({"clips": {}}, "clips must name at least one waveform"),
    "feature": ({"features": 4}, r"features must lie between 0 and 3, the maps of 'conv1'\. Got \[4\]"),
    "reading": ({"reading": "loud"}, "reading must be one of mask, decibels. Got 'loud'"),
    "join": ({"join": "sum"}, "join must be 'mean' or 'max'. Got 'sum'"),
    "length": ({"length": 30}, r"x must have shape \(n, 129, 40, 1\)"),
    "NaN": ({"clips": {"a": np.full(9000, np.nan)}}, "y holds NaN or Inf"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, model):
    changed, match = BAD[case]
    arguments = {
        "clips": {"a": np.zeros(9000, np.float32)},
        "features": 0,
        "front_end": STFT,
        "length": LENGTH,
    } | changed
    with pytest.raises(ValueError, match=match):
        auralisation.auralise(
            Deconvolution(model, "conv1"), arguments.pop("clips"), arguments.pop("features"), **arguments
        )
