"""Several taggers side by side: common names of tags, aligned scores, the page and the command."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.pages import check

from musictools import audio, cli, comparison
from musictools.inference import Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR = 8000


def tagger(tags, logits, *, thresholds=None, length=30, data="songs"):
    """A network that always answers with the same logits."""
    model = keras.Sequential(
        [
            keras.Input((40, length, 1)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(tags), name="logits"),
            keras.layers.Activation("sigmoid", name="sigmoid"),
        ]
    )
    model.layers[1].set_weights([np.zeros((1, len(tags))), np.array(logits, dtype=float)])
    card = ModelCard(
        task="tags", model="set", outputs=tags, length=length, step=length, front_end=FrontEnd(SR, 512, 256, 40),
        data=data, thresholds={"f1": dict(zip(tags, thresholds, strict=True))} if thresholds else {},
    )  # fmt: skip
    return Tagger(model, card)


def clip(seconds=3.0):
    return (0.1 * np.sin(np.arange(round(SR * seconds)) / 5)).astype(np.float32)


@pytest.fixture
def compared():
    taggers = {
        "first": tagger(["guitar", "hip hop", "sitar", "slow"], [2.0, -1.0, 1.0, -3.0]),
        "second": tagger(["Hip-Hop", "guitar", "party"], [-2.0, 1.0, 3.0], thresholds=[0.1, 0.9, 0.5], length=60),
        "third": tagger(["genre---hiphop", "mood/theme---party"], [0.5, -1.0]),
    }
    return comparison.compare(taggers, clip(), sr=SR)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_tags_are_aligned_and_shared_ones_come_first(compared):
    table = compared.table
    assert compared.shared == ["guitar", "party", "hip hop"]  # by the mean score
    assert list(table.index) == ["guitar", "party", "hip hop", "sitar", "slow"]
    np.testing.assert_allclose(table.loc["hip hop"], sigmoid(np.array([-1.0, -2.0, 0.5])), rtol=1e-5)
    assert table.loc["guitar"].isna().tolist() == [False, False, True]
    assert (compared.own("first"), compared.own("second"), compared.own("third")) == (["sitar", "slow"], [], [])


def test_every_tagger_has_its_own_thresholds(compared):
    predicted = {name: set(one.index[one["predicted"]]) for name, one in compared.decisions.items()}
    assert predicted == {"first": {"guitar", "sitar"}, "second": {"hip hop", "party"}, "third": {"hip hop"}}
    half = comparison.compare({"a": tagger(["x"], [0.1], thresholds=[0.9])}, clip(), sr=SR, rule="half")
    assert half.decisions["a"]["predicted"].all()


def test_the_rule_is_f1_or_the_first_of_the_card():
    model = tagger(["x"], [0.1])
    for known, rule in ((["precision", "f1"], "f1"), (["share", "precision"], "share"), ([], "half")):
        card = model.card.model_copy(update={"thresholds": {name: {"x": 0.3} for name in known}})
        assert comparison.default_rule(Tagger(model.model, card)) == rule


def test_agreement_is_the_rank_correlation_over_common_tags(compared):
    assert np.isnan(compared.agreement().at["first", "second"])  # two common tags tell nothing
    tags = ["a", "b", "c", "d"]
    taggers = {
        "one": tagger(tags, [1, 2, 3, 4]),
        "same": tagger(tags[::-1], [8, 7, 6, 5]),
        "not": tagger(tags, [4, 3, 2, 1]),
    }
    agreement = comparison.compare(taggers, clip(), sr=SR).agreement()
    assert agreement.loc["one"].tolist() == pytest.approx([1, 1, -1])


def test_two_spellings_of_one_tagger_are_one_tag():
    compared = comparison.compare({"a": tagger(["hip hop", "hiphop", "+"], [-1.0, 1.0, 0.0])}, clip(), sr=SR)
    assert compared.table["a"].to_dict() == pytest.approx({"hip hop": sigmoid(1.0), "+": 0.5})


def test_the_page_shows_scores_side_by_side(compared, tmp_path):
    index = comparison.write(tmp_path / "out", compared, 3 * clip(), sr=SR, title="A <b>song</b>", top=2)
    read = check(index.read_text(), shows=["A <b>song</b>", "first", "learnt from songs: guitar, sitar", "not known"])
    pictures = [name for name in read.all("img", "src")]
    assert pictures == [
        "taggram-shared-first.png", "taggram-shared-second.png", "taggram-shared-third.png", "taggram-own-first.png"
    ]  # fmt: skip
    for name in {*pictures, *read.all("audio", "src"), "comparison.csv"}:
        assert (tmp_path / "out" / name).stat().st_size > 0
    sizes = {Image.open(tmp_path / "out" / name).size for name in pictures[:3]}
    assert len(sizes) == 1, "the rows of the pictures are aligned"
    assert re.search(r"guitar ?0\.88 ✓ ?0\.73 ?not known", read.text), "guitar in all three columns"
    few = comparison.write(tmp_path / "few", compared, clip(), sr=SR, title="song", top=1).read_text()
    assert "The other" not in few, "tags that a tagger predicts are shown"
    table = pd.read_csv(tmp_path / "out" / "comparison.csv", index_col=0)
    pd.testing.assert_frame_equal(table, compared.table, check_dtype=False)
    assert np.abs(audio.load(tmp_path / "out" / "song.flac")[0]).max() <= 1


def test_taggers_without_a_common_tag(tmp_path):
    taggers = {"a": tagger(["drums"], [1.0]), "b": tagger(["flute"], [-1.0])}
    compared = comparison.compare(taggers, clip(), sr=SR)
    assert compared.shared == []
    read = check(comparison.write(tmp_path, compared, clip(), sr=SR, title="song").read_text())
    assert "at least two" not in read.text
    assert "no tag is predicted" in read.text


def test_wrong_arguments_are_named(compared, tmp_path):
    with pytest.raises(ValueError, match="taggers must hold at least one tagger"):
        comparison.compare({}, clip(), sr=SR)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: is a file, not a folder"):
        comparison.write(tmp_path / "file", compared, clip(), sr=SR, title="song")


def saved(folder, name, model):
    model.model.save(folder / f"{name}.keras")
    (folder / f"{name}.json").write_text(model.card.model_dump_json())
    return str(folder / f"{name}.keras")


def test_the_command_writes_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path / "data"))
    song = audio.write(tmp_path / "my song.wav", clip(), sr=SR)
    files = [saved(tmp_path, "a", tagger(["drums", "flute"], [1, -1])), saved(tmp_path, "b", tagger(["flute"], [1]))]
    out = tmp_path / "out"
    assert cli.main(["compare", str(song), "--models", *files, "--out", str(out), "--seconds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "a: drums 0.73" in printed
    assert printed.strip().endswith(str(out / "index.html"))
    read = check((out / "index.html").read_text(), shows=["my song", "2.0 s"])
    assert "drums" in read.text

    assert cli.main(["compare", str(song), "--models", "unheard-of", "--out", str(out)]) == 2
    assert "unheard-of.keras: no such model. Make one with: musictools rebuild" in capsys.readouterr().err
    twin = tmp_path / "twin"
    twin.mkdir()
    files[1] = saved(twin, "a", tagger(["flute"], [1]))
    assert cli.main(["compare", str(song), "--models", *files, "--out", str(out)]) == 2
    assert "Several models are called alike: a, a" in capsys.readouterr().err
