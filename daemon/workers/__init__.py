"""Worker processes that convert sources."""
