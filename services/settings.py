"""Settings, read once per process and kept in groups: `settings.get().retention.media_days`.

A field is read from its group's prefix and its own name in upper case (`CLEANUP_MEDIA_DAYS`), or from the
`validation_alias` that stands with it; `.env.example` explains each. `settings_sources` says where values come from.
A secret that nobody gives is made once at random and kept in `DATA_DIR/secrets/<name>`: code holds no default secret.
"""

import functools
from datetime import time
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit

from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo

from services import settings_sources
from services.errors import ConfigurationError
from services.settings_values import (
    MAX_DAYS,
    OFF,
    Days,
    HttpUrls,
    LogLevel,
    Networks,
    PhoneNumbers,
    Port,
    PostgresUrl,
    Rate,
    SecretHttpUrl,
    TimeZone,
    check_key,
    split_networks,
    split_numbers,
)

CONSOLE_ROLE = "plushify_console"
SYSTEM_ROLE = "plushify_system"


def _prefixed(prefix: str) -> AliasGenerator:
    """Names the variable of each field of a group."""
    return AliasGenerator(validation_alias=lambda name: f"{prefix}{name.upper()}")


class Group(BaseModel):
    """The settings of one concern. Nothing changes them."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, alias_generator=_prefixed(""))


class Storage(Group):
    """Where this installation keeps its files and secrets."""

    data_dir: Path = Path("data")
    # Out of repr: an address of a store may hold a key.
    media_url: SecretStr = SecretStr("")

    def generated_secret(self, name: str) -> str:
        """The secret kept in `DATA_DIR/secrets/<name>`, made (256 random bits, mode 600) on first use.

        Raises: ConfigurationError where it cannot be kept.
        """
        folder = self.data_dir / "secrets"
        try:
            return settings_sources.read_or_create_secret(folder / name)
        except OSError as error:
            raise ConfigurationError(f"DATA_DIR: cannot keep secrets in {folder}: {error.strerror}") from error


class Database(Group, alias_generator=_prefixed("DATABASE_")):
    """The addresses of the owner and of the two login roles; without `url` an embedded server is used."""

    url: PostgresUrl | None = None
    console_url: PostgresUrl = Field(SecretStr(""), validation_alias="CONSOLE_DATABASE_URL")
    system_url: PostgresUrl = Field(SecretStr(""), validation_alias="SYSTEM_DATABASE_URL")


class WppConnect(Group, alias_generator=_prefixed("WPP_")):
    """The WPPConnect servers, or the sandbox that stands in for them."""

    # Out of repr, as the tokens are: the servers' addresses are nobody's business either.
    server_url: HttpUrls = Field("", repr=False)
    server_token: SecretStr = SecretStr("")
    sandbox_port: Port = Field(21465, validation_alias="SANDBOX_PORT")

    @model_validator(mode="after")
    def _check_servers(self) -> Self:
        if self.sandboxed:
            return self
        if not self.server_token:
            raise ValueError("WPP_SERVER_TOKEN is missing: it is the SECRET_KEY of the server in WPP_SERVER_URL")
        urls, tokens = self._urls(), self._tokens()
        # An address is kept in tables and a secret never; the servers know no such sign-in anyway.
        if any("@" in urlsplit(url).netloc for url in urls):
            raise ValueError("WPP_SERVER_URL: must not hold a user or a password")
        if len(tokens) != len(urls) or not all(tokens):
            given = sum(1 for token in tokens if token)
            raise ValueError(f"WPP_SERVER_TOKEN lists {given} secrets for {len(urls)} servers")
        return self

    @property
    def sandboxed(self) -> bool:
        """True while no real WPPConnect server is configured and the sandbox stands in for it."""
        return not self.server_url

    def servers(self) -> dict[str, str]:
        """The configured WPPConnect servers: base URL → SECRET_KEY, in the order of the configuration.

        `WPP_SERVER_URL` and `WPP_SERVER_TOKEN` may list several, separated by commas, in the same order; one token
        for several URLs serves them all. `WPP_SERVER_TOKEN_FILE` may list a file for each.
        """
        if self.sandboxed:
            return {f"http://127.0.0.1:{self.sandbox_port}": self.server_token.get_secret_value()}
        return dict(zip(self._urls(), self._tokens(), strict=True))

    def server_number(self, url: str | None) -> int | None:
        """What people call a server, counted from 1 as configured: its address stays here. None for an unknown one."""
        urls = list(self.servers())
        return urls.index(url) + 1 if url in urls else None

    def _urls(self) -> list[str]:
        return [url.strip().rstrip("/") for url in self.server_url.split(",") if url.strip()]

    def _tokens(self) -> list[str]:
        tokens = [token.strip() for token in self.server_token.get_secret_value().split(",")]
        return tokens * len(self._urls()) if len(tokens) == 1 else tokens


class Http(Group):
    """Where console and receiver listen, how they are reached, and what they believe of a request."""

    host: str = "127.0.0.1"
    console_port: Port = 8501
    webhook_port: Port = 8088
    public_webhook_url: HttpUrls = ""
    qr_webhook_verify_token: SecretStr = SecretStr("")
    trusted_proxies: Networks = ""
    read_seconds: float = Field(20.0, gt=0, le=600, validation_alias="HTTP_READ_SECONDS")

    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose word on where a request came from is taken."""
        return split_networks(self.trusted_proxies)


