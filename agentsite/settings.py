"""Django settings, and every value that our code takes from the environment.

Law: the environment is read here and in `manifest/env.py`, nowhere else. What is wrong with it
is collected and refused in one message. The README's table lists each name.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured

from agentsite.constants import (
    AUTH_PASSWORD_VALIDATORS as AUTH_PASSWORD_VALIDATORS,
    CONTENT_SECURITY_POLICY as CONTENT_SECURITY_POLICY,
    CORS_ALLOW_HEADERS as CORS_ALLOW_HEADERS,
    CSP_RELAXED as CSP_RELAXED,
    INSTALLED_APPS as INSTALLED_APPS,
    MIDDLEWARE as MIDDLEWARE,
    REST_FRAMEWORK as REST_FRAMEWORK,
    SPECTACULAR_SETTINGS as SPECTACULAR_SETTINGS,
    UNFOLD as UNFOLD,
)
from agentsite.database_url import parse_database_url
from agentsite.embedded.layout import socket_directory
from agentsite.exposure import find_bad_keys, find_exposures
from agentsite.manifest.database import find_site_database
from agentsite.sandbox.base import MODES

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


def _pauses(name: str, default: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in _text(name, default).split(","))
        if all(0 <= pause < 86_400 for pause in found):
            return found
    except ValueError:
        pass
    _problems.append(f"{name} must be seconds separated by commas, as in {default!r}.")
    return ()


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

# -- Who may call --------------------------------------------------------------------------

AGENT_AUTH = tuple(dict.fromkeys(_names("AGENT_AUTH"))) or (("key",) if PRODUCTION else ("none",))
"""Modes, any of `none`, `key`, `jwt`; several may be on at once."""
AUTH_CACHE_SECONDS = _number("AUTH_CACHE_SECONDS", 5)
"""How long a process believes what it has read of a key or a scope."""
AGENTSITE_KEY = _text("AGENTSITE_KEY")  # what `manage.py chat` shows a server
AGENT_JWT_SECRET = _text("AGENT_JWT_SECRET")
AGENT_JWT_JWKS_URL = _text("AGENT_JWT_JWKS_URL")
AGENT_JWT_ISSUER = _text("AGENT_JWT_ISSUER")
AGENT_JWT_AUDIENCE = _text("AGENT_JWT_AUDIENCE")
_problems += find_exposures(
    AGENT_AUTH,
    (HOST, PORT),
    secret=AGENT_JWT_SECRET,
    jwks_url=AGENT_JWT_JWKS_URL,
    issuer=AGENT_JWT_ISSUER,
    audience=AGENT_JWT_AUDIENCE,
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
BUS_RETENTION_HOURS = _number("BUS_RETENTION_HOURS", 24, least=1)
"""How far back `/api/events` can be resumed; older events are purged."""
EVENTSTREAM_STORAGE_CLASS = "agentsite.host.bus_storage.BusStorage"
EVENTSTREAM_CHANNELMANAGER_CLASS = "agentsite.host.bus_storage.BusChannels"
KEEPALIVE_SECONDS = _number("KEEPALIVE_SECONDS", 15, least=1)
STREAM_SECONDS = _number("STREAM_SECONDS", 600, least=1)
"""Then a stream that has no end of its own ends: who comes back is checked again."""
SHUTDOWN_GRACE_SECONDS = _number("SHUTDOWN_GRACE_SECONDS", 20, least=1)
"""How long open answers may go on after SIGTERM; after Ctrl-C in a terminal it is 2."""

DELIVERY_RETRY_SECONDS = _pauses("DELIVERY_RETRY_SECONDS", "1,5,30,300,1800")
"""Before each further attempt to deliver what an automation brought; then it is a dead letter."""
AUTOMATION_RETENTION_DAYS = _number("AUTOMATION_RETENTION_DAYS", 90)
"""So long runs, webhooks, deliveries and due times of automations stay; 0 for ever."""
EMAIL_HOST = _text("EMAIL_HOST")
"""The mail server of `email` targets; without one they fail."""
EMAIL_PORT = _number("EMAIL_PORT", 25, least=1)
EMAIL_HOST_USER = _text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = _text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = _flag("EMAIL_USE_TLS")
EMAIL_USE_SSL = _flag("EMAIL_USE_SSL")
if EMAIL_USE_TLS and EMAIL_USE_SSL:
    _problems.append("EMAIL_USE_TLS (STARTTLS) and EMAIL_USE_SSL exclude each other.")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = _text("DEFAULT_FROM_EMAIL", "agentsite@localhost")

TOOL_POOL_SIZE = _number("TOOL_POOL_SIZE", 200, least=1)
"""Tool calls that one process runs at once; `TOOL_QUEUE_SIZE` more wait, the rest is refused."""
TOOL_QUEUE_SIZE = _number("TOOL_QUEUE_SIZE", 5_000)
AGENT_SANDBOX = _text("AGENT_SANDBOX", "auto")
"""How foreign programs are confined; `auto` takes the best that works here."""
if AGENT_SANDBOX not in MODES:
    _problems.append(f"AGENT_SANDBOX must be one of {', '.join(MODES)}, it is {AGENT_SANDBOX!r}.")
SANDBOX_TEMPLATES = _text("SANDBOX_TEMPLATES", str(DATA_DIR / "templates"))
"""Where root folders that `sandbox.template` names are found."""
SANDBOX_TEMPLATES_KEEP_DAYS = _number("SANDBOX_TEMPLATES_KEEP_DAYS", 7, least=1)
"""What images hold is deleted when no program has run in it for so long."""
SANDBOX_POOL_SIZE = _number("SANDBOX_POOL_SIZE", 8, least=1)

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
_problems += find_bad_keys(AGENT_SECRET_KEYS)

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
DATABASE_TENANT_ROLE = _text("DATABASE_TENANT_ROLE") or "agentsite_tenant"
"""The role as which requests and runs work; migrations make it if it is missing."""
_named = find_site_database(AGENT_DIR, AGENTS_DIR, os.environ, PRODUCTION, _problems)
"""What the agents' `stores` blocks say; the environment's DATABASE_URL wins over them."""
DATABASE_URL = _text("DATABASE_URL") or _named.address or ""
EMBEDDED_BASE = _named.data_dir or DATA_DIR / "postgres"
EMBEDDED = not DATABASE_URL


_place: dict[str, Any] = (
    {
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": str(socket_directory(EMBEDDED_BASE, os.geteuid())),
        "OPTIONS": {},
    }
    if EMBEDDED
    else parse_database_url(DATABASE_URL, _problems)
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

# -- Background work ---------------------------------------------------------------------

CELERY_BROKER_URL = _text("CELERY_BROKER_URL") or _text("REDIS_URL") or "pgmq://localhost"
"""Where tasks wait; `pgmq:` is a queue in the site's own database, wherever that is."""
BROKERS = {"pgmq", "redis", "rediss", "amqp", "amqps"}
if urlsplit(CELERY_BROKER_URL).scheme not in BROKERS:
    _problems.append(
        f"CELERY_BROKER_URL and REDIS_URL begin with one of {', '.join(sorted(BROKERS))}."
    )
