"""Settings from the environment. Every one has a default that works; the README lists them all."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# What a server listens on to be reached from everywhere; nobody can connect to it by this name.
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104


class Settings(BaseSettings):
    """What can be configured, by environment variables of the same names in upper case."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Server processes.")
    environment: Literal["development", "production"] = Field(
        "development", description="In `production`, introspection is for admins only and GraphiQL is off."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level that is logged."
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    database_url: str | None = Field(
        None,
        description="Postgres to use, as login role `gym_api`. Unset: the embedded server in `DATA_DIR`.",
    )
    admin_database_url: str | None = Field(
        None,
        description="The same database as role `postgres`, for the import commands. Unset: the embedded server.",
    )
    worker_database_url: str | None = Field(
        None,
        description="The same database as role `gym_worker`, for jobs. Unset: the embedded server, or no jobs.",
    )
    run_jobs: bool = Field(
        True,
        description="Whether server processes run jobs too. Set it to false beside a `worker` of its own.",
    )
    data_dir: Path = Field(
        Path(".data"), description="Where the embedded server keeps its data, keys and passwords."
    )
    database_port: int = Field(
        54322, ge=0, le=65535, description="Port of the embedded server; 0 for any free one."
    )
    database_connections: int = Field(
        8,
        ge=2,
        le=200,
        description="Connections of one server process, half of them for writes; one more reads what has changed.",
    )
    prepared_statements: bool = Field(
        True, description="Whether statements are prepared by name. Not through a pooler in transaction mode."
    )
    statement_timeout_ms: int = Field(
        8000, ge=100, le=600_000, description="Longest a request's SQL may run."
    )
    lock_timeout_ms: int = Field(
        3000, ge=10, le=600_000, description="Longest a request's SQL may wait for a lock."
    )

    supabase_url: str | None = Field(
        None,
        description="Project URL; gives `JWKS_URL` and `JWT_ISSUER` their defaults. Unset: the local sign-in.",
    )
    supabase_publishable_key: str | None = Field(
        None,
        description="Publishable (or legacy anon) key of that project: GraphiQL signs in with it. Never a secret key.",
    )
    jwks_url: str | None = Field(
        None, description="Public keys that tokens are verified with. Default: `SUPABASE_URL`'s."
    )
    jwt_issuer: str | None = Field(None, description="Required `iss`. Default: `SUPABASE_URL`/auth/v1.")
    jwt_audience: str = Field("authenticated", description="Required `aud`.")
    jwt_secret: str | None = Field(
        None,
        description="Shared HS256 secret of legacy and self-hosted projects, 32 bytes or more. Unset: no HS256.",
    )
    jwt_max_age_seconds: int = Field(
        86_400, ge=60, le=604_800, description="Longest lifetime a token may claim."
    )
    jwt_allowed_clients: list[str] = Field(
        [], description="OAuth `client_id`s whose tokens are accepted, as a JSON list."
    )

    audit_signing_key: str | None = Field(
        None,
        description="Ed25519 key that signs the audit log's heads, as PEM or a file. "
        "Default, in development: one made in `DATA_DIR`.",
    )
    cursor_secret: str | None = Field(
        None,
        description="Key that signs pagination cursors. Default: derived from the database's address and password.",
    )
    allowed_origins: list[str] = Field(
        [],
        description="Origins that browsers may call from, as a JSON list; in development, local ones may too.",
    )

    max_depth: int = Field(12, ge=1, description="Deepest nesting of fields in a document.")
    max_tokens: int = Field(2_000, ge=10, description="Most tokens in a document.")
    max_aliases: int = Field(30, ge=0, description="Most aliases in an operation, fragments expanded.")
    max_root_fields: int = Field(10, ge=1, description="Most root fields in an operation.")
    max_nodes: int = Field(5_000, ge=1, description="Most nodes that the `first` arguments multiply to.")
    max_cost: int = Field(
        100_000,
        ge=1,
        description="Most that an operation may cost: fields by rows, long and computed ones weigh more.",
    )
    max_body_bytes: int = Field(
        262_144, ge=1_024, description="Largest request body, and message on a WebSocket."
    )
    max_sockets_per_user: int = Field(
        50,
        ge=1,
        le=100_000,
        description="Most WebSockets, and most event streams, that one person has open in a process.",
    )
    max_operations_per_socket: int = Field(
        100, ge=1, le=10_000, description="Most operations under way on one WebSocket."
    )
    socket_init_seconds: float = Field(
        5, gt=0, le=60, description="Longest a client may take to say who it is on a WebSocket."
    )
    body_timeout_seconds: float = Field(
        10, gt=0, le=14, description="Longest a client may take to send its body."
    )

    @property
    def local_url(self) -> str:
        """Where the server answers on this machine."""
        host = "127.0.0.1" if self.host in _EVERY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def local_issuer(self) -> str:
        """`iss` of the tokens of the local sign-in."""
        return f"{self.local_url}/auth/v1"
