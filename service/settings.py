"""Every setting of the service and its workers. The only module that reads the environment."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEBIAN_DATASETS = Path("/usr/share/datasets")
"""Where Debian's data set packages put their files. Source: package `dataset-fashion-mnist`."""


class Settings(BaseSettings):
    """Read from variables named `SLBI_…`, e.g. `SLBI_DATABASE_URL`."""

    model_config = SettingsConfigDict(env_prefix="SLBI_", frozen=True, extra="forbid")

    home: Annotated[
        Path, Field(description="Where the embedded service keeps its database and files.")
    ] = Path.home() / ".local" / "share" / "slbi"
    database_url: Annotated[
        str | None, Field(description="SQLAlchemy address; unset: SQLite in `home`.")
    ] = None
    broker_url: Annotated[
        str, Field(description="Celery broker. memory:// reaches only this process.")
    ] = "memory://localhost"
    artifact_dir: Annotated[
        Path | None,
        Field(description="Where checkpoints and uploads are kept; unset: `home`/artifacts."),
    ] = None
    data_dirs: Annotated[
        tuple[Path, ...],
        NoDecode,
        Field(description="Directories that hold data sets, searched in order, joined by ':'."),
    ] = ()
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    log_format: Annotated[str, Field(pattern="^(json|console)$")] = "console"
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 5.0
    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    reconcile_seconds: Annotated[float, Field(gt=0)] = 10.0
    poll_seconds: Annotated[
        float, Field(gt=0, description="A worker looks for jobs so often without being woken.")
    ] = 10.0
    grace_seconds: Annotated[
        float, Field(gt=0, description="Between asking a training process to stop and killing it.")
    ] = 10.0
    max_attempts: Annotated[
        int,
        Field(
            ge=1, description="Lost attempts without progress, or without memory, until failure."
        ),
    ] = 3
    checkpoint_steps: Annotated[
        int, Field(ge=1, description="A run keeps a checkpoint so often, and at every epoch.")
    ] = 1000
    checkpoint_days: Annotated[
        float, Field(gt=0, description="How long one that failed or was cancelled can be retried.")
    ] = 7.0
    artifact_days: Annotated[
        float | None,
        Field(gt=0, description="How long the files of an ended job are kept; unset: for ever."),
    ] = None
    sweep_seconds: Annotated[
        float, Field(gt=0, description="Between two looks for files that nobody needs.")
    ] = 600.0
    failpoint_dir: Annotated[
        Path | None, Field(description="For tests that kill processes: see service.failpoints.")
    ] = None
    max_body_bytes: Annotated[
        int, Field(ge=1024, description="Of every body but that of an upload.")
    ] = 1_048_576
    upload_max_bytes: Annotated[int, Field(ge=1024, description="Of the file of an upload.")] = (
        1_073_741_824
    )
    upload_days: Annotated[
        float, Field(gt=0, le=36_500, description="How long an upload is kept.")
    ] = 7.0
    min_free_bytes: Annotated[
        int, Field(ge=0, description="With less room for checkpoints the service is not ready.")
    ] = 268_435_456

    @field_validator("data_dirs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.split(":") if part)
        return value

    @property
    def database(self) -> str:
        """The SQLAlchemy address in force."""
        return self.database_url or f"sqlite:///{self.home / 'slbi.sqlite3'}"

    @property
    def artifacts(self) -> Path:
        """The directory of the checkpoints in force."""
        return self.artifact_dir or self.home / "artifacts"

    @property
    def datasets(self) -> tuple[Path, ...]:
        """The directories in which data sets are looked for, in order."""
        return (*(self.data_dirs or (self.home / "data",)), DEBIAN_DATASETS)

    def environment(self) -> dict[str, str]:
        """Return the variables from which another process reads these same settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values["data_dirs"] = ":".join(map(str, self.data_dirs))
        prefix = self.model_config.get("env_prefix", "")
        return {
            f"{prefix}{name}".upper(): str(value)
            for name, value in values.items()
            if value is not None
        }

    @property
    def loopback(self) -> bool:
        """Whether `host` can be reached from this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class ClientSettings(BaseSettings):
    """Where the command finds the service, read from `SLBI_SERVER` and `SLBI_KEY`."""

    model_config = SettingsConfigDict(env_prefix="SLBI_", frozen=True, extra="forbid")

    server: str = "http://127.0.0.1:8000"
    key: Annotated[
        SecretStr | None, Field(description="Unset: none is sent, as suits a loopback address.")
    ] = None
