"""What save and load are made of: plain items, JSON metadata, staged files, consistent reads."""
