"""The shared library: caching generations with numpy, reading them back safely, rendering them for people."""
