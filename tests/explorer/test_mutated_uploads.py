"""Hundreds of damaged and odd files: each is a sentence or a song, never a traceback."""

import io

import numpy as np
import pytest
import soundfile
from support import mutations, tones

from musictools.explorer import songs

pytestmark = pytest.mark.full


def encoded(y, sr, kind, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, y, sr, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("wrong_ending", [False, True])
def test_mutated_files_are_sentences_or_songs(tmp_path, kind, wrong_ending):
    rng, original = np.random.default_rng(0), encoded(tones.song(seconds=2.0), tones.SR, kind)
    suffix = ".mp3" if wrong_ending and kind != "MP3" else ".wav" if wrong_ending else f".{kind.lower()}"
    for number in range(50):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(mutations.of_bytes(original, rng))
        message, one = "song: ", None
        try:
            one = songs.read(path, title="song")
        except songs.SongError as error:
            message = str(error)
        assert message.startswith("song: ")
        assert str(tmp_path) not in message
        assert one is None or np.isfinite(one.y).all()


@pytest.mark.parametrize(
    ("sr", "channels"),
    [(384_000, 1), (48_000, 32), (8_000, 2), (1, 1)],
    ids=["384 kHz", "32 channels", "8 kHz", "1 Hz"],
)
def test_odd_rates_and_channels(tmp_path, sr, channels):
    path = tmp_path / "song.wav"
    y = 0.5 * np.sin(np.arange(max(sr, 4)))[:, None] * np.ones(channels)
    soundfile.write(path, y, sr)
    one = songs.read(path)
    assert one.sr == sr
    assert one.y.ndim == 1
