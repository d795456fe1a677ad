"""Segments and patches: they cover every cell, stay in place, and near-duplicates are left out."""

import numpy as np
import pytest

from musictools.concepts import patches as patching
from musictools.concepts.patches import Patches, bounding_box, segment


def blocks(n=2, side=32):
    """Inputs of four constant quarters each."""
    x = np.zeros((n, side, side, 1), np.float32)
    half = side // 2
    for k, image in enumerate(x):
        image[:half, :half], image[:half, half:], image[half:, half:] = 0.3 + 0.1 * k, 0.6, 1.0
    return x


def jaccard(a, b):
    return (a & b).sum() / (a | b).sum()


def test_segments_follow_edges_and_cover_every_cell():
    labels = segment(blocks(), n_segments=[4], sigma=0)
    assert labels.shape == (2, 1, 32, 32)
    for one in labels[:, 0]:
        assert set(np.unique(one)) == set(range(one.max() + 1))
        quarters = one.reshape(2, 16, 2, 16).transpose(0, 2, 1, 3).reshape(4, -1)
        assert all(len(np.unique(quarter)) == 1 for quarter in quarters)


def test_a_constant_input_can_be_segmented():
    assert segment(np.full((1, 20, 20), 0.7), n_segments=[4]).max() >= 1


def test_near_duplicates_are_those_of_a_slow_search():
    x = np.random.default_rng(0).random((3, 24, 24, 1)).astype(np.float32)
    scales = [4, 6, 12]
    patches = Patches.cut(x, n_segments=scales, overlap=0.4)
    labels, expected, total = segment(x, n_segments=scales), [], 0
    for i, maps in enumerate(labels):
        kept = []
        for k, one in enumerate(maps):
            for label in np.unique(one):
                total += 1
                mask = one == label
                if all(jaccard(mask, other) <= 0.4 for scale, other, _ in kept if scale != k):
                    kept.append((k, mask, label))
        expected += [(i, k, label) for k, _, label in kept]
    assert list(zip(patches.input, patches.scale, patches.label, strict=True)) == expected
    assert patches.duplicates == total - len(expected) > 0


def test_a_patch_stays_in_place_on_the_baseline():
    x = blocks()
    patches = Patches.cut(x, n_segments=[4])
    (batch,) = patches.inputs(x, baseline=-1.0)
    (mean,) = patches.inputs(x)
    outside = x[..., 0].mean(axis=(0, 2))
    rows = np.nonzero(~patches.mask(0))[0]
    np.testing.assert_allclose(mean[0, ..., 0][~patches.mask(0)], outside[rows], rtol=1e-6)
    for index, image in enumerate(batch[..., 0]):
        mask = patches.mask(index)
        np.testing.assert_array_equal(image[mask], x[patches.input[index], ..., 0][mask])
        assert (image[~mask] == -1.0).all()


def test_patches_of_one_scale_add_up_to_the_input():
    x = blocks()
    patches = Patches.cut(x, n_segments=[6])
    total = np.zeros_like(x)
    for index, image in enumerate(np.concatenate(list(patches.inputs(x, baseline=0.0, batch_size=3)))):
        total[patches.input[index]] += image
    np.testing.assert_array_equal(total, x)


def test_an_enlarged_patch_fills_the_input():
    x = blocks(1)
    patches = Patches.cut(x, n_segments=[4], sigma=0)
    (batch,) = patches.inputs(x, placement="resized")
    index = next(k for k in range(len(patches)) if patches.mask(k)[-1, -1])
    np.testing.assert_allclose(batch[index], 1.0, atol=1e-5)


def test_bounding_box_of_a_single_cell():
    mask = np.zeros((5, 7), bool)
    mask[4, 0] = True
    assert bounding_box(mask) == (4, 0, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_segments": [1]}, "n_segments must hold ints of at least 2"),
        ({"n_segments": []}, "n_segments must hold ints of at least 2"),
        ({"overlap": 0.0}, "overlap must lie in"),
        ({"x": np.zeros((4, 4))}, r"x must have shape \(n, n_bins, n_frames, 1\)"),
        ({"x": np.full((1, 8, 8, 1), np.nan)}, "x must be finite"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Patches.cut(**{"x": blocks(), **change})


def test_unknown_placement_and_baseline_are_refused():
    patches = Patches.cut(blocks(1), n_segments=[4])
    with pytest.raises(ValueError, match="placement must be one of in_place, resized. Got 'centre'"):
        next(patches.inputs(blocks(1), placement="centre"))
    with pytest.raises(ValueError, match="baseline must be a number, 'mean' or an array. Got 'floor'"):
        next(patches.inputs(blocks(1), baseline="floor"))
    with pytest.raises(ValueError, match="baseline must be finite"):
        next(patches.inputs(blocks(1), baseline=np.nan))
    assert patching.PLACEMENTS == ("in_place", "resized")
