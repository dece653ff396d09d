"""The file edges: sources are opened here, and sidecars are written here."""
