"""Sounds, voices and music computed in place of recordings."""

from datamodules.corpora.procedural.corpus import Procedural, ProceduralMusic, ProceduralVoices

__all__ = ["Procedural", "ProceduralMusic", "ProceduralVoices"]
