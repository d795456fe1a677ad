"""The six data sets of chapter 6, each in a miniature of its official layout."""

import numpy as np
import pytest
import soundfile

from musictools.experiments import transfer, transfer_sets

SR = 8000


def write(folder, *paths, seconds=1.0):
    """Sounds whose first second is the number of their path, counted from 1, in hundredths."""
    for number, path in enumerate(paths, start=1):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, np.full(round(seconds * SR), number / 100, np.float32), SR)


def text(folder, path, content):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(content)


def test_extended_ballroom(tmp_path):
    write(tmp_path, "Chacha/100701.wav", "Waltz/100702.wav", "Waltz/100703.wav")
    text(tmp_path, "extendedballroom_v1.1.xml", "<x/>")
    target = transfer_sets.read("extended_ballroom", tmp_path)
    task = target.tasks["ballroom"]
    assert task.target.to_dict() == {
        "Chacha/100701.wav": "Chacha", "Waltz/100702.wav": "Waltz", "Waltz/100703.wav": "Waltz"}  # fmt: skip
    y, sr = target.loads["ballroom"]("Waltz/100702.wav")
    assert (len(y), sr) == (SR, SR)
    assert y.mean() == pytest.approx(0.02, abs=1e-4)
    assert list(transfer.figures(target)) == ["choi2018_figure_6_3"]


def test_gtzan_genre(tmp_path):
    write(tmp_path, *[f"genres/{g}/{g}.{k:05d}.wav" for g in ("blues", "rock") for k in range(3)])
    for number, short in enumerate(("train", "valid", "test")):
        text(tmp_path, f"fault_filtered_{short}.txt", "".join(f"{g}/{g}.{number:05d}.wav\n" for g in ("blues", "rock")))
    target = transfer_sets.read("gtzan_genre", tmp_path)
    plain, strict = target.tasks.values()
    assert plain.target["genres/rock/rock.00001.wav"] == "rock"
    assert strict.parts["genres/rock/rock.00001.wav"] == "validation"
    assert len(target.loads["genre"](plain.ids[0])[0]) == SR


def test_gtzan_speech_music(tmp_path):
    write(tmp_path, "music_wav/bagpipe.wav", "speech_wav/voices.wav")
    task = transfer_sets.read("gtzan_speech_music", tmp_path).tasks["speech_music"]
    assert task.target.tolist() == ["music", "speech"]


def test_emomusic(tmp_path):
    write(tmp_path, "clips_45seconds/2.wav", "clips_45seconds/7.wav", "clips_45seconds/9.wav", seconds=45)
    rows = "song_id, mean_arousal, std_arousal, mean_valence, std_valence\n2,3.1,1,3.0,1\n9,7,1,8,1\n"
    text(tmp_path, "annotations/static_annotations.csv", rows)
    target = transfer_sets.read("emomusic", tmp_path)
    assert target.tasks["arousal"].target.to_dict() == {"clips_45seconds/2.wav": 3.1, "clips_45seconds/9.wav": 7.0}
    assert target.tasks["valence"].is_regression
    assert len(target.loads["valence"]("clips_45seconds/9.wav")[0]) == 29 * SR


def test_jamendo_vocals(tmp_path):
    write(tmp_path, *(f"audio/0{k} - Song.wav" for k in (1, 2, 3)), seconds=4)
    y = np.repeat([0.1, 0.5, 0.2], SR)
    soundfile.write(tmp_path / "audio/01 - Song.wav", y, SR)
    for k, short in enumerate(("train", "valid", "test"), start=1):
        text(tmp_path, f"filelists/{short}", f"0{k} - Song.wav\n")
        text(tmp_path, f"labels/0{k} - Song.lab", "0.000 1.000 nosing\n1.000 2.000 sing\n2.000 2.200 nosing\n")
    target = transfer_sets.read("jamendo_vocals", tmp_path)
    task = target.tasks["vocals"]
    assert task.target.tolist() == ["nosing", "sing"] * 3  # a stretch of 0.2 s is too short
    assert task.parts.tolist() == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    assert task.groups.tolist() == [f"audio/0{k} - Song.wav" for k in (1, 1, 2, 2, 3, 3)]
    y, _ = target.loads["vocals"](("audio/01 - Song.wav", 1.0, 2.0))
    np.testing.assert_allclose(y, 0.5, atol=1e-3)
    (tmp_path / "labels" / "03 - Song.lab").unlink()
    with pytest.raises(ValueError, match=r"03 - Song.lab: no such file. It has the stretches of singing"):
        transfer_sets.read("jamendo_vocals", tmp_path)


def test_urbansound8k(tmp_path):
    write(tmp_path, "audio/fold1/100032-3-0-0.wav", "audio/fold2/100263-2-0-117.wav")
    rows = ("slice_file_name,fsID,start,end,salience,fold,classID,class\n100032-3-0-0.wav,100032,0,0.3,1,1,3,dog_bark\n"
            "100263-2-0-117.wav,100263,58,62,1,2,2,children_playing\n"
            "9-9-0-0.wav,9,0,1,1,3,9,street_music\n")  # fmt: skip
    text(tmp_path, "metadata/UrbanSound8K.csv", rows)
    task = transfer_sets.read("urbansound8k", tmp_path).tasks["urbansound"]
    assert task.target.tolist() == ["dog_bark", "children_playing"]
    assert task.parts.tolist() == [1, 2]
    assert task.groups.tolist() == [100032, 100263]
    (tmp_path / "metadata" / "UrbanSound8K.csv").unlink()
    with pytest.raises(ValueError, match=r"UrbanSound8K.csv: no such file. It belongs to the official layout"):
        transfer_sets.read("urbansound8k", tmp_path)


def test_other_names_and_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="name must be one of extended_ballroom, .*Got 'ballroom'"):
        transfer_sets.read("ballroom", tmp_path)
    with pytest.raises(ValueError, match="no gtzan_speech_music in its official layout"):
        transfer_sets.read("gtzan_speech_music", tmp_path)
    assert set(transfer_sets.SETS) == {
        "extended_ballroom", "gtzan_genre", "gtzan_speech_music", "emomusic", "jamendo_vocals", "urbansound8k"
    }  # fmt: skip
