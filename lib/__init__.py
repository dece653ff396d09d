"""The shared library: caching generations with numpy, reading them back safely, and rendering them for people."""
