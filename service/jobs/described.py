"""What a checkpoint says of itself, as far as a job that starts from it needs that.

Anybody may have written the file, so nothing of it is believed before it was checked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from service.spec.jobs import Name
from service.tensors import DESCRIPTION, METADATA, read_header


class _Data(BaseModel):
    image_size: Annotated[int | None, Field(ge=8, le=224)] = None
    validation: Annotated[float | None, Field(gt=0, le=0.5)] = None


class _Compute(BaseModel):
    seed: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None


class _Config(BaseModel):
    data: _Data = _Data()
    compute: _Compute = _Compute()


class Described(BaseModel):
    """A checkpoint's description; None where it tells nothing."""

    format: Literal[1] | None = None
    dataset: Name | None = None
    backbone: Name | None = None
    stem: Literal["standard", "small"] = "standard"
    widths: dict[str, Annotated[int, Field(ge=1, le=65536)]] | None = None
    entry: Mapping[str, Any] = {}
    config: _Config = _Config()


def described(path: Path) -> Described | None:
    """Return what a safetensors file says of itself; None if it holds tensors alone.

    Raises:
        ValueError: it says something else than a checkpoint does.
        OSError: the file cannot be read.
    """
    told = read_header(path).get(METADATA, {}).get(DESCRIPTION)
    if told is None:
        return None
    try:
        about = Described.model_validate_json(told)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise ValueError(f"{place}: {first['msg']}") from error
    missing = [
        name for name in ("format", "dataset", "backbone", "widths") if getattr(about, name) is None
    ]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    return about
