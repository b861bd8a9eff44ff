"""Signed tokens (JWT): HS256 with a shared secret, or public keys of a JWKS address.

Law: the algorithm is pinned by where the key comes from, never taken from the token. Keys are
fetched beside the requests: who shows a known key never waits for the network.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import jwt
import msgspec
from django.conf import settings

logger = logging.getLogger(__name__)

PUBLIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
LEEWAY = 30
"""Seconds that clocks may differ."""
MAX_TOKEN = 16_000
MAX_SET = 512 * 1024
FETCH_SECONDS = 5.0
FRESH_SECONDS = 300.0
"""Older keys still count, and are fetched anew in the background."""
HARD_AGE_SECONDS = 3600.0
"""Older keys may have been withdrawn: they count no more before a fetch has succeeded."""
PAUSE_SECONDS = 10.0
"""Between two fetches, whatever strangers put into their tokens."""
ROLES = ("user", "admin", "ops")


class TokenRefused(Exception):
    """Why a token does not count, fit for its bearer."""


class WrongKey(TokenRefused):
    """The key that was tried did not make the signature."""


class IssuerUnavailable(Exception):
    """Whether a token counts cannot be said: its issuer's keys cannot be fetched."""


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says."""

    subject: str = ""
    role: str = "user"
    scope_id: str | None = None
    context: dict[str, str] = {}
    tenant_id: str | None = None


class Tokens:
    """Verifies tokens, with the keys that it knows at the moment."""

    def __init__(self) -> None:
        self._keys = KeySet(settings.AGENT_JWT_JWKS_URL)

    async def verify(self, token: str) -> Claims:
        """The claims of a token. Raises `TokenRefused` or `IssuerUnavailable`."""
        if len(token) > MAX_TOKEN:
            raise TokenRefused("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenRefused("This is neither a key nor a token of this server.") from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "HS256" and settings.AGENT_JWT_SECRET:
            return read_claims(_decode(token, settings.AGENT_JWT_SECRET, "HS256"))
        if algorithm in PUBLIC and settings.AGENT_JWT_JWKS_URL:
            return await self._verify_public(
                token, algorithm, kid if isinstance(kid, str) else None
            )
        raise TokenRefused("The token is signed with an algorithm that is not accepted here.")

    async def _verify_public(self, token: str, algorithm: str, kid: str | None) -> Claims:
        key = await self._keys.find(kid)
        try:
            return _read_signed(token, key, algorithm)
        except WrongKey:
            if kid is not None or key is None:  # then it was the one that is named, or looked for
                raise
        await self._keys.look()  # the only key may be another one by now
        return _read_signed(token, await self._keys.find(None), algorithm)

    async def close(self) -> None:
        """Let go of a fetch that is under way."""
        await self._keys.close()


class KeySet:
    """The public keys at a JWKS address."""

    def __init__(
        self, url: str, pause: float = PAUSE_SECONDS, hard_age: float = HARD_AGE_SECONDS
    ) -> None:
        """`pause` and `hard_age` in seconds, as the constants say."""
        self._url, self._pause, self._hard_age = url, pause, hard_age
        self._failed = False
        """Whether the newest fetch did."""
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key with this id (without one: the only key). An unknown id is worth one look.

        Raises `IssuerUnavailable` where that look, or one at keys of the hard age, has failed.
        """
        age = time.monotonic() - self._fetched_at
        if age > self._hard_age:
            await self.look()
        elif age > FRESH_SECONDS:
            self._fetch_soon()
        if self._pick(kid) is None:
            await self.look()
        return self._pick(kid)

    async def look(self) -> None:
        """Fetch the keys unless that was done a moment ago. Raises `IssuerUnavailable`."""
        self._fetch_soon()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
        if self._failed:
            raise IssuerUnavailable

    def _pick(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _fetch_soon(self) -> None:
        due = time.monotonic() - self._tried_at >= self._pause
        if due and (self._fetching is None or self._fetching.done()):
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch(), name="fetch of public keys")

    async def _fetch(self) -> None:
        try:
            self._keys = read_keys(await fetch_set(self._url))
            self._fetched_at = time.monotonic()
            self._failed = False
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, jwt.PyJWTError) as error:
            self._failed = True
            logger.warning("the public keys of the tokens' issuer cannot be fetched: %s", error)

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])


