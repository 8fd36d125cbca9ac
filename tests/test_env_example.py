"""`.env.example` and the settings say the same."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from services import settings
from tests.support.paths import ROOT

LINES = (ROOT / ".env.example").read_text().splitlines()
EXAMPLE = re.compile(r"#([A-Z_]+)=(.*)")


def shown() -> dict[str, str]:
    """Each variable of the file with the value that stands there."""
    return {match[1]: match[2] for line in LINES if (match := EXAMPLE.fullmatch(line))}


def test_it_shows_every_setting_and_nothing_else() -> None:
    names = [match[1] for line in LINES if (match := EXAMPLE.fullmatch(line))]
    assert sorted(names) == sorted(settings.variables())


def test_it_explains_every_setting() -> None:
    explained = False
    for line in LINES:
        if EXAMPLE.fullmatch(line):
            assert explained, f"nothing above {line} explains it"
        else:
            assert not line or line.startswith("# "), f"neither a comment nor a setting: {line}"
            explained = line.startswith("# ") and not line.startswith("# ---")


def test_it_can_be_copied_and_uncommented_and_shows_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    uncommented = [EXAMPLE.sub(r"\1=\2", line) for line in LINES]
    key = "WPP_SERVER_TOKEN="
    (tmp_path / ".env").write_text("\n".join(f"{line}x" if line == key else line for line in uncommented))
    found = settings.load()
    assert found.wppconnect.server_url == shown()["WPP_SERVER_URL"]
    for _, group in found:
        for name, field in type(group).model_fields.items():
            if field.default and not isinstance(field.default, SecretStr):
                assert getattr(group, name) == field.default, field.validation_alias
