"""DEPENDENCIES.md lists what the lock pins, with the licences that the installed packages state."""

import re

import pytest
from support import licences


def rows():
    """(name, version, licence, marker) of the table."""
    _, _, table = licences.PAGE.read_text(encoding="utf-8").partition(licences.BEGIN)
    cells = [line.strip("| ").split(" | ") for line in table.partition(licences.END)[0].splitlines()[2:]]
    return [(*row, "") if len(row) == 3 else tuple(row) for row in [[c.strip(" |") for c in row] for row in cells]]


def test_the_table_has_what_the_lock_has():
    table = [(name, version, marker) for name, version, _, marker in rows()]
    lock = [(name, version, marker) for name, version, marker in licences.locked()]
    assert table == lock, "run: python tests/support/licences.py"
    pinned = [line for line in licences.LOCK.read_text().splitlines() if "==" in line and not line.startswith("#")]
    assert len(lock) == len(pinned)


def test_licences_are_those_of_the_installed_packages():
    stated = {name: licences.licence(name) for name, *_ in rows()}
    table = {name: licence for name, _, licence, _ in rows()}
    assert {n: table[n] for n, one in stated.items() if one} == {n: one for n, one in stated.items() if one}
    assert "unknown" not in table.values()


def test_every_copyleft_licence_is_explained():
    head = licences.PAGE.read_text(encoding="utf-8").partition(licences.BEGIN)[0]
    copyleft = {name for name, _, licence, _ in rows() if re.search(r"GPL|MPL", licence)}
    assert {"soxr", "lameenc", "docutils", "certifi"} <= copyleft
    assert [name for name in copyleft if not re.search(rf"\b{name}\b", head)] == []


@pytest.mark.parametrize(
    ("text", "spdx"),
    [("Apache License, Version 2.0", "Apache-2.0"), ("BSD 3-Clause License\n\nCopyright", "BSD-3-Clause"),
     ("MIT license", "MIT"), ("MPL-2.0 AND MIT", "MPL-2.0 AND MIT"), ("UNKNOWN", None)],
)  # fmt: skip
def test_licences_are_normalised(text, spdx, monkeypatch):
    from email.message import Message

    about = Message()
    about["License"] = text
    monkeypatch.setattr(licences.metadata, "metadata", lambda name: about)
    assert licences.licence("a package") == spdx
