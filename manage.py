"""The command line of an installation: run it, migrate it, make users, clean up, back it up, examine it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import structlog
import typer

from demo import month as demonstration
from demo import people
from demo.month import DemoRefused
from services import settings
from services.accounts import provisioning
from services.db.actor import SYSTEM, Role
from services.db.migrate import migrate as run_migrations
from services.errors import ConfigurationError, ServiceError
from services.operations import backup as archives
from services.operations import backup_archive, backup_restore, database_access, retention_worker, supervisor
from services.operations import doctor as examination
from services.operations import retention as cleaning
from services.operations.errors import BackupError
from services.reporting import rollups
from services.security import audit_chain
from services.wppconnect import check as contract_check
from services.wppconnect.contract_facts import Fact, Outcome, Report
from services.wppconnect.errors import WppUnauthorized, WppUnreachable

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

# Exit codes: 1 the command could not do it, 2 the installation's settings are wrong; of check-server: 1 the server
# differs, 2 it could not be looked at.
FAILED = 1
MISCONFIGURED = 2
# Of one fact's differences, as many as say what it is about.
DIFFERENCES_SHOWN = 8

_FAULTS: dict[audit_chain.Fault, str] = {
    "missing": "missing",
    "unlinked": "not the one that followed the record before it",
    "changed": "not as it was written",
    "foreign": "not of the chain",
}


@cli.command()
def up() -> None:
    """Run everything on this machine until Ctrl-C."""
    with _plain_errors():
        raise typer.Exit(supervisor.up())


@cli.command()
def migrate() -> None:
    """Bring the database up to the newest schema."""
    with _plain_errors(), database_access.open_running_or_own_database():
        _migrate()
        typer.echo("The schema is up to date.")


@cli.command()
def create_user(
    email: str,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.USER,
    name: Annotated[str, typer.Option(help="How the console greets them.")] = "",
    password_stdin: Annotated[bool, typer.Option(help="Read the password from standard input.")] = False,
) -> None:
    """Create a user who may sign in."""
    with _plain_errors(), database_access.open_running_or_own_database():
        password = sys.stdin.readline().rstrip("\r\n") if password_stdin else typer.prompt("Password", hide_input=True)
        _migrate()  # the first user may come before the first start
        user_id = provisioning.create_user(email, password, role, name)
        typer.echo(f"Created {email} ({role}): {user_id}")


@cli.command()
def audit_verify(
    expect: Annotated[str, typer.Option(help="A head printed before: it must still be in the chain.")] = "",
) -> None:
    """Prove that the audit log is as it was written, and print its head: keep that elsewhere."""
    with _plain_errors(), database_access.open_running_or_own_database():
        verdict = audit_chain.verify(SYSTEM, expect)
        if verdict.broken is not None:
            typer.echo(
                f"error: record {verdict.broken} of the audit log is {_FAULTS[verdict.fault or 'missing']}", err=True
            )
        elif verdict.expected is False:
            typer.echo(f"error: {verdict.records} records, unbroken, but without the expected head: rebuilt", err=True)
        else:
            typer.echo(f"{verdict.records} records, unbroken, head {verdict.head}")
        if not verdict.sound:
            raise typer.Exit(FAILED)


@cli.command()
def cleanup(
    run: Annotated[bool, typer.Option("--run/--dry-run", help="Delete it, or only say what would go.")] = False,
) -> None:
    """Say what is past its retention, or delete it."""
    with _plain_errors(), database_access.open_running_or_own_database():
        _print_expired()
        if run:
            done = retention_worker.run_in_this_process()
            went = ", ".join(f"{kind} {count}" for kind, count in done.counts.items()) or "nothing"
            typer.echo(f"Gone: {went}. Sessions postponed: {done.postponed}.")
            raise typer.Exit(FAILED if done.error else 0)


def _print_expired() -> None:
    for one in cleaning.preview_run(SYSTEM):
        oldest = f"{one.oldest:%Y-%m-%d %H:%M}" if one.oldest else "-"
        typer.echo(f"{one.kind:<17}{one.count:>9}  oldest {oldest:<17}kept {one.retention.days} d")


@cli.command()
def rebuild_reports() -> None:
    """Count the figures of every report anew from the messages; the numbers stay the same, and readable meanwhile."""
    with _plain_errors(), database_access.open_running_or_own_database():
        count = rollups.rebuild(lambda done, of: typer.echo(f"\r{done} of {of}", nl=False, err=True))
        typer.echo(f"Counted anew: {count} quarter hours of one person each.")


@cli.command()
def doctor() -> None:
    """Examine the installation: a line for each point, exit code 1 where one is ill. Changes nothing."""
    with _plain_errors(logs_from=logging.CRITICAL):
        database_access.use_running_database()
        ill = False
        for check in examination.run_checks():
            ill = ill or not check.ok
            typer.echo(check.line())
        raise typer.Exit(FAILED if ill else 0)


@cli.command()
def check_server(
    url: Annotated[str, typer.Argument(help="The server's base address.")],
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the server reaches this machine, for its webhooks.")
    ] = "",
    secret_stdin: Annotated[
        bool, typer.Option(help="Read the SECRET_KEY from standard input; that of a configured server is known.")
    ] = False,
    clock: Annotated[float, typer.Option(hidden=True, help="How many seconds one of a stand-in's takes.")] = 1.0,
) -> None:
    """Hold a WPPConnect server against what this console relies on, with a throw-away session that nobody scans.

    Two minutes at most. Exit code 1 where it differs, 2 where it could not be looked at. Touches no other session.
    """
    with _plain_errors(logs_from=logging.CRITICAL):
        secret = _secret_of(url, secret_stdin)
        try:
            where = _listen_at(listen) if listen else contract_check.get_default_listen(url)
            with _progress() as bar:
                report = contract_check.check_server(url, secret, where, lambda done, of: bar(done, of, "facts"), clock)
        except WppUnauthorized:
            raise ConfigurationError("the server does not take this SECRET_KEY") from None
        except WppUnreachable as error:
            raise ConfigurationError(f"the server does not answer ({error.detail})") from None
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {listen}: {error.strerror}") from None
    _print_report(report)
    raise typer.Exit(FAILED if report.of(Outcome.DIFFERS) else 0)


def _secret_of(url: str, from_stdin: bool) -> str:
    known = settings.get().wppconnect.servers()
    secret = sys.stdin.readline().rstrip("\r\n") if from_stdin else known.get(url.rstrip("/"), "")
    if not secret:
        raise ConfigurationError("the server is not in WPP_SERVER_URL: give its SECRET_KEY with --secret-stdin")
    return secret


def _listen_at(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError("--listen must be HOST:PORT")
    return host.strip("[]"), int(port)


def _print_report(report: Report) -> None:
    typer.echo(f"version {report.version or 'unknown'}")
    for fact in report.facts:
        for line in _fact_lines(fact):
            typer.echo(line)
    typer.echo(", ".join(f"{outcome}: {len(report.of(outcome))}" for outcome in Outcome))


def _fact_lines(fact: Fact) -> Iterator[str]:
    why = f" ({fact.answered})" if fact.outcome is Outcome.UNCHECKED else ""
    yield f"{fact.outcome:<12}{fact.name}: {fact.sentence}{why}"
    if fact.outcome is Outcome.DIFFERS:
        yield f"{'':<12}  expected: {fact.expected}"
        yield f"{'':<12}  answered: {fact.answered}"
        for one in fact.differences[:DIFFERENCES_SHOWN]:
            yield f"{'':<12}  {str(one).removeprefix(f'{one.situation}: ')}"


@cli.command()
def backup(file: Annotated[Path, typer.Argument(help="Where to write it; nothing is overwritten.")]) -> None:
    """Write database, media and secrets into one file, while everything goes on working. Keep that file safe."""
    with _plain_errors(), database_access.open_running_or_own_database(), _progress() as on_progress:
        taken = archives.create_backup(file, on_progress)
    typer.echo(f"{file}: {sum(taken.rows.values())} rows as of {taken.taken_at}, {taken.media} media")
    if taken.missing:
        typer.echo(f"warning: the media store does not give {len(taken.missing)} files that rows name", err=True)


@cli.command()
def restore(file: Annotated[Path, typer.Argument(help="What `backup` wrote.")]) -> None:
    """Make an empty installation the one in the file. Stop its processes first, and start them afterwards."""
    with _plain_errors(), database_access.open_running_or_own_database(), _progress() as on_progress:
        brought = backup_restore.restore_backup(file, on_progress)
    typer.echo(f"Back as of {brought.taken_at}: {sum(brought.rows.values())} rows, the audit log unbroken.")


@cli.command()
def demo() -> None:
    """Fill an empty installation with a believable month; refuses where anybody real is in it."""
    with _plain_errors(), database_access.open_running_or_own_database():
        _migrate()
        with _progress() as on_progress:
            made = demonstration.fill_installation(on_progress)
        if made is None:
            typer.echo("The demo is there already.")
        else:
            typer.echo(", ".join(f"{name} {count}" for name, count in made.rows.items()))
        typer.echo(f"Sign in as {people.ADMIN_EMAIL} with the password {people.PASSWORD}")


@contextmanager
def _progress() -> Iterator[backup_archive.Progress]:
    """A bar on the error stream, as long as there is a person at it."""
    with typer.progressbar(length=1, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def show(done: int, of: int, what: str) -> None:
            bar.length = max(of, 1)
            bar.label = what
            bar.update(done - bar.pos)

        yield show


def _migrate() -> None:
    url = settings.get().database.url
    assert url is not None
    run_migrations(url.get_secret_value())


@contextmanager
def _plain_errors(logs_from: int = logging.WARNING) -> Iterator[None]:
    """One line for a person instead of a traceback."""
    # These commands talk to a person: only what is wrong, on the error stream.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logs_from),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    except ConfigurationError as error:
        typer.echo(f"error: {error.detail}", err=True)
        raise typer.Exit(MISCONFIGURED) from None
    except (BackupError, DemoRefused) as error:
        typer.echo(f"error: {error.detail}", err=True)
        raise typer.Exit(FAILED) from None
    except ServiceError as error:
        typer.echo(f"error: {error.sentence()} {error.hint.format(**error.params)}", err=True)
        raise typer.Exit(FAILED) from None


if __name__ == "__main__":
    cli()
