"""The composed corpus is music, its truth is true of the sound, and building it twice gives the same bytes."""

import collections
import csv
import hashlib
import io
import itertools
import shutil

import numpy as np
import pytest
import soundfile

from musictools.datasets import composed
from musictools.datasets.composed import rendering, soundfont, theory, writer

INDIAN_LIKE = {"sitar", "eastern", "middle_eastern", "oriental", "foreign", "drone"}


@pytest.fixture(scope="module")
def plans():
    return composed.plan(400)


@pytest.fixture(scope="module")
def truths(plans):
    return [composed.truth(plan) for plan in plans]


@pytest.fixture(scope="module")
def written(plans):
    return [composed.annotate(plan) for plan in plans]


@pytest.fixture(scope="module")
def one_a_genre(plans):
    """A clip a genre, with several stems where there are such."""
    first = {}
    for plan in plans:
        if len(plan.style.players) >= 3 and plan.start == 30:
            first.setdefault(plan.genre, plan)
    assert set(first) == set(composed.GENRES)
    return list(first.values())


@pytest.fixture(scope="module")
def rendered(one_a_genre):
    return [composed.stems(plan) for plan in one_a_genre]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return composed.build(tmp_path_factory.mktemp("corpus") / "a", n_clips=5, seed=3, workers=2)


