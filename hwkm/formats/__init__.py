"""Exact bytes and strict parsers; no policy. Each module names its file in ``docs/spec/``."""
