"""Tasks on composed clips, features of planted sounds, the author's layout in miniature, and his own features."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import published
from musictools.datasets import composed
from musictools.experiments import transfer, transfer_composed, transfer_original, transfer_real
from musictools.inference import Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd
from musictools.transfer import selection
from musictools.transfer.features import FeatureSet, LayerAverages, mfcc_statistics
from musictools.transfer.machines import Grid
from musictools.transfer.tasks import Task

SR = 12000
FRONT_END = FrontEnd(SR, 512, 256, 40)
GRID = Grid(costs=(1.0,), gammas=(), by_size=False)


@pytest.fixture(scope="module")
def plans():
    return transfer_composed.composed_plans(40, seed=7)


@pytest.fixture(scope="module")
def tagger():
    """A network with two layers; its first layer gives the input back."""
    import keras

    inputs = keras.Input((40, 60, 1))
    y = keras.layers.Conv2D(1, 1, name="same", kernel_initializer="ones")(inputs)
    y = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(y)
    y = keras.layers.Dense(2, name="logits")(keras.layers.GlobalMaxPooling2D(name="top")(y))
    card = ModelCard(task="tags", model="set", outputs=["a", "b"], length=60, step=60, front_end=FRONT_END)
    return Tagger(keras.Model(inputs, keras.layers.Activation("sigmoid", name="sigmoid")(y)), card)


def sound(frequency):
    """A tone of 0.7 s over faint noise."""
    t = np.arange(round(0.7 * SR)) / SR
    y = 0.4 * np.sin(2 * np.pi * frequency * t) + 1e-3 * np.random.default_rng(0).standard_normal(t.size)
    return y.astype(np.float32), SR


class TestFeatures:
    def test_short_sounds_are_repeated_and_long_ones_are_averaged_over_their_inputs(self, tagger):
        averages = LayerAverages(tagger.model, layers=["same", "conv"])
        networks = {"set": transfer.Network(tagger, averages)}
        got = transfer.clip_features(networks, sound, [400.0, 3000.0], seconds=4.0)["set"]
        assert got.ids.tolist() == [400.0, 3000.0]
        for row, frequency in enumerate(got.ids):
            y = np.concatenate([sound(frequency)[0]] * 6)[: 4 * SR]
            x = tagger.inputs(y)
            assert len(x) == 3
            np.testing.assert_allclose(got.blocks["1"][row, 0], np.mean(x), rtol=1e-4)  # the mean level of the input
            np.testing.assert_allclose(got.blocks["2"][row], averages(x)["2"].mean(axis=0), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(got.blocks["mfcc"][row], mfcc_statistics(y, sr=SR), rtol=1e-3, atol=1e-2)
        whole = transfer.clip_features(networks, sound, [400.0], seconds=0.1)["set"]
        assert not np.allclose(whole.blocks["2"], got.blocks["2"][:1], rtol=1e-3), "the sound was not repeated"

    def test_a_network_that_cuts_waveforms_itself_gets_the_waveform(self, tagger):
        class Own(Tagger):
            def inputs(self, y, *, S=None):
                assert S is None
                return Tagger.inputs(self, 0.5 * y)

        own = Own(tagger.model, tagger.card)
        averages = LayerAverages(tagger.model, layers=["same"])
        networks = {"own": transfer.Network(own, averages), "plain": transfer.Network(tagger, averages)}
        got = transfer.clip_features(networks, sound, [400.0], seconds=1.0)
        change = (got["plain"].blocks["1"] - got["own"].blocks["1"]).item()
        assert 3 < change * (FRONT_END.ceiling - FRONT_END.floor) < 6.1  # half the amplitude: 6 dB where nothing is cut

    def test_random_networks_differ_by_seed_and_share_the_inputs(self, tagger):
        first, other = (transfer.random_network(tagger, seed=seed) for seed in (0, 1))
        assert first.tagger is tagger
        assert first.averages.layers == LayerAverages(tagger.model).layers
        x = tagger.inputs(sound(500.0)[0])
        assert not np.allclose(first.averages(x)["1"], other.averages(x)["1"])


class TestComposedTasks:
    def test_targets_are_what_the_composer_knows(self, plans):
        tasks = transfer_composed.composed_tasks(plans)
        for clip, plan in plans.items():
            truth = composed.truth(plan)
            assert tasks["genre"].target[clip] == plan.genre
            assert tasks["drums"].target[clip] == ("none" if "no_drums" in truth["concepts"] else "drums")
            assert (tasks["vocals"].target[clip] == "vocals") == ("vocals" in truth["concepts"])
            minor = sum(end - start for start, end, label in truth["chords"] if ":min" in label or ":dim" in label)
            assert tasks["minor"].target[clip] == pytest.approx(minor / composed.N_SAMPLES * composed.SR, abs=1e-3)
            assert tasks["genre"].groups[clip] == plan.artist
        tempo = pd.Series({clip: composed.truth(plan)["tempo"] for clip, plan in plans.items()})
        ranges = tempo.groupby(tasks["tempo"].target).agg(["min", "max"]).loc[["slow", "moderate", "brisk", "fast"]]
        assert (ranges["max"].to_numpy()[:-1] <= ranges["min"].to_numpy()[1:]).all()
        assert tasks["density"].is_regression
        assert tasks["minor"].is_regression
        assert not tasks["tempo"].is_regression

    def test_density_counts_simultaneous_notes_once(self):
        notes = np.array([[0.0, 1, 60, 90], [0.0, 1, 64, 90], [0.5, 1, 60, 90], [0.501, 1, 67, 90], [-0.2, 1, 50, 90]])
        stem = composed.Stem(0, False, 0.0, notes)
        score = composed.Score(120.0, "C major", 4, (), (), {"piano": stem})
        assert transfer_composed._density(score) == pytest.approx(2 / 29.124)

    def test_single_stems_are_even_and_short_and_equally_loud(self, plans):
        task = transfer_composed.stem_task(plans, seed=3)
        assert len(task) == len({clip for clip, _ in task.ids}) == len(plans)
        counts = task.target.value_counts()
        assert len(counts) >= 5
        assert counts.max() <= 14
        pair = task.ids[0]
        y, sr = transfer_composed.StemExcerpt(plans)(pair)
        assert (len(y), sr) == (4 * composed.SR, composed.SR)
        assert np.sqrt(np.mean(y**2)) == pytest.approx(0.1, rel=1e-3)
        stem = composed.stems(plans[pair[0]])[pair[1]]
        loudest = max(np.mean(stem[k : k + 64000] ** 2) for k in range(0, len(stem) - 63999, 64000))
        assert np.corrcoef(y, stem[: 7 * 64000].reshape(7, -1)[np.argmax([np.mean(p**2) for p in stem[: 7 * 64000]
                           .reshape(7, -1)])])[0, 1] > 0.999  # fmt: skip
        assert loudest > 0

    def test_a_mix_is_the_clip(self, plans):
        clip = next(iter(plans))
        y, sr = transfer_composed.Mix(plans)(clip)
        assert (len(y), sr) == (composed.N_SAMPLES, composed.SR)
        np.testing.assert_allclose(y, sum(composed.stems(plans[clip]).values()), atol=1e-5)


class TestTables:
    def test_the_gain_of_a_layer_is_that_of_a_sum(self):
        worth = {"1": 0.3, "2": 0.1, "3": -0.05}
        names = ["1", "2", "3", "12", "13", "23", "123"]
        table = pd.DataFrame({"features": names, "score": [sum(worth[k] for k in name) for name in names]})
        gains = transfer.layer_gains(
            pd.concat([table, pd.DataFrame({"features": ["mfcc"], "score": [9]})]), layers="123"
        )
        assert gains.to_dict() == pytest.approx(worth)

    def test_differences_and_classes(self):
        task = Task("t", pd.Series(["a", "a", "b", "b"]))
        right = selection.Outcome(task, np.arange(4), np.array(["a", "a", "b", "b"]), [])
        half = selection.Outcome(task, np.arange(4), np.array(["a", "b", "b", "a"]), [])
        table = transfer.differences({"t": {"x": right, "y": half}}, [("x", "y")], repeats=50)
        assert table.loc[0, ["task", "first", "second", "difference"]].tolist() == ["t", "x", "y", 0.5]
        assert table.loc[0, "low"] <= 0.5 <= table.loc[0, "high"]
        assert transfer.by_class(half).to_dict() == {"a": 0.5, "b": 0.5}

    def test_table_6_a(self):
        tasks = {"x": Task("x", pd.Series(["a", "b", "a"])), "y": Task("y", pd.Series([0.1, 0.2, 0.3]))}
        about = {"x": ("", "genre"), "y": ("", "onsets")}
        table = transfer.table_6_a(transfer.Target("songs", tasks, {}, about))
        assert table["task"].tolist() == ["genre", "onsets"]
        assert list(table) == list(published.table("choi2018_table_6_a_tasks"))
        assert table["classes"].iloc[0] == 2
        assert np.isnan(table["classes"].iloc[1])


def write_original(folder, data, table, n, rng):
    """Files of one data set in the layout of the author's repository."""
    (folder / "data_csv").mkdir(parents=True, exist_ok=True)
    (folder / "data_feats").mkdir(exist_ok=True)
    table.to_csv(folder / "data_csv" / f"{data}.csv")
    blocks = [rng.normal(size=(n, 32)).astype(np.float32) for _ in range(5)]
    for layer, block in enumerate(blocks):
        np.save(folder / "data_feats" / f"{data}_layer_{layer}.npy", block)
    return blocks