async def fetch_set(url: str) -> Any:
    """The JSON at `url`. Raises aiohttp's errors, `TimeoutError` and `ValueError`."""
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise ValueError(f"the address answers {response.status}")
        raw = await response.content.read(MAX_SET + 1)
        while len(raw) <= MAX_SET and (more := await response.content.read(MAX_SET)):
            raw += more
    if len(raw) > MAX_SET:
        raise ValueError("the answer is too large")
    return msgspec.json.decode(raw)


def read_keys(given: Any) -> dict[str | None, jwt.PyJWK]:
    """Keys for signatures by id; kinds that are not known here are left out.

    Raises `ValueError` when it is no key set.
    """
    listed = given.get("keys") if isinstance(given, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("the answer is no JWKS")
    found: dict[str | None, jwt.PyJWK] = {}
    for each in listed:
        if not isinstance(each, Mapping) or each.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(dict(each))
        except jwt.PyJWTError:
            continue
        if key.algorithm_name in PUBLIC:
            found[key.key_id] = key
    return found


def _read_signed(token: str, key: jwt.PyJWK | None, algorithm: str) -> Claims:
    """The claims of a token that this key has signed. Raises `WrongKey`, `TokenRefused`."""
    if key is None:
        raise WrongKey("The token is signed with a key that its issuer does not list.")
    if key.algorithm_name != algorithm:
        raise WrongKey("The token's key is for another algorithm.")
    return read_claims(_decode(token, key.key, algorithm))


def _decode(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    audience, issuer = settings.AGENT_JWT_AUDIENCE or None, settings.AGENT_JWT_ISSUER or None
    needed = ["exp", *(["aud"] if audience else []), *(["iss"] if issuer else [])]
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": needed},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenRefused("The token has expired. Sign in again for a new one.") from error
    except jwt.ImmatureSignatureError as error:
        raise TokenRefused("The token is not valid yet.") from error
    except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
        raise TokenRefused("The token is for another server, or of another issuer.") from error
    except jwt.MissingRequiredClaimError as error:
        raise TokenRefused(f'The token lacks the claim "{error.claim}".') from error
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise WrongKey("The token's signature does not hold.") from error


def read_claims(claims: Mapping[str, Any]) -> Claims:
    """What counts of a verified token; a claim of the wrong kind is refused, not skipped.

    Raises `TokenRefused`.
    """
    context = _find(claims, "scopeContext", "scope_context")
    if context is None:
        context = {}
    if not isinstance(context, dict) or not all(isinstance(v, str) for v in context.values()):
        raise TokenRefused('The token\'s claim "scopeContext" must be a map of strings.')
    tenant_id = _text(claims, "tenantId", "tenant_id")
    if tenant_id is not None and (":" in tenant_id or not tenant_id):
        raise TokenRefused('The token\'s claim "tenantId" must be a name without a colon.')
    role = _text(claims, "role") or "user"
    if role not in ROLES:
        raise TokenRefused('The token\'s claim "role" must be user, admin or ops.')
    return Claims(
        str(claims.get("sub", ""))[:200],
        role,
        _text(claims, "scope_id", "scopeId"),
        context,
        tenant_id,
    )


def _find(claims: Mapping[str, Any], *names: str) -> Any:
    return next((claims[name] for name in names if claims.get(name) is not None), None)


def _text(claims: Mapping[str, Any], *names: str) -> str | None:
    value = _find(claims, *names)
    if value is not None and not (isinstance(value, str) and len(value) <= 200):
        raise TokenRefused(f'The token\'s claim "{names[0]}" must be a text of at most 200.')
    return value
