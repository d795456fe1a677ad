"""The card of a trained model: what its outputs are called, what it takes as input, what it was trained on.

A card is a JSON file, ``cards/<name>.json`` for the model ``models/<name>.keras``, or of the model's name beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    InstanceOf,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from musictools.files import atomic, file_digest, read_text
from musictools.spectrograms import FrontEnd

__all__ = ["ModelCard"]


def _front_end(value):
    if not isinstance(value, str):
        return value
    try:
        return FrontEnd.from_json(value)
    except (TypeError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"cannot be read ({error})") from None


def _plain(names):
    """A tuple of Python's own int and str, also of what pandas and NumPy made."""
    if isinstance(names, str):
        raise ValueError("must be a list of names")
    return tuple(name.item() if hasattr(name, "item") else name for name in names)


_Names = Annotated[tuple[str, ...], BeforeValidator(_plain)]


class ModelCard(BaseModel):
    """What must be known of a trained model in order to use it and to know where it comes from.

    Parameters
    ----------
    task : {"genre", "tags", "mapping"}
        What the model is for: genres of segments, tags of segments, genres of sets of descriptors.
    model : str
        Name of the architecture, one of `musictools.models.names()`.
    outputs : tuple of str
        Names of the outputs: genres or tags.
    inputs : tuple of str
        Descriptors that a mapping takes, in the order of its inputs; empty for all others.
    front_end : FrontEnd or None
        Front end of the spectrograms, in files as its JSON text. None: the model was trained on spectrograms that were
        computed elsewhere, or takes none.
    length, step : int > 0 or None
        Frames of a segment, and from the start of one to the start of the next; None for a mapping only.
    width : float > 0 or None
        Multiplier of filters and units that the model was built with.
    thresholds : dict of str to dict of str to float
        Rule by which they were chosen -> tag -> threshold; empty where none were tuned.
    data : str
        Name of the data set that the model was trained on.
    data_checksum : str
        Checksum of its tables.
    source, licence, citation : str
        Where a network comes from that others have released, under which licence, and what to cite.
    training_clips : tuple of int or str
        Ids of the clips that the model was trained on, those for validation included.
    held_out_clips : tuple of int or str
        Ids of the clips that were held out, see `musictools.datasets.splits.held_out_clips`.
    seed : int or None
        Seed of the training.
    model_sha256 : str
        SHA-256 of the model's file; empty: unknown.
    provenance : dict
        Whatever else is to be remembered: the split, the protocol, scores.
    version : {1}
        Version of this format.

    Raises
    ------
    pydantic.ValidationError
        A `ValueError` that names each field that is unknown, missing or out of range.

    See Also
    --------
    musictools.inference.AudioModel : A trained model with its card.

    Examples
    --------
    >>> card = ModelCard(task="genre", model="ckn19", outputs=["jazz", "rock"], length=128, step=64,
    ...                  front_end=FrontEnd(16000, 1024, 512, 128))
    >>> card.outputs, card.front_end.n_mels, card.version
    (('jazz', 'rock'), 128, 1)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    task: Literal["genre", "tags", "mapping"]
    model: str = Field(min_length=1)
    outputs: _Names = Field(min_length=1)
    inputs: _Names = ()
    front_end: (
        Annotated[InstanceOf[FrontEnd], BeforeValidator(_front_end), PlainSerializer(FrontEnd.to_json)] | None
    ) = None
    length: PositiveInt | None = None
    step: PositiveInt | None = None
    width: PositiveFloat | None = None
    thresholds: dict[str, dict[str, FiniteFloat]] = {}
    data: str = ""
    data_checksum: str = ""
    source: str = ""
    licence: str = ""
    citation: str = ""
    training_clips: Annotated[tuple[int | str, ...], BeforeValidator(_plain)] = ()
    held_out_clips: Annotated[tuple[int | str, ...], BeforeValidator(_plain)] = ()
    seed: int | None = None
    model_sha256: str = ""
    provenance: dict[str, Any] = {}
    version: Literal[1] = 1

    @model_validator(mode="after")
    def _fits_its_task(self):
        given = {name for name in ("front_end", "length", "step") if getattr(self, name) is not None}
        if self.task == "mapping":
            if given or not self.inputs:
                raise ValueError("a mapping has inputs, and neither front_end nor length nor step")
        elif self.inputs or not {"length", "step"} <= given or "front_end" not in self.model_fields_set:
            raise ValueError(f"task={self.task!r} needs front_end (which may be null), length and step, and no inputs")
        if both := set(self.training_clips) & set(self.held_out_clips):
            raise ValueError(f"{len(both)} clips were held out and trained on, such as {next(iter(both))!r}")
        for rule, values in self.thresholds.items():
            if missing := set(self.outputs) - set(values):
                raise ValueError(f"the thresholds of {rule!r} lack {', '.join(sorted(missing))}")
        return self

    @classmethod
    def read(cls, path: str | Path) -> ModelCard:
        """Read a card.

        Parameters
        ----------
        path : str or Path
            A card (``.json``), or a model (``.keras``) whose card lies beside it or in ``../cards``.

        Returns
        -------
        card : ModelCard

        Raises
        ------
        ValueError
            If there is no card, what is there is no card of this version, or the model is not the one that its card
            describes.
        """
        path = model = Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: no such file.")
        if path.suffix == ".keras":
            places = [path.with_suffix(".json"), path.parent.parent / "cards" / f"{path.stem}.json"]
            if not any(place.is_file() for place in places):
                raise ValueError(f"{path} has no card: neither {places[0]} nor {places[1]} is there.")
            path = next(place for place in places if place.is_file())
        try:
            card = cls(**json.loads(read_text(path)))
        except ValidationError as error:
            faults = "; ".join(_sentence(fault)[:300] for fault in error.errors()[:3])
            raise ValueError(
                f"{path} is no card of a model, version 1: {faults}. Cards of earlier versions are "
                "written anew by musictools rebuild."
            ) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: no JSON object ({error}). The file may have been cut off.") from None
        if model != path and card.model_sha256 and card.model_sha256 != file_digest(model):
            raise ValueError(
                f"{model} is damaged or not the model that its card {path} describes: it does not fit the card's "
                "checksum. Write or install it again."
            )
        return card

    def write(self, model: str | Path) -> Path:
        """Write the card beside a model, whose checksum it gets.

        Parameters
        ----------
        model : str or Path
            A ``.keras`` file that is there.

        Returns
        -------
        path : Path
            The card's, with the suffix ``.json``.
        """
        path = Path(model).with_suffix(".json")
        with atomic(path) as temporary:
            card = self.model_copy(update={"model_sha256": file_digest(model)})
            temporary.write_text(card.model_dump_json(indent=1), encoding="utf-8")
        return path


def _sentence(fault):
    """One of pydantic's errors in words: field, rule, received value."""
    field = ".".join(str(place) for place in fault["loc"] if not str(place).startswith("function-"))
    if fault["type"] == "missing":
        return f"{field} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{field} is an unknown field"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{field}: {message}, got {str(fault['input'])[:80]!r}" if field else message
