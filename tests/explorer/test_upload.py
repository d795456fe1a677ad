"""Uploads without a browser: what is refused, and that pieces make a whole."""

import pytest

from musictools.explorer import songs
from musictools.explorer.upload import Upload


@pytest.fixture
def upload():
    files, refused = [], []
    widget = Upload(received=lambda *file: files.append(file), failed=refused.append)
    widget.files, widget.refused = files, refused
    return widget


def send(widget, content, *pieces):
    widget._handle_custom_msg(content, list(pieces))


def test_pieces_are_joined(upload):
    send(upload, {"kind": "begin", "name": "a song.mp3", "size": 7})
    send(upload, {"kind": "piece"}, memoryview(b"abcd"))
    assert upload.sent == pytest.approx(4 / 7)
    assert upload.files == []
    send(upload, {"kind": "piece"}, memoryview(b"efg"))
    assert upload.files == [("a song.mp3", b"abcdefg")]
    assert upload.sent == 1.0


def test_a_second_file_takes_the_place_of_the_first(upload):
    send(upload, {"kind": "begin", "name": "a.wav", "size": 8})
    send(upload, {"kind": "piece"}, memoryview(b"1234"))
    send(upload, {"kind": "begin", "name": "b.wav", "size": 2})
    send(upload, {"kind": "piece"}, memoryview(b"xy"))
    assert upload.files == [("b.wav", b"xy")]


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("a.exe", 3, "a.exe: the explorer takes .mp3, .wav, .flac, .ogg files."),
        ("a.wav", 0, "a.wav: the file is empty."),
        ("a.wav", 400 * 2**20, "a.wav: too large. It has 400 MB, at most 50 MB are taken."),
    ],
)
def test_other_files_are_refused_before_anything_is_kept(upload, name, size, sentence):
    send(upload, {"kind": "begin", "name": name, "size": size})
    send(upload, {"kind": "piece"}, memoryview(bytes(4)))
    assert upload.refused == [sentence]
    assert upload.files == []
    assert not upload._pieces


def test_more_than_was_announced_is_cut_off(upload):
    send(upload, {"kind": "begin", "name": "a.wav", "size": 3})
    send(upload, {"kind": "piece"}, memoryview(b"abcdef"))
    send(upload, {"kind": "piece"}, memoryview(b"more"))
    assert upload.files == [("a.wav", b"abc")]


def test_what_the_browser_refuses_is_said_and_odd_messages_are_ignored(upload):
    send(upload, {"kind": "refused", "text": "a.exe: the explorer takes audio files."})
    for odd in (None, "text", {}, {"kind": "other"}, {"kind": "piece"}):
        send(upload, odd)
    assert upload.refused == ["a.exe: the explorer takes audio files."]
    assert upload.files == []


def test_the_browser_checks_with_the_same_limits(upload):
    assert (upload.most, tuple(upload.suffixes)) == (songs.MAX_BYTES, songs.SUFFIXES)
