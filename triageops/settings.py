"""All settings; every value a deployment may change comes from the environment (docs/settings.md lists them)."""

import secrets
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import django_stubs_ext
from django.templatetags.static import static
from environs import Env, ValidationError

from triageops.mail import InvalidMailServer, mail_settings
from triageops.navigation import NAVIGATION

BASE_DIR = Path(__file__).resolve().parent.parent

# Lets annotations such as QuerySet[Response] be evaluated; Django's classes are generic for type checkers only.
django_stubs_ext.monkeypatch()

env = Env(eager=False)


def known_zone(name: str) -> None:
    """Raises ValidationError for what is no time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationError(f"“{name}” is no time zone, such as Europe/Vienna.") from None


def known_mail_server(url: str) -> None:
    """Raises ValidationError for what is no address of a mail server."""
    try:
        mail_settings(url)
    except InvalidMailServer as error:
        raise ValidationError(str(error)) from None


DEBUG = env.bool("TRIAGEOPS_DEBUG", False)
ENVIRONMENT = env.str("ENVIRONMENT", "local")
_secret_file = env.str("TRIAGEOPS_SECRET_KEY_FILE", "")
SECRET_KEY = env.str("TRIAGEOPS_SECRET_KEY", "") or (
    Path(_secret_file).read_text().strip() if _secret_file else ""
)
HAS_RANDOM_SECRET_KEY = not SECRET_KEY
if HAS_RANDOM_SECRET_KEY:
    # Enough for checks and one-off commands; triageops.E001 refuses it where processes must agree on it.
    SECRET_KEY = secrets.token_urlsafe(50)
ALLOWED_HOSTS = env.list("TRIAGEOPS_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
BASE_URL = env.str("TRIAGEOPS_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
IS_HTTPS = BASE_URL.startswith("https://")

DATABASES = {
    "default": env.dj_db_url(
        "DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/triageops", conn_max_age=600
    )
}
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")

STORE_CONTENT = env.bool("TRIAGEOPS_STORE_CONTENT", False)
BUCKET_SECONDS = env.int("TRIAGEOPS_BUCKET_SECONDS", 300)
LATENESS_SECONDS = env.int("TRIAGEOPS_LATENESS_SECONDS", 60)
CHECK_SECONDS = env.int("TRIAGEOPS_CHECK_SECONDS", 60)
CANARY = env.bool("TRIAGEOPS_CANARY", True)
CANARY_LIMIT_SECONDS = env.int("TRIAGEOPS_CANARY_LIMIT_SECONDS", 10_800)
EVALUATION_DAYS = env.int("TRIAGEOPS_EVALUATION_DAYS", 35)
DELIVERY_DAYS = env.int("TRIAGEOPS_DELIVERY_DAYS", 400)
LOOK_SECONDS = env.int("TRIAGEOPS_LOOK_SECONDS", 300)
AGREEMENT_HOURS = env.int("TRIAGEOPS_AGREEMENT_HOURS", 24)
SEASON_ZONE = env.str("TRIAGEOPS_SEASON_ZONE", "UTC", validate=known_zone)
SLICE_ATTRIBUTES = env.list("TRIAGEOPS_SLICE_ATTRIBUTES", ["language", "channel"])
MAX_SLICES = env.int("TRIAGEOPS_MAX_SLICES", 10_000)
HEARTBEAT_URL = env.str("TRIAGEOPS_HEARTBEAT_URL", "")
OUTBOUND_ALLOW: list[str] = env.list("TRIAGEOPS_OUTBOUND_ALLOW", [])
_email_file = env.str("TRIAGEOPS_EMAIL_URL_FILE", "")
_email_url = env.str("TRIAGEOPS_EMAIL_URL", "", validate=known_mail_server) or (
    Path(_email_file).read_text().strip() if _email_file else ""
)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("TRIAGEOPS_EMAIL_FROM", "triageops@localhost")
IS_DEMO = env.bool("TRIAGEOPS_DEMO", False)
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
CORS_ALLOWED_ORIGINS: list[str] = env.list("TRIAGEOPS_CORS_ORIGINS", [])
PROMETHEUS_MULTIPROC_DIR = env.str("PROMETHEUS_MULTIPROC_DIR", "")
env.seal()

_mail = mail_settings(_email_url)
EMAIL_HOST: str = _mail["EMAIL_HOST"]
EMAIL_PORT: int = _mail.get("EMAIL_PORT", 25)
EMAIL_HOST_USER: str = _mail.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD: str = _mail.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_SSL: bool = _mail.get("EMAIL_USE_SSL", False)
EMAIL_USE_TLS: bool = _mail.get("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 15

for _database in DATABASES.values():
    _database["CONN_HEALTH_CHECKS"] = True
    # A transaction that was left open would hold back the rollups (feedback/rollups.py).
    _database.setdefault("OPTIONS", {}).setdefault("options", "-c idle_in_transaction_session_timeout=120s")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "corsheaders",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "triageops.apps.TriageopsConfig",
    "triageops.observability",
    "feedback",
    "experiments",
    "monitoring",
]
MIDDLEWARE = [
    "triageops.observability.metrics.BeforeMiddleware",
    "triageops.observability.requests.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "triageops.security.content_security_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "triageops.pages.PageSession",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "triageops.pages.PageAuthentication",
    "triageops.pages.PageMessages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "triageops.observability.metrics.AfterMiddleware",
]
ROOT_URLCONF = "triageops.urls"
WSGI_APPLICATION = "triageops.wsgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "triageops" / "templates"],
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
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
DATE_FORMAT, DATETIME_FORMAT = "Y-m-d", "Y-m-d H:i"

STATIC_URL = "/static/"
STATIC_ROOT = None  # files are served where their packages keep them; nothing to collect
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "triageops",
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 0.5,
            "SOCKET_TIMEOUT": 2,
        },
    }
}

# One MiB more than the 5 MB that a bulk call may have, so that our own clear refusal comes first.
DATA_UPLOAD_MAX_MEMORY_SIZE = 6 * 1024 * 1024

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600
CSRF_TRUSTED_ORIGINS = [BASE_URL]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_SSL_REDIRECT = IS_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$", r"^metrics$"]
# The login page of the theme does not say where to go next.
LOGIN_REDIRECT_URL = "admin:index"
X_FRAME_OPTIONS = "DENY"
# What pages call: feedback, and which variant they show.
CORS_URLS_REGEX = r"^/(api/v1/feedback(/|$)|api/v1/experiments/([^/]+/)?assign$|ofrep/)"
CORS_ALLOW_METHODS = ["POST", "DELETE", "OPTIONS"]
CORS_ALLOW_HEADERS = ["authorization", "content-type", "idempotency-key", "if-none-match", "x-api-key"]
CORS_EXPOSE_HEADERS = ["etag", "retry-after"]
# Plain http is what one machine without a certificate has; each becomes an error again with an https base URL.
SILENCED_SYSTEM_CHECKS = (
    [] if IS_HTTPS else ["security.W004", "security.W008", "security.W010", "security.W012", "security.W016"]
)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["feedback.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["feedback.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "triageops.rest.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "triageops.rest.problem_handler",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "triageops.rest.JsonOnly",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "TriageOps",
    "DESCRIPTION": "Record LLM answers, quality and feedback; get a variant; read what was found.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "MetricKindEnum": "feedback.models.MetricKind",
        "FactKindEnum": "feedback.models.FactKind",
        "ExperimentStateEnum": "experiments.models.State",
        "ExperimentMetricTypeEnum": "experiments.models.MetricType",
        "EpochKindEnum": "experiments.models.EpochKind",
        "WeightChangeEnum": "experiments.epochs.WEIGHT_KINDS",
        "MonitorKindEnum": "monitoring.monitors.registry.choices",
        "MonitorStateEnum": "monitoring.models.monitor.MonitorState",
        "IncidentStateEnum": "monitoring.models.incident.IncidentState",
        "BacktestStateEnum": "monitoring.models.backtest.BacktestState",
        "ChannelKindEnum": "monitoring.channels.registry.choices",
        "MessageKindEnum": "monitoring.models.outbox.MessageKind",
        "MessageStatusEnum": "monitoring.models.outbox.MessageStatus",
        "IncidentEventKindEnum": "monitoring.models.incident.EventKind",
        "IncidentFlagEnum": "monitoring.models.silence.Flag",
        "ResolutionEnum": "monitoring.models.incident.Resolution",
        "ReferenceModeEnum": "monitoring.models.monitor.ReferenceMode",
    },
}

UNFOLD = {
    "SITE_TITLE": "TriageOps",
    "SITE_HEADER": "TriageOps",
    "SITE_SYMBOL": "monitor_heart",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("triageops/favicon.svg")}
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "triageops.home.views.environment",
    "DASHBOARD_CALLBACK": "triageops.home.views.dashboard",
    "STYLES": [lambda request: static("triageops/triageops.css")],
    "SCRIPTS": [
        lambda request: static("triageops/page.js"),
        lambda request: static("triageops/charts.js"),
    ],
    # Indigo for what can be clicked: no variant, and no state, has this hue.
    "COLORS": {
        "primary": {
            "50": "#eef2ff",
            "100": "#e0e7ff",
            "200": "#c7d2fe",
            "300": "#a5b4fc",
            "400": "#818cf8",
            "500": "#6366f1",
            "600": "#4f46e5",
            "700": "#4338ca",
            "800": "#3730a3",
            "900": "#312e81",
            "950": "#1e1b4b",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": NAVIGATION,
    },
}

LOGGING_CONFIG = None  # triageops.observability.logging configures it, the same in web, workers and commands
