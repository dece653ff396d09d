"""Reports for people and programs: log, status, metrics, index."""
