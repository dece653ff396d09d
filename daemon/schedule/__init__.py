"""What to convert, and when."""
