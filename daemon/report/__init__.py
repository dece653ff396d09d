"""Reports to people and programs: log, status, metrics, index."""
