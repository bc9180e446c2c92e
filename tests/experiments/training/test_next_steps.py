"""What is proposed after an evaluation does what was evaluated."""

from functools import partial

import pytest
from tiny_systems import GEOMETRY_SETTINGS, saved

from experiments.training.next_steps import tell_of_run
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM
from lightning_modules.run_files import RunFiles


@pytest.mark.parametrize(
    ("settings", "proposed"), [({}, True), ({"separate_by": "clusters"}, False), ({"mask_sharpness": 2.0}, False)]
)
def test_a_separation_is_proposed_where_the_checkpoint_has_the_settings_of_the_test(
    settings, proposed, tmp_path, capsys
):
    made = partial(DeepClustering, head="both", network=partial(BLSTM, units=2, layers=1), **GEOMETRY_SETTINGS)
    checkpoint = saved(made(), tmp_path / "best.ckpt")
    tell_of_run("test", ["test"], RunFiles(tmp_path), made(**settings), checkpoint)
    assert ("separatrix separate" in capsys.readouterr().out) == proposed
