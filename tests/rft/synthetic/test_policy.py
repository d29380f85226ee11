from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from rft.synthetic.policy import TAGS, build_policy, build_tokenizer
from rft.synthetic.questions import tokenizer_texts


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    build_policy(directory, seed=1)
    return directory


def test_the_folder_holds_a_million_weights_of_the_real_class(policy: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(policy)
    assert type(model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert 0.9e6 < sum(parameter.numel() for parameter in model.parameters()) < 1.1e6


def test_seeds_decide_the_weights_and_the_global_seed_stays(policy: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_policy(tmp_path / "same", seed=1)
    assert torch.rand(1) == expected
    build_policy(tmp_path / "other", seed=2)
    folders = (policy, tmp_path / "same", tmp_path / "other")
    first, same, other = (load_file(folder / "model.safetensors")["visual.merger.mlp.0.weight"] for folder in folders)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_digits_stand_alone_and_words_and_tags_are_one_token(policy: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(policy).tokenizer
    tokens = tokenizer.tokenize("<think>no west</think><answer>12.5 to 13.0</answer>")
    assert (
        " ".join(tokens).replace("\u0120", "_") == "<think> no _west </think> <answer> 1 2 . 5 _to _ 1 3 . 0 </answer>"
    )
    for text in (
        "tr\u00e8s \u6f22\u5b57 \u20ac",
        "<think>moves left</think><answer>B</answer><glue>[(1.5, 3.0)]</glue>",
    ):
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_saved_and_fresh_tokenizer_agree(policy: Path) -> None:
    saved, fresh = AutoProcessor.from_pretrained(policy).tokenizer, build_tokenizer(tokenizer_texts())
    for text in tokenizer_texts():
        assert saved.encode(text) == fresh.encode(text)
    assert all(len(saved.encode(tag)) == 1 for tag in TAGS)


def test_the_chat_has_one_system_message_and_one_video(policy: Path) -> None:
    processor = AutoProcessor.from_pretrained(policy)
    chat = [{"role": "user", "content": [{"type": "text", "text": "When?"}, {"type": "video"}]}]
    vision = "<|vision_start|><|video_pad|><|vision_end|>"
    user = f"<|im_start|>user\nWhen?{vision}<|im_end|>\n<|im_start|>assistant\n"
    default = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    assert processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == default + user
    own = [{"role": "system", "content": "Be brief."}, *chat]
    assert (
        processor.apply_chat_template(own, tokenize=False, add_generation_prompt=True)
        == "<|im_start|>system\nBe brief.<|im_end|>\n" + user
    )