class Auth(Group):
    """How people sign in, and the first admin."""

    cookie_key: SecretStr = Field(SecretStr(""), validation_alias="AUTH_COOKIE_KEY")
    cookie_secure: bool = False
    admin_email: str = "admin@plushify.local"
    admin_password: SecretStr | None = None

    @model_validator(mode="after")
    def _check_cookie_key(self) -> Self:
        check_key("AUTH_COOKIE_KEY", self.cookie_key)
        return self


class Jwt(Group, alias_generator=_prefixed("JWT_")):
    """The tokens by which the API knows a user."""

    secret: SecretStr = SecretStr("")
    jwks_url: HttpUrls = ""
    audience: str = "authenticated"
    issuer: str = ""
    leeway_seconds: float = Field(10.0, ge=0, le=300)

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        check_key("JWT_SECRET", self.secret)
        return self


class Api(Group):
    """The API for other programs."""

    cors_origins: HttpUrls = ""
    wait_seconds: float = Field(5.0, ge=0, le=60, validation_alias="API_WAIT_SECONDS")

    def origins(self) -> list[str]:
        """The web pages, by scheme, host and port, that may call the API from a browser."""
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]


class RateLimits(Group, alias_generator=_prefixed("RATE_LIMIT_")):
    """How often each door may be used, as `600/minute` or `off`, and where the processes share their counters."""

    url: SecretStr = SecretStr("")
    api: Rate = "600/minute"
    send: Rate = "120/minute"
    sign_in: Rate = "30/15 minutes"
    refused: Rate = "30/minute"

    def limit(self, door: str) -> str | None:
        """The limit of a door, as `600/minute`; None where there is none."""
        limit = str(getattr(self, door))
        return None if limit == OFF else limit


class Sending(Group, alias_generator=_prefixed("SEND_")):
    """How messages leave."""

    pace_seconds: float = Field(1.0, ge=0, allow_inf_nan=False)
    concurrency: int = Field(32, ge=1, le=200)
    lease_seconds: float = Field(60.0, ge=1)
    ask_after_hours: int = Field(24, ge=1, le=24 * 30)


class Numbers(Group, alias_generator=_prefixed("NUMBER_")):
    """What WhatsApp is asked about numbers, and how long its answers are believed."""

    checks_per_hour: int = Field(300, ge=0, le=100_000)
    known_days: Days = 30
    absent_days: Days = 1


