"""Checking labels by listening: questions, resumable answers, and the widget's part in Python."""

import numpy as np
import pandas as pd
import pytest

from musictools import annotation


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.random((200, 2)) < (0.5, 0.02), index=range(1000, 1200), columns=["guitar", "harp"])


def test_questions_are_balanced_and_do_not_give_the_label_away(labels):
    asked = annotation.questions(labels, tags=["guitar", "harp"], per_label=30)
    guitar, harp = (asked.loc[asked["tag"] == tag, "clip"] for tag in ("guitar", "harp"))
    y = labels.loc[guitar, "guitar"].to_numpy()
    assert (y.sum(), len(y)) == (30, 60)
    assert 5 < y[:30].sum() < 25, "the order is random"
    assert labels.loc[harp, "harp"].sum() == labels["harp"].sum()
    assert not asked.duplicated().any()
    assert asked.equals(annotation.questions(labels, tags=["guitar", "harp"], per_label=30))


def test_bad_questions_are_refused(labels):
    with pytest.raises(ValueError, match="per_label must be a positive int. Got 0"):
        annotation.questions(labels, tags=["guitar"], per_label=0)
    with pytest.raises(ValueError, match="There is no tag 'lute' among the labels"):
        annotation.questions(labels, tags=["lute"])


def test_a_session_continues_where_the_last_one_ended(labels, tmp_path):
    asked = annotation.questions(labels, tags=["guitar"], per_label=2)
    path = tmp_path / "folder" / "answers.csv"
    session = annotation.Session(path, asked)
    assert session.current == (asked["clip"][0], "guitar")
    session.answer("yes")
    session.answer("unsure")
    again = annotation.Session(path, asked)
    assert again.progress == (2, 4)
    assert again.current == (asked["clip"][2], "guitar")
    again.answer("no")
    again.answer("no")
    assert again.current is None
    assert again.table()["answer"].tolist() == ["yes", "unsure", "no", "no"]
    assert again.table()["clip"].tolist() == asked["clip"].tolist()
    with pytest.raises(ValueError, match="All questions have been answered"):
        again.answer("yes")


def test_answers_can_be_taken_back_also_those_of_an_earlier_session(labels, tmp_path):
    asked = annotation.questions(labels, tags=["guitar"], per_label=1)
    annotation.Session(tmp_path / "a.csv", asked).answer("yes")
    session = annotation.Session(tmp_path / "a.csv", asked)
    session.answer("no")
    session.back()
    session.back()
    session.back()
    assert session.progress == (0, 2)
    session.answer("unsure")
    assert session.table()["answer"].tolist() == ["unsure"]


def test_answers_to_other_questions_in_the_file_are_kept(labels, tmp_path):
    first = annotation.questions(labels, tags=["guitar"], per_label=1)
    second = annotation.questions(labels, tags=["harp"], per_label=1)
    annotation.Session(tmp_path / "a.csv", first).answer("yes")
    session = annotation.Session(tmp_path / "a.csv", second)
    assert session.progress == (0, 2)
    session.answer("no")
    assert annotation.Session(tmp_path / "a.csv", first).progress == (1, 2)


@pytest.mark.parametrize("content", ["", "clip,tag\n1,guitar\n", "clip,tag,answer\n1,guitar,maybe\n"])
def test_damaged_files_are_named(labels, tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ValueError, match=r"a\.csv: "):
        annotation.Session(tmp_path / "a.csv", annotation.questions(labels, tags=["guitar"]))


def test_unknown_answers_are_refused(labels, tmp_path):
    session = annotation.Session(tmp_path / "a.csv", annotation.questions(labels, tags=["guitar"]))
    with pytest.raises(ValueError, match="answer must be one of yes, no, unsure. Got 'maybe'"):
        session.answer("maybe")
    assert not (tmp_path / "a.csv").exists()


def test_the_widget_plays_and_asks_one_clip_after_the_other(labels, tmp_path):
    from musictools.explorer.annotator import Annotator

    asked = annotation.questions(labels, tags=["guitar"], per_label=1)
    session, loaded = annotation.Session(tmp_path / "a.csv", asked), []
    widget = Annotator(session, lambda clip: loaded.append(clip) or (np.zeros(800, np.float32), 8000))
    assert widget.question == "Is “guitar” true of this clip?"
    assert widget.sound[:4] == b"fLaC"
    widget.press("yes")
    widget.press("no")
    assert loaded == asked["clip"].tolist()
    assert (widget.question, widget.sound, widget.progress) == ("", b"", "2 of 2")
    widget.press("yes")  # nothing is left to answer
    widget.press("back")
    assert (session.progress, loaded[-1]) == ((1, 2), asked["clip"][1])
