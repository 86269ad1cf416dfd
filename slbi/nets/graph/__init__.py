"""Coupling found from a network itself: its graph is traced and its filters are followed."""