class Retention(Group, alias_generator=_prefixed("CLEANUP_")):
    """How long each kind of data is kept."""

    codes_days: Days = 1
    sessions_days: Days = 7
    history_days: Days = 365
    events_days: Days = 30
    pending_acks_days: Days = 1
    heartbeats_days: Days = 1
    sign_in_attempts_days: Days = 1
    signed_out_days: int = Field(0, ge=0, le=MAX_DAYS)
    security_events_days: int = Field(180, ge=30, le=MAX_DAYS)
    timeline_days: Days = 180
    jobs_days: Days = 7
    media_days: Days = 30
    runs_days: Days = 365


class Health(Group, alias_generator=_prefixed("HEALTH_")):
    """How faults of sessions are noticed and healed."""

    sweep_seconds: float = Field(10.0, gt=0, le=3600)
    page_seconds: float = Field(10.0, gt=0, le=3600)
    proof_seconds: float = Field(300.0, gt=0, le=86_400)
    asks_per_day: int = Field(3, ge=0, le=86_400)
    numbers: PhoneNumbers = ""
    same_number_seconds: float = Field(600.0, ge=0, le=86_400)
    stuck_seconds: float = Field(30.0, gt=0, le=3600)
    unacked_seconds: float = Field(120.0, gt=0, le=86_400)
    silence_minutes: float = Field(60.0, gt=0, le=1440)
    step_seconds: float = Field(60.0, gt=0, le=3600)
    probes_per_server: int = Field(8, ge=1, le=100)
    heals_per_server: int = Field(3, ge=1, le=100)
    heal: bool = True

    def own_numbers(self) -> list[str]:
        """The operator's own numbers, digits, about which sessions ask WhatsApp to prove that they live."""
        return split_numbers(self.numbers)

    @property
    def max_proof_age_seconds(self) -> float:
        """How old a quiet session's last proof may become before its next question has surely had its turn."""
        return 1.25 * 86_400 / max(self.asks_per_day, 1)


class Alerts(Group, alias_generator=_prefixed("ALERT_")):
    """Where alerts are posted, and how often the same one."""

    webhook_url: SecretHttpUrl = SecretStr("")
    cooldown_minutes: float = Field(15.0, ge=0, le=10_080)


class Monitoring(Group):
    """What an operator's machines read of us."""

    metrics_token: SecretStr = SecretStr("")
    log_level: LogLevel = "INFO"


class Reports(Group, alias_generator=_prefixed("REPORT_")):
    """The weekly summary."""

    time_zone: TimeZone = "America/Sao_Paulo"


class Webhooks(Group, alias_generator=_prefixed("FORWARD_")):
    """Forwarding to the users' own systems."""

    allow_private: bool = False


class Campaigns(Group, alias_generator=_prefixed("CAMPAIGN_")):
    """What no campaign may go beyond."""

    pace_seconds: float = Field(8.0, ge=0, le=86_400, allow_inf_nan=False)
    daily_cap: int = Field(500, ge=1, le=100_000)
    opens: time = time(8, 0)
    closes: time = time(20, 0)
    cold_share: float = Field(0.5, ge=0, le=1)
    cold_days: Days = 180
    warmup_days: int = Field(14, ge=0, le=365)
    warmup_first: int = Field(30, ge=1, le=100_000)

    @model_validator(mode="after")
    def _check_hours(self) -> Self:
        if self.closes != time.min and self.opens >= self.closes:
            raise ValueError("CAMPAIGN_OPENS must be before CAMPAIGN_CLOSES, which may be 00:00 for midnight")
        return self


class Schedules(Group, alias_generator=_prefixed("SCHEDULE_")):
    """Scheduled messages."""

    grace_minutes: float = Field(15.0, ge=0, le=1440)


