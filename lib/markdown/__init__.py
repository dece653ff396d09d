"""Showing a text in a Markdown page so that it reads well and cannot act beyond itself."""
