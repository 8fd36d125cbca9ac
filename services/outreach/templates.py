"""Templates: texts with variables, perhaps with a file, in versions that never change.

A template belongs to its owner; staff may share theirs with everybody. A message carries only a file of its sender, so
the file of a shared template is first copied to the sender (`with_own_file`).
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import Select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.like import contains_pattern
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.outreach import template_versions, templates
from services.db.tables.platform import media as media_rows
from services.errors import (
    NotFound,
)
from services.messaging import attachments
from services.messaging.attachments import Attachment
from services.messaging.content import Content
from services.outreach.template_content import NAME_LIMIT, Template, TemplateDraft, check_draft
from services.platform import media_store
from services.platform.media_store import Media
from services.security import audit_log


def list_templates(
    actor: Actor,
    *,
    archived: bool = False,
    search: str = "",
    limit: int | None = None,
    after: tuple[str, UUID] | None = None,
) -> list[Template]:
    """The newest versions of the actor's own templates and of those shared with everybody, by name.

    Or, of their own, those that were archived. At most `limit`, only those whose name or text contains `search`, and
    only those that come after the name and id `after`.
    """
    wanted = _select_versions().where(template_versions.c.version == templates.c.version)
    if archived:
        wanted = wanted.where(templates.c.user_id == actor.user_id, templates.c.archived_at.is_not(None))
    else:
        wanted = wanted.where(templates.c.archived_at.is_(None))
    if search.strip():
        part = contains_pattern(search)
        wanted = wanted.where(or_(templates.c.name.ilike(part), template_versions.c.body.ilike(part)))
    if after is not None:
        wanted = wanted.where(tuple_(*_list_order()) > tuple_(func.lower(after[0]), after[1]))
    with transaction(actor) as tx:
        rows = tx.execute(wanted.order_by(*_list_order()).limit(limit)).all()
    return [_build_template(row) for row in rows]


def list_own(actor: Actor) -> list[Template]:
    """The newest versions of the actor's own templates, by name: what they may take elsewhere."""
    return [one for one in list_templates(actor) if one.user_id == actor.user_id]


def get_template(actor: Actor, template_id: UUID, version: int | None = None) -> Template:
    """One version of a template (default: the newest), also an archived one.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        return read_template(tx, template_id, version)


def read_template(tx: Connection, template_id: UUID, version: int | None = None) -> Template:
    """As `get_template`, inside the caller's transaction, whose role may be the worker's.

    Raises: NotFound.
    """
    chosen = templates.c.version if version is None else version
    row = tx.execute(
        _select_versions().where(templates.c.id == template_id, template_versions.c.version == chosen)
    ).one_or_none()
    if row is None:
        raise NotFound(f"template {template_id}")
    return _build_template(row)


def list_versions(actor: Actor, template_id: UUID) -> list[Template]:
    """Every version of a template, newest first.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        rows = tx.execute(
            _select_versions().where(templates.c.id == template_id).order_by(template_versions.c.version.desc())
        ).all()
    if not rows:
        raise NotFound(f"template {template_id}")
    return [_build_template(row) for row in rows]


def save(actor: Actor, draft: TemplateDraft, template_id: UUID | None = None) -> Template:
    """Make a template, or the next version of the actor's own; one that says nothing new keeps its version.

    Raises: InvalidInput and its kinds (UnknownVariable names a variable that is not among `defaults`), EmptyMessage,
        MessageTooLong, Forbidden, and NotFound for a template or a file of somebody else.
    """
    user_id = actor.require_user("only a signed-in user makes templates")
    checked = check_draft(draft)
    if checked.media is not None and checked.media.user_id != user_id:
        raise NotFound("media of somebody else")
    with transaction(actor) as tx:
        if template_id is None:
            template_id = tx.execute(
                insert(templates).values(user_id=user_id, name=checked.name).returning(templates.c.id)
            ).scalar_one()
            _insert_version(tx, user_id, template_id, 1, checked)
        else:
            _save_next_version(tx, user_id, template_id, checked)
        return read_template(tx, template_id)


def duplicate(actor: Actor, template: Template, name: str) -> Template:
    """A copy of the actor's own, of a template that may be somebody else's shared one.

    Raises: what `templates.save` and `templates.with_own_file` raise.
    """
    copied = with_own_file(actor, Content(template.kind, template.body, template.media))
    return save(actor, replace(template.draft, name=name[:NAME_LIMIT], media=copied.media))


def with_file(actor: Actor, draft: TemplateDraft, content: bytes, filename: str) -> TemplateDraft:
    """`draft` with this file, kept for the actor; what kind of message it is, its bytes say and not its name.

    Raises: what `attachments.prepare` and `media_store.save` raise.
    """
    return with_attachment(actor, draft, attachments.prepare(attachments.kind_of(content), content, filename))


