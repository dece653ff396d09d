"""Bringing sidecars up to date: plan, convert, publish."""
