"""Watching directories: the watcher process and its supervision."""