def digests(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_stems_sum_to_the_clip(one_a_genre, rendered):
    for plan, stems in zip(one_a_genre, rendered, strict=True):
        y = composed.mix(plan)
        assert y.dtype == np.float32
        assert y.shape == (composed.N_SAMPLES,)
        assert {stem.shape for stem in stems.values()} == {(composed.N_SAMPLES,)}
        assert {stem.dtype for stem in stems.values()} == {np.dtype("float32")}
        np.testing.assert_allclose(sum(stem.astype(float) for stem in stems.values()), y, atol=1e-4)
        assert np.abs(y).max() < 0.99


def test_levels_are_the_planned_ones_and_nothing_is_silent(one_a_genre, rendered):
    for plan, stems in zip(one_a_genre, rendered, strict=True):
        assert list(stems) == composed.truth(plan)["instruments"]
        y = sum(stems.values())
        assert 20 * np.log10(np.std(y)) == pytest.approx(plan.style.level, abs=1.5)
        seconds = np.sqrt(np.mean(y[: 29 * composed.SR].reshape(29, -1) ** 2, axis=1))
        assert (seconds > 1e-4).mean() > 0.95
        for name, stem in stems.items():
            assert np.std(stem) > 0.003 * np.std(y), f"{name} of clip {plan.clip_id} cannot be heard"


def test_synthesizer_plays_the_written_pitch():
    """symusic ignores the bank's root keys; without the repair the piano is twenty semitones sharp."""
    for program in (0, 24, 25, 33, 40, 42, 48, 56, 68, 73, 80):
        for pitch in (48, 60, 69):
            y = soundfont.play(program, pitch, 2.0)[4000:36000] * np.hanning(32000)
            spectrum = np.abs(np.fft.rfft(y, 2**17))
            f = 440 * 2 ** ((pitch - 69) / 12)
            shifts = np.arange(-12, 13)

            def comb(shift, f=f, spectrum=spectrum):
                at = np.round(f * 2 ** (shift / 12) * np.arange(1, 7) * 2**17 / soundfont.RENDER_SR).astype(int)
                return sum(np.log(1e-3 + spectrum[k - 6 : k + 7].max()) * 0.85**n for n, k in enumerate(at))

            best = shifts[np.argmax([comb(shift) for shift in shifts])]
            assert best % 12 == 0, f"program {program} sounds {best} semitones off at pitch {pitch}"


def test_note_does_not_depend_on_what_was_played_before():
    """symusic remembers samples: programs 53 and 54 have some in common."""
    alone = soundfont.play(54, 64, 0.5)
    soundfont.synthesizer.cache_clear()
    soundfont.play(53, 64, 0.5)
    np.testing.assert_array_equal(soundfont.play(54, 64, 0.5), alone)


def test_build_is_the_same_for_any_number_of_workers(corpus, tmp_path):
    again = composed.build(tmp_path / "b", n_clips=5, seed=3, workers=1)
    assert digests(corpus) == digests(again)
    assert len(digests(corpus)) == 5 + 3


def test_half_finished_build_is_completed(corpus, tmp_path, monkeypatch):
    folder = tmp_path / "c"
    calls = []

    def stop(clip):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(clip.clip_id)
        return composed.mix(clip)

    monkeypatch.setattr(writer, "mix", stop)
    with pytest.raises(KeyboardInterrupt):
        composed.build(folder, n_clips=5, seed=3, workers=1)
    assert len(list(folder.glob("?/*.mp3"))) == 2
    with pytest.raises(ValueError, match=r"must hold a finished composed corpus"):
        composed.load_plans(folder)
    calls.clear()
    monkeypatch.setattr(writer, "mix", lambda clip: calls.append(clip.clip_id) or composed.mix(clip))
    composed.build(folder, n_clips=5, seed=3, workers=1)
    assert len(calls) == 3, "finished clips are rendered again"
    assert digests(folder) == digests(corpus)


def test_finished_build_is_left_alone(corpus, monkeypatch):
    before = digests(corpus)
    monkeypatch.setattr(writer, "mix", lambda clip: pytest.fail("rendered again"))
    composed.build(corpus, n_clips=5, seed=3, workers=1)
    assert digests(corpus) == before


def test_mp3_decodes_to_the_exact_length_in_time(corpus):
    plans = composed.load_plans(corpus)
    for plan in plans.values():
        y, sr = soundfile.read(corpus / plan.mp3_path, dtype="float32")
        assert (sr, y.shape) == (16000, (465_984,))
    original = composed.mix(plan)
    assert np.corrcoef(original, y)[0, 1] > 0.97


def test_tables_are_in_the_official_layout(corpus):
    header, *rows = csv.reader(io.StringIO((corpus / "annotations_final.csv").read_text()), delimiter="\t")
    assert header == ["clip_id", *composed.tag_names(), "mp3_path"]
    assert len(composed.tag_names()) == len(set(composed.tag_names())) == 188
    assert (corpus / "annotations_final.csv").read_text().startswith('"clip_id"\t"guitar"\t"classical"')
    plans = composed.load_plans(corpus)
    for row in rows:
        plan = plans[int(row[0])]
        assert {name for name, value in zip(header[1:-1], row[1:-1], strict=True) if value == "1"} == composed.annotate(
            plan
        )
        assert row[-1] == plan.mp3_path
        assert (corpus / row[-1]).is_file()
    info = list(csv.DictReader(io.StringIO((corpus / "clip_info_final.csv").read_text()), delimiter="\t"))
    assert list(info[0]) == list(writer.INFO_COLUMNS)
    assert [int(row["clip_id"]) for row in info] == list(plans)


def test_split_shares_artists_but_no_tracks_or_albums(plans):
    subsets = collections.defaultdict(set)
    for plan in plans:
        assert plan.mp3_path[0] in {"train": "0123456789ab", "validation": "c", "test": "def"}[plan.subset]
        subsets[plan.artist, plan.album].add(plan.subset)
    assert all(len(some) == 1 for some in subsets.values())
    known = {plan.artist for plan in plans if plan.subset == "train"}
    test = [plan for plan in plans if plan.subset == "test"]
    assert 0.5 < np.mean([plan.artist in known for plan in test]) < 0.72
    for n_clips in (48, 400):
        assert len({(plan.genre, plan.subset) for plan in composed.plan(n_clips)}) == 24
    assert len({plan.mp3_path for plan in plans}) == 400


def test_notes_are_those_of_this_version():
    """Whoever changes a note raises `writer.VERSION`, so that no corpus is taken for another."""
    digest = hashlib.sha256()
    for plan in composed.plan(8):
        for name, stem in composed.compose(plan).stems.items():
            digest.update(name.encode() + np.round(stem.notes * 1e4).astype("<i8").tobytes())
    assert (composed.VERSION, digest.hexdigest()[:16]) == (3, "254d4c7a53d96a48")


def test_plan_is_repeated_by_its_seed_only():
    assert composed.plan(30) == composed.plan(30, seed=0)
    assert composed.plan(30) != composed.plan(30, seed=1)


def merged(tags):
    spelled = {tag: concept for concept, (spellings, _) in composed.CONCEPTS.items() for tag in spellings}
    return {spelled[tag] for tag in tags if tag in spelled}


def test_at_least_forty_descriptors(written, truths):
    tags = set(composed.tag_names())
    assert all(truth["tags"] <= tags for truth in truths)
    frequency = collections.Counter(concept for tags in written for concept in merged(tags))
    assert sum(n >= 3 for n in frequency.values()) >= 40
    true = collections.Counter(concept for truth in truths for concept in truth["concepts"])
    assert sum(n >= 3 for n in true.values()) >= 60


def test_annotators_forget_but_seldom_err(written, truths):
    wrong = sum(len(tags - truth["tags"]) for tags, truth in zip(written, truths, strict=True))
    assert 0 < wrong < 0.06 * sum(map(len, written))
    of_guitar = [tags for tags, truth in zip(written, truths, strict=True) if "guitar" in truth["concepts"]]
    guitar = [bool(tags & {"guitar", "guitars"}) for tags in of_guitar]
    bass = ["bass" in tags for tags, truth in zip(written, truths, strict=True) if "bass" in truth["concepts"]]
    assert np.mean(bass) < 0.4 < 0.6 < np.mean(guitar) < 0.95


def test_no_descriptor_gives_a_genre_away(plans, truths, written):
    for tags in ([truth["concepts"] for truth in truths], [merged(tags) for tags in written]):
        for genre in composed.GENRES:
            of_genre = np.array([genre in plan.genres for plan in plans])
            for concept in composed.CONCEPTS.keys() - INDIAN_LIKE:
                told = np.array([concept in clip for clip in tags])
                hits = (told & of_genre).sum()
                gives_away = hits > 0.75 * told.sum() and hits > 0.6 * of_genre.sum()
                assert not gives_away, f"{concept} tells {genre}"


def test_tempo_is_that_of_the_drums(plans):
    """Drum onsets, folded at the beat of the true tempo, meet; at a tempo 3 % off they do not."""

    def concentration(onsets, bpm):
        return abs(np.exp(2j * np.pi * onsets * bpm / 60 * 4).mean())

    drummed = [plan for plan in plans if plan.style.swing == 0 and plan.style.players[-1].style == "drums"][::12]
    assert len(drummed) > 10
    for plan in drummed:
        score = composed.compose(plan)
        onsets = np.concatenate([stem.notes[:, 0] for stem in score.stems.values() if stem.is_drum])
        truth = composed.truth(plan)
        assert concentration(onsets, truth["tempo"]) > 0.75
        assert concentration(onsets, truth["tempo"] * 1.03) < 0.5
        assert np.diff(score.downbeats) == pytest.approx(score.beats * 60 / truth["tempo"], abs=1e-4)


def test_notes_are_in_the_key_and_meet_the_chords(plans, truths):
    in_scale, in_chord = [], []
    for plan, truth in list(zip(plans, truths, strict=True))[::10]:
        tonic, mode = truth["key"].split()
        tones = {(theory.NOTE_NAMES.index(tonic) + step) % 12 for step in theory.SCALES[mode]}
        score = composed.compose(plan)
        assert score.chords[0][0] == 0
        assert score.chords[-1][1] == pytest.approx(29.124)
        for stem in score.stems.values():
            if stem.is_drum:
                continue
            for start, seconds, pitch, _ in stem.notes:
                at = start + seconds / 2
                in_scale.append((seconds, pitch % 12 in tones))
                meets = [pitch % 12 in chord for a, b, _, chord in score.chords if a <= at < b]
                in_chord += [(seconds, meets[0])] if meets else []
    for share, least in ((in_scale, 0.9), (in_chord, 0.7)):
        seconds, hits = np.array(share, dtype=float).T
        assert (seconds * hits).sum() / seconds.sum() > least


def test_neighbouring_clips_share_material_but_differ(plans):
    first, second = next((a, b) for a, b in itertools.pairwise(plans) if a.title == b.title and a.style.beats == 4)
    one, two = composed.compose(first), composed.compose(second)
    assert (one.tempo, one.key) == (two.tempo, two.key)
    assert set(one.stems) & set(two.stems)
    common = one.stems.keys() & two.stems.keys()
    assert any(not np.array_equal(one.stems[name].notes, two.stems[name].notes) for name in common)


def test_men_sing_lower_than_women_and_the_tags_know_who_sings(plans, truths):
    pitches = {"male voice": [], "female voice": []}  # of all clips: no clip has both
    for plan, truth in zip(plans, truths, strict=True):
        if not pitches.keys().isdisjoint(truth["instruments"]):
            stems = composed.compose(plan).stems
            for name in pitches.keys() & stems.keys():
                pitches[name].append(np.median(stems[name].notes[:, 2]))
        assert ("male" in truth["concepts"]) == ("male voice" in truth["instruments"])
        assert ("female" in truth["concepts"]) == ("female voice" in truth["instruments"])
        assert ("no_drums" in truth["concepts"]) != ("drums" in truth["concepts"])
    assert len(pitches["male voice"]) > 10
    assert max(pitches["male voice"]) < np.median(pitches["female voice"])
    assert np.median(pitches["male voice"]) < min(pitches["female voice"])


@pytest.mark.parametrize(
    ("n_clips", "seed", "message"),
    [
        (0, 0, r"n_clips must be a positive int\. Got 0\."),
        (-3, 0, r"n_clips must be a positive int\. Got -3\."),
        (2.5, 0, r"n_clips must be a positive int\. Got 2\.5\."),
        (True, 0, r"n_clips must be a positive int\. Got True\."),
        (4, -1, r"seed must be a non-negative int\. Got -1\."),
        (4, "x", r"seed must be a non-negative int\. Got 'x'\."),
    ],
)
def test_bad_parameters_are_named(tmp_path, n_clips, seed, message):
    with pytest.raises(ValueError, match=message):
        composed.build(tmp_path / "corpus", n_clips=n_clips, seed=seed)
    assert not (tmp_path / "corpus").exists()


def test_bad_folders_are_named(corpus, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match=r"must be a folder or not exist yet\. .*file is a file"):
        composed.build(file, n_clips=2)
    with pytest.raises(ValueError, match=r"workers must be a positive int or None\. Got 0\."):
        composed.build(tmp_path / "x", n_clips=2, workers=0)
    with pytest.raises(ValueError, match=r"holds another composed corpus: \{'seed': 3\}"):
        composed.build(corpus, n_clips=5, seed=4)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(corpus / "annotations_final.csv", other)
    with pytest.raises(ValueError, match=r"holds other data in MagnaTagATune's layout"):
        composed.build(other, n_clips=5, seed=3)


def test_render_survives_what_the_synthesizer_cannot_play():
    y = rendering._sample(67, 84, False)  # the bank is silent there
    assert np.isfinite(y).all()
    assert np.abs(y).max() > 1e-3


@pytest.mark.parametrize("n", [465_984, 100_000, 577, 1])
def test_an_encoded_clip_decodes_to_the_same_length_and_place(n):
    import scipy.signal

    from musictools.datasets.composed import mp3

    noise = np.random.default_rng(n).normal(size=n)
    y = scipy.signal.lfilter([1], [1, -0.95], noise).astype(np.float32)
    y /= 1.2 * np.abs(y).max()
    decoded, sr = soundfile.read(io.BytesIO(mp3.encode(y)), dtype="float32")
    assert (len(decoded), sr) == (n, 16_000)
    if n > 1000:  # no shift, at either end: one sample off gives 0.95 of this noise, and coding noise comes on top
        for end in (slice(0, 20_000), slice(n - 20_000, n)):
            shifts = [np.corrcoef(y[end][5:-5], np.roll(decoded[end], k)[5:-5])[0, 1] for k in range(-3, 4)]
            assert np.argmax(shifts) == 3
            assert max(shifts) > 0.97
