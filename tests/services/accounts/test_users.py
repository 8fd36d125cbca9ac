"""Managing users: by admins only, by links that work once, and never without somebody who can manage."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy.exc import ProgrammingError

from sandbox.server import SandboxServer
from services.accounts import provisioning, sign_in, users
from services.accounts.credentials import EmailTaken, InvalidEmail, WeakPassword
from services.accounts.sign_in import SignInRefused
from services.accounts.users import LastAdmin, LinkInvalid, LinkPurpose, UsersManagedElsewhere
from services.db.actor import Actor, Role, person
from services.fleet import offboarding
from services.fleet.session import Status
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import own_session, pair_by_asking

PASSWORD = "uma senha bem longa"


@pytest.fixture
def admin(database: Database) -> Actor:
    user_id = provisioning.create_user("chefe@example.com", PASSWORD, Role.ADMIN, "Chefe")
    return person(user_id, Role.ADMIN, "chefe@example.com")


def id_of(database: Database, email: str) -> UUID:
    found: UUID = database.one("select id from auth.users where email = %s", email)
    return found


# --- links ------------------------------------------------------------------------------------------------------------


def test_it_invites_somebody_who_then_signs_in(admin: Actor, database: Database) -> None:
    link = users.invite(admin, " Ana@Example.com ", "Ana", Role.OPERATOR)
    assert users.get_invitation(link.token).email == "ana@example.com"
    assert users.get_invitation(link.token).purpose is LinkPurpose.INVITE
    with pytest.raises(SignInRefused):
        sign_in.sign_in("ana@example.com", "")
    users.set_password_by_link(link.token, PASSWORD)
    signed_in = sign_in.get_account(sign_in.sign_in("ana@example.com", PASSWORD))
    assert signed_in is not None
    assert (signed_in.actor.role, signed_in.name) == (Role.OPERATOR, "Ana")
    assert database.execute("select action from audit_log where actor_id = %s", admin.user_id) == [("user.invite",)]


def test_it_takes_a_link_once_even_from_two_at_the_same_moment(admin: Actor) -> None:
    link = users.invite(admin, "ana@example.com", "", Role.USER)

    def use(password: str) -> bool:
        try:
            users.set_password_by_link(link.token, password)
        except LinkInvalid:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(use, [f"{PASSWORD} {n}" for n in range(4)])) == 1
    with pytest.raises(LinkInvalid):
        users.get_invitation(link.token)


def test_it_ends_earlier_sign_ins_and_links_with_a_new_password(admin: Actor) -> None:
    assert admin.user_id is not None
    before = sign_in.sign_in("chefe@example.com", PASSWORD)
    first, second = users.create_reset_link(admin, admin.user_id), users.create_reset_link(admin, admin.user_id)
    with pytest.raises(LinkInvalid):
        users.set_password_by_link(first.token, PASSWORD)
    users.set_password_by_link(second.token, "outra senha bem longa")
    assert sign_in.get_account(before) is None
    with pytest.raises(SignInRefused):
        sign_in.sign_in("chefe@example.com", PASSWORD)
    sign_in.sign_in("chefe@example.com", "outra senha bem longa")


def test_it_refuses_what_expired_what_nobody_made_and_whom_was_shut_out(admin: Actor, database: Database) -> None:
    link = users.invite(admin, "ana@example.com", "", Role.USER)
    for token in ("", "x", "\x00", "á" * 500):
        with pytest.raises(LinkInvalid):
            users.set_password_by_link(token, PASSWORD)
    users.set_active(admin, id_of(database, "ana@example.com"), False)
    with pytest.raises(LinkInvalid):
        users.set_password_by_link(link.token, PASSWORD)
    users.set_active(admin, id_of(database, "ana@example.com"), True)
    database.execute("update one_time_links set expires_at = now()")
    with pytest.raises(LinkInvalid):
        users.set_password_by_link(link.token, PASSWORD)


def test_it_keeps_a_link_whose_password_was_too_weak(admin: Actor) -> None:
    link = users.invite(admin, "ana@example.com", "", Role.USER)
    with pytest.raises(WeakPassword):
        users.set_password_by_link(link.token, "curta")
    users.set_password_by_link(link.token, PASSWORD)


def test_it_stores_no_token(admin: Actor, database: Database) -> None:
    link = users.invite(admin, "ana@example.com", "", Role.USER)
    kept = database.execute("select l::text from one_time_links l") + database.execute(
        "select a::text from audit_log a"
    )
    assert link.token not in str(kept)


def test_it_refuses_addresses_that_are_none_or_taken(admin: Actor) -> None:
    with pytest.raises(InvalidEmail):
        users.invite(admin, "ana", "", Role.USER)
    with pytest.raises(EmailTaken):
        users.invite(admin, "CHEFE@example.com", "", Role.USER)


# --- roles and access -------------------------------------------------------------------------------------------------


def test_it_keeps_one_admin_who_can_sign_in(admin: Actor, database: Database) -> None:
    assert admin.user_id is not None
    users.invite(admin, "bia@example.com", "", Role.ADMIN)
    with pytest.raises(LastAdmin):
        users.set_role(admin, admin.user_id, Role.USER)
    with pytest.raises(LastAdmin):
        users.set_active(admin, admin.user_id, False)
    other = provisioning.create_user("caio@example.com", PASSWORD, Role.ADMIN)
    users.set_role(admin, other, Role.OPERATOR)
    users.set_role(admin, other, Role.ADMIN)
    users.set_role(admin, admin.user_id, Role.USER)
    assert database.one("select raw_app_meta_data ->> 'role' from auth.users where id = %s", admin.user_id) == "user"


def test_it_keeps_one_of_two_admins_who_demote_each_other_at_once(admin: Actor, database: Database) -> None:
    assert admin.user_id is not None
    other = provisioning.create_user("caio@example.com", PASSWORD, Role.ADMIN)
    pairs = [(admin, other), (person(other, Role.ADMIN), admin.user_id)]

    def demote(pair: tuple[Actor, UUID]) -> bool:
        try:
            users.set_role(*pair, Role.USER)
        except LastAdmin:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(demote, pairs)) == [False, True]
    assert database.one("select count(*) from auth.users where raw_app_meta_data ->> 'role' = 'admin'") == 1


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.USER])
def test_it_lets_nobody_but_admins_change_anything(
    admin: Actor, new_actor: Callable[..., Actor], database: Database, role: Role
) -> None:
    somebody, victim = new_actor(role), new_actor()
    assert victim.user_id is not None
    for act in (
        lambda: users.invite(somebody, "x@example.com", "", Role.ADMIN),
        lambda: users.create_reset_link(somebody, victim.user_id),
        lambda: users.set_role(somebody, victim.user_id, Role.ADMIN),
        lambda: users.set_active(somebody, victim.user_id, False),
    ):
        with pytest.raises(ProgrammingError, match="only for admins"):
            act()
    assert database.one("select count(*) from one_time_links") == 0


def test_it_shuts_out_at_once_and_closes_the_session(
    admin: Actor, user: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    pair_by_asking(user, control, database)
    assert user.user_id is not None
    signed_in = sign_in.open_sign_in(user.user_id)
    users.set_active(admin, user.user_id, False)
    assert sign_in.get_account(signed_in) is None
    control.fault("server_down")
    assert offboarding.close_sessions_of_inactive_users() == 1
    assert own_session(user).status is Status.CONNECTED
    control.clear_faults()
    assert offboarding.close_sessions_of_inactive_users() == 1
    assert own_session(user).status is Status.DISCONNECTED
    assert offboarding.close_sessions_of_inactive_users() == 0
    users.set_active(admin, user.user_id, True)
    assert sign_in.get_account(signed_in) is None
    sign_in.open_sign_in(user.user_id)


def test_it_signs_somebody_out_everywhere(admin: Actor, user: Actor) -> None:
    assert user.user_id is not None
    signed_in = sign_in.open_sign_in(user.user_id)
    users.sign_out_everywhere(admin, user.user_id)
    assert sign_in.get_account(signed_in) is None


def test_it_changes_nothing_where_users_are_somebody_elses(admin: Actor, database: Database) -> None:
    database.execute("create role elsewhere_admin; alter table auth.users owner to elsewhere_admin")
    database.execute("grant all on auth.users to postgres; grant usage on schema auth to elsewhere_admin")
    try:
        assert users.are_managed_here(admin) is False
        with pytest.raises(UsersManagedElsewhere):
            users.invite(admin, "ana@example.com", "", Role.USER)
        assert users.list_users(admin).total == 1
    finally:
        database.execute("reassign owned by elsewhere_admin to postgres; drop owned by elsewhere_admin")
        database.execute("drop role elsewhere_admin")


# --- the list ---------------------------------------------------------------------------------------------------------


def test_it_finds_sorts_and_pages_in_the_database(
    admin: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    for number in range(60):
        new_actor(email=f"p{number:02}_x@example.com")
    first, second = (users.list_users(admin, page=page) for page in (1, 2))
    assert (len(first.users), len(second.users), first.total) == (50, 11, 61)
    emails = [user.email for user in (*first.users, *second.users)]
    assert emails == sorted(emails)
    assert users.list_users(admin, search="p07_").total == 1
    assert users.list_users(admin, search="%").total == 0
    assert users.list_users(admin, order="role").users[0].role is Role.ADMIN
    assert users.list_users(new_actor()).total == 0
