"""The daily e-mail that says what needs a person, one to each organisation that wants it; none where nothing does."""

from __future__ import annotations

from datetime import date
from typing import Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.utils import timezone

from connectors.services import attention, installation, overview
from connectors.services.attention import Matter
from tenants import scope
from tenants.models import Organization

log = structlog.get_logger(__name__)

LISTED_MATTERS: Final = 50

_NOWHERE: Final = "django.core.mail.backends.dummy.EmailBackend"


def is_configured() -> bool:
    """Return whether mail leaves from here."""
    return settings.EMAIL_BACKEND != _NOWHERE


def send_due() -> int:
    """Send today's digests that were not sent yet, once it is DIGEST_HOUR (UTC); return how many."""
    now = timezone.now()
    if now.hour < settings.DIGEST_HOUR or not is_configured() or not installation.is_armed():
        return 0
    due = Organization.objects.exclude(digest_email="").filter(_not_yet(now.date()))
    return sum(_send_once(org, now.date()) for org in list(due))


def compose(org: Organization) -> EmailMessage | None:
    """Return what an organisation is to be told now; None when nothing needs a person."""
    matters = _matters(org)
    if not matters:
        return None
    name = " ".join(org.name.split())  # a subject is one line
    one = len(matters) == 1
    return EmailMessage(
        subject=f"{name}: {len(matters)} {'matter needs' if one else 'matters need'} a person",
        body="\n\n".join(_paragraphs(name, matters)) + "\n",
        to=[org.digest_email],
    )


def send(org: Organization) -> bool:
    """Send a digest now; return whether there was something to say.

    Raises:
        OSError: the mail server cannot be reached, or refuses (SMTPException is one).
    """
    message = compose(org)
    if message is None:
        return False
    message.send()
    log.info("digest.sent", org=org.slug)
    return True


def _send_once(org: Organization, today: date) -> bool:
    """Send the digest of a day unless another worker does; one that the mail server refused is tried again later."""
    before = org.digest_sent_on
    if not Organization.objects.filter(_not_yet(today), pk=org.pk).update(digest_sent_on=today):
        return False
    try:
        with scope.only(org.pk):
            return send(org)
    except Exception as error:  # also a fault of ours: the next organisation has its own digest
        Organization.objects.filter(pk=org.pk, digest_sent_on=today).update(digest_sent_on=before)
        log.error("digest.failed", org=org.slug, exc_info=error)
    return False


def _not_yet(today: date) -> Q:
    return Q(digest_sent_on=None) | Q(digest_sent_on__lt=today)


def _matters(org: Organization) -> list[Matter]:
    orgs, now = Organization.objects.filter(pk=org.pk), timezone.now()
    return attention.matters(
        orgs,
        connections=overview.active_connections(orgs),
        waiting=overview.waiting(orgs, now=now),
        may_configure=lambda _: True,
        now=now,
    )


def _paragraphs(name: str, matters: list[Matter]) -> list[str]:
    listed = matters[:LISTED_MATTERS]
    unlisted = len(matters) - len(listed)
    return [
        f"What needs a person at {name}, most urgent first:",
        *map(_paragraph, listed),
        *([f"And {unlisted} more that are less urgent."] if unlisted else []),
        "This is sent once a day to the address in the settings of the organisation.",
    ]


def _paragraph(matter: Matter) -> str:
    since = f" (since {matter.since:%Y-%m-%d %H:%M} UTC)" if matter.since else ""
    link = f"{settings.PUBLIC_URL}{matter.url}" if settings.PUBLIC_URL else ""
    lines = [f"* {matter.sentence}{since}", matter.detail, link]
    return "\n  ".join(line for line in lines if line)
