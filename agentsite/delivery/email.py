"""Mail through Django's backend, on a thread: it waits for the mail server.

Law: every attempt has the same Message-ID, by which mailboxes tell repeated ones.
"""

from __future__ import annotations

import asyncio
import smtplib

from django.conf import settings
from django.core.mail import EmailMessage

from agentsite.delivery.base import Outcome, Outgoing, again, dead
from agentsite.delivery.templates import render, values_of

SMTP = "django.core.mail.backends.smtp.EmailBackend"
LONGEST_SUBJECT = 200
UNREACHED = "The mail server could not be reached; see EMAIL_HOST."


async def send(outgoing: Outgoing) -> Outcome:
    """Send the message to all of the target's `to`."""
    if settings.EMAIL_BACKEND == SMTP and not settings.EMAIL_HOST:
        return dead("No mail server is set: EMAIL_HOST.")
    return await asyncio.to_thread(_send, compose(outgoing))


def compose(outgoing: Outgoing) -> EmailMessage:
    """The mail: the template's words, or result or error as they are."""
    payload = outgoing.payload
    failed = payload["status"] == "failure"
    given = outgoing.target.get("subject", f"{outgoing.automation}: {payload['status']}")
    subject = render(given, values_of(payload), outgoing.automation)
    body = payload.get("message") or payload.get("error" if failed else "result")
    if body is None:
        body = f"{outgoing.automation} ran at {payload['timestamp']}."
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip("> ") or "localhost"
    return EmailMessage(
        subject=" ".join(subject.split())[:LONGEST_SUBJECT],
        body=str(body),
        to=list(outgoing.target["to"]),
        headers={"Message-ID": f"<{outgoing.id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )


def _send(message: EmailMessage) -> Outcome:
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        return _judge(max(codes), "The mail server takes mail for none of the recipients")
    except smtplib.SMTPResponseException as error:
        return _judge(error.smtp_code, "The mail server refused")
    except (smtplib.SMTPException, OSError):
        return again(UNREACHED)
    except ValueError as error:  # an address that is none
        return dead(f"The mail cannot be written: {error}.")
    return Outcome()


def _judge(code: int, problem: str) -> Outcome:
    """A reply of 5xx is for good, 4xx for now: the other way round than in HTTP."""
    told = f"{problem} ({code})."
    return dead(told, code) if code >= 500 else again(told, code)
