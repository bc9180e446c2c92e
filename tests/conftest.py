"""What tests share: the real recordings beside the checkout, and a tiny UrbanSound8K in its official layout."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

URBAN_CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings: SEPARATRIX_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("SEPARATRIX_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "UrbanSound8K").is_dir():
        pytest.skip(f"no real recordings in {folder}; set SEPARATRIX_DATA to the folder that holds UrbanSound8K")
    return folder


@pytest.fixture(scope="session")
def urbansound_factory(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a new, tiny UrbanSound8K in the official layout and returns its root.

    Its settings: classes, folds, clips_per_class in every fold, seconds and rate in Hz. Clips are a harmonic tone in
    noise, of its class's pitch, each from a recording of its own.
    """

    def write(
        classes: Sequence[str] = ("car_horn", "dog_bark"),
        folds: Sequence[int] = (1, 2, 3),
        clips_per_class: int = 2,
        seconds: float = 0.6,
        rate: int = 22_050,
    ) -> Path:
        root = tmp_path_factory.mktemp("corpus") / "UrbanSound8K"
        (root / "metadata").mkdir(parents=True)
        rows = [("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")]
        time = np.arange(round(seconds * rate)) / rate
        for fold in folds:
            (root / "audio" / f"fold{fold}").mkdir(parents=True)
            for label in classes:
                for take in range(clips_per_class):
                    recording, class_id = 1000 + len(rows), URBAN_CLASSES.index(label)
                    file_name = f"{recording}-{class_id}-0-{take}.wav"
                    noise = np.random.default_rng(recording).standard_normal(len(time))
                    pitch = 150 * 2 ** (class_id / 3)
                    tone = sum(np.sin(2 * np.pi * pitch * h * time) / h for h in (1, 2, 3))
                    soundfile.write(root / "audio" / f"fold{fold}" / file_name, 0.1 * tone + 0.01 * noise, rate)
                    row = (file_name, recording, 0.0, seconds, 1 + take % 2, fold, class_id, label)
                    rows.append(tuple(map(str, row)))
        with open(root / "metadata" / "UrbanSound8K.csv", "w", newline="") as file:
            csv.writer(file).writerows(rows)
        return root

    return write
