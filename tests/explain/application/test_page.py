"""The explanation as a page: everything is there and literal, sounds and numbers are those of the explanation."""

import json
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from support.explanations import EDGES, MEL, SR, explanation
from support.pages import NASTY, check

from musictools import audio
from musictools.explain.application import page
from musictools.explain.application.evidence import Evidence
from musictools.familiarity import Familiarity
from musictools.spectrograms import FrontEnd


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, explained = tmp_path_factory.mktemp("page") / "new" / "folder", explanation()
    index = page.write(folder, explained, title="Song", audio_format="wav", more={"file": "a.mp3", "length": 9.5})
    assert index == folder / "index.html"
    return folder, explained, index.read_text(encoding="utf-8")


def numbers(folder):
    def refuse(value):
        raise AssertionError(value)

    return json.loads((folder / "explanation.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_page_holds_everything(written):
    folder, explained, text = written
    read = check(
        text,
        scripts=1,
        shows=[
            "Song",
            "Genre: bass & co",
            "6 of 11 sections say bass & co",
            "birds0.75",
            "0 s1 s2 s3 s4 s5 s",
            "The first 6.0 s of 9.5 s at 16,000 Hz; relevance by deep_taylor; thresholds by rule f1.",
            "The descriptors are those of the first 5.5 s.",
            "passes 3 of 4 tests",
            "low0.750.50 4 of 11",
            "No section of the song predicts it: there is no evidence.",
            "kept by the evidence alone, not lost without it",
            "not predicted of the song: nothing to keep or lose",
            "score 0.75 of the song, 0.62 of the evidence, – of the rest",
            "The evidence holds 25% of the cells; its own spectrogram is 1.5 dB from the masked one.",
        ],
    )
    assert [tag for tag, _ in read.tags].count("b") == len(explained.votes)  # one bar a vote
    assert len(read.all("audio", "controls")) == 1 + 3 * 3
    named = ["The song", *["song", "evidence", "rest"] * 3]  # what a screen reader says of every player and picture
    assert [attributes.get("aria-label") for tag, attributes in read.tags if tag == "audio"] == named
    pictures = [attributes.get("alt") for tag, attributes in read.tags if tag == "img"]
    named = [["", f"Relevance of {tag} over the grey spectrogram of the song"] for tag in explained.heatmaps]
    assert pictures == sum(named, [])
    assert ("html", {"lang": "en"}) in read.tags


def test_the_page_asks_nothing_of_the_network(written):
    folder, _, text = written
    assert "http:" not in text
    assert "https:" not in text
    read = check(text, scripts=1)
    links = [*read.all("img", "src"), *read.all("audio", "src"), *read.all("a", "href")]
    anchors = read.all("section", "id")
    assert len(anchors) == 3
    for link in links:
        assert link[1:] in anchors if link.startswith("#") else (folder / unquote(link)).is_file(), link
    kept = {path.name for path in folder.iterdir()} - {"index.html"}
    assert kept == {link for link in links if not link.startswith("#")}


def test_only_the_pages_own_script_runs(written):
    import base64
    import hashlib

    text = written[2]
    script = text.split("<script>")[1].split("</script>")[0]
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{checksum}';" in text


def test_every_text_is_shown_literally_and_every_descriptor_has_its_anchor(tmp_path):
    """Descriptors, genres, badges, title, method: nothing of it becomes a tag, `hip hop` and `hip-hop` stay apart."""
    for nasty in (NASTY[0], NASTY[3]):
        explained = explanation(NASTY, genres=(nasty, NASTY[1]), badge=nasty)
        explained.method = explained.rule = nasty
        explained.badges = dict(zip(NASTY, reversed(NASTY), strict=True))
        index = page.write(tmp_path, explained, title=nasty, audio_format="wav", more={"file": nasty})
        read = check(
            index.read_text(encoding="utf-8"), shows=[*NASTY, f"Genre: {nasty}", f"relevance by {nasty}"], scripts=1
        )
        anchors = read.all("section", "id")
        assert len(set(anchors)) == len(NASTY)
        assert [link[1:] for link in read.all("a", "href") if link.startswith("#")] == anchors
        assert all(f"{name} 0.90" in " ".join(read.all("b", "title")) for name in (nasty, NASTY[1]))
        assert set(numbers(tmp_path)["files"]) == set(NASTY)


def test_a_song_without_genre_membership_and_descriptors(tmp_path):
    explained = explanation()
    explained.genre = explained.membership = None
    explained.heatmaps, explained.loop = {}, explained.loop.iloc[:0]
    text = page.write(tmp_path, explained, title="Song", audio_format="wav").read_text(encoding="utf-8")
    read = check(text, shows=["None is predicted.", "6.0 s at 16,000 Hz", "unasked"], scripts=1)
    assert "Genre" not in read.text
    assert "membership" not in read.text
    assert "sections say" not in read.text
    assert numbers(tmp_path)["genre"] is None


def test_the_sounds_are_the_evidence(written):
    folder, explained, _ = written
    y, sr = audio.load(folder / numbers(folder)["song"])
    assert sr == SR
    np.testing.assert_allclose(y, explained.y, atol=2**-15)
    for tag, names in numbers(folder)["files"].items():
        evidence, rest = (audio.load(folder / names[kind])[0] for kind in ("evidence", "rest"))
        np.testing.assert_allclose(evidence, explained.evidence[tag].sound, atol=2**-15)
        np.testing.assert_allclose(evidence + rest, y, atol=2**-13)


def test_the_numbers_are_all_there_and_strict_json(written):
    folder, explained, _ = written
    kept = numbers(folder)
    assert (kept["genre"], kept["file"], kept["duration"], kept["heard"]) == ("bass & co", "a.mp3", 6, 5.5)
    assert FrontEnd(**kept["front_end"]) == MEL
    for name, table in (
        ("votes", explained.votes),
        ("descriptors", explained.descriptors),
        ("sections", explained.sections),
        ("evidence", explained.loop),
    ):
        pd.testing.assert_frame_equal(pd.DataFrame(kept[name]).astype(table.dtypes), table)
    assert kept["evidence"][0]["rest"] is None  # NaN
    assert kept["relevance"]["high"]["positive"] == pytest.approx(explained.heatmaps["high"].sum())
    assert kept["membership"] == {"birds": 0.75, "bass & co": 0.25}
    assert kept["badges"] == explained.badges
    assert kept["gain"] == {}


def test_the_playhead_and_the_heatmap_meet_the_spectrogram(written):
    """The heatmap lies over the axes of the spectrogram's picture, where the playhead runs from left to right."""
    from PIL import Image

    folder, explained, text = written
    read = check(text, scripts=1)
    (place,) = {(a["data-left"], a["data-width"], a["data-end"]) for _, a in read.tags if a.get("class") == "picture"}
    left, width, end = map(float, place)
    assert end == pytest.approx(explained.S.shape[1] * 256 / SR)
    (style,) = {attributes["style"] for _, attributes in read.tags if attributes.get("class") == "map"}
    there = {name: float(value.rstrip("%")) / 100 for name, value in (one.split(":") for one in style.split(";"))}
    assert (there["left"], there["width"]) == pytest.approx((left, width), abs=1e-4)
    shot = np.asarray(Image.open(folder / "spectrogram.png").convert("L")).astype(int)
    rows, columns = shot.shape
    inside = shot[round(there["top"] * rows) + 2 : round((there["top"] + there["height"]) * rows) - 2]
    inside = inside[:, round(left * columns) + 2 : round((left + width) * columns) - 2]
    assert (inside < 255).mean() > 0.99  # grey and no white margin
    assert (shot[:, : round(left * columns) - 3] == 255).mean() > 0.8


def test_a_heatmap_has_a_pixel_for_every_cell(written):
    """Its colours are those of `plots.heatmap`, low frequencies at the bottom."""
    from PIL import Image

    folder, explained, text = written
    shot = np.asarray(Image.open(folder / numbers(folder)["files"]["high"]["heatmap"]).convert("RGBA"))
    relevance = explained.heatmaps["high"][::-1]
    assert shot.shape == (*relevance.shape, 4)
    np.testing.assert_array_equal(shot[..., 3] > 0, relevance > 0)
    edges = np.flatnonzero((shot[..., 3] > 0).any(axis=0))[[0, -1]] * 256 / SR
    assert edges == pytest.approx(EDGES["high"], abs=0.03)
    check(text, shows=["relevance (logit) 0", "1 (clipped beyond)"], scripts=1)


def test_loud_evidence_is_written_quieter_and_names_stay_apart(tmp_path):
    explained = explanation(["high", "high!"])
    loud = 40 * explained.y
    explained.evidence["high!"] = Evidence(explained.heatmaps["high!"], loud, explained.y, 1.5)
    page.write(tmp_path, explained, title="twins", audio_format="wav")
    names = [names["evidence"] for names in numbers(tmp_path)["files"].values()]
    assert names == ["evidence-high.wav", "evidence-high-2.wav"]
    gain = 1 / np.abs(loud).max()
    assert numbers(tmp_path)["gain"] == {names[1]: pytest.approx(gain)}
    np.testing.assert_allclose(audio.load(tmp_path / names[1])[0], gain * loud, atol=2**-14)


def test_where_no_page_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file: is a file, not a folder"):
        page.write(tmp_path / "file", explanation(), title="a")
    with pytest.raises(ValueError, match="audio_format must be flac, wav, mp3 or ogg. Got 'au'"):
        page.write(tmp_path / "new", explanation(), title="a", audio_format="au")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("known", [Familiarity(99.6, "594 clips"), Familiarity(12.0, "594 clips"), None])
def test_the_page_says_who_speaks(known, tmp_path):
    explained = explanation()
    tagger = {"network": "a-net", "data": "composed", "licence": "MIT", "source": "", "citation": "A. Author (2020)"}
    mapping = {"network": "mapping", "data": "clips", "licence": "", "source": "", "citation": "", "accuracy": 0.75}
    explained.networks, explained.familiarity = {"descriptors": tagger, "membership": mapping}, known
    text = page.write(tmp_path, explained, title="Song", audio_format="wav").read_text(encoding="utf-8")
    shown = [
        "descriptors: a-net, which learnt from composed; licence: MIT. A. Author (2020)",
        "membership: mapping, which learnt from clips; right for 75% of the clips of unknown artists",
        "The network learnt from music composed by a program.",
        "Whether the network is right is another matter.",
        known.text if known else "Nothing is known of whether the song is like what the network knows",
    ]
    check(text, shows=shown, scripts=1)
    assert ('class="unlike"' in text) == (known is not None and known.unlike)
    assert numbers(tmp_path)["networks"] == explained.networks
    assert (numbers(tmp_path)["familiarity"] or {}).get("percentile") == (known and known.percentile)


def test_a_network_that_also_gives_the_genre_is_named_once(tmp_path):
    explained = explanation()
    tagger = {"network": "a-net", "data": "clips", "licence": "MIT", "source": "", "citation": "A. Author (2020)"}
    explained.networks = {"descriptors": tagger, "genre": dict(tagger)}
    text = page.write(tmp_path, explained, title="Song", audio_format="wav").read_text(encoding="utf-8")
    read = check(text, shows=["genre: the genres among the tags of the same network"], scripts=1)
    assert read.text.count("A. Author (2020)") == 1
    assert "composed by a program" not in read.text
