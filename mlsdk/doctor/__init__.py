"""Looks at a set-up and says in one line each what is wrong and what cures it: ``python -m mlsdk doctor``."""
