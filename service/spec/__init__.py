"""What a job is asked to do: one spec a kind, made of sections."""
