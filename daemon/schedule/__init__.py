"""Which sources are converted, and when."""
