"""The sources' own numbers: there, well formed, and consistent with each other where they can be."""

import re

import pandas as pd
import pytest

from musictools import published, runs, tags

THESIS_MODELS = {"se_cnn": 6, "short_chunk": 8, "fcn4": 10, "vgg_cnn": 12, "musicnn": 14, "stacked_cnn": 16}
TOP_10 = {"se_cnn": 7, "vgg_cnn": 13, "stacked_cnn": 17}
# total, trainable and non-trainable as printed under tables 5.2 to 5.5
PARAMETERS = {
    "5_2_layers_se_cnn": (793_738, 783_738, 10_080),
    "5_3_layers_short_chunk": (3_721_708, 3_717_100, 4_608),
    "5_4_layers_fcn4": (17_491_436, 17_484_780, 6_656),
    "5_4_layers_vgg_cnn": (17_491_436, 17_484_780, 6_656),
    "5_5_layers_stacked_cnn": (1_311_660, 1_309_900, 1_760),
}
SLIDES = ("tagger_slides_table_1_mtat", "tagger_slides_table_2_msd", "tagger_slides_table_3_mtg")
GENERALISATION = "tagger_slides_figure_generalisation_roc_auc"


def performance(model):
    return published.table(f"rotheneder2023_table_5_{THESIS_MODELS[model]}_{model}_performance").set_index("tags")


def top_10(model):
    return published.table(f"rotheneder2023_table_5_{TOP_10[model]}_{model}_top_10_tags").set_index("tag")


@pytest.mark.parametrize("name", published.names())
def test_every_table_is_readable_and_named_by_its_source(name):
    table = published.table(name)
    number = r"(table_(\d+_\d+|\d+_[abc]|a_\d+|\d+)|section_\d+_\d+|figure_\d+_\d+|figure_generalisation)"
    assert re.match(rf"([a-z]+\d{{4}}|tagger_slides)_{number}_[a-z0-9_]+$", name)
    assert len(table) > 0
    assert not table.columns.str.startswith("Unnamed").any()
    assert not table.duplicated().any() or "layers" in name
    for _, text in table.select_dtypes(exclude="number").items():
        assert (text.dropna().str.strip() == text.dropna()).all()


