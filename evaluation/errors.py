"""The one error that this package raises on purpose."""

from __future__ import annotations


class EvaluationError(Exception):
    """A benchmark, its outputs or its settings cannot be used; the message is one line: what, and what to do."""
