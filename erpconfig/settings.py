"""The settings of Django; what may differ between installations comes from the environment (docs: .env.example)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from connectors.encryption.providers import AwsKms, VaultTransit
from erpconfig import embedded_postgres, env, logging, parsers, telemetry
from erpconfig.paths import BASE_DIR, DATA_DIR

_env = env.of_process()
_WRITE_ENV = "Run `make env` to write a .env with fresh keys."

# -- Who we are ------------------------------------------------------------------------------------------------------

SECRET_KEY = _env.parsed("SECRET_KEY", parsers.secret_key, remedy=_WRITE_ENV)
SECRET_KEY_FALLBACKS: list[str] = _env.parsed("SECRET_KEY_FALLBACKS", parsers.secret_keys, default=[])
DEBUG = _env.boolean("DEBUG", default=False)
ALLOWED_HOSTS: list[str] = _env.parsed(
    "ALLOWED_HOSTS", parsers.hosts, default=["localhost"] if DEBUG else None, remedy="List the names we are reached by."
)
ROOT_URLCONF = "erpconfig.urls"
WSGI_APPLICATION = "erpconfig.wsgi.application"
INSTALLED_APPS = [
    "tenants.apps.TenantsConfig",
    "connectors.apps.ConnectorsConfig",
    "tenants.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "procrastinate.contrib.django",
    "django_structlog",
    "axes",
    "django_otp",
]
MIDDLEWARE = [
    "erpconfig.headers.SecurityHeadersMiddleware",
    "erpconfig.request_id.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "erpconfig.limits.RequestLimitsMiddleware",
    "tenants.denials.DenialsMiddleware",
    "tenants.sign_in.sessions.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "tenants.middleware.ScopeMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
if telemetry.is_wanted():
    MIDDLEWARE.insert(0, "erpconfig.telemetry.RequestSpans")
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# -- The database ----------------------------------------------------------------------------------------------------

_database: dict[str, Any] = _env.parsed(
    "DATABASE_URL", parsers.database, default=parsers.database(embedded_postgres.cluster().url)
)
_database["ENGINE"] = "tenants.postgresql"  # tells the database whose rows are to be seen
_database["CONN_MAX_AGE"] = 0  # the pool keeps connections, and Django refuses both at once
_database["CONN_HEALTH_CHECKS"] = True  # a connection that died with the server is replaced, not handed out
_database["OPTIONS"]["pool"] = {
    "min_size": 1,
    "max_size": _env.integer("DATABASE_POOL_SIZE", default=32, low=1, high=1000),
    "timeout": 10,
}
DATABASES = {"default": _database}
# Of web requests only (erpconfig.web_database): for a statement, for a lock, and for a transaction that does nothing.
DATABASE_STATEMENT_SECONDS = _env.integer("DATABASE_STATEMENT_SECONDS", default=30, low=1, high=3_600)
DATABASE_LOCK_SECONDS = _env.integer("DATABASE_LOCK_SECONDS", default=10, low=1, high=3_600)
DATABASE_IDLE_SECONDS = _env.integer("DATABASE_IDLE_SECONDS", default=60, low=1, high=3_600)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- Stored configurations and documents -------------------------------------------------------------------------------

ENCRYPTION_MASTER_KEY = _env.parsed("ENCRYPTION_MASTER_KEY", parsers.master_key, remedy=_WRITE_ENV)
ENCRYPTION_PREVIOUS_KEYS: tuple[str, ...] = _env.parsed("ENCRYPTION_PREVIOUS_KEYS", parsers.master_keys, default=())
# Who opens a master key that is configured wrapped; nobody is asked before a key is needed.
ENCRYPTION_KEY_PROVIDERS = (
    VaultTransit(
        address=_env.parsed("VAULT_ADDR", parsers.vault_address, default=""),
        token=_env.text("VAULT_TOKEN", default=""),
        key=_env.text("VAULT_TRANSIT_KEY", default="erp-connector"),
        mount=_env.text("VAULT_TRANSIT_MOUNT", default="transit"),
        namespace=_env.text("VAULT_NAMESPACE", default=""),
        ca_file=_env.parsed("VAULT_CACERT", parsers.folder, default=""),
    ),
    AwsKms(key_id=_env.text("KMS_KEY_ID", default="")),
)
STATIC_URL = "static/"
STATIC_ROOT = _env.parsed("STATIC_ROOT", parsers.folder, default="") or None
# Without a STATIC_ROOT to collect into, files are served from the installed packages: nothing to do after a clone.
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "documents": _env.parsed(
        "DOCUMENT_STORAGE",
        parsers.document_storage,
        default=parsers.local_documents(DATA_DIR / "documents"),
        remedy="Give an absolute folder or s3://bucket/prefix?endpoint_url=https://…",
    ),
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATIC_ROOT
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

INSTALLATION_ID = _env.text("INSTALLATION_ID", default="")

# -- The way out -----------------------------------------------------------------------------------------------------

DROPZONE_ROOT = _env.parsed("DROPZONE_ROOT", parsers.folder, default=str(DATA_DIR / "dropzone"))
EGRESS_ALLOWED_NETWORKS: list[str] = _env.parsed(
    "EGRESS_ALLOWED_NETWORKS", parsers.cidrs, default=[], remedy="For example 10.20.0.0/16,192.0.2.7/32."
)
EXPORT_LEASE_SECONDS = _env.integer("EXPORT_LEASE_SECONDS", default=120, low=5, high=86_400)
EXPORT_MAX_ATTEMPTS = _env.integer("EXPORT_MAX_ATTEMPTS", default=8, low=1, high=100)
SWEEP_SECONDS = _env.integer("SWEEP_SECONDS", default=10, low=1, high=3_600)
ACK_POLL_SECONDS = _env.integer("ACK_POLL_SECONDS", default=60, low=1, high=86_400)
ACK_POLLS_AT_ONCE = _env.integer("ACK_POLLS_AT_ONCE", default=8, low=1, high=100)  # of one worker
TESTS_AT_ONCE = _env.integer("TESTS_AT_ONCE", default=4, low=1, high=100)  # of one organisation
TESTS_WAITING = _env.integer("TESTS_WAITING", default=20, low=1, high=1000)  # of one organisation
TESTS_PER_MINUTE_AND_KEY = _env.integer("TESTS_PER_MINUTE_AND_KEY", default=30, low=1, high=10_000)
TESTS_PER_MINUTE_AND_ORGANISATION = _env.integer("TESTS_PER_MINUTE_AND_ORGANISATION", default=60, low=1, high=10_000)
TESTS_PER_MINUTE_AND_DESTINATION = _env.integer("TESTS_PER_MINUTE_AND_DESTINATION", default=20, low=1, high=10_000)
WEB_THREADS = _env.integer("WEB_THREADS", default=64, low=2, high=1000)  # of one process of the web server
WEB_HEAD_SECONDS = _env.integer("WEB_HEAD_SECONDS", default=5, low=1, high=60)  # for a request's head to arrive
WEB_BODY_SECONDS = _env.integer("WEB_BODY_SECONDS", default=60, low=1, high=600)  # … its body, or an answer to leave
TEST_THREADS = _env.integer("TEST_THREADS", default=32, low=1, high=500)  # of one worker
WEBHOOK_SECONDS = _env.integer("WEBHOOK_SECONDS", default=3, low=1, high=59)  # between looks for what is to be told
WEBHOOK_THREADS = _env.integer("WEBHOOK_THREADS", default=32, low=1, high=500)  # of one worker
PROCRASTINATE_WORKER_DEFAULTS = {
    "concurrency": 8,
    "shutdown_graceful_timeout": 1,  # then each job is told to come to its end
    "delete_jobs": "successful",  # what became of an export stands in erp_export, not in the queue
}

_mail = _env.parsed(
    "EMAIL_URL",
    parsers.mail,
    default=parsers.mail("dummymail://"),  # nothing is sent unasked
    remedy="For example smtp+tls://user:password@mail.example.com:587.",
)
EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
EMAIL_HOST = _mail["EMAIL_HOST"]
EMAIL_PORT = _mail["EMAIL_PORT"]
EMAIL_HOST_USER = _mail["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = _mail["EMAIL_USE_TLS"]
EMAIL_USE_SSL = _mail["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _env.text("EMAIL_FROM", default="erp-connector@localhost")
DIGEST_HOUR = _env.integer("DIGEST_HOUR", default=6, low=0, high=23)  # UTC
PUBLIC_URL = _env.parsed("PUBLIC_URL", parsers.public_url, default="", remedy="For example https://erp.example.com.")

# -- The way in ------------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
_VALIDATORS = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{_VALIDATORS}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATORS}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{_VALIDATORS}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATORS}.NumericPasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",  # costs a thief memory, too, and needs no further package
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",  # what was stored before; rehashed at the next sign-in
]
# Whether staff needs a second factor to do anything, or only those who have set one up.
STAFF_SECOND_FACTOR = _env.choice("STAFF_SECOND_FACTOR", ("optional", "required"), default="optional")
# Name and address together: nobody can lock somebody else out, and behind a proxy one address is everybody.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # whoever tries on does not shut themselves out for longer
AXES_LOCKOUT_CALLABLE = "tenants.sign_in.lockout.answer"
AXES_DISABLE_ACCESS_LOG = True  # the audit trail has it
# What is kept of a failed attempt names no guess: a mistyped password or code is nearly the right one.
AXES_SENSITIVE_PARAMETERS = [
    "username",
    "password",
    "code",
    "confirm-password",
    "confirm-code",
    "confirm-held",
    "csrfmiddlewaretoken",
]
AXES_VERBOSE = False

# HTTPS=False is for plain http on one's own machine. With HTTPS, a proxy ends TLS and has to set X-Forwarded-Proto.
_https = _env.boolean("HTTPS", default=True)
SECURE_SSL_REDIRECT = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_REDIRECT_EXEMPT = [r"^(livez|readyz|metrics)$"]  # asked from inside, past the proxy
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SECURE_REFERRER_POLICY = "same-origin"
SESSION_ENGINE = "tenants.sign_in.sessions"
SESSION_COOKIE_AGE = 12 * 3600  # from signing in, whatever is done meanwhile
SESSION_IDLE_SECONDS = 60 * _env.integer("SESSION_IDLE_MINUTES", default=60, low=1, high=720)
SESSION_EXPIRE_AT_BROWSER_CLOSE = True  # how long a session lives is ours to say
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # links in mails lead in
# With the prefix, a browser takes a cookie over HTTPS only, and from no neighbouring host (RFC 6265bis).
_cookie_prefix = "__Host-" if _https else ""
SESSION_COOKIE_NAME = f"{_cookie_prefix}sessionid"
CSRF_COOKIE_NAME = f"{_cookie_prefix}csrftoken"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024  # an order of 10,000 lines has about 4 MiB
DATA_UPLOAD_MAX_NUMBER_FILES = 0  # nobody uploads anything; what a form calls a file is refused, unread
FILE_UPLOAD_HANDLERS: list[str] = []

METRICS_ALLOWED_NETWORKS = _env.parsed(
    "METRICS_ALLOWED_NETWORKS",
    parsers.networks,
    default=parsers.networks("127.0.0.0/8,::1"),
    remedy="For example 10.20.0.0/16.",
)
METRICS_CACHE_SECONDS = _env.integer("METRICS_CACHE_SECONDS", default=5, low=0, high=300)
# Whether /readyz asks for a living worker, and how long the oldest job may have waited.
READY_NEEDS_WORKER = _env.boolean("READY_NEEDS_WORKER", default=False)
READY_JOB_SECONDS = _env.integer("READY_JOB_SECONDS", default=300, low=1, high=86_400)

# -- The API ---------------------------------------------------------------------------------------------------------


def _per_minute(name: str, *, default: int) -> str:
    return f"{_env.integer(name, default=default, low=1, high=1_000_000)}/min"


REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenants.authentication.ApiKeyAuthentication",
        "tenants.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["connectors.api.parsers.DecimalJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["connectors.api.renderers.ShapeRenderer"],
    "DEFAULT_SCHEMA_CLASS": "connectors.api.schema.AutoSchema",
    "EXCEPTION_HANDLER": "connectors.api.problems.exception_handler",
    "DEFAULT_THROTTLE_RATES": {
        "api": _per_minute("REQUESTS_PER_MINUTE_AND_KEY", default=1200),
        "organisation": _per_minute("REQUESTS_PER_MINUTE_AND_ORGANISATION", default=6000),
        "inbound": _per_minute("MESSAGES_PER_MINUTE_AND_CONNECTION", default=300),
        "failures": _per_minute("FAILURES_PER_MINUTE_AND_ADDRESS", default=600),
    },
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "TEST_REQUEST_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ERP Connector Framework",
    "DESCRIPTION": "Connect an ERP and push approved sales orders into it.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "ENUM_NAME_OVERRIDES": {"FolderOrAs2Mode": ["sftp", "filesystem", "as2"]},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
}

# -- Logs ------------------------------------------------------------------------------------------------------------

LOG_LEVEL = _env.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO")
LOG_FORMAT = _env.choice("LOG_FORMAT", ("json", "console"), default="json")
LOGGING_CONFIG = "erpconfig.logging.configure"
LOGGING = logging.config(level=LOG_LEVEL, renderer=LOG_FORMAT)
DEFAULT_EXCEPTION_REPORTER = "erpconfig.debug.PlacesOnlyReporter"
DJANGO_STRUCTLOG_COMMAND_LOGGING_ENABLED = False
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True  # RequestIdMiddleware has replaced what is no sane id
DJANGO_STRUCTLOG_TRUST_UPSTREAM_CORRELATION_ID = False
