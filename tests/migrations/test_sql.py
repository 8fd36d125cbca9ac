"""What the migrations are written in: the words of PostgreSQL 15, functions in files of their own, one line upwards."""

import ast
import re
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from migrations.ddl import SQL
from services.db.migrate import SCRIPTS
from tests.support.empty_databases import EmptyDatabase

# Words that came after PostgreSQL 15, with the version that they came with.
NEWER = {
    r"\bany_value\s*\(": 16,
    r"\bsystem_user\b": 16,
    r"\bis\s+json\b": 16,
    r"\bjson_arrayagg\s*\(": 16,
    r"\bjson_objectagg\s*\(": 16,
    r"\bwith\s+(inherit|set)\s+(true|false|option)\b": 16,
    r"\bjson_table\s*\(": 17,
    r"\bjson_query\s*\(": 17,
    r"\bjson_exists\s*\(": 17,
    r"\bmerge\b.*\breturning\b": 17,
    r"\bon_error\b": 17,
    r"\buuidv7\s*\(": 18,
    r"\breturning\s+(with\s*\(|old\.|new\.)": 18,
    r"\bgenerated\s+always\s+as\s*\([^)]*\)\s+virtual\b": 18,
    r"\bwithout\s+overlaps\b": 18,
    r"\bnot\s+enforced\b": 18,
    r"\bcasefold\s*\(": 18,
}


def find_newer_words(source: str) -> list[str]:
    """The words in a module's text literals that PostgreSQL 15 does not know."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return [pattern for pattern in NEWER for text in texts if re.search(pattern, text, re.IGNORECASE | re.DOTALL)]


@pytest.mark.parametrize("path", sorted((SCRIPTS / "versions").glob("*.py")), ids=lambda path: path.stem)
def test_it_is_written_for_postgresql_15(path: Path) -> None:
    assert find_newer_words(path.read_text()) == []


def test_its_functions_are_written_for_postgresql_15() -> None:
    for path in sorted(SQL.glob("*.sql")):
        assert find_newer_words(f"SQL = {path.read_text()!r}") == [], path.name


def test_it_installs_every_file_of_sql_and_nothing_else() -> None:
    installed = [
        argument.value
        for path in (SCRIPTS / "versions").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "install"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    assert sorted(set(installed)) == sorted(path.stem for path in SQL.glob("*.sql"))


def test_it_never_runs_as_its_definer_with_a_search_path_of_the_caller(database: EmptyDatabase) -> None:
    database.migrate()
    open_paths = database.execute(
        "select proname from pg_proc where pronamespace = 'app'::regnamespace and prosecdef"
        " and not coalesce('search_path=pg_catalog, pg_temp' = any(proconfig), false)"
    )
    assert open_paths == []


def test_it_finds_what_is_newer_than_postgresql_15() -> None:
    for text in ("select uuidv7()", "merge into t using s on true when matched then delete returning t.id"):
        assert find_newer_words(f"SQL = {text!r}")


def test_it_goes_up_in_one_line() -> None:
    script = ScriptDirectory(SCRIPTS)
    assert len(script.get_heads()) == 1
    names = sorted(path.stem for path in (SCRIPTS / "versions").glob("*.py"))
    assert [one.revision for one in reversed(list(script.walk_revisions()))] == names
