"""Where the values of settings come from: the environment, `.env`, files, and secrets made at random.

Order of preference for each variable: environment, file named by `<NAME>_FILE`, `.env`.
"""

import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values


def read(variables: Iterable[str]) -> dict[str, str]:
    """What is given, by variable; an empty value counts as none, as compose files set what their user left out.

    All of the environment is in it; only of `variables` the `<NAME>_FILE` is read too.

    Raises: ValueError where `.env` or a file cannot be read, whose text names it and may be shown.
    """
    environment, dotenv = _by_variable(os.environ), _by_variable(_read_dotenv())
    paths = dotenv | environment
    files = {name: _read_files(name, path) for name in variables if (path := paths.get(f"{name}_FILE"))}
    return dotenv | files | environment


def read_or_create_secret(path: Path) -> str:
    """The secret in a file, made (256 random bits, mode 600) on first use.

    Linking lets exactly one of several starting processes write, and all of it; the others read what it wrote.

    Raises: OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        try:
            os.link(staged, path)
        except FileExistsError:
            pass
        finally:
            staged.unlink()
    return path.read_text().strip()


def _by_variable(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name.upper(): value for name, value in values.items() if value}


def _read_dotenv() -> dict[str, str | None]:
    try:
        return dotenv_values(".env", encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f".env: cannot be read: {error}") from None


def _read_files(name: str, path: str) -> str:
    """The way Docker and Kubernetes hand secrets over; of the servers' tokens each may have a file of its own."""
    if name == "WPP_SERVER_TOKEN" and "," in path:
        return ",".join(_read_token(name, part.strip()) for part in path.split(","))
    return _read_file(name, path)


def _read_token(name: str, path: str) -> str:
    """One file of several: what is in it is one secret."""
    value = _read_file(name, path)
    if "," in value:
        raise ValueError(f"{name}_FILE: {path}: a comma separates secrets, so none may contain one")
    return value


def _read_file(name: str, path: str) -> str:
    try:
        value = Path(path).read_text().strip()
    except OSError as error:
        raise ValueError(f"{name}_FILE: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{name}_FILE: {path} is not a text file") from None
    if not value:  # half-written or mounted wrongly: making a secret up instead would hide it
        raise ValueError(f"{name}_FILE: {path} is empty")
    return value
