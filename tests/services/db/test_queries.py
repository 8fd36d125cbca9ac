"""Named queries: how a file is read, and that every query of every file is used."""

import re
from pathlib import Path

import pytest

from services.db import queries

SERVICES = Path(queries.__file__).parents[1]
FILES = sorted(SERVICES.rglob("*.sql"))


def load(folder: Path, source: str) -> dict[str, str]:
    (folder / "module.sql").write_text(source)
    return {name: str(query) for name, query in queries.load(str(folder / "module.py")).items()}


def test_it_gives_each_query_by_its_name_without_comments(tmp_path: Path) -> None:
    assert load(tmp_path, "-- name: first\n-- Why: see below.\nselect :x\n\n-- name: second\nselect 2\n") == {
        "first": "select :x",
        "second": "select 2",
    }


def test_it_puts_a_query_into_another_and_leaves_an_empty_array_alone(tmp_path: Path) -> None:
    source = "-- name: ids\nselect id from ({rows}) r where tags <> '{}'\n-- name: rows\nselect {columns} from t\n"
    source += "-- name: columns\nid, tags\n"
    assert load(tmp_path, source)["ids"] == "select id from (select id, tags from t) r where tags <> '{}'"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SERVICES)))
def test_every_query_of_a_file_is_used(path: Path) -> None:
    code, source = path.with_suffix(".py").read_text(), path.read_text()
    names = re.findall(r"^-- name: (\w+)$", source, re.MULTILINE)
    assert [name for name in names if f'"{name}"' not in code and f"{{{name}}}" not in source] == []
    assert len(names) == len(set(names))