class Settings(BaseModel):
    """All settings of all processes."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    storage: Storage
    database: Database
    wppconnect: WppConnect
    http: Http
    auth: Auth
    jwt: Jwt
    api: Api
    rate_limits: RateLimits
    sending: Sending
    numbers: Numbers
    retention: Retention
    health: Health
    alerts: Alerts
    monitoring: Monitoring
    reports: Reports
    webhooks: Webhooks
    campaigns: Campaigns
    schedules: Schedules

    def secret_values(self) -> list[str]:
        """Every secret in clear, for the log's redaction and for tests that search pages and logs for them."""
        addresses = (self.database.url, self.database.console_url, self.database.system_url)
        urls = [url.get_secret_value() for url in addresses if url]
        # As they are and as the URL spells them.
        passwords = [conninfo_to_dict(url).get("password") for url in urls] + [urlsplit(url).password for url in urls]
        keys = (
            self.http.qr_webhook_verify_token,
            self.auth.cookie_key,
            self.auth.admin_password,
            self.jwt.secret,
            self.rate_limits.url,
            self.alerts.webhook_url,
            self.storage.media_url,
            self.monitoring.metrics_token,
            self.wppconnect.server_token,
        )
        values = [*self.wppconnect.servers().values(), *(key.get_secret_value() for key in keys if key), *passwords]
        return sorted({str(value) for value in values if value}, key=len, reverse=True)


@functools.cache
def get() -> Settings:
    """The settings of this process."""
    return load()


def load(**overrides: Any) -> Settings:
    """Read and check the settings. An override is named as its variable, in lower case.

    Raises: ConfigurationError whose detail names each wrong variable.
    """
    try:
        given: dict[str, Any] = {**settings_sources.read(variables())}
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    given |= {name.upper(): value for name, value in overrides.items()}
    return _validate(given | _make_missing(_validate(given)))


def variables() -> dict[str, FieldInfo]:
    """Every variable with the field that takes it."""
    groups = [group.annotation for group in Settings.model_fields.values()]
    return {str(field.validation_alias): field for group in groups if group for field in group.model_fields.values()}


def _validate(values: dict[str, Any]) -> Settings:
    try:
        # Each group is shown all values and takes those of its own variables.
        return Settings.model_validate(dict.fromkeys(Settings.model_fields, values))
    except ValidationError as error:
        raise ConfigurationError("; ".join(_explain(item) for item in error.errors())) from None


def _explain(item: Any) -> str:
    """One fault in words. What is wrong with a group as a whole names its variables itself."""
    _group, *variable = item["loc"]
    return ": ".join([*variable, str(item["msg"]).removeprefix("Value error, ")])


def _make_missing(given: Settings) -> dict[str, str]:
    """Values for what nobody set: secrets made at random, and addresses that follow from other settings."""
    generated = given.storage.generated_secret
    secrets = {
        "WPP_SERVER_TOKEN": given.wppconnect.server_token,
        "QR_WEBHOOK_VERIFY_TOKEN": given.http.qr_webhook_verify_token,
        "AUTH_COOKIE_KEY": given.auth.cookie_key,
        # Whoever publishes keys signs with them: a shared secret that nobody set would only be one more way in.
        "JWT_SECRET": given.jwt.secret or given.jwt.jwks_url,
    }
    made = {variable: generated(variable.lower()) for variable, value in secrets.items() if not value}
    if not given.http.public_webhook_url:
        made["PUBLIC_WEBHOOK_URL"] = f"http://127.0.0.1:{given.http.webhook_port}"
    if (owner := given.database.url) is not None:
        for variable, url, role in (
            ("CONSOLE_DATABASE_URL", given.database.console_url, CONSOLE_ROLE),
            ("SYSTEM_DATABASE_URL", given.database.system_url, SYSTEM_ROLE),
        ):
            if not url:
                made[variable] = _as_login(owner.get_secret_value(), role, generated(f"{role}_password"))
    return made


def _as_login(owner_url: str, role: str, password: str) -> str:
    parts = urlsplit(owner_url)
    address = parts.netloc.rpartition("@")[2]
    # libpq lets the query overrule what stands before the @: an owner named there would stay the owner.
    query = "&".join(part for part in parts.query.split("&") if part.partition("=")[0] not in ("user", "password"))
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{address}", query=query))
