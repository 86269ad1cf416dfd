"""The `slbi` command."""
