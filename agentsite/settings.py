"""Django settings, and every value that our code takes from the environment.

Law: the environment is read here and in `manifest/env.py`, nowhere else. What is wrong with it
is collected and refused in one message. The README's table lists each name.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from agentsite.embedded.layout import socket_directory
from agentsite.manifest.database import find_database

ROOT = Path(__file__).resolve().parent.parent
_problems: list[str] = []


def _text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def _number(name: str, default: int, least: int = 0) -> int:
    raw = _text(name, str(default))
    if raw.isascii() and raw.isdigit() and int(raw) >= least:
        return int(raw)
    _problems.append(f"{name} must be a whole number of at least {least}, it is {raw!r}.")
    return default


def _flag(name: str) -> bool:
    raw = _text(name, "0").lower()
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw not in {"0", "false", "no", "off"}:
        _problems.append(f"{name} must be 1 or 0, it is {raw!r}.")
    return False


def _names(name: str) -> list[str]:
    return [part.strip() for part in _text(name).split(",") if part.strip()]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# -- Where and how it runs -----------------------------------------------------------------

AGENT_ENV = _text("AGENT_ENV", "development")
"""`development` or `production`; `manage.py up --production` sets it."""
if AGENT_ENV not in {"development", "production"}:
    _problems.append(f"AGENT_ENV must be development or production, it is {AGENT_ENV!r}.")
PRODUCTION = AGENT_ENV == "production"

DEBUG = _flag("DEBUG")
"""Off unless asked for: Django keeps every query in memory under DEBUG, and streams slow down."""
if DEBUG and PRODUCTION:
    _problems.append("DEBUG=1 shows secrets to strangers; unset it in production.")

HOST = _text("HOST", "127.0.0.1")
PORT = _number("PORT", 3847, least=1)
DATA_DIR = Path(_text("AGENTSITE_DATA_DIR", str(ROOT / ".agentsite"))).expanduser().resolve()
AGENT_DIR = Path(_text("AGENT_DIR", str(ROOT / "agentsite" / "default_agent"))).resolve()
AGENTS_DIR: Path | None = Path(_text("AGENTS_DIR")).resolve() if _text("AGENTS_DIR") else None
"""A folder of agents, one folder each; without it the server serves AGENT_DIR alone."""

AGENT_AUTH = _text("AGENT_AUTH", "none")
if AGENT_AUTH != "none":
    _problems.append(f"AGENT_AUTH={AGENT_AUTH} is not supported yet; the only mode is none.")
elif not _is_loopback(HOST):
    _problems.append(
        f"AGENT_AUTH=none lets anybody in who can reach {HOST}:{PORT}. Serve on 127.0.0.1 and "
        "put a proxy that checks callers in front of it."
    )

ON_CI = _flag("CI")
"""On a build machine the test command may install what the system lacks."""

# -- Sessions, runs and streams: seconds unless the name says otherwise --------------------

AMODAL_SESSION_TTL = _number("AMODAL_SESSION_TTL", 3600)
AMODAL_SESSION_RETENTION = _number("AMODAL_SESSION_RETENTION", 0)
MAX_LIVE_RUNS = _number("MAX_LIVE_RUNS", 500, least=1)
RUN_LEASE_SECONDS = _number("RUN_LEASE_SECONDS", 15, least=1)
RUN_HEARTBEAT_SECONDS = _number("RUN_HEARTBEAT_SECONDS", 5, least=1)
if RUN_HEARTBEAT_SECONDS >= RUN_LEASE_SECONDS:
    _problems.append("RUN_HEARTBEAT_SECONDS must be smaller than RUN_LEASE_SECONDS.")
JOURNAL_FLUSH_MS = _number("JOURNAL_FLUSH_MS", 40, least=1)
KEEPALIVE_SECONDS = _number("KEEPALIVE_SECONDS", 15, least=1)
SHUTDOWN_GRACE_SECONDS = _number("SHUTDOWN_GRACE_SECONDS", 20, least=1)
"""How long open answers may go on after SIGTERM; after Ctrl-C in a terminal it is 2."""

BODY_LIMIT_CHAT = _number("BODY_LIMIT_CHAT", 40 * 1024 * 1024, least=1024)
BODY_LIMIT = _number("BODY_LIMIT", 1024 * 1024, least=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT_CHAT

# -- Secrets -------------------------------------------------------------------------------

SECRETS_FILE = DATA_DIR / "secrets.json"
"""Keys made on the first start in development, mode 0600 (see `bootstrap.make_secrets`)."""


def _read_secrets() -> dict[str, str]:
    if PRODUCTION or not SECRETS_FILE.is_file():
        return {}
    try:
        stored = json.loads(SECRETS_FILE.read_text())
        return {name: str(stored[name]) for name in ("SECRET_KEY", "AGENT_SECRET_KEYS")}
    except (ValueError, KeyError, OSError):
        _problems.append(f"{SECRETS_FILE} cannot be read. Restore it, or remove it to start anew.")
        return {}


_stored = _read_secrets()
SECRET_KEY = _text("SECRET_KEY") or _stored.get("SECRET_KEY", "")
AGENT_SECRET_KEYS = [
    key
    for key in (_text("AGENT_SECRET_KEYS") or _stored.get("AGENT_SECRET_KEYS", "")).split(",")
    if key
]
"""Fernet keys for secrets in rows: the first encrypts, all decrypt (rotation)."""

ALLOWED_HOSTS = _names("ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
if PRODUCTION:
    _problems += [
        f"{name} is not set: {what}."
        for name, what in {
            "SECRET_KEY": "fifty or more random characters that sign sessions",
            "AGENT_SECRET_KEYS": "one or more Fernet keys, separated by commas",
            "ALLOWED_HOSTS": "the host names it is reached by, separated by commas",
        }.items()
        if not _text(name)
    ]
SECRET_KEY = SECRET_KEY or secrets.token_urlsafe(50)
"""Without a stored key (a bare import, a type checker) a key of this process alone."""

# -- Database ------------------------------------------------------------------------------

DB_POOL_SIZE = _number("DB_POOL_SIZE", 8, least=1)
_named = find_database(AGENT_DIR, os.environ, production=PRODUCTION)
"""What the agent's `stores` block says; the environment's DATABASE_URL wins over it."""
DATABASE_URL = _text("DATABASE_URL") or _named.address or ""
EMBEDDED_BASE = _named.data_dir or DATA_DIR / "postgres"
EMBEDDED = not DATABASE_URL


def _parse_database_url(url: str) -> dict[str, Any]:
    wanted = "postgresql://user:password@host:port/name"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        _problems.append(f"DATABASE_URL is not an address of the form {wanted}.")
        return {}
    if parts.scheme not in {"postgres", "postgresql"} or len(parts.path) < 2:
        _problems.append(f"DATABASE_URL must be of the form {wanted}; only PostgreSQL is served.")
        return {}
    options = dict(parse_qsl(parts.query))
    return {
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or options.pop("user", "")),
        "PASSWORD": unquote(parts.password or options.pop("password", "")),
        "HOST": unquote(parts.hostname or options.pop("host", "")),
        "PORT": str(port or options.pop("port", "")),
        "OPTIONS": options,
    }


_place: dict[str, Any] = (
    {
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": str(socket_directory(EMBEDDED_BASE, os.geteuid())),
        "OPTIONS": {},
    }
    if EMBEDDED
    else _parse_database_url(DATABASE_URL)
)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        **_place,
        # Units are short and return their connection at once, so few connections serve many.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            **_place.get("OPTIONS", {}),
            "pool": {"min_size": 1, "max_size": DB_POOL_SIZE, "timeout": 10},
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- Django --------------------------------------------------------------------------------

INSTALLED_APPS = [
    # daphne makes `runserver` an ASGI server and has no other use here; loading it (Twisted)
    # costs every process 0.6 s and 30 MB, so the other commands go without.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "corsheaders",
    "csp",
    "sessions_app",
    "memory_app",
    "stores_app",
    "automations_app",
    "agentsite.signin",
    "agentsite",
]
STAFF_PATHS = ("/admin/", "/accounts/")
"""Only these pay for sessions, CSRF, authentication and messages (see `middleware.py`)."""
MIDDLEWARE = [
    "agentsite.middleware.Security",
    "agentsite.middleware.XFrameOptions",
    "agentsite.middleware.ContentSecurityPolicy",
    "corsheaders.middleware.CorsMiddleware",
    "agentsite.middleware.StaffSession",
    "agentsite.middleware.StaffCsrf",
    "agentsite.middleware.StaffAuthentication",
    "agentsite.middleware.StaffMessages",
]
ROOT_URLCONF = "agentsite.urls"
ASGI_APPLICATION = "agentsite.asgi.application"
LIFESPAN: tuple[str, ...] = ("agentsite.host.site",)
"""Modules that start and end with the server (see `asgi.py`), in order and in reverse."""
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
"""Files come straight from the apps: there is no collecting step that could be forgotten."""
SIGN_IN_LINK_SECONDS = 3600
LOGIN_URL = "/admin/login/"
UNFOLD = {"SITE_TITLE": "Agent site", "SITE_HEADER": "Agent site"}
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "agentsite.host.rest.explain_in_drf",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Agent site",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "agentsite.schema.complete",
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# -- What browsers may do ------------------------------------------------------------------

TRUST_PROXY = _flag("TRUST_PROXY")
"""A proxy in front ends TLS and sets X-Forwarded-Proto: cookies go out for https alone."""
if TRUST_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TRUST_PROXY
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
CORS_ALLOWED_ORIGINS = _names("CORS_ALLOWED_ORIGINS")
CORS_ALLOWED_ORIGIN_REGEXES = (
    [] if PRODUCTION else [r"^https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$"]
)
CORS_URLS_REGEX = r"^/(?!admin/|accounts/)"
CORS_ALLOW_HEADERS = (
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "prefer",
    "x-scope-id",
)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
CSP_RELAXED: dict[str, dict[str, list[str]]] = {
    # unfold's Alpine evaluates expressions and both pages style elements inline.
    "/admin/": {"script-src": [UNSAFE_EVAL, UNSAFE_INLINE], "style-src": [UNSAFE_INLINE]},
    "/api/docs": {"style-src": [UNSAFE_INLINE]},
}

# -- Log -----------------------------------------------------------------------------------

LOG_LEVEL = _text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    _problems.append(f"LOG_LEVEL must be one of Python's level names, it is {LOG_LEVEL!r}.")
    LOG_LEVEL = "INFO"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "agentsite": {"level": LOG_LEVEL},
        "uvicorn": {"level": "WARNING"},
        "django": {"level": LOG_LEVEL, "handlers": ["console"], "propagate": False},
    },
}

if _problems:
    raise ImproperlyConfigured("It cannot start like this:\n- " + "\n- ".join(_problems))
