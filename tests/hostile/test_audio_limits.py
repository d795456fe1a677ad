"""Audio files that lie: about lengths, rates and sizes; and decoders that talk."""

import io
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
from support import mutations

from musictools import audio
from musictools.audio import chatter, files


def wav(path, *, n=1600, sr=16000):
    soundfile.write(path, np.full(n, 0.5, np.float32), sr)
    return path


@pytest.mark.parametrize(("suffix", "channels"), [("flac", 1), ("flac", 2), ("wav", 3), ("ogg", 2), ("mp3", 2)])
def test_long_files_are_read_in_blocks_with_the_same_result(tmp_path, monkeypatch, suffix, channels):
    path = tmp_path / f"a.{suffix}"
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, channels))
    soundfile.write(path, y, 16000)
    whole, _ = audio.load(path)
    n = soundfile.info(path).frames
    monkeypatch.setattr(files, "MAX_SAMPLES", n if channels > 1 else n + 10**6)
    monkeypatch.setattr(files, "_BLOCK", 700)
    np.testing.assert_allclose(audio.load(path)[0], whole, atol=1e-7)  # MP3: rounding depends on the blocks


def test_a_small_file_of_any_length_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_SAMPLES", 16000 * 60)
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(16000 * 61), 16000)
    assert path.stat().st_size < 20_000
    with pytest.raises(audio.AudioError, match=r"a\.flac: too long, at most 1 min can be read\. Cut it into parts"):
        audio.load(path)
    with pytest.raises(audio.AudioError, match=r"a\.flac: too long"):
        audio.duration(path)


def test_a_header_that_claims_more_than_memory_holds_is_decoded_as_far_as_there_is_audio(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.full(8192, 0.5), 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    assert int.from_bytes(content[21:26], "big") & (2**36 - 1) == 8192  # total samples, the last 36 bits of these
    content[21:26] = (int.from_bytes(content[21:26], "big") | 2**36 - 1).to_bytes(5, "big")
    (tmp_path / "b.flac").write_bytes(content)
    with pytest.warns(UserWarning, match=r"b\.flac: truncated\. 0\.26 of "):
        y, _ = audio.load(tmp_path / "b.flac")
    assert y.size == 4096  # libsndfile reads the last block only where the header is right
    with pytest.warns(UserWarning, match="truncated"):
        assert audio.duration(tmp_path / "b.flac") == 4096 / 16000


@pytest.mark.parametrize(("rate", "words"), [(1, "has a sampling rate of 1 Hz, at least 1,000 Hz"), (999, "999 Hz")])
def test_a_rate_that_multiplies_samples_is_refused(tmp_path, rate, words):
    path = wav(tmp_path / "a.wav", sr=rate)
    assert audio.load(path)[1] == rate
    with pytest.raises(audio.AudioError, match=rf"a\.wav: .*{words}"):
        audio.load(path, sr=16000)


def test_what_resampling_would_make_too_long_is_refused(tmp_path, monkeypatch):
    path = wav(tmp_path / "a.wav", n=3000, sr=8000)
    monkeypatch.setattr(files, "MAX_SAMPLES", 6000)
    assert audio.load(path, sr=16000)[0].size == 6000
    with pytest.raises(audio.AudioError, match=r"a\.wav: too long"):
        audio.load(path, sr=16008)


def test_empty_chunks_do_not_take_long(tmp_path, monkeypatch):
    content = wav(tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(content[:36] + bytes(8) * 10**6 + content[36:])
    assert files._wav_data_bytes(tmp_path / "b.wav") == (0, 0)
    assert files._wav_data_bytes(tmp_path / "a.wav") == (3200, 3200)


def test_ffmpeg_reads_the_file_only(tmp_path, monkeypatch):
    """Stand-ins print how they were called: nothing but files may be opened, and a name is never an option."""
    for name in ("ffmpeg", "ffprobe"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.log\n')
        tool.chmod(0o755)
    monkeypatch.setattr(files.shutil, "which", lambda name: str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-i http:x.m4a").write_bytes(b"#EXTM3U\nhttp://example.org/a.ts\n")
    with pytest.raises(audio.AudioError, match="not an audio file that ffmpeg can read"):
        audio.load("-i http:x.m4a")
    for name in ("ffmpeg", "ffprobe"):
        assert "-protocol_whitelist file -i file:-i http:x.m4a" in (tmp_path / f"{name}.log").read_text()


# --- Decoders that talk -----------------------------------------------------------------------------------------------


def talkative(path):
    """An MP3 of which libmpg123 complains on the standard error."""
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(np.arange(32000) / 5), 16000, format="MP3")
    content = bytearray(buffer.getvalue())
    content[500:1500] = np.random.default_rng(0).bytes(1000)
    path.write_bytes(content)
    return path


def printed(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, check=True)
    return done.stdout.decode(), done.stderr.decode()


def test_messages_of_decoders_are_kept_from_the_user(tmp_path):
    path = talkative(tmp_path / "a.mp3")
    plain = "import sys, soundfile; soundfile.read(sys.argv[1])"
    assert re.search(r"mpg123|Note: |Warning: ", printed(plain, path)[1]), "this file is to make libmpg123 talk"
    ours = (
        "import os, sys, warnings\nfrom musictools import audio\nwarnings.simplefilter('ignore')\n"
        "print(audio.load(sys.argv[1])[0].size, audio.duration(sys.argv[1]) > 1)\n"
        "print('a word of ours', file=sys.stderr)\nos.write(2, b'and another')\n"
    )
    out, err = printed(ours, path)
    assert out.split()[1] == "True"
    assert err == "a word of ours\nand another"


def test_what_others_print_meanwhile_is_not_lost(capfd):
    def other():
        os.write(2, b"from another thread\n")
        with chatter.silenced():
            os.write(2, b"[src/libmpg123/layer3.c:INT123_do_layer3():1804] error: dequantization failed!\n")
            os.write(2, b"Note: Illegal Audio-MPEG-Header 0x0000 at offset 7.\nNote: this is ours\n")

    with chatter.silenced():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "from another thread\nNote: this is ours\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_errors_pass_and_the_standard_error_comes_back(capfd):
    with pytest.raises(KeyError), chatter.silenced():
        raise KeyError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_a_process_without_standard_error_reads_songs(tmp_path):
    code = "import os, sys\nfrom musictools import audio\nos.close(2)\nprint(audio.load(sys.argv[1])[0].size)"
    assert printed(code, wav(tmp_path / "a.wav"))[0] == "1600\n"


def test_mutations_are_reproducible_and_change_something():
    content = bytes(range(256)) * 20
    made = [mutations.of_bytes(content, np.random.default_rng(k)) for k in range(40)]
    assert made == [mutations.of_bytes(content, np.random.default_rng(k)) for k in range(40)]
    assert sum(one != content for one in made) > 35
