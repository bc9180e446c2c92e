"""What tests share: the real recordings beside the checkout, and a tiny UrbanSound8K in its official layout."""

import csv
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wandb
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from wandb.proto.wandb_internal_pb2 import Record

from lightning_modules.choices import named_modules

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


@pytest.fixture(autouse=True)
def rank_0() -> Iterator[None]:
    """Lightning notes the rank in the process: a test under SLURM's or torchrun's variables leaves it to nobody."""
    yield
    rank_zero_only.rank = 0


@pytest.fixture(autouse=True)
def imported_modules() -> Iterator[None]:
    """`--import` holds for a command, which is a process as a rule."""
    before = set(named_modules)
    yield
    named_modules.intersection_update(before)


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


@pytest.fixture(scope="module")
def nobody_logged_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """W&B as on a machine where nobody has logged in: no key, no settings, no wishes; in this process and in others."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            environment.delenv(name)
        for name in ("CONFIG", "CACHE"):
            environment.setenv(f"WANDB_{name}_DIR", str(home / name.lower()))
        environment.setenv("NETRC", str(home / "netrc"))
        wandb.teardown()  # it reads its settings once
        yield environment
    wandb.teardown()


@pytest.fixture(scope="session")
def wandb_records() -> Callable[[Path], list[list[Record]]]:
    """A function that reads what offline runs in `folder`/wandb hold, in the order of their starts."""

    def read(folder: Path) -> list[list[Record]]:
        # W&B's helper process writes the last records after it has said that it is done; a killed start has none.
        deadline = time.monotonic() + 3
        while True:
            runs = [_records(path) for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb"))]
            ended = all(any(record.HasField("exit") for record in run) for run in runs)
            if ended or time.monotonic() > deadline:
                return runs
            time.sleep(0.05)

    return read


def _records(path: Path) -> list[Record]:
    """The records of a `.wandb` file: LevelDB's log format after a header of its own; up to where a kill cut it."""
    data, block, header = path.read_bytes(), 32 * 1024, struct.Struct("<IHB")
    whole, first, last = 1, 2, 4
    records, begun, position = [], b"", 7
    assert data[:4] == b":W&B"
    while position + header.size <= len(data):
        left = block - position % block
        if left < header.size:  # no chunk begins so near the end of a block
            position += left
            continue
        checksum, length, kind = header.unpack_from(data, position)
        chunk = data[position + header.size : position + header.size + length]
        position += header.size + length
        if kind == 0 or len(chunk) < length:
            break
        assert checksum == zlib.crc32(chunk, zlib.crc32(bytes([kind])))
        begun = chunk if kind in (whole, first) else begun + chunk
        if kind in (whole, last):
            records.append(Record.FromString(begun))
    return records
