"""What every part of a spec is."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Refuses unknown fields; a spec that was accepted does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
