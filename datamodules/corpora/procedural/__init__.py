"""Sounds computed from physics in place of recordings."""

from datamodules.corpora.procedural.corpus import Procedural

__all__ = ["Procedural"]
