"""Faults, made on purpose: what is killed, stopped, filled or flooded, and what must hold then."""
