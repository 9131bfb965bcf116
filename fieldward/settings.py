"""All configuration, read from the environment here and nowhere else. Every name begins with `FIELDWARD_`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator decides. Without a `database_url` the embedded PostgreSQL is used."""

    model_config = SettingsConfigDict(env_prefix="FIELDWARD_", extra="forbid")

    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="The port to listen on.")
    data_directory: Path = Field(Path(".fieldward"), description="Where keys and the embedded database live.")

    database_url: SecretStr | None = Field(
        None, description="The service's connection: postgres://fieldward_app:…@host:5432/fieldward"
    )
    owner_database_url: SecretStr | None = Field(None, description="The owner's connection, for migrations alone.")
    keystore_url: SecretStr | None = Field(None, description="The service's connection to the keystore.")
    owner_keystore_url: SecretStr | None = Field(None, description="The owner's connection to the keystore.")
    pool_size: int = Field(
        10,
        ge=2,
        le=200,
        description="Connections of a server process for requests: three in five read, the others change.",
    )
    statement_timeout_s: float = Field(20.0, gt=0, le=600, description="Seconds that one statement may take.")

    issuer: str = Field("fieldward", max_length=200, description="The issuer named in access tokens.")
    audience: str = Field("fieldward-api", max_length=200, description="The audience named in access tokens.")
    data_key_lifetime_s: float = Field(300.0, gt=0, le=3600, description="Seconds a data key stays in memory.")
    log_format: Literal["json", "console"] = Field("json", description="How the log is written.")
    password_cost: Literal["standard", "test"] = Field(
        "standard",
        description="Argon2id: standard is RFC 9106's second choice; test is weak and for tests alone.",
    )

    @property
    def reading_pool_size(self) -> int:
        """How many of `pool_size` are for reading: most of them, and at least one is left for changes."""
        return min((self.pool_size * 3 + 4) // 5, self.pool_size - 1)

    @property
    def is_embedded(self) -> bool:
        """Whether the embedded PostgreSQL is used: where no database is named at all."""
        named = (self.database_url, self.owner_database_url, self.keystore_url, self.owner_keystore_url)
        return not any(named)
