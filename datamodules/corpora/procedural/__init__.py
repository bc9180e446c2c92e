"""Sounds, voices and music computed in place of recordings."""

from datamodules.corpora.procedural.corpus import Procedural, ProceduralKinds, ProceduralMusic, ProceduralVoices

__all__ = ["Procedural", "ProceduralKinds", "ProceduralMusic", "ProceduralVoices"]
