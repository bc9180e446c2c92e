"""Sounds, voices and music computed in place of recordings."""

from datamodules.corpora.procedural.corpus import Procedural
from datamodules.corpora.procedural.music import ProceduralMusic
from datamodules.corpora.procedural.voices import ProceduralVoices

__all__ = ["Procedural", "ProceduralMusic", "ProceduralVoices"]
