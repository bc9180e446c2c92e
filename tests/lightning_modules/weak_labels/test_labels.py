"""Labels at a classifier's frame rate."""

import pytest
import torch

from lightning_modules.weak_labels.labels import clip_logits, pool_frame_labels

CLASSES = 3


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_pooled_label_is_active_where_any_of_its_frames_is(reduction):
    labels = (torch.rand(3, CLASSES, 41, generator=torch.Generator().manual_seed(2)) < 0.15).float()
    expected = [
        [
            [float(any(row[reduction * frame : reduction * (frame + 1)])) for frame in range(41 // reduction)]
            for row in mixture
        ]
        for mixture in labels.tolist()
    ]
    assert pool_frame_labels(labels, reduction).tolist() == expected


def test_clip_probability_is_the_largest_frame_probability():
    logits = torch.randn(4, CLASSES, 9, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(clip_logits(logits).sigmoid(), logits.sigmoid().max(-1).values)