class TestOriginal:
    def test_the_authors_layout_is_read(self, tmp_path):
        rng = np.random.default_rng(0)
        paths = [f"gtzan_genre/genres/{g}/{g}.{k:05d}.au" for g in ("blues", "rock") for k in range(10)]
        table = pd.DataFrame({"id": "x", "filepath": paths, "label": np.repeat([0, 1], 10)})
        blocks = write_original(tmp_path, "gtzan_genre", table, 20, rng)
        features, task = transfer_original.load(tmp_path, "gtzan_genre")
        assert list(features.blocks) == ["1", "2", "3", "4", "5"]
        np.testing.assert_array_equal(features.matrix(["2", "5"]), np.concatenate([blocks[1], blocks[4]], axis=1))
        assert task.ids[:2].tolist() == ["blues.00000", "blues.00001"]
        assert task.target["rock.00009"] == 1
        for short, numbers in (("train", range(4)), ("valid", range(4, 6)), ("test", range(6, 9))):
            lines = [f"{g}/{g}.{k:05d}.wav" for g in ("blues", "rock") for k in numbers]
            (tmp_path / f"fault_filtered_{short}.txt").write_text("\n".join(lines) + "\n")
        strict = transfer_original.fault_filtered(task, tmp_path)
        assert strict.parts.value_counts().to_dict() == {"train": 8, "validation": 4, "test": 6}
        assert len(strict.splits()[0].test) == 6
        with pytest.raises(ValueError, match="emoMusic.csv: no such file"):
            transfer_original.load(tmp_path, "arousal")
        with pytest.raises(ValueError, match="name must be one of ballroom, .*Got 'x'"):
            transfer_original.load(tmp_path, "x")

    def test_given_parts_and_two_targets_are_read(self, tmp_path):
        rng = np.random.default_rng(0)
        vocals = {"id": range(6), "filepath": list("abcdef"), "label": [0, 1] * 3}
        write_original(
            tmp_path, "jamendo_vd", pd.DataFrame(vocals | {"category": ["train", "valid", "test"] * 2}), 6, rng
        )
        _, task = transfer_original.load(tmp_path, "vocals")
        assert task.parts.tolist() == ["train", "validation", "test"] * 2
        events = {"id": range(6), "filepath": list("abcdef"), "label": [0, 1] * 3, "fold": [1, 1, 2, 2, 3, 3]}
        write_original(tmp_path, "urbansound", pd.DataFrame(events), 6, rng)
        _, task = transfer_original.load(tmp_path, "urbansound")
        assert len(task.splits(inner_folds=2)) == 3
        moods = {
            "id": range(6),
            "filepath": list("abcdef"),
            "label_arousal": np.linspace(0, 1, 6),
            "label_valence": 0.5,
        }
        write_original(tmp_path, "emoMusic", pd.DataFrame(moods), 6, rng)
        assert transfer_original.load(tmp_path, "arousal")[1].target.tolist() == pytest.approx(
            [0, 0.2, 0.4, 0.6, 0.8, 1]
        )
        assert transfer_original.load(tmp_path, "valence")[1].is_regression

    def test_rank_correlations(self):
        table = published.table(transfer_original.FIGURES["valence"])
        same = transfer_original.rank_correlations({"valence": table}).iloc[0]
        assert (same["subsets"], same["rank_correlation"], same["largest"]) == (28, pytest.approx(1), 0)
        worse = table.assign(score=0.5 - table["score"])
        assert transfer_original.rank_correlations({"valence": worse})["rank_correlation"][0] == pytest.approx(-1)
        easy = transfer_original.rank_correlations(
            {"speech_music": published.table(transfer_original.FIGURES["speech_music"])}
        )
        assert np.isnan(easy["rank_correlation"][0]), "nearly all published scores are 1"

    def test_gtzan_from_the_authors_features(self, shared_data):
        features, task = transfer_original.load(shared_data / "choi2018", "gtzan_genre")
        everything = tuple("12345")
        table, _ = transfer_original.scores(
            features, task, subsets=[everything], screening=selection.Screening(2, 500, 3)
        )
        assert table["score"][0] == pytest.approx(published.number("choi2018", "transfer_gtzan_best"), abs=0.01)
        strict = transfer_original.fault_filtered(task, shared_data / "gtzan")
        assert strict.parts.value_counts().to_dict() == {"train": 443, "test": 290, "validation": 197}
        outcome = selection.nested(features.take(strict.ids).matrix(everything), strict, grid=Grid(gammas=(2.0**-7,)))
        assert 0.7 < outcome.score() < 0.88


