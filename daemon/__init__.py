"""The shell around the library: configuration, command line, watching, sweeping, and the service."""
