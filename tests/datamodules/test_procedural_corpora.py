"""What all corpora of procedural sounds promise."""

import pickle
import subprocess
import sys

import numpy as np

from datamodules.corpora.procedural import Procedural, ProceduralMusic, ProceduralVoices

RATE = 8000
READ_BACKWARDS = """
import pickle, sys
chosen = pickle.load(sys.stdin.buffer)
pickle.dump([[corpus.read(clip)[0] for clip in reversed(clips)] for corpus, clips in chosen], sys.stdout.buffer)
"""


def test_another_process_hears_the_same_clips_bit_for_bit():
    corpora = (Procedural(40, RATE), ProceduralVoices(30, 2, RATE), ProceduralMusic(20, 2, RATE))
    chosen = [(corpus, corpus.clips()[::23]) for corpus in corpora]
    done = subprocess.run(
        [sys.executable, "-c", READ_BACKWARDS], input=pickle.dumps(chosen), capture_output=True, check=True
    )
    for (corpus, clips), elsewhere in zip(chosen, pickle.loads(done.stdout), strict=True):
        for clip, sound in zip(reversed(clips), elsewhere, strict=True):
            np.testing.assert_array_equal(corpus.read(clip)[0], sound)
