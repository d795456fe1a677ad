"""Tables of notebook 05 on two tiny clips with known stems and a network of random weights."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from musictools import inference, models
from musictools.experiments import explanations
from musictools.explain.application import system
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd, ModelInput

SR = 8000
TAGS = ["bass", "flute", "slow"]
FRONT_END = FrontEnd(SR, 512, 256, 32)


class Corpus:
    """Clips of a bass and a flute; the clip "solo" has the bass alone."""

    complete_descriptors = pd.DataFrame([[True, True, True], [True, False, True]], index=["duo", "solo"], columns=TAGS)

    def stems(self, clip_id, *, sr=SR):
        t = np.arange(3 * SR) / SR
        both = {"bass": 0.3 * np.sin(2 * np.pi * 200 * t), "flute": 0.3 * np.sin(2 * np.pi * 2000 * t) * (t > 1)}
        return {name: both[name] for name in self.truth(clip_id)["instruments"]}, sr

    def truth(self, clip_id):
        return {"instruments": ["bass", "flute"] if clip_id == "duo" else ["bass"]}

    def tag_stems(self, clip_id, tag):
        names = self.truth(clip_id)["instruments"]
        return names if tag == "slow" else [tag] if tag in names else []

    def audio(self, clip_id, *, sr=SR):
        return sum(self.stems(clip_id)[0].values()).astype(np.float32), sr


@pytest.fixture(scope="module")
def tagger():
    model_input = ModelInput(FRONT_END, 64, 32)
    model = models.build("se_cnn", n_outputs=3, input_shape=model_input.shape, width=0.1, seed=0)
    card = ModelCard(task="tags", model="se_cnn", outputs=TAGS, front_end=FRONT_END, length=64, step=32,
                     thresholds={"f1": {"bass": 0.0, "flute": 0.0, "slow": 1.0}})  # fmt: skip
    return inference.Tagger(model, card)


@pytest.fixture(scope="module")
def accepted(tagger):
    return explanations.accepted_inputs(tagger, Corpus(), ["duo", "solo"])


def test_tags_that_some_stems_carry(tagger):
    table = explanations.stem_tags(tagger, Corpus(), ["duo", "solo"])
    assert list(table) == ["bass", "flute"]  # all stems are slow
    assert table.loc["duo"].all()
    assert not table.loc["solo"].any()  # the only stem is all stems


def test_rare_tags_choose_first():
    table = pd.DataFrame({"often": [1, 1, 1, 1], "rare": [0, 0, 0, 1], "never": 0}, list("abcd")).astype(bool)
    assert explanations.choose_clips(table, 2) == ["d", "a"]
    assert explanations.choose_clips(table, 9) == ["d", "a", "b", "c"]


def test_inputs_are_those_with_true_tags_above_their_thresholds(tagger, accepted):
    x, table = accepted
    pairs = zip(table["clip"], table["tag"], strict=True)
    assert sorted(pairs) == [("duo", "bass"), ("duo", "flute"), ("solo", "bass")]
    assert [TAGS[neuron] for neuron in table["neuron"]] == table["tag"].tolist()
    for one, row in zip(x, table.itertuples(), strict=True):
        inputs = tagger.inputs(Corpus().audio(row.clip)[0])
        scores = tagger.model.predict_on_batch(inputs)[:, row.neuron]
        np.testing.assert_array_equal(one, inputs[scores.argmax()])
    strict = SimpleNamespace(**vars(tagger), inputs=tagger.inputs,
                             decide=lambda scores, rule: pd.DataFrame({"tag": TAGS, "threshold": 1.0}))  # fmt: skip
    with pytest.raises(ValueError, match="predicts no true tag of these clips"):
        explanations.accepted_inputs(strict, Corpus(), ["duo"])
    with pytest.raises(ValueError, match="predicts no tag of these clips that a stem carries"):
        explanations.feedback_table(strict, Corpus(), ["duo"], method=None)


def test_energy_has_the_rows_of_each_tag_against_its_stems(tagger):
    methods = explanations.explainers(tagger.model, {"energy": {}, "plain": {"method": "gradient"}})
    rows = explanations.localisation_rows(tagger, Corpus(), ["solo", "duo"], methods=methods, per_clip=1)
    assert set(rows["clip"]) == {"duo"}
    assert set(rows["tag"]) == {"bass", "flute"}
    assert set(rows["method"]) == {"energy", "plain"}
    with pytest.raises(ValueError, match="No clip has a tag that some of its stems carry"):
        explanations.localisation_rows(tagger, Corpus(), ["solo"], methods=methods)


def test_faithfulness_has_a_curve_and_a_score_for_each_method_and_baseline(tagger, accepted):
    x, table = accepted
    methods = explanations.explainers(tagger.model, {"energy": {}})
    curves, scores = explanations.faithfulness_tables(
        tagger, x, table, methods=methods, baselines=("floor", "mean"), steps=2
    )
    assert scores[["method", "fill"]].to_numpy().tolist() == [["energy", "floor"], ["energy", "mean"]]
    assert set(curves["kind"]) == {"deletion", "insertion"}
    assert ((scores["deletion_low"] <= scores["deletion"]) & (scores["deletion"] <= scores["deletion_high"])).all()


def test_feedback_compares_the_evidence_with_the_moved_mask(tagger):
    methods = explanations.explainers(tagger.model, {"energy": {}})
    table = explanations.feedback_table(tagger, Corpus(), ["duo", "solo"], method=methods["energy"])
    assert table.groupby(["clip", "place"])["tag"].agg(set).to_dict() == {
        (clip, place): tags
        for clip, tags in (("duo", {"bass", "flute"}), ("solo", {"bass"}))
        for place in ("evidence", "moved")
    }
    assert table["accepted"].all()


def test_conservation_names_what_a_method_cannot_explain(tagger, accepted):
    x, table = accepted
    neurons = {"m": table["neuron"].to_numpy()}
    rows = explanations.conservation_table(
        {"m": tagger.model}, {"m": x}, methods=["lrp_epsilon", "magic"], neurons=neurons
    ).set_index("method")
    assert rows.at["lrp_epsilon", "error"] < 0.01
    assert np.isfinite(rows.at["lrp_epsilon", "reached"])
    assert "magic" in rows.at["magic", "verdict"]
    assert np.isnan(rows.at["magic", "error"])


def test_energy_moves_with_the_sound_and_does_not_depend_on_the_batch(tagger, accepted):
    rows = explanations.consistency_table(tagger, Corpus(), *accepted, methods=["energy"], clips=1).set_index("method")
    assert rows.at["energy", "batch"] == 0
    assert rows.at["energy", "pitch_shift"] > rows.at["energy", "pitch_shift_control"]
    assert rows.at["energy", "time_stretch"] > 0.5


def test_the_best_method_of_each_question():
    places = pd.DataFrame({"measure": ["rank_accuracy", "rank_accuracy", "auc", "auc"], "method": ["a", "b"] * 2,
                           "over_energy": [0.1, 0.2, 0.4, 0.3]})  # fmt: skip
    faith = pd.DataFrame({"method": ["a", "a", "b"], "deletion": [0.0, 1.0, 0.4], "insertion": [0.0, 0.1, 0.2]})
    badges = pd.DataFrame({"method": ["a", "b"], "share": [0.5, 1.0]})
    table = explanations.best_methods(places, faith, badges)
    assert table["method"].tolist() == ["b", "a", "a", "b", "b"]
    assert table["value"].tolist() == pytest.approx([0.2, 0.4, 0.5, 0.2, 1.0])
    assert explanations.best_methods(None, faith, badges)["method"].tolist() == [
        "a",
        "b",
        "b",
    ]  # a data set without stems


class Annotated:
    """A data set without stems and without complete descriptors."""

    name, tables_checksum = "songs", "1"
    tracks = pd.DataFrame({"title": ["a", "b", "c"]}, index=["duo", "solo", "other"])
    descriptors = pd.DataFrame([[True], [False], [False]], index=tracks.index, columns=["flute"])

    def audio(self, clip_id, *, sr=SR):
        return Corpus().audio("duo" if clip_id == "duo" else "solo", sr=sr)


def test_annotated_tags_are_enough_without_stems(tagger):
    data = Annotated()
    _, table = explanations.accepted_inputs(tagger, data, ["duo", "solo"])
    assert table[["clip", "tag"]].to_numpy().tolist() == [["duo", "flute"]]
    data.descriptors = data.descriptors[[]]
    _, table = explanations.accepted_inputs(tagger, data, ["duo", "solo"])
    assert table.groupby("clip")["tag"].agg(set).to_dict() == dict.fromkeys(["duo", "solo"], {"bass", "flute"})
    back = explanations.feedback_table(
        tagger, data, ["solo"], method=explanations.explainers(tagger.model, {"energy": {}})["energy"]
    )
    assert set(back["tag"]) == {"bass", "flute"}


def test_explained_clips_are_those_that_the_tagger_was_not_trained_on(tagger):
    def trained(data, checksum, clips=()):
        card = tagger.card.model_copy(update={"data": data, "data_checksum": checksum, "training_clips": tuple(clips)})
        return inference.Tagger(tagger.model, card)

    data, kept = Annotated(), ["duo", "solo"]
    assert sorted(explanations.unseen_clips(trained("songs", "1", ["other"]), data, kept)) == kept
    assert sorted(explanations.unseen_clips(trained("other songs", "2"), data, kept)) == sorted(data.tracks.index)
    with pytest.raises(ValueError, match="trained on another version of songs"):
        explanations.unseen_clips(trained("songs", "2"), data, kept)
    with pytest.raises(ValueError, match="was trained on 1 of the 2 clips"):
        explanations.unseen_clips(trained("songs", "1", ["solo"]), data, kept)


def test_the_workflow_has_the_numbers_of_the_song(tagger):
    genre_card = ModelCard(task="genre", model="se_cnn", outputs=TAGS, front_end=FRONT_END, length=64, step=64)
    genre_model = inference.GenreClassifier(tagger.model, genre_card)
    explanation = system.ExplanationSystem(genre_model, tagger).explain(Corpus().audio("duo")[0], sr=SR, badges=False)
    _, ax = plt.subplots()  # a figure of its own, whatever other tests have left open
    explanations.workflow(explanation, "bass", song="duo", genre_model=genre_model, tagger=tagger, ax=ax)
    texts = "\n".join(text.get_text() for text in ax.texts)
    for expected in (
        "duo",
        "window 512\nhop 256\n32 bands",
        f"{len(explanation.sections)} sections\n32 × 64",
        f"most frequent:\n{explanation.genre}",
        "2 descriptors",
        "bass:\nheatmap",
    ):
        assert expected in texts
    assert len(ax.images) == 4
    plt.close("all")
