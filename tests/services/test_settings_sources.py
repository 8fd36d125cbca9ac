"""Where values of settings come from, and the secrets that are made."""

from pathlib import Path

import pytest

from services import settings_sources

VARIABLES = ("DATA_DIR", "LOG_LEVEL")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without `.env` and an environment without our variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_takes_an_empty_value_for_none(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "")
    (bare / ".env").write_text("LOG_LEVEL=\n")
    assert not {*VARIABLES} & settings_sources.read(VARIABLES).keys()


def test_it_takes_names_in_any_case(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("data_dir", "here")
    (bare / ".env").write_text("log_level=INFO\n")
    assert settings_sources.read(VARIABLES).items() >= {("DATA_DIR", "here"), ("LOG_LEVEL", "INFO")}


def test_it_reads_the_files_of_its_own_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL_FILE", "/nowhere")
    assert "LOG_LEVEL" not in settings_sources.read(["DATA_DIR"])
    with pytest.raises(ValueError, match=r"^LOG_LEVEL_FILE: cannot read /nowhere: No such file or directory$"):
        settings_sources.read(VARIABLES)


def test_it_makes_a_secret_once_and_leaves_nothing_else(bare: Path) -> None:
    path = bare / "secrets" / "key"
    secret = settings_sources.read_or_create_secret(path)
    assert len(secret) >= 43  # 256 bits
    assert settings_sources.read_or_create_secret(path) == secret == path.read_text()
    assert [one.name for one in path.parent.iterdir()] == ["key"]
    assert path.stat().st_mode & 0o777 == 0o600