class TestRecordings:
    def test_excerpts_are_grouped_by_the_name_of_their_clip(self, tmp_path):
        for place, genre, number in (("a", "blues", 1), ("b", "blues", 1), ("b", "blues", 2), ("b", "rock", 7)):
            folder = tmp_path / place / genre
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{genre}.{number:05d}.wav", np.full(2000, 0.01), 8000)
        (task,) = transfer_real.genre_tasks(tmp_path).values()
        assert task.target.tolist() == ["blues", "blues", "blues", "rock"]
        assert task.groups.tolist() == ["blues.00001", "blues.00001", "blues.00002", "rock.00007"]
        assert len(transfer_real.genre_tasks(tmp_path, n_clips=2)["genre"].target.unique()) == 2
        for short, line in (
            ("train", "blues/blues.00001.wav"),
            ("valid", "blues/blues.00002.wav"),
            ("test", "rock/rock.00007.wav"),
        ):
            (tmp_path / f"fault_filtered_{short}.txt").write_text(f"{line}\n")
        strict = transfer_real.genre_tasks(tmp_path)["genre, fault-filtered"]
        assert strict.groups.tolist() == task.groups.tolist(), "excerpts of one clip are no independent observations"
        y, sr = transfer_real.AudioFile(tmp_path)(task.ids[0])
        assert sr == 8000
        assert np.sqrt(np.mean(y**2)) == pytest.approx(0.1, rel=1e-3)
        with pytest.raises(ValueError, match="no GTZAN files"):
            transfer_real.genre_tasks(tmp_path / "a" / "rock")

    def test_sounds_with_and_without_a_voice_have_one_level(self, shared_data):
        from musictools import datasets

        data = datasets.load("mir1k", data_dir=shared_data / "mir1k")
        tasks = transfer_real.voice_tasks(data, n_clips=18)
        voice, sex = tasks["voice or not"], tasks["woman or man"]
        assert (len(voice), len(sex)) == (36, 18)
        assert voice.groups.value_counts().tolist() == [4] * 9
        assert sex.groups[sex.target == "woman"].unique().tolist() == ["Ani", "annar", "ariel"]
        levels = [np.sqrt(np.mean(transfer_real.VoiceSound(data)(pair)[0] ** 2)) for pair in voice.ids[:2]]
        assert levels == pytest.approx([0.1, 0.1], rel=1e-3)

    def test_scores_compare_networks_with_random_weights_and_mfccs(self):
        rng = np.random.default_rng(0)
        groups = pd.Series(np.repeat(np.arange(12), 5))
        y = pd.Series(np.where(groups % 2, "voice", "none"))
        good, noise = (y == "voice").to_numpy()[:, None] + 0.3 * rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
        features = {"net": FeatureSet(y.index, {"1": good, "mfcc": noise}),
                    "net, random": FeatureSet(y.index, {"1": noise[::-1], "mfcc": noise})}  # fmt: skip
        table = transfer_real.scores(features, {"voice": Task("voice", y, groups=groups)}, grid=GRID, repeats=50)
        rows = table.set_index("features")
        assert set(rows.index) == {"all layers", "all layers + MFCC", "random weights", "MFCC"}
        assert rows.at["all layers", "score"] > 0.9 > 0.7 > rows.at["random weights", "score"]
        assert rows.at["all layers", "gain_low"] > 0
        assert rows.at["MFCC", "gain"] == 0
