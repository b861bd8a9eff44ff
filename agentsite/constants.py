"""Settings of Django's apps that no environment changes; `settings` takes them in."""

from __future__ import annotations

import sys

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

INSTALLED_APPS = [
    # daphne makes `runserver` an ASGI server and has no other use here; loading it (Twisted)
    # costs every process 0.6 s and 30 MB, so the other commands go without.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "unfold",
    "unfold.contrib.filters",
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
    "django_celery_beat",
    "agentsite.bus",
    "sessions_app",
    "memory_app",
    "stores_app",
    "automations_app",
    "agentsite.operations",
    "agentsite.signin",
    "agentsite",
]

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

UNFOLD = {
    "SITE_TITLE": "Agent site",
    "SITE_HEADER": "Agent site",
    "DASHBOARD_CALLBACK": "agentsite.dashboard.page.fill",
    "STYLES": ["agentsite.dashboard.page.find_styles"],
}

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
    "/automations/": {"script-src": [UNSAFE_EVAL, UNSAFE_INLINE], "style-src": [UNSAFE_INLINE]},
    "/api/docs": {"style-src": [UNSAFE_INLINE]},
}

CORS_ALLOW_HEADERS = (
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "prefer",
    "x-scope-id",
)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
