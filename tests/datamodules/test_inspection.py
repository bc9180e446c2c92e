import numpy as np
import pytest
import soundfile

from datamodules.corpora.corpus import Clip
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import BankOnDemand, inspect_all, inspect_table
from datamodules.sound_bank import build_sound_bank
from lightning_modules.errors import InputError

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"


@pytest.fixture
def corpus(urbansound_factory) -> UrbanSound8K:
    return UrbanSound8K(urbansound_factory())


def test_inspecting_finds_every_broken_and_every_silent_clip(corpus):
    clips = corpus.clips()
    (corpus.root / clips[0].name).unlink()
    (corpus.root / clips[5].name).write_bytes(b"RIFF")
    soundfile.write(corpus.root / clips[3].name, np.zeros(9_000), 22_050)
    inspections = inspect_all(corpus, clips, 16_000)
    assert [found.clip for found in inspections] == clips
    assert [number for number, found in enumerate(inspections) if found.broken] == [0, 5]
    assert [number for number, found in enumerate(inspections) if found.silent] == [3]
    assert inspections[0].broken.startswith(f"{clips[0].name}: no such file")
    assert [found.usable for found in inspections].count(True) == len(clips) - 3


def test_a_bank_on_demand_is_the_bank_without_its_file(corpus, tmp_path):
    clips = corpus.clips()
    soundfile.write(corpus.root / clips[3].name, np.zeros(9_000), 22_050)
    built = build_sound_bank(corpus, clips, 16_000, tmp_path, workers=0, progress=False)
    on_demand = BankOnDemand.of(inspect_all(corpus, clips, 16_000), 16_000, corpus)
    assert on_demand.clips == built.clips
    for field in ("offsets", "lengths", "loudness"):
        np.testing.assert_array_equal(getattr(on_demand, field), getattr(built, field))
    np.testing.assert_array_equal(on_demand.clip(4), built.clip(4))


def test_a_bank_of_lengths_alone_has_no_sound(tmp_path):
    (tmp_path / "table.csv").write_text(HEADER + "7-1-0-0.wav,7,1.5,3.0,2,4,1,car_horn\n")
    bank = BankOnDemand.of(inspect_table(tmp_path / "table.csv", 8_000), 8_000)
    assert bank.clips[0] == Clip("audio/fold4/7-1-0-0.wav", "car_horn", 4, "7", 2) and bank.lengths.tolist() == [12_000]
    with pytest.raises(InputError, match=r"audio/fold4/7-1-0-0.wav: only its length is known"):
        bank.clip(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slice_file_name,fsID\n1.wav,1\n", "no column 'salience'"),
        (HEADER + "1.wav,1,0,x,1,1,1,car_horn\n", "line 2: end 'x' is not a number"),
        (HEADER + "1.wav,1,0\n", "line 2: 3 values, expected 8"),
        (HEADER + "1.wav,1,2.0,1.0,1,1,1,car_horn\n", "1.wav ends before it starts"),
        (HEADER + "1.wav,1,0,nan,1,1,1,car_horn\n", "line 2: end 'nan' is not a number"),
        (HEADER + "\xff", "not readable as CSV in UTF-8"),
    ],
)
def test_a_table_that_is_none_is_named_in_one_line(tmp_path, text, message):
    (tmp_path / "table.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        inspect_table(tmp_path / "table.csv", 16_000)
    assert "\n" not in str(caught.value) and "table.csv" in str(caught.value)