def test_tables_3_1_to_5_1_of_the_thesis_are_there():
    have = " ".join(published.names())
    for number in ("2_1", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2", "4_3", "5_1"):
        assert f"rotheneder2023_table_{number}_" in have


@pytest.mark.parametrize("column", ["balanced", "semi_balanced"])
def test_spectrograms_of_table_3_1_add_up(column):
    table = published.table("rotheneder2023_table_3_1_mel_spectrograms").set_index("genre")[column]
    assert table.drop("total").sum() == pytest.approx(table["total"], abs=table["total"] * 0.001)
    # 13 frames of a clip, 242 clips of a genre, 1,000 at most
    assert table["country"] == 13 * 242
    assert table["rock"] == {"balanced": 13 * 242, "semi_balanced": 13 * 1000}[column]


def test_scores_are_fractions():
    table = published.table("rotheneder2023_table_3_4_genre_performance")
    assert table[["accuracy", "precision", "recall", "roc_auc"]].apply(lambda c: c.between(0.5, 1)).all(axis=None)
    assert set(table["model"]) == {"ckn19", "pg20"}


def test_layers_of_tables_3_2_and_3_3_add_up_but_for_the_known_misprint():
    ckn19 = published.table("rotheneder2023_table_3_2_layers_ckn19")["parameters"]
    pg20 = published.table("rotheneder2023_table_3_3_layers_pg20")["parameters"]
    assert ckn19.iloc[:-1].sum() == ckn19.iloc[-1] == 33_930_504
    assert pg20.iloc[-1] == 44_769_480
    assert pg20.iloc[:-1].sum() - pg20.iloc[-1] == 33_558_528 - 524_800  # dense twice, the fourth convolution never


def test_the_vocabulary_is_the_tables():
    pairs = published.table("rotheneder2023_table_5_1_equivalent_tags")
    assert not pairs["synonym"].duplicated().any()
    assert tags.vocabulary().synonyms["classic"] == tuple(pairs["synonym"][pairs["tag"] == "classic"])
    assert "female vocal" not in set(pairs["synonym"])
    assert set(tags.GENRES) <= set(published.table("rotheneder2023_section_5_1_1_excluded_tags")["tag"])


def test_reading_gives_a_fresh_table_each_time():
    first = published.table(published.names()[0])
    before = first.copy()
    first[first.columns[0]] = "changed"
    pd.testing.assert_frame_equal(published.table(published.names()[0]), before)


def test_tables_5_2_to_5_19_are_there_but_for_the_three_pictures():
    numbers = [name.split("_")[2:4] for name in published.names() if re.match(r"rotheneder2023_table_5_\d+_", name)]
    assert {int(second) for _, second in numbers} == set(range(1, 20)) - {9, 11, 15}


def test_the_excluded_tags_are_those_of_the_vocabulary():
    data = pd.DataFrame({"rock": [True, False], "not rock": [False, True], "violin": [True, True]})
    table = tags.excluded_table(data, tags.vocabulary())
    theirs = published.table("rotheneder2023_section_5_1_1_excluded_tags")
    pd.testing.assert_frame_equal(table[["tag", "reason"]], theirs)
    assert table.set_index("tag")["clips"][["rock", "not rock", "jazz"]].tolist() == [1, 1, 0]
    own = tags.Vocabulary({}, genres=("polka",), excluded=("noise",))
    assert tags.excluded_table(data, own)["reason"].tolist() == ["genre", "excluded"]


PAPERS = {
    "rotheneder2023": "rotheneder2023_explanation_system",
    "sharma2022": "sharma2022_why_pop",
    "ren_poster": "ren_moon_guo_interpreting_genre_cnns",
    "choi2018": "choi2018_music_tagging",
    "tagger_slides": "tagger_evaluation_slides",
}
WORDS = {
    0.0001: ("10^{-4}",),
    2: ("two", "twice"),
    3: ("three", "Three", "3-"),
    8: ("eight",),
    9: ("nine",),
    10: ("ten",),
    11: ("Eleven",),
    4: ("four",),
    5: ("five",),
    0.25: ("75/25",),
}


@pytest.mark.parametrize("source", published.SOURCES)
def test_numbers_stated_in_prose_are_quoted(source):
    table = published.prose(source)
    assert len(table) > 0
    assert table["key"].is_unique
    assert table["section"].ne("").all()
    for row in table.itertuples():
        value = published.number(source, row.key)
        if row.unit == "place":  # in an order, which the quotation gives as a > b > c
            order = row.quote.split("$")[1].lower().split(" > ")
            assert row.key.endswith(order[value - 1]), row
            continue
        printed = [f"{value:,}", str(value), f"{value:g}", f"{value:.3f}".lstrip("0"), f"{value / 1000:g} kHz"]
        printed += [f"{100 * value:.{digits}f}%" for digits in (0, 1, 2)] if row.unit == "share" else []
        assert any(text in row.quote for text in (*printed, *WORDS.get(value, ()))), row


@pytest.mark.parametrize("source", published.SOURCES)
def test_quotes_are_the_words_of_the_source(source, shared_data):
    text = shared_data.parent / "papers" / f"{PAPERS[source]}.txt"
    if not text.is_file():
        pytest.skip(f"the text of {source} is not here")
    words = " ".join(text.read_text(encoding="utf-8").split())
    assert [quote for quote in published.prose(source)["quote"] if " ".join(quote.split()) not in words] == []


def test_unknown_sources_and_numbers_are_named():
    with pytest.raises(ValueError, match="No source is called 'r'. Known: rotheneder2023, "):
        published.prose("r")
    with pytest.raises(ValueError, match="tagger_slides states no number that is called 'x'. Known: mtat_segments, "):
        published.number("tagger_slides", "x")
    assert published.number("rotheneder2023", "average_predicted_tags") == 3.1
    assert isinstance(published.number("rotheneder2023", "svm_hours"), int)


def test_prose_repeats_the_tables():
    R = "rotheneder2023"
    spectrograms = published.table(f"{R}_table_3_1_mel_spectrograms").set_index("genre")
    number = {key: published.number(R, key) for key in published.prose(R)["key"]}
    assert spectrograms.at["rock", "balanced"] == number["balanced_segments_per_genre"]
    assert number["genre_segments_per_clip"] * number["country_clips_left"] == number["balanced_segments_per_genre"]
    assert number["clips_with_a_descriptor"] * 14 == number["short_chunk_segments"]
    assert number["clips_with_a_descriptor"] * 9 == number["vgg_cnn_segments"]
    assert number["clips_with_a_descriptor"] * 18 == number["musicnn_segments"]
    comparison = published.table(f"{R}_table_5_18_comparison").set_index("model").loc["short_chunk"]
    assert comparison["average_tags"] == number["average_predicted_tags"]
    assert comparison["recall"] == number["explanation_system_recall"]
    assert len(published.table(f"{R}_table_6_1_tag_occurrence")) == number["probing_descriptors"]


def test_notes_stand_at_tables_that_exist():
    known = published.coverage()["key"]
    for name in published._read("notes")["table"]:
        assert name in published.names() or any(name.startswith(f"{key}_") for key in known)
        assert all(note.endswith(".") for note in published.notes(name))
    doubtful = (
        "rotheneder2023_table_3_1_",
        "choi2018_table_7_a_",
        "rotheneder2023_table_5_8_",
        "tagger_slides_table_1_",
    )
    assert all(any(map(published.notes, [n for n in published.names() if n.startswith(name)])) for name in doubtful)


def test_coverage_names_notebooks_that_exist():
    named = set(published.coverage()["notebook"].replace("", None).dropna())
    assert named <= {path.stem for path in (runs.root() / "notebooks").glob("*.ipynb")}
    assert len(named) > 12


def test_coverage_lists_every_published_table_in_the_order_of_the_sources():
    table = published.coverage()
    assert table["key"].is_unique
    for name in published.names():
        assert sum(name.startswith(f"{key}_") for key in table["key"]) == 1, name
    sources = table["key"].map(lambda key: published.source(f"{key}_"))
    assert list(dict.fromkeys(sources)) == list(published.SOURCES)
    thesis = table[table["key"].str.startswith("rotheneder2023_table_")]["key"].tolist()
    assert thesis.index("rotheneder2023_table_5_2") < thesis.index("rotheneder2023_table_5_10")
    assert len(thesis) == 1 + 4 + 3 + 19 + 7 + 3
    assert (table["notebook"].ne("") | table["why"].ne("")).all()
    assert table["notebook"].str.match(r"\d\d_[a-z_]+$|song_explorer$|$").all()
    loadable = table[table["title"].isin(["performance on MagnaTagATune", "performance on MTG-Jamendo"])]
    assert list(loadable["notebook"]) == ["03_compare_taggers"] * 2, "there are loaders of both data sets"


def test_tables_of_the_slides_are_there_and_have_their_own_source():
    overview = published.overview().set_index("table")
    assert set(overview.index[overview["source"] == "tagger_slides"]) == {*SLIDES, GENERALISATION}
    assert set(overview["rows"][list(SLIDES)]) == {8}


@pytest.mark.parametrize(
    "name", [n for n in published.names() if re.match(r"rotheneder2023_table_5_([6-9]|1\d)_|tagger_", n)]
)
def test_scores_of_taggers_are_fractions(name):
    scores = published.table(name).select_dtypes("float").drop(columns="average_tags", errors="ignore")
    assert scores.shape[1] >= 2
    assert scores.apply(lambda column: column.between(0, 1, inclusive="neither")).all(axis=None)
    assert scores.filter(regex="roc_auc|accuracy").ge(0.77).all(axis=None)


@pytest.mark.parametrize("name", PARAMETERS)
def test_layers_of_tables_5_2_to_5_5_add_up_but_for_the_known_misprints(name):
    table = published.table(f"rotheneder2023_table_{name}")
    layers, (total, trainable, fixed) = table.iloc[:-1], PARAMETERS[name]
    assert tuple(table.iloc[-1][["layer", "parameters"]]) == ("Total", total)
    assert fixed == layers["parameters"][layers["layer"] == "Batch Normalization"].sum() // 2
    se_cnn = "se_cnn" in name
    assert total - layers["parameters"].sum() == (1_540 if se_cnn else 0)  # the five SE blocks, printed as 0
    assert trainable + fixed - total == (80 if se_cnn else 0)


@pytest.mark.parametrize("name", PARAMETERS)
def test_shapes_give_the_parameters_but_for_the_known_misprint(name):
    table = published.table(f"rotheneder2023_table_{name}").iloc[:-1]
    shapes = [[int(side) for side in shape.split(", ")] for shape in table["output_shape"]]
    wrong = []
    for i in range(1, len(table)):
        layer, parameters = table["layer"][i], table["parameters"][i]
        before, after = shapes[i - 1], shapes[i]
        if layer.startswith("Convolutional"):
            height, width = map(int, re.search(r"(\d)x(\d)", layer).groups())
            expected = (height * width * before[-1] + 1) * after[-1]
        elif layer.startswith("Dense"):
            assert sorted(before)[:-1] == [1] * (len(before) - 1)  # flat
            expected = (max(before) + 1) * after[-1]
        else:
            expected = 4 * after[-1] if layer == "Batch Normalization" else 0
        if parameters != expected:
            wrong.append(i)
    # the third block of Short-Chunk CNN is printed with 128 channels but has the parameters of 256
    assert wrong == ([9, 10, 13] if "short_chunk" in name else [])


def test_table_5_4_is_one_table_with_two_misprinted_shapes():
    origin, adaptation = (published.table(f"rotheneder2023_table_5_4_layers_{model}") for model in ("fcn4", "vgg_cnn"))
    pd.testing.assert_frame_equal(origin[["layer", "parameters"]], adaptation[["layer", "parameters"]])
    for table, misprints in ((origin, []), (adaptation, [3, 13])):
        changed = table["output_shape"] != table["output_shape"].shift()
        assert list(table.index[changed & table["layer"].eq("ReLU")]) == misprints
    assert list(adaptation["output_shape"][[3, 13]]) == ["64, 86, 128", "32, 22, 76"]


@pytest.mark.parametrize("model", THESIS_MODELS)
def test_more_tags_are_harder_on_average(model):
    table = performance(model)
    assert list(table.index) == [50, 80, 108]
    assert table["macro_recall"].is_monotonic_decreasing
    assert table["macro_precision"].is_monotonic_decreasing
    assert (table["micro_recall"] > table["macro_recall"]).all()
    assert (table["micro_precision"] > table["macro_precision"]).all()
    # sparser tags are easier to get right by saying no; only 94.5 % of table 5.8 does not fit and may be a misprint
    assert table["accuracy"].is_monotonic_increasing == (model != "short_chunk")


def test_table_5_18_repeats_the_text_of_section_5_1_7():
    text = pd.DataFrame(
        {  # average tags, ROC-AUC, micro-averaged precision and recall of 2,000 audio files
            "se_cnn": (1.7, 0.875, 0.615, 0.396),
            "short_chunk": (3.1, 0.900, 0.490, 0.587),
            "fcn4": (0.6, 0.878, 0.646, 0.143),
            "vgg_cnn": (2.6, 0.904, 0.553, 0.540),
            "musicnn": (2.3, 0.879, 0.494, 0.435),
            "stacked_cnn": (2.2, 0.834, 0.477, 0.398),
        },
        index=["average_tags", "roc_auc", "precision", "recall"],
    ).T.rename_axis("model")
    pd.testing.assert_frame_equal(published.table("rotheneder2023_table_5_18_comparison").set_index("model"), text)


def test_table_5_18_fits_the_number_of_annotations():
    table = published.table("rotheneder2023_table_5_18_comparison")
    hits_by_precision = table["average_tags"] * table["precision"]
    hits_by_recall = 5_246 / 2_000 * table["recall"]  # 5,246 annotations with the top 50 tags
    assert ((hits_by_precision - hits_by_recall).abs() <= 0.05 * table["precision"] + 0.003).all()


def test_table_5_18_against_the_sample_level_of_tables_5_6_to_5_16():
    clips = published.table("rotheneder2023_table_5_18_comparison").set_index("model")
    samples = pd.DataFrame({model: performance(model).loc[50] for model in THESIS_MODELS}).T
    assert list(clips.index) == list(samples.index)
    # every tag of every frame is collected: more is found, less of it is right; FCN-4 hears the whole clip at once
    assert (clips["recall"] > samples["micro_recall"]).all()
    assert list(clips.index[clips["precision"] > samples["micro_precision"]]) == ["fcn4"]
    assert list(clips.index[clips["roc_auc"] < samples["roc_auc"]]) == ["stacked_cnn"]


def test_table_5_19_repeats_the_recall_of_table_5_18():
    clips = published.table("rotheneder2023_table_5_18_comparison").set_index("model")
    table = published.table("rotheneder2023_table_5_19_affiliation").set_index("model")
    pd.testing.assert_series_equal(table["recall"], clips["recall"])
    assert table["affiliation"].idxmax() == table["recall"].idxmax() == clips["average_tags"].idxmax() == "short_chunk"
    assert clips["roc_auc"].idxmax() == "vgg_cnn"


def test_top_10_tags_are_sorted_and_have_one_presence():
    tables = [top_10(model) for model in TOP_10]
    assert all(len(table) == 10 and table["recall"].is_monotonic_decreasing for table in tables)
    presence = pd.concat([table["presence"] for table in tables])
    assert (presence.groupby(level=0).nunique() == 1).all()
    assert presence.max() == presence["guitar"].max() == 4_279  # section 6.2
    assert presence["violin"].max() == 1_579
    assert presence.min() >= 173  # section 5.1.1: the 50th tag, below the 10th
    assert presence["ambient"] == 1_925
    assert not set(presence.index) & set(published.table("rotheneder2023_section_5_1_1_excluded_tags")["tag"])
    assert top_10("stacked_cnn").loc["quiet", "recall"] == 0.578  # section 5.1.7; so recall is the first of the two


def test_bars_of_the_slides_start_at_their_table_and_fall():
    bars = published.table(GENERALISATION).set_index("model")
    clean = published.table(SLIDES[0]).set_index("model")["roc_auc"]
    assert (bars["clean"] - clean[bars.index]).abs().max() < 0.015  # read off a figure, to about 0.005
    assert bars.drop(columns="clean").lt(bars["clean"], axis=0).all(axis=None)
    assert (bars["white_noise_0_4"] < bars["white_noise_0_1"]).all()
    assert "read off" in published.notes(GENERALISATION)[0]


def test_tables_of_the_slides_share_models_and_repeat_some_numbers():
    mtat, msd, mtg = (published.table(name).set_index("model") for name in SLIDES)
    assert list(mtat.index) == list(msd.index) == list(mtg.index)
    # average precision is above the area under the precision-recall curve everywhere but once
    lower = {
        (name, model)
        for name, table in zip(SLIDES, (mtat, msd, mtg), strict=True)
        for model in table.index[table["average_precision"] < table["pr_auc"]]
    }
    assert lower == {("tagger_slides_table_3_mtg", "short_chunk")}
    # two models have the very same ROC-AUC on all three datasets, two more on two of them
    areas = pd.concat([mtat["roc_auc"], msd["roc_auc"], mtg["roc_auc"]], axis=1)
    distinct = areas.nunique(axis=1)
    assert set(distinct.index[distinct == 1]) == {"self_attention", "harmonic_cnn"}
    assert set(distinct.index[distinct == 2]) == {"crnn", "short_chunk"}


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_tables_a_1_to_a_3_average_their_tags(layer):
    table = published.table(f"rotheneder2023_table_a_{layer}_cross_validation_layer_{layer}")
    assert list(table["model"]) == [m for m in ("knn_3", "knn_5", "knn_7", "rf_500", "rf_200", "rf_100") for _ in "ab"]
    tags_of = table.columns[3:]
    assert list(tags_of) == list(published.table("rotheneder2023_table_6_1_tag_occurrence")["tag"])
    assert ((table[tags_of].mean(axis=1) - table["average"]).abs() < 0.0011).all()
    random_forests = table[table["model"].str.startswith("rf") & (table["metric"] == "f1")]["average"]
    assert random_forests.is_monotonic_decreasing


MAPS = {2: ("top", 1), 3: ("bottom", 1), 4: ("top", 2), 5: ("bottom", 2), 6: ("top", 3), 7: ("bottom", 3)}


@pytest.mark.parametrize("number", MAPS)
def test_tables_6_2_to_6_7_rank_five_maps_of_ten_tags(number):
    end, layer = MAPS[number]
    table = published.table(f"rotheneder2023_table_6_{number}_{end}_maps_layer_{layer}")
    assert list(table["rank"]) == [1, 2, 3, 4, 5] * 10
    assert table.groupby("tag", sort=False)["f1"].apply(lambda f1: f1.is_monotonic_decreasing).all()
    assert table["feature_map"].between(0, {1: 63, 2: 127, 3: 255}[layer]).all()
    assert not table.duplicated(["tag", "feature_map"]).any()
    assert table["f1"].max() < 0.5, "section 6.5: no map reached 50 %"


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_worst_of_the_best_maps_beats_the_best_of_the_worst(layer):
    numbers = {end: number for number, (end, of) in MAPS.items() if of == layer}
    top, bottom = (
        published.table(f"rotheneder2023_table_6_{numbers[end]}_{end}_maps_layer_{layer}") for end in ("top", "bottom")
    )
    assert (top.groupby("tag")["f1"].min() > bottom.groupby("tag")["f1"].max()).all()


def test_table_6_1_is_limited_to_3000():
    clips = published.table("rotheneder2023_table_6_1_tag_occurrence")["clips"]
    assert (clips.min(), clips.max()) == (1536, 3000)


def test_table_7_a_doubles_from_layer_to_layer():
    table = published.table("choi2018_table_7_a_effective_kernel_sizes")
    frames = (table["width_ms"] - 1000 * 512 / 11025) / (1000 * 256 / 11025) + 1
    assert list(frames.round()) == [3, 6, 12, 24, 48]
    bins = table["height_hz"] / (11025 / 512) - 1
    assert list(bins.round()) == [3, 6, 12, 24, 58]  # the last one is a misprint or another rule: 48 would follow


def test_table_3_a_follows_from_its_error_rates_but_for_one_misprint():
    table = published.table("choi2018_table_3_a_noise").set_index("tag")
    wrong, missed = table["positive_error"], table["negative_error"]
    assert (table["precision"] - (1 - wrong)).abs().max() < 1e-9
    assert (table["recall"] - (1 - wrong) / (1 - wrong + missed)).abs().max() < 0.0006  # of 50 and 50 labels
    total = published.number("choi2018", "tagged_clips")
    estimate = table["labels"] * (1 - wrong) + (total - table["labels"]) * missed  # Eq. 3.2
    assert (table["estimate"] - estimate).abs().max() < 1
    off = (table["subset400_share"] - table["subset400"] / 400).abs() > 0.0006
    assert list(table.index[off]) == ["male vocalists"]
    for column in ("positive_error", "negative_error", "precision", "recall"):
        assert table[column].mean() == pytest.approx(published.number("choi2018", f"mean_{column}"), abs=0.0006)


def test_widths_of_table_4_a_grow_with_the_number_of_parameters():
    table = published.table("choi2018_table_4_a_layer_widths")
    assert table.groupby("structure").size().to_dict() == {"crnn": 6, "k1c2": 6, "k2c1": 7, "k2c2": 5}
    assert (table.filter(like="width").diff(axis=1).iloc[:, 1:] > 0).all(axis=None)


def test_table_7_c_has_eleven_common_pairs_and_those_that_the_text_names():
    table = published.table("choi2018_table_7_c_similar_pairs")
    labels, vectors = (
        [frozenset(pair.split(", ")) for pair in table[f"by_{kind}"]] for kind in ("labels", "label_vectors")
    )
    assert len(set(labels)) == len(set(vectors)) == 20
    assert len(set(labels) & set(vectors)) == published.number("choi2018", "label_vector_common_pairs")
    assert [
        vectors.index(frozenset(pair)) for pair in (("sad", "beautiful"), ("happy", "catchy"), ("rnb", "sexy"))
    ] == [5, 8, 11]
