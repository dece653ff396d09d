"""Rendering items as JSON and Markdown: pure functions from values to bytes."""
