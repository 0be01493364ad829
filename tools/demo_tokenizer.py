"""Trains the demonstration model's tokenizer and writes its files.

    python tools/demo_tokenizer.py assets/demo

The structure is LFM2's: byte-level BPE behind the same splitting expression, the same special tokens at
the same ids. The merges are our own, learned from the text of demo_corpus.py, with three rules that make
copying and arithmetic easier for a very small model:

* digits are never merged, so every number is spelled digit by digit;
* common characters beyond ASCII are put together first, and no merge ends inside of a character;
* the character that the expression attaches to the front of a word (mostly a space, a quote or a
  bracket) is merged last. " Boston" and "Boston" are then cut at the same places and differ in their
  first piece only.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import regex
from demo_corpus import Generator
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SPECIALS = [
    "<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|fim_pre|>", "<|fim_mid|>", "<|fim_suf|>", "<|im_start|>",
    "<|im_end|>", "<|tool_list_start|>", "<|tool_list_end|>", "<|tool_call_start|>", "<|tool_call_end|>",
    "<|tool_response_start|>", "<|tool_response_end|>",
]
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = regex.compile(r"([^\r\n\p{L}\p{N}]?)(\p{L}+)")
# GPT-2's printable stand-ins for the 256 bytes.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
HIDDEN_BYTES = [b for b in range(256) if b not in PRINTABLE]
STAND_IN = [chr(b) if b in PRINTABLE else chr(0x100 + HIDDEN_BYTES.index(b)) for b in range(256)]
COMMON_CHARACTER, RARE = 120, "\0"
# Merges inside words and punctuation, then merges of a word's first piece with the character before it.
INNER_MERGES, FRONT_MERGES = 1200, 440

CHAT_TEMPLATE = """\
{#- LFM2's chat format, written for the demonstration model. -#}
{{- bos_token -}}
{%- set turns = messages -%}
{%- set preamble = "" -%}
{%- if messages and messages[0]["role"] == "system" -%}
    {%- set preamble = messages[0]["content"] -%}
    {%- set turns = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {%- set listed = namespace(text="") -%}
    {%- for tool in tools -%}
        {%- set listed.text = listed.text ~ (", " if not loop.first else "") ~ (tool if tool is string else tool | tojson) -%}
    {%- endfor -%}
    {%- set preamble = preamble ~ ("\\n" if preamble else "") ~ "List of tools: <|tool_list_start|>[" ~ listed.text ~ "]<|tool_list_end|>" -%}
{%- endif -%}
{%- if preamble -%}
    {{- "<|im_start|>system\\n" ~ preamble ~ "<|im_end|>\\n" -}}
{%- endif -%}
{%- for turn in turns -%}
    {%- set text = turn["content"] if turn["content"] is string else turn["content"] | tojson -%}
    {%- if turn["role"] == "tool" -%}
        {%- set text = "<|tool_response_start|>" ~ text ~ "<|tool_response_end|>" -%}
    {%- endif -%}
    {{- "<|im_start|>" ~ turn["role"] ~ "\\n" ~ text ~ "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""


def texts(seed: int, count: int) -> Iterator[str]:
    generator = Generator(seed)
    for _ in range(count):
        c = generator.conversation()
        yield from (json.dumps(tool, ensure_ascii=False) for tool in c.tools)
        yield from (f"{m['role']}\n{m['content']}" for m in c.messages)


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """The text's pieces without numbers: (front character or "", rest)."""
    for special in SPECIALS:
        text = text.replace(special, "\n")
    for piece in regex.findall(SPLIT, text):
        if match := WORD.fullmatch(piece):
            yield match[1], match[2]
        elif not regex.search(r"\p{N}", piece):
            yield "", piece


def byte_level(text: str) -> str:
    """`text` in the printable stand-ins for its bytes."""
    return "".join(STAND_IN[b] for b in text.encode())


def train(seed: int = 11, conversations: int = 40_000) -> Tokenizer:
    counts = Counter(pair for text in texts(seed, conversations) for pair in pieces(text))
    characters: Counter[str] = Counter()
    for (front, rest), n in counts.items():
        for c in front + rest:
            characters[c] += n
    common = {c for c, n in characters.items() if n >= COMMON_CHARACTER}

    # The bytes, then the common characters beyond ASCII, each put together from its bytes.
    vocab = {token: i for i, token in enumerate([*SPECIALS, *STAND_IN])}
    merges: list[list[str]] = []

    def merge(left: str, right: str) -> None:
        if left + right not in vocab:
            vocab[left + right] = len(vocab)
        if [left, right] not in merges:
            merges.append([left, right])

    for c in sorted(common - set(map(chr, range(128)))):
        spelled = byte_level(c)
        for end in range(1, len(spelled)):
            merge(spelled[:end], spelled[end])

    # Merges of whole characters; a rare character ends the piece.
    trainer = trainers.BpeTrainer(vocab_size=len(common) + INNER_MERGES, show_progress=False)
    by_character = Tokenizer(models.BPE())

    def parts() -> Iterator[str]:
        for (front, rest), n in counts.items():
            for part in (front, *regex.split(RARE, "".join(c if c in common else "\0" for c in rest))):
                for _ in range(n if part else 0):
                    yield part

    by_character.train_from_iterator(parts(), trainer)
    for left, right in json.loads(by_character.to_str())["model"]["merges"]:
        merge(byte_level(left), byte_level(right))
    plain = Tokenizer(models.BPE(vocab, [(left, right) for left, right in merges]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    # The front merges: only where the character in front is one token by itself.
    fronts: Counter[tuple[str, str]] = Counter()
    for (front, rest), n in counts.items():
        if front and len(tokens := plain.encode(front, add_special_tokens=False).tokens) == 1:
            fronts[tokens[0], plain.encode(rest, add_special_tokens=False).tokens[0]] += n
    for front, first in [pair for pair, _ in fronts.most_common(2 * FRONT_MERGES) if "".join(pair) not in vocab][:FRONT_MERGES]:
        merge(front, first)

    template = {"SpecialToken": {"id": "<|startoftext|>", "type_id": 0}}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, s in enumerate(SPECIALS)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "Sequence",
            "processors": [
                {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                {
                    "type": "TemplateProcessing",
                    "single": [template, {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [template, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|startoftext|>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {"<|startoftext|>": {"id": "<|startoftext|>", "ids": [1], "tokens": ["<|startoftext|>"]}},
                },
            ],
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": merges,
        },
    }
    return Tokenizer.from_str(json.dumps(document))


def write(folder: Path) -> None:
    """tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    folder.mkdir(parents=True, exist_ok=True)
    train().save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": {
            str(i): {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
            for i, s in enumerate(SPECIALS)
        },
        "bos_token": "<|startoftext|>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 2048,
        "pad_token": "<|pad|>",
        "spaces_between_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def check(folder: Path, goldens: Path | None) -> None:
    """Round trips and, where the goldens are at hand, the rendered chats."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    samples = list(texts(5, 300)) + ["héllo wörld 🦀\r\n\t中文 العربية 한국어 日本語", "a  b   c\n\n\nd ", "x = 1234567 + 3.14e-5;", "<|im_end|> inside", "\x00\x7f\u200b"]
    for text in samples:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text, text
    assert tokenizer.encode("hi")[0] == 1
    characters = sum(map(len, samples))
    count = sum(len(tokenizer.encode(t, add_special_tokens=False)) for t in samples)
    print(f"{len(tokenizer)} tokens, {characters / count:.2f} characters per token")
    if goldens:
        cases = json.loads(goldens.read_text(encoding="utf-8"))
        for case in cases:
            text = tokenizer.apply_chat_template(case["messages"], tools=case.get("tools"), add_generation_prompt=case["add_generation_prompt"], tokenize=False)
            assert text == case["rendered"], f"{case['name']}:\n{text!r}\n{case['rendered']!r}"
        print(f"{len(cases)} chat goldens are equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--goldens", type=Path, help="chat_goldens.json to compare the template with")
    parser.add_argument("--check-only", action="store_true")
    args = parser.parse_args()
    if not args.check_only:
        write(args.folder)
    check(args.folder, args.goldens)


if __name__ == "__main__":
    main()
