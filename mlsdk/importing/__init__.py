"""Imports conversations of the past from a file: ``python -m mlsdk import FILE``."""
