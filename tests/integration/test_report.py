"""Pages of real, tiny reproductions, with sounds."""

import re
import shutil

import torch
import yaml


def players(page):
    return len(re.findall(r"<audio ", page.read_text()))


def test_every_source_of_the_chosen_mixtures_can_be_heard_under_every_system(report_pages):
    html = report_pages("weak-labels").read_text()
    examples = html.split('<details class="example"')[1:]
    assert len(examples) >= 5  # of each class one at least has a score
    for example in examples:
        present = len(re.findall(r"<h5>", example))
        assert len(re.findall(r"<audio ", example)) == 1 + present * (1 + 5)
        assert len(re.findall(r'class="mask"', example)) == present * 6
    assert "otherwise than the rows" not in html


def test_models_that_moved_with_the_folder_are_found_and_the_page_is_the_same(
    separatrix, model_selection, report_pages, tmp_path
):
    folder = shutil.copytree(model_selection.output, tmp_path / model_selection.output.name)
    for configuration in folder.glob("selection/*/test.yaml"):
        configuration.write_text(configuration.read_text().replace(str(model_selection.output), "/gone"))
    assert "missing" not in separatrix.succeed("report", folder, "--examples", "1").out
    page = (folder / "report.html").read_text()
    assert len(page.split('<details class="example"')[1:]) == 3
    assert page.count("<audio ") == players(report_pages("model-selection"))


def test_a_bank_is_made_again_and_estimates_of_other_weights_than_those_tested_are_told(
    separatrix, weak_labels, tmp_path
):
    folder = shutil.copytree(weak_labels.output / "strong", tmp_path / "strong")
    path = folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"] = {name: -weight for name, weight in checkpoint["state_dict"].items()}
    torch.save(checkpoint, path)
    configuration = folder / "test.yaml"
    configuration.write_text(configuration.read_text().replace(str(separatrix.banks), str(tmp_path / "new")))
    outcome = separatrix.succeed("report", folder, "--examples", "1")
    assert "missing:" not in outcome.out and players(folder / "report.html") and list((tmp_path / "new").iterdir())
    assert "dB otherwise than the rows on disk" in (folder / "report.html").read_text()


def test_what_has_lost_its_checkpoint_is_named_and_the_rest_is_heard(separatrix, weak_labels, tmp_path):
    folder = shutil.copytree(weak_labels.output, tmp_path / "weak-labels")
    (folder / "frame" / "checkpoints" / "best.ckpt").unlink()
    (folder / "classifier_frame" / "checkpoints" / "best.ckpt").write_bytes(b"no checkpoint")
    (folder / "classifier_clip" / "checkpoints" / "best.ckpt").unlink()
    outcome = separatrix.succeed("report", folder, "--examples", "1")
    assert "missing: Estimates of frame labels: " in outcome.out and "no such checkpoint" in outcome.out
    assert "missing: The classifier's probabilities: " in outcome.out
    assert players(folder / "report.html") > 0


def test_one_selection_has_a_page_of_its_own(separatrix, model_selection, tmp_path):
    page = tmp_path / "speech.html"
    outcome = separatrix.succeed("report", model_selection.output / "selection" / "speech", "--output", page)
    assert "missing:" not in outcome.out and players(page) == 3 * (1 + 2 * 4)


def test_a_corpus_that_is_gone_costs_the_sounds_alone(separatrix, weak_labels, tmp_path):
    folder = shutil.copytree(weak_labels.output / "strong", tmp_path / "strong")
    configuration = folder / "test.yaml"
    settings = yaml.safe_load(configuration.read_text())
    gone = {"class_path": "UrbanSound8K", "init_args": {"root": str(tmp_path / "gone")}}
    settings["data"]["init_args"] |= {"corpus": gone}
    configuration.write_text(yaml.safe_dump(settings))
    outcome = separatrix.succeed("report", folder)
    assert f"missing: Listen: {tmp_path / 'gone'}" in outcome.out
    assert "The table" in (folder / "report.html").read_text() and not players(folder / "report.html")
