"""What several tests share. Imported as ``from support.child import run``.

``tests/`` is on ``sys.path`` (``pythonpath`` in pyproject.toml) and in the ``PYTHONPATH`` of child programs; the
repository's root is in neither, so the tree can never be imported in place of the installed distribution.
"""
