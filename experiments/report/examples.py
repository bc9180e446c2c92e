"""Which mixtures are listened to, and what is said of all of them."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments.report.media import LOWEST_DB, scale
from experiments.report.page import Example, Listening

Tell = Callable[[str], None]  # is told what is done next
SAME_DB = 0.05  # what rows and estimates made again may differ by: a tenth, as it is shown


def at_ranks(scores: Sequence[float], count: int) -> list[tuple[str, int]]:
    """Places of so many scores, evenly spread from the highest to the lowest, each with its name.

    One is the median, two are the best and the worst, three all of these. Of equal scores the first comes first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    shares = [0.5] if count == 1 else np.linspace(0, 1, count).tolist()
    names = {0.0: "best", 0.5: "median", 1.0: "worst"}
    places: dict[int, str] = {}
    for share in shares if len(order) else []:
        name = names.get(share, f"{100 * (1 - share):.0f}th percentile")
        places.setdefault(int(order[round(share * (len(order) - 1))]), name)
    return [(name, place) for place, name in places.items()]


def listening(
    examples: Sequence[Example], chosen: str, scores: str, sample_rate: int, largest_difference: float
) -> Listening:
    """Mixtures to listen to, with what is said of all of them.

    Args:
        examples: the mixtures.
        chosen: by what they were.
        scores: what stands below the players.
        sample_rate: in Hz.
        largest_difference: between the rows on disk and the estimates that are heard, in dB.
    """
    remarks = [
        f"{chosen}, of all test mixtures with a score.",
        "All sounds of a mixture are played with the same gain, as MP3.",
        f"Spectrograms reach up to {sample_rate / 2000:g} kHz; 0 dB is the mixture's loudest bin. Below them effective "
        "masks: the magnitude of what is heard over that of the mixture.",
        f"Below a player: {scores}.",
    ]
    if any(example.timeline for example in examples):
        remarks.append(
            "Beside a mixture: bars where a class sounds, and as a line the judge's probability of it, from 0 to 1."
        )
    if largest_difference > SAME_DB:
        remarks.append(
            f"What is heard scores up to {largest_difference:.1f} dB otherwise than the rows on disk: the checkpoints "
            "or sounds are not those that were tested."
        )
    return Listening(
        "Mixtures, and what was made of them", examples, remarks, scale("magma"), scale("cividis"), LOWEST_DB
    )