TIME_ZONE = _text("TIME_ZONE", "UTC")
"""The site's: of schedules without one of their own, and of the admin's pages."""
try:
    ZoneInfo(TIME_ZONE)
except (KeyError, ValueError, OSError):
    _problems.append(f"TIME_ZONE is named like Europe/Berlin or UTC, it is {TIME_ZONE!r}.")
    TIME_ZONE = "UTC"

# -- Django --------------------------------------------------------------------------------

STAFF_PATHS = ("/admin/", "/accounts/", "/automations/")
"""Only these pay for sessions, CSRF, authentication and messages (see `middleware.py`)."""
ROOT_URLCONF = "agentsite.urls"
ASGI_APPLICATION = "agentsite.asgi.application"
LIFESPAN: tuple[str, ...] = (
    "agentsite.host.site",
    "automations_app.live",
    "automations_app.courier",
    "agentsite.evals.live",
)
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
LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
"""Files come straight from the apps: there is no collecting step that could be forgotten."""
SIGN_IN_LINK_SECONDS = 3600
LOGIN_URL = "/admin/login/"

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

# -- Log -----------------------------------------------------------------------------------

LOG_LEVEL = _text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    _problems.append(f"LOG_LEVEL must be one of Python's level names, it is {LOG_LEVEL!r}.")
    LOG_LEVEL = "INFO"
LOG_FORMAT = _text("LOG_FORMAT", "json" if PRODUCTION else "line").lower()
if LOG_FORMAT not in {"line", "json"}:
    _problems.append(f"LOG_FORMAT must be line or json, it is {LOG_FORMAT!r}.")
    LOG_FORMAT = "line"
METRICS_DIR = _text("PROMETHEUS_MULTIPROC_DIR")
"""Where the processes of one server keep their counters; `up` makes one. Empty: one process."""
OTLP = bool(_text("OTEL_EXPORTER_OTLP_ENDPOINT"))
"""Traces and metrics are sent; where to and how is OpenTelemetry's own environment."""
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        "json": {"()": "agentsite.telemetry.logs.JsonLines"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "agentsite": {"level": LOG_LEVEL},
        "uvicorn": {"level": "WARNING"},
        "django": {"level": LOG_LEVEL, "handlers": ["console"], "propagate": False},
    },
}

if _problems:
    raise ImproperlyConfigured("It cannot start like this:\n- " + "\n- ".join(_problems))
