"""Cards of models: what is written is read again, and what is no card is refused in a sentence."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pydantic
import pytest

from musictools import runs
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

FIELDS = {
    "task": "tags",
    "model": "se_cnn",
    "outputs": ["low", "high"],
    "front_end": FrontEnd(16000, 512, 256, 32),
    "length": 32,
    "step": 16,
}
MAPPING = {"task": "mapping", "model": "mapping", "inputs": ["low"], "outputs": ["rock", "jazz"]}


@pytest.fixture
def card():
    return ModelCard(
        **FIELDS,
        width=0.1 + 0.2,
        thresholds={"f1": {"low": 1 / 3, "high": np.float64(0.7)}},
        data="x",
        source="our own",
        licence="MIT",
        citation="Nobody (2020)",
        training_clips=pd.Index([np.int64(3), 5]),
        held_out_clips=pd.Index([np.int64(8)]),
        seed=np.int64(4),
        provenance={"scores": [np.nan, 0.5]},
    )


def written(card, folder):
    run = runs.start(folder, notebook="02_train_genre_model", parameters={})
    run.card("tagger", card)
    return folder / "cards" / "tagger.json"


def test_a_written_card_is_read_again(card, tmp_path):
    path = written(card, tmp_path)
    assert json.loads(path.read_text())["version"] == 1
    again = ModelCard.read(path)
    assert again == card.model_copy(update={"provenance": {"scores": [None, 0.5]}})
    assert again.training_clips == (3, 5)
    assert again.held_out_clips == (8,)
    assert again.thresholds["f1"]["low"] == 1 / 3


def test_a_model_leads_to_its_card_beside_it_or_in_its_own_folder(card, tmp_path):
    path = written(card, tmp_path)
    model = tmp_path / "models" / "tagger.keras"
    model.parent.mkdir()
    with pytest.raises(ValueError, match=r"tagger\.keras: no such file"):
        ModelCard.read(model)
    model.touch()
    assert ModelCard.read(model).length == 32
    path.rename(model.with_suffix(".json"))
    assert ModelCard.read(model).length == 32
    model.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"has no card: neither .*tagger\.json nor .*cards.tagger\.json is there"):
        ModelCard.read(model)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"genres": ["rock"]}, "genres is an unknown field"),
        ({"version": 2}, "version: Input should be 1, got '2'"),
        ({"task": "moods"}, "task: Input should be 'genre', 'tags' or 'mapping', got 'moods'"),
        ({"outputs": []}, "outputs: Tuple should have at least 1 item"),
        ({"outputs": "low"}, "outputs: must be a list of names, got 'low'"),
        ({"length": 0}, "length: Input should be greater than 0, got '0'"),
        ({"length": None}, "task='tags' needs front_end .*, length and step"),
        ({"front_end": "{}"}, "front_end: cannot be read .*missing 4 required"),
        ({"front_end": "mel"}, "front_end: cannot be read"),
        ({"front_end": FIELDS["front_end"].to_json().replace("512", "511")}, "front_end: .*n_fft must be even"),
        ({"inputs": ["slow"]}, "task='tags' needs .* and no inputs"),
        ({"thresholds": {"f1": {"low": 0.5}}}, "the thresholds of 'f1' lack high"),
        ({"thresholds": {"f1": {"low": 0.5, "high": None}}}, "thresholds.f1.high: Input should be a valid number"),
        ({"held_out_clips": [5, 6]}, "1 clips were held out and trained on, such as 5"),
        ({"task": "mapping"}, "a mapping has inputs, and neither front_end nor length nor step"),
    ],
)
def test_fields_that_break_a_rule_are_named(card, tmp_path, changes, sentence):
    path = written(card, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=sentence) as raised:
        ModelCard.read(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("field", ["task", "model", "outputs", "front_end", "length", "step"])
def test_fields_that_are_missing_are_named(card, tmp_path, field):
    path = written(card, tmp_path)
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != field}))
    with pytest.raises(ValueError, match=rf"tagger\.json .*\b{field}\b"):
        ModelCard.read(path)


def test_what_is_no_json_is_refused(card, tmp_path):
    path = written(card, tmp_path)
    whole = path.read_text()
    for text in (whole[: len(whole) // 2], "", "[]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"tagger\.json: no JSON object"):
            ModelCard.read(path)


def test_a_run_writes_checked_cards_only(tmp_path):
    with pytest.raises(TypeError, match="card must be a musictools.models.card.ModelCard. Got dict"):
        written(FIELDS, tmp_path)
    with pytest.raises(pydantic.ValidationError):
        ModelCard(**FIELDS, colour="red")
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        ModelCard(**MAPPING).task = "genre"


def test_the_package_does_not_load_pydantic():
    code = "import sys, musictools, musictools.models, musictools.runs; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