def with_attachment(actor: Actor, draft: TemplateDraft, file: Attachment) -> TemplateDraft:
    """`draft` with a prepared file, which is stored for the actor.

    Raises: what `media_store.save` raises.
    """
    kept = attachments.store_attachment(actor, file)
    return replace(draft, kind=kept.kind, media=kept.media, filename=kept.filename)


def set_archived(actor: Actor, template_id: UUID, on: bool = True) -> None:
    """Put a template away, or take it out again. Messages remember it all the same.

    For one's own, and for staff also anybody's shared one, on the record.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        _update_template(tx, template_id, archived_at=func.now() if on else None)
        if actor.is_staff:
            audit_log.record(tx, actor, "template.archive" if on else "template.unarchive", str(template_id))


def set_shared(actor: Actor, template_id: UUID, on: bool = True) -> None:
    """Let everybody read and use a template of staff's, or nobody any more. On the record.

    Raises: Forbidden for anybody but staff, NotFound where it is not the actor's own.
    """
    actor.require_staff("only staff share templates")
    with transaction(actor) as tx:
        _update_template(tx, template_id, only_of=actor.user_id, shared=on)
        audit_log.record(tx, actor, "template.share" if on else "template.unshare", str(template_id))


def with_own_file(actor: Actor, content: Content, user_id: UUID | None = None) -> Content:
    """`content` with its file in the store of `user_id` (default: the actor), who is to send it.

    The system may do it for anybody.

    Raises: NotFound for a file that is not there or not to be seen; Forbidden for somebody else's store;
        MediaUnavailable where the store cannot be read or written.
    """
    owner = user_id or actor.user_id
    if content.media is None or content.media.user_id == owner:
        return content
    found = content.media
    copy = media_store.save(actor, media_store.read(actor, found.sha256, found.user_id), found.mimetype, owner)
    return replace(content, media=copy)


def _list_order() -> tuple[ColumnElement[Any], ...]:
    return func.lower(templates.c.name), templates.c.id


def _select_versions() -> Select[tuple[object, ...]]:
    of_template = template_versions.c.template_id == templates.c.id
    file = and_(
        media_rows.c.user_id == template_versions.c.user_id, media_rows.c.sha256 == template_versions.c.media_sha256
    )
    return select(
        templates.c.id,
        templates.c.user_id,
        templates.c.shared,
        templates.c.name,
        templates.c.version.label("newest"),
        templates.c.archived_at,
        template_versions.c.version,
        template_versions.c.kind,
        template_versions.c.body,
        template_versions.c.media_sha256.label("sha256"),
        template_versions.c.mimetype,
        template_versions.c.filename,
        template_versions.c.defaults,
        template_versions.c.created_at,
        media_rows.c.size,
    ).select_from(templates.join(template_versions, of_template).outerjoin(media_rows, file))


def _save_next_version(tx: Connection, user_id: UUID, template_id: UUID, draft: TemplateDraft) -> None:
    """The row's lock lets one version be made after the other."""
    mine = (templates.c.id == template_id, templates.c.user_id == user_id)
    if tx.execute(select(templates.c.id).where(*mine).with_for_update()).one_or_none() is None:
        raise NotFound(f"template {template_id}")
    before = read_template(tx, template_id)
    number = before.newest
    if replace(before.draft, name=draft.name) != draft:
        number += 1
        _insert_version(tx, user_id, template_id, number, draft)
    tx.execute(update(templates).where(*mine).values(name=draft.name, version=number, updated_at=func.now()))


def _insert_version(tx: Connection, user_id: UUID, template_id: UUID, version: int, draft: TemplateDraft) -> None:
    tx.execute(
        insert(template_versions).values(
            template_id=template_id,
            version=version,
            user_id=user_id,
            kind=draft.kind,
            body=draft.body,
            media_sha256=draft.media.sha256 if draft.media else None,
            mimetype=draft.media.mimetype if draft.media else None,
            filename=draft.filename,
            defaults=dict(draft.defaults),
            created_by=user_id,
        )
    )


def _update_template(tx: Connection, template_id: UUID, only_of: UUID | None = None, **values: object) -> None:
    """The policies decide whose it may be; `only_of` narrows it further."""
    chosen = update(templates).where(templates.c.id == template_id)
    if only_of is not None:
        chosen = chosen.where(templates.c.user_id == only_of)
    if not tx.execute(chosen.values(updated_at=func.now(), **values)).rowcount:
        raise NotFound(f"template {template_id}")


def _build_template(row: Record) -> Template:
    return read_row(Template, row, media=read_row(Media, row) if row.sha256 is not None else None)
