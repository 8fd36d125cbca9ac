"""Settings, read once per process from the environment, `.env`, `<NAME>_FILE` and, for secrets left unset, `DATA_DIR`.

Order of preference for each name: environment, file named by `<NAME>_FILE`, `.env`, and last (secrets only) a value
made once at random and kept in `DATA_DIR/secrets/<name>` with mode 600. There is no default secret in code.
"""

import functools
import logging
import os
import re
import secrets
from collections.abc import Mapping
from datetime import time
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from limits import parse
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from services.errors import ConfigurationError

# Under 32 bytes an HS256 key is weaker than its hash (RFC 7518, section 3.2); PyJWT only warns, so it is refused here.
MIN_KEY_BYTES = 32

# A rate limit that is none.
OFF = "off"

# A hundred years: whoever sets more has mistyped it.
MAX_DAYS = 36_500

CONSOLE_ROLE = "plushify_console"
SYSTEM_ROLE = "plushify_system"

# What hosts of databases and SQLAlchemy's users write before ://.
POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")


class FileSource(PydanticBaseSettingsSource):
    """Reads `<NAME>_FILE`: the way Docker and Kubernetes hand secrets over. `.env` may name the file too."""

    def __init__(self, settings_cls: type[BaseSettings], dotenv: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._dotenv = dotenv

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        variable = f"{field_name}_file"
        path = os.environ.get(variable.upper()) or self._dotenv.get(variable)
        if not path:
            return None, field_name, False
        if field_name == "wpp_server_token" and "," in path:
            return ",".join(self._one_secret(variable, one.strip()) for one in path.split(",")), field_name, False
        return self._read(variable, path), field_name, False

    def _one_secret(self, variable: str, path: str) -> str:
        """One file of several: what is in it is one secret."""
        value = self._read(variable, path)
        if "," in value:
            raise ConfigurationError(f"{variable.upper()}: {path}: a comma separates secrets, so none may contain one")
        return value

    @staticmethod
    def _read(variable: str, path: str) -> str:
        try:
            value = Path(path).read_text().strip()
        except OSError as error:
            raise ConfigurationError(f"{variable.upper()}: cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigurationError(f"{variable.upper()}: {path} is not a text file") from None
        if not value:  # half-written or mounted wrongly: making a secret up instead would hide it
            raise ConfigurationError(f"{variable.upper()}: {path} is empty")
        return value

    def __call__(self) -> dict[str, Any]:
        found = ((name, self.get_field_value(field, name)[0]) for name, field in self.settings_cls.model_fields.items())
        return {name: value for name, value in found if value is not None}


class Settings(BaseSettings):
    """All settings of all processes. A field's name in upper case is its variable; `.env.example` explains each."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    data_dir: Path = Path("data")
    # Out of repr: an address of a store may hold a key.
    media_url: SecretStr = SecretStr("")
    database_url: SecretStr | None = None
    console_database_url: SecretStr = SecretStr("")
    system_database_url: SecretStr = SecretStr("")
    # Out of repr, as the tokens are: the servers' addresses are nobody's business either.
    wpp_server_url: str = Field("", repr=False)
    wpp_server_token: SecretStr = SecretStr("")
    qr_webhook_verify_token: SecretStr = SecretStr("")
    public_webhook_url: str = ""
    auth_cookie_key: SecretStr = SecretStr("")
    jwt_secret: SecretStr = SecretStr("")
    jwt_jwks_url: str = ""
    jwt_audience: str = "authenticated"
    jwt_issuer: str = ""
    jwt_leeway_seconds: float = Field(10.0, ge=0, le=300)
    cors_origins: str = ""
    api_wait_seconds: float = Field(5.0, ge=0, le=60)
    rate_limit_url: SecretStr = SecretStr("")
    rate_limit_api: str = "600/minute"
    rate_limit_send: str = "120/minute"
    rate_limit_sign_in: str = "30/15 minutes"
    rate_limit_refused: str = "30/minute"
    http_read_seconds: float = Field(20.0, gt=0, le=600)
    trusted_proxies: str = ""
    admin_email: str = "admin@plushify.local"
    admin_password: SecretStr | None = None
    host: str = "127.0.0.1"
    console_port: int = Field(8501, ge=1, le=65535)
    webhook_port: int = Field(8088, ge=1, le=65535)
    sandbox_port: int = Field(21465, ge=1, le=65535)
    cookie_secure: bool = False
    send_pace_seconds: float = Field(1.0, ge=0, allow_inf_nan=False)
    send_concurrency: int = Field(32, ge=1, le=200)
    send_lease_seconds: float = Field(60.0, ge=1)
    send_ask_after_hours: int = Field(24, ge=1, le=24 * 30)
    number_checks_per_hour: int = Field(300, ge=0, le=100_000)
    number_known_days: int = Field(30, ge=1, le=MAX_DAYS)
    number_absent_days: int = Field(1, ge=1, le=MAX_DAYS)
    cleanup_codes_days: int = Field(1, ge=1, le=MAX_DAYS)
    cleanup_sessions_days: int = Field(7, ge=1, le=MAX_DAYS)
    cleanup_history_days: int = Field(365, ge=1, le=MAX_DAYS)
    cleanup_events_days: int = Field(30, ge=1, le=MAX_DAYS)
    cleanup_pending_acks_days: int = Field(1, ge=1, le=MAX_DAYS)
    cleanup_heartbeats_days: int = Field(1, ge=1, le=MAX_DAYS)
    cleanup_sign_in_attempts_days: int = Field(1, ge=1, le=MAX_DAYS)
    cleanup_signed_out_days: int = Field(0, ge=0, le=MAX_DAYS)
    cleanup_security_events_days: int = Field(180, ge=30, le=MAX_DAYS)
    cleanup_timeline_days: int = Field(180, ge=1, le=MAX_DAYS)
    cleanup_jobs_days: int = Field(7, ge=1, le=MAX_DAYS)
    cleanup_media_days: int = Field(30, ge=1, le=MAX_DAYS)
    cleanup_runs_days: int = Field(365, ge=1, le=MAX_DAYS)
    health_sweep_seconds: float = Field(10.0, gt=0, le=3600)
    health_page_seconds: float = Field(10.0, gt=0, le=3600)
    health_proof_seconds: float = Field(300.0, gt=0, le=86_400)
    health_asks_per_day: int = Field(3, ge=0, le=86_400)
    health_numbers: str = ""
    health_same_number_seconds: float = Field(600.0, ge=0, le=86_400)
    health_stuck_seconds: float = Field(30.0, gt=0, le=3600)
    health_unacked_seconds: float = Field(120.0, gt=0, le=86_400)
    health_silence_minutes: float = Field(60.0, gt=0, le=1440)
    health_step_seconds: float = Field(60.0, gt=0, le=3600)
    health_probes_per_server: int = Field(8, ge=1, le=100)
    health_heals_per_server: int = Field(3, ge=1, le=100)
    health_heal: bool = True
    alert_webhook_url: SecretStr = SecretStr("")
    alert_cooldown_minutes: float = Field(15.0, ge=0, le=10_080)
    metrics_token: SecretStr = SecretStr("")
    report_time_zone: str = "America/Sao_Paulo"
    forward_allow_private: bool = False
    campaign_pace_seconds: float = Field(8.0, ge=0, le=86_400, allow_inf_nan=False)
    campaign_daily_cap: int = Field(500, ge=1, le=100_000)
    campaign_opens: time = time(8, 0)
    campaign_closes: time = time(20, 0)
    campaign_cold_share: float = Field(0.5, ge=0, le=1)
    campaign_cold_days: int = Field(180, ge=1, le=MAX_DAYS)
    campaign_warmup_days: int = Field(14, ge=0, le=365)
    campaign_warmup_first: int = Field(30, ge=1, le=100_000)
    schedule_grace_minutes: float = Field(15.0, ge=0, le=1440)
    log_level: str = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        return init_settings, env_settings, FileSource(settings_cls, dotenv_settings.env_vars), dotenv_settings

    @field_validator("database_url", "console_database_url", "system_database_url")
    @classmethod
    def _postgres_urls(cls, value: SecretStr | None) -> SecretStr | None:
        return SecretStr(_postgres_url(value.get_secret_value())) if value else value

    @field_validator("report_time_zone")
    @classmethod
    def _time_zones(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, OSError) as error:
            raise ValueError("must be a time zone, as America/Sao_Paulo") from error
        return value  # ZoneInfo itself raises ValueError for what is no name at all

    @field_validator("log_level")
    @classmethod
    def _log_levels(cls, value: str) -> str:
        if value.upper() not in logging.getLevelNamesMapping():
            raise ValueError("must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
        return value.upper()

    @field_validator("rate_limit_api", "rate_limit_send", "rate_limit_sign_in", "rate_limit_refused")
    @classmethod
    def _rate_limits(cls, value: str) -> str:
        if value != OFF:
            parse(value)  # raises ValueError
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for one in value.split(","):
            if one.strip():
                ip_network(one.strip(), strict=False)
        return value

    @field_validator("wpp_server_url", "public_webhook_url", "jwt_jwks_url", "cors_origins")
    @classmethod
    def _http_urls(cls, value: str) -> str:
        if value and not all(_is_http(url.strip()) for url in value.split(",")):
            raise ValueError("must be an http:// or https:// address")
        return value.rstrip("/")

    @field_validator("health_numbers")
    @classmethod
    def _numbers(cls, value: str) -> str:
        if not all(re.fullmatch(r"\d{8,15}", one) for one in _digits(value)):
            raise ValueError("must list full numbers, country code first, separated by commas")
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _alert_urls(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _is_http(value.get_secret_value()):
            raise ValueError("must be an http:// or https:// address")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.wpp_server_url and not self.wpp_server_token.get_secret_value():
            raise ValueError("WPP_SERVER_TOKEN is missing: it is the SECRET_KEY of the server in WPP_SERVER_URL")
        for name in ("wpp_server_token", "qr_webhook_verify_token", "auth_cookie_key"):
            if not getattr(self, name).get_secret_value():
                setattr(self, name, SecretStr(self.generated_secret(name)))
        # Whoever publishes keys signs with them: a shared secret that nobody set would only be one more way in.
        if not self.jwt_secret.get_secret_value() and not self.jwt_jwks_url:
            self.jwt_secret = SecretStr(self.generated_secret("jwt_secret"))
        if 0 < len(self.jwt_secret.get_secret_value().encode()) < MIN_KEY_BYTES:
            raise ValueError(f"JWT_SECRET must have at least {MIN_KEY_BYTES} bytes")
        if len(self.auth_cookie_key.get_secret_value().encode()) < MIN_KEY_BYTES:
            raise ValueError(f"AUTH_COOKIE_KEY must have at least {MIN_KEY_BYTES} bytes")
        if self.campaign_closes != time.min and self.campaign_opens >= self.campaign_closes:
            raise ValueError("CAMPAIGN_OPENS must be before CAMPAIGN_CLOSES, which may be 00:00 for midnight")
        self.servers()
        if not self.public_webhook_url:
            self.public_webhook_url = f"http://127.0.0.1:{self.webhook_port}"
        self._derive_database_urls()
        return self

    def _derive_database_urls(self) -> None:
        if self.database_url is None:
            return
        owner = self.database_url.get_secret_value()
        for name, role in (("console_database_url", CONSOLE_ROLE), ("system_database_url", SYSTEM_ROLE)):
            if not getattr(self, name).get_secret_value():
                password = self.generated_secret(f"{role}_password")
                setattr(self, name, SecretStr(_as_login(owner, role, password)))

    @property
    def sandboxed(self) -> bool:
        """True while no real WPPConnect server is configured and the sandbox stands in for it."""
        return not self.wpp_server_url

    def servers(self) -> dict[str, str]:
        """The configured WPPConnect servers: base URL → SECRET_KEY, in the order of the configuration.

        `WPP_SERVER_URL` and `WPP_SERVER_TOKEN` may list several, separated by commas, in the same order; one token
        for several URLs serves them all. `WPP_SERVER_TOKEN_FILE` may list a file for each.
        """
        if self.sandboxed:
            return {f"http://127.0.0.1:{self.sandbox_port}": self.wpp_server_token.get_secret_value()}
        urls = [url.strip().rstrip("/") for url in self.wpp_server_url.split(",") if url.strip()]
        # An address is kept in tables and a secret never; the servers know no such sign-in anyway.
        if any("@" in urlsplit(url).netloc for url in urls):
            raise ConfigurationError("WPP_SERVER_URL: must not hold a user or a password")
        tokens = [token.strip() for token in self.wpp_server_token.get_secret_value().split(",")]
        if len(tokens) == 1:
            tokens *= len(urls)
        if len(tokens) != len(urls) or not all(tokens):
            given = sum(1 for token in tokens if token)
            raise ConfigurationError(f"WPP_SERVER_TOKEN lists {given} secrets for {len(urls)} servers")
        return dict(zip(urls, tokens, strict=True))

    def server_number(self, url: str | None) -> int | None:
        """What people call a server, counted from 1 as configured: its address stays here. None for an unknown one."""
        urls = list(self.servers())
        return urls.index(url) + 1 if url in urls else None

    def rate_limit(self, door: str) -> str:
        """The limit of a door, as `600/minute`, or OFF."""
        return str(getattr(self, f"rate_limit_{door}"))

    def own_numbers(self) -> list[str]:
        """The operator's own numbers, digits, about which sessions ask WhatsApp to prove that they live."""
        return _digits(self.health_numbers)

    @property
    def proof_seconds(self) -> float:
        """How old a quiet session's last proof may become before its next question has surely had its turn."""
        return 1.25 * 86_400 / max(self.health_asks_per_day, 1)

    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose word on where a request came from is taken."""
        return tuple(ip_network(one.strip(), strict=False) for one in self.trusted_proxies.split(",") if one.strip())

    def origins(self) -> list[str]:
        """The web pages, by scheme, host and port, that may call the API from a browser."""
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]

    def generated_secret(self, name: str) -> str:
        """The secret kept in `DATA_DIR/secrets/<name>`, made (256 random bits, mode 600) on first use."""
        folder = self.data_dir / "secrets"
        path = folder / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _read_or_create(path)
        except OSError as error:
            raise ConfigurationError(f"DATA_DIR: cannot keep secrets in {folder}: {error.strerror}") from error

    def secret_values(self) -> list[str]:
        """Every secret in clear, for the log's redaction and for tests that search pages and logs for them."""
        urls = [url.get_secret_value() for url in (self.console_database_url, self.system_database_url)]
        urls += [self.database_url.get_secret_value()] if self.database_url else []
        # As they are and as the URL spells them.
        passwords = [conninfo_to_dict(url).get("password") for url in urls] + [urlsplit(url).password for url in urls]
        keys = (
            self.wpp_server_token,
            self.qr_webhook_verify_token,
            self.auth_cookie_key,
            self.jwt_secret,
            self.rate_limit_url,
            self.alert_webhook_url,
            self.media_url,
            self.metrics_token,
            self.admin_password,
        )
        values = [*self.servers().values(), *(key.get_secret_value() for key in keys if key), *passwords]
        return sorted({str(value) for value in values if value}, key=len, reverse=True)


def _digits(numbers: str) -> list[str]:
    return [re.sub(r"[\s()+.-]", "", one) for one in numbers.split(",") if one.strip()]


def _read_or_create(path: Path) -> str:
    """Linking lets exactly one of several starting processes write, and all of it; the others read what it wrote."""
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


def _is_http(url: str) -> bool:
    """Raises ValueError for a port or an IPv6 address that is none."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0


def _postgres_url(url: str) -> str:
    """`url` as libpq takes it.

    Raises: ValueError, which quotes nothing: libpq's own complaints quote the password.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in POSTGRES_SCHEMES or not rest:
        raise ValueError("must be a postgresql:// address")
    plain = f"postgresql://{rest}"
    try:
        parts = urlsplit(plain)
        # libpq takes the first @ for the end of the password, urlsplit the last one before the first /.
        sound = parts.port != 0 and not parts.fragment and plain.count("@") == parts.netloc.count("@") <= 1
        conninfo_to_dict(plain)
    except (ValueError, psycopg.ProgrammingError):
        sound = False
    if not sound:
        raise ValueError("is not a well-formed address; special characters in its password must be percent-encoded")
    return plain


def _as_login(owner_url: str, role: str, password: str) -> str:
    parts = urlsplit(owner_url)
    address = parts.netloc.rpartition("@")[2]
    # libpq lets the query overrule what stands before the @: an owner named there would stay the owner.
    query = "&".join(part for part in parts.query.split("&") if part.partition("=")[0] not in ("user", "password"))
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{address}", query=query))


def load(**overrides: Any) -> Settings:
    """Read and check the settings.

    Raises: ConfigurationError whose detail names each wrong variable.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_plain(item) for item in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f".env: cannot be read: {error}") from None


def _plain(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"]).upper()
    reason = str(item["msg"]).removeprefix("Value error, ")
    return f"{name}: {reason}" if name else reason


@functools.cache
def get() -> Settings:
    """The settings of this process."""
    return load()
