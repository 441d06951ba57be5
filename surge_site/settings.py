"""Django's settings: one file, driven by surge_site.config."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy as _

from surge_site.config import DEMO_KEY, PROJECT, config_load
from surge_site.engines.record import secret_get

CONFIG = config_load()

SURGE_MODE = CONFIG.mode
SURGE_MARKET = CONFIG.market
SURGE_VAR_DIR: Path = CONFIG.var_dir
SURGE_MODELS_DIR: Path = CONFIG.models_folder
SURGE_CAPTURE_DIR: Path = CONFIG.capture_folder
SURGE_DATA_ROOT: Path = CONFIG.data_root
NO_ENGINE = "127.0.0.1:9"  # a command that starts no engines sees an address where nobody listens
SURGE_DATABASE_URL = CONFIG.database_url
SURGE_REDIS_URL = CONFIG.redis_url or f"redis://{NO_ENGINE}/0"
SURGE_CLICKHOUSE_URL = CONFIG.clickhouse_url or f"clickhouse://default@{NO_ENGINE}/default"
SURGE_EXCHANGE_REST_URL = CONFIG.exchange_rest
SURGE_EXCHANGE_STREAM_URL = CONFIG.exchange_stream
SURGE_METRICS_TOKEN = CONFIG.metrics_token

BASE_DIR = PROJECT
DEBUG = CONFIG.debug
SECRET_KEY = CONFIG.secret_key or DEMO_KEY + secret_get(SURGE_VAR_DIR, "secret_key", 48)
SECRET_KEY_FALLBACKS = CONFIG.secret_key_fallbacks
ALLOWED_HOSTS = CONFIG.allowed_hosts or ["127.0.0.1", "localhost", "[::1]"]
CSRF_TRUSTED_ORIGINS = CONFIG.csrf_trusted_origins
ROOT_URLCONF = "surge_site.urls"
ASGI_APPLICATION = "surge_site.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "django_eventstream",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "django_prometheus",
    "django_celery_beat",
    "django_celery_results",
    "marketdata",
    "modeling",
    "signals",
    "backtests",
    "surge_site",
]

MIDDLEWARE = [
    "surge_site.health.ProbeMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ]
        },
    }
]

# PostgreSQL


def postgres_settings(url: str | None, *, pool: bool) -> dict[str, Any]:
    if url is None:  # a command that starts no engines
        return {"ENGINE": "django.db.backends.dummy"}
    parts = urlsplit(url)
    options: dict[str, Any] = {
        "connect_timeout": 5,
        "options": "-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
    }
    if pool:
        options["pool"] = {"min_size": 0, "max_size": 8, "timeout": 10, "max_idle": 60}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or 5432),
        "CONN_MAX_AGE": 0,  # under ASGI each request may come on another thread
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


DATABASES = {"default": postgres_settings(SURGE_DATABASE_URL, pool=CONFIG.database_pool)}

# Redis: one server (noeviction), apart by database number

_redis = urlsplit(SURGE_REDIS_URL)


def redis_database(number: int) -> str:
    return _redis._replace(path=f"/{number}").geturl()


CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_database(1),
        "TIMEOUT": 300,
        "KEY_PREFIX": f"surge:{SURGE_MODE}",
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [redis_database(2)], "prefix": f"surge:{SURGE_MODE}:asgi"},
    }
}
EVENTSTREAM_REDIS = {
    "host": _redis.hostname or "127.0.0.1",
    "port": _redis.port or 6379,
    "db": 0,
    "username": unquote(_redis.username) if _redis.username else None,
    "password": unquote(_redis.password) if _redis.password else None,
    "ssl": _redis.scheme == "rediss",
}
EVENTSTREAM_CHANNELMANAGER_CLASS = "signals.sse.SurgeChannels"
EVENTSTREAM_STORAGE_CLASS = "django_eventstream.storage.DjangoModelStorage"

# Celery: queues `cpu` (training, backtests) and `io` (the rest)

CELERY_BROKER_URL = redis_database(3)
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = 3600
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "io"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TRACK_STARTED = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 500
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 20.0
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = False  # it protects prefetched ETA tasks, and we send none
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
LONGEST_TASK = timedelta(hours=2)  # training on a long history; a task that runs longer would be handed out twice
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": LONGEST_TASK.total_seconds(),
    "global_keyprefix": f"surge:{SURGE_MODE}:",
}
CELERY_TASK_TIME_LIMIT = LONGEST_TASK.total_seconds() - 120
CELERY_TIMEZONE = "UTC"

# Who may see what: every route needs a login unless it says otherwise

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]  # each on its own
AXES_RESET_ON_SUCCESS = True
AXES_IPWARE_META_PRECEDENCE_ORDER = ["REMOTE_ADDR"]  # X-Forwarded-For can be made up by anyone
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Surge",
    "DESCRIPTION": "Live surge probabilities, signals and their outcomes.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# What a browser may do with our pages

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],  # see static/vendor/README.md for how Plotly does without inline styles
        "img-src": [SELF, "data:", "blob:"],  # Plotly's picture export
        "connect-src": [SELF],
        "font-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CONFIG.is_https
SESSION_COOKIE_NAME = "__Host-surge_session" if CONFIG.is_https else f"surge_session_{SURGE_MODE}"
CSRF_COOKIE_NAME = "__Host-surge_csrf" if CONFIG.is_https else f"surge_csrf_{SURGE_MODE}"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = CONFIG.is_https
SECURE_REDIRECT_EXEMPT = [r"^healthz/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CONFIG.is_https else None
SECURE_HSTS_SECONDS = 31_536_000 if CONFIG.is_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = CONFIG.is_https
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

# Languages, time, static files

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = SURGE_VAR_DIR / "static"  # what collectstatic writes; nothing needs it, whitenoise finds the originals
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns at each start without it
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# Logs: one line each, on stderr, so that --json keeps stdout to itself

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "surge_site.log_line.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": CONFIG.log_level},
    "loggers": {
        "django": {"level": CONFIG.log_level},
        "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "axes": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "celery": {"level": "INFO"},
    },
}
PROMETHEUS_EXPORT_MIGRATIONS = False
os.environ.setdefault("OMP_NUM_THREADS", "1")  # LightGBM in a forked Celery child hangs otherwise
