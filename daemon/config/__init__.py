"""The configuration: its keys, their checks, their defaults."""
