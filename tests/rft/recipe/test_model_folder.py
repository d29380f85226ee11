"""What a model folder must hold."""

from pathlib import Path

import pytest

from rft.recipe.model_folder import model_problems


@pytest.mark.parametrize(
    ("removed", "named"),
    [
        (("config.json",), "no model configuration (config.json)"),
        (("preprocessor_config.json", "video_preprocessor_config.json"), "no processor (preprocessor_config.json or"),
        (("tokenizer.json",), "no tokenizer (tokenizer.json, or vocab.json with merges.txt)"),
        (("chat_template.jinja",), "no chat template"),
    ],
)
def test_a_model_folder_with_a_part_missing(model_folder: Path, removed: tuple[str, ...], named: str) -> None:
    assert model_problems(str(model_folder))[0] == []
    for name in removed:
        (model_folder / name).unlink()
    (problem,) = model_problems(str(model_folder))[0]
    assert named in problem
    assert str(model_folder) in problem


def test_other_forms_of_a_model(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (model_folder / "chat_template.jinja").unlink()
    (model_folder / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    assert model_problems(str(model_folder))[0] == []
    (model_folder / "config.json").write_text("{")
    (problem,) = model_problems(str(model_folder))[0]
    assert problem == f"{model_folder / 'config.json'} is not a JSON object. Copy it again."
    (model_folder / "config.json").write_text('{"model_type": "llama"}')
    assert "type llama" in model_problems(str(model_folder))[1][-1]
    assert model_problems("Qwen/Qwen2.5-VL-3B-Instruct")[0] == []
    assert "taken as a hub name" in model_problems("Qwen/Qwen2.5-VL-3B-Instruct")[1][0]
    (tmp_path / "Qwen").mkdir()
    assert "not found" in model_problems("Qwen/Qwen2.5-VL-3B-Instruct")[0][0]
    assert "is not a folder" in model_problems(str(model_folder / "config.json"))[0][0]
