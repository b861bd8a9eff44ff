"""Sign-in links as rows.

Law: the token is shown once and stored as a hash; a link is spent by one conditional update.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone


class SignInLinkQuerySet(models.QuerySet["SignInLink"]):
    """Links in numbers."""

    def issue(self, user: User) -> str:
        """Make a link for `user` and return its token, which is stored nowhere."""
        token = secrets.token_urlsafe(32)
        expires = timezone.now() + timedelta(seconds=settings.SIGN_IN_LINK_SECONDS)
        self.create(user=user, token_hash=fingerprint(token), expires_at=expires)
        return token

    def spend(self, token: str) -> User | None:
        """The user a valid token signs in, once; None for unknown, old and used ones."""
        link = self.filter(token_hash=fingerprint(token))
        now = timezone.now()
        if link.filter(used_at=None, expires_at__gt=now).update(used_at=now) != 1:
            return None
        return link.select_related("user").get().user


class SignInLink(models.Model):
    """One link; `token_hash` is the SHA-256 of its token."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    objects = SignInLinkQuerySet.as_manager()

    def __str__(self) -> str:
        return f"link for {self.user_id} until {self.expires_at:%Y-%m-%d %H:%M}"


def fingerprint(token: str) -> str:
    """What is stored of a token: it has 256 random bits, so a plain hash suffices."""
    return hashlib.sha256(token.encode()).hexdigest()
