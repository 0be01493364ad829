#!/usr/bin/env python3
"""Trains tests/fixtures/tokenizer-small/tokenizer.json: LFM2's structure in about 40 KB.

    python tools/small_tokenizer.py     (needs: pip install tokenizers==0.23.3)

It has LFM2's pre-tokenizer, post-processor, decoder and special tokens at the same ids, both kinds of
added tokens (special, and ordinary `python`), and a few special tokens at the end. The text is our own.
The result is committed; run this again only to change it.
"""
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
FIRST = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|fim_pre|>", "<|fim_mid|>", "<|fim_suf|>",
         "<|im_start|>", "<|im_end|>", "<|tool_list_start|>", "<|tool_list_end|>", "<|tool_call_start|>",
         "<|tool_call_end|>", "<|tool_response_start|>", "<|tool_response_end|>", "<|reserved_4|>"]
LAST = ["<|cot_start|>", "<|cot_end|>", "<|file_start|>", "<|file_end|>"]
TEXT = [
    "The model reads a text and answers it. The weather in Boston is nice today, isn't it? They'll say they're sure.",
    "What is the time? It is ten past three in the afternoon, and we have been here for 365 days since 2024.",
    "def add(a, b):\n    return a + b\n\nfor i in range(10):\n    print(i, add(i, i))\n\n\n# a comment in python code",
    "Das Modell liest einen Text und beantwortet ihn. Wie ist das Wetter in Zürich? Schön, größer und süß.",
    "Le modèle lit un texte et y répond. Quel temps fait-il à Genève aujourd'hui ? C'est très beau, l'été.",
    "El modelo lee un texto y lo responde. ¿Qué tiempo hace en España? ¡Mañana será un buen día, señor!",
    "模型读取一段文本并回答它。今天北京的天气怎么样？今天天气很好。你好，世界。",
    "モデルはテキストを読んで答えます。今日の東京の天気はどうですか。とてもいい天気です。こんにちは、世界。",
    "모델은 텍스트를 읽고 대답합니다. 오늘 서울의 날씨는 어떻습니까? 날씨가 아주 좋습니다. 안녕하세요.",
    "يقرأ النموذج نصا ويجيب عنه. كيف حال الطقس في القاهرة اليوم؟ الطقس جميل جدا. مرحبا بالعالم.",
    "😀 😃 👍🏽 👩‍👩‍👧 ❤️ 🇨🇭 — “quoted” … • → ≤ ∑",
]


def main() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel()])
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=FIRST, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    tokenizer.add_tokens([AddedToken("python", normalized=True, special=False)])
    tokenizer.add_special_tokens(LAST)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|startoftext|> $A", pair="<|startoftext|> $A <|startoftext|> $B",
                                      special_tokens=[("<|startoftext|>", 1)]),
    ])
    out = pathlib.Path(__file__).parent.parent / "tests/fixtures/tokenizer-small/tokenizer.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    print(out, out.stat().st_size, "bytes,", tokenizer.get_vocab_size(), "tokens")


if __name__ == "__main__":
    main()
