"""Files to send."""

import io

from PIL import Image

from services.db.actor import Actor
from services.messaging import attachments
from services.messaging.content import Content, Kind


def store_picture(actor: Actor) -> Content:
    """A photograph of the actor's, with its caption, ready to be queued."""
    out = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(out, "JPEG")
    return attachments.store_attachment(actor, attachments.prepare(Kind.IMAGE, out.getvalue(), "foto.jpg"), "Olha só")
