#!/usr/bin/env python3
"""Writes the hand-made seeds of fuzz/corpus from the tests' fixtures: names that begin with `seed-`.

    fuzz/seeds.py

The other files there were found by fuzzing, and kept for what they reach.
"""
import hashlib
import json
import struct
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "tests" / "fixtures"
# Smaller dimensions for those of the fixtures.
SMALLER = {48: 16, 144: 48, 100: 8, 101: 9, 52: 8, 12: 4, 7: 7}


def put(target, name, content):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(content)


def several(files):
    """Several files in one input, in the format of src/files.rs."""
    return b"\n".join(b"==> %s <==\n%s" % (name.encode(), content) for name, content in files.items())


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def config(case):
    c = json.loads((FIXTURES / case / "config.json").read_text())
    small = {"hidden_size": 16, "vocab_size": 9, "num_attention_heads": 1, "num_key_value_heads": 1}
    for key in ("intermediate_size", "moe_intermediate_size"):
        if key in c:
            small[key] = SMALLER[c[key]]
    return compact(c | small)


def tensors(case):
    """Names and shapes of a small model."""
    raw = (FIXTURES / case / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    small = lambda shape: [SMALLER.get(d, d) for d in shape]
    return {name: small(entry["shape"]) for name, entry in header.items()}


def product(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def safetensors(shapes, metadata=None, size=2, dtype="BF16"):
    header, end = ({"__metadata__": metadata} if metadata else {}), 0
    for name, shape in shapes.items():
        n = product(shape) * size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + n]}
        end += n
    header = compact(header)
    return struct.pack("<Q", len(header)) + header + bytes(end)


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def value(v):
    if isinstance(v, bool):
        return struct.pack("<IB", 7, v)
    if isinstance(v, int):
        return struct.pack("<Ii", 5, v)
    if isinstance(v, float):
        return struct.pack("<If", 6, v)
    if isinstance(v, str):
        return struct.pack("<I", 8) + text(v)
    kind, one = (8, text) if isinstance(v[0], str) else (5, lambda n: struct.pack("<i", n))
    return struct.pack("<IIQ", 9, kind, len(v)) + b"".join(map(one, v))


def gguf(keys, shapes, version=3, kind=0, size=4):
    out = b"GGUF" + struct.pack("<IQQ", version, len(shapes), len(keys))
    out += b"".join(text(key) + value(v) for key, v in keys.items())
    end = 0
    for name, ne in shapes.items():
        out += text(name) + struct.pack(f"<I{len(ne)}Q", len(ne), *ne) + struct.pack("<IQ", kind, end)
        end += (product(ne) * size + 31) // 32 * 32
    return out + bytes(-len(out) % 32) + bytes(end)


DENSE_KEYS = {
    "general.architecture": "lfm2",
    "lfm2.block_count": 2,
    "lfm2.context_length": 128,
    "lfm2.embedding_length": 16,
    "lfm2.feed_forward_length": 8,
    "lfm2.attention.head_count": 1,
    "lfm2.attention.head_count_kv": [0, 1],
    "lfm2.attention.layer_norm_rms_epsilon": 1e-5,
    "lfm2.rope.freq_base": 1e6,
    "lfm2.shortconv.l_cache": 3,
    "lfm2.vocab_size": 9,
}
FFN = {"ffn_norm": [16], "ffn_gate": [16, 8], "ffn_up": [16, 8], "ffn_down": [8, 16]}
LAYERS = [
    {"attn_norm": [16], "shortconv.conv": [3, 16], "shortconv.in_proj": [16, 48], "shortconv.out_proj": [16, 16]},
    {"attn_norm": [16], "attn_q": [16, 16], "attn_k": [16, 16], "attn_v": [16, 16], "attn_output": [16, 16],
     "attn_q_norm": [16], "attn_k_norm": [16]},
]
DENSE = {"token_embd.weight": [16, 9], "token_embd_norm.weight": [16]} | {
    f"blk.{i}.{name}.weight": ne for i, layer in enumerate(LAYERS) for name, ne in (layer | FFN).items()
}


def small_tokenizer():
    t = json.loads((FIXTURES / "tokenizer-small" / "tokenizer.json").read_text())
    for i, token in enumerate(t["added_tokens"]):
        token["id"] = i
    added = [token["content"] for token in t["added_tokens"]]
    model = t["model"]
    model["merges"] = model["merges"][:20]
    bytes_ = [token for token in model["vocab"] if len(token) == 1]
    model["vocab"] = {k: i for i, k in enumerate(added + bytes_ + ["".join(m) for m in model["merges"]])}
    return t


def tokenizer_keys(t):
    vocab = t["model"]["vocab"]
    return {
        "general.architecture": "lfm2",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "lfm2",
        "tokenizer.ggml.tokens": list(vocab),
        "tokenizer.ggml.token_type": [3 if i < len(t["added_tokens"]) else 1 for i in range(len(vocab))],
        "tokenizer.ggml.merges": [" ".join(m) for m in t["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": "{{ bos_token }}{{ messages[0].content }}",
    }


def described():
    """Random bytes, as seeds of descriptions."""
    random = Random(1)
    kinds = {"config": [0], "tokenizer": [0, 1], "chat_template": [0], "package": [0],
             "gguf_structured": [None], "safetensors_structured": [None], "lora": [0]}
    for target, firsts in kinds.items():
        for first in firsts:
            for length in (40, 120, 400):
                start = b"" if first is None else bytes([first])
                put(target, f"described-{first or 0}-{length}", start + random.randbytes(length))


def answers():
    """Every third answer of the tests' cases, with the options byte of the target."""
    cases = (FIXTURES / "tool_calls" / "cases.jsonl").read_text().splitlines()
    for i, line in enumerate(cases[::3]):
        case = json.loads(line)
        text, tools = case["answer"].encode(), case.get("tools")
        start = bytes([1 | (8 if tools else 4), i])
        put("answer", f"{i:02}", start + (several({"answer": text, "tools.json": compact(tools)}) if tools else text))
    for name, options in (("text", 0), ("reasoning", 3)):
        put("answer", name, bytes([options, 7]) + b"So <think>a</think> <tool_call>b</think>\n\nHi")


def main():
    described()
    dense, moe = tensors("dense"), tensors("top-3-of-7")
    put("safetensors", "two", safetensors({"a": [2, 3], "b": [4]}))
    put("safetensors", "empty", safetensors({}))
    blocks = {"a": [2, 18], "b": [1, 210]}
    put("safetensors", "blocks", safetensors(blocks, {"a": "Q4_0", "b": "Q6_K"}, 1, "U8"))
    put("safetensors", "model", several({"config.json": config("dense"), "model.safetensors": safetensors(dense)}))
    put("safetensors", "experts", several({
        "config.json": config("top-3-of-7"), "model.safetensors": safetensors(moe)}))
    index = {"metadata": {"total_size": 1}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    put("safetensors", "shards", several({
        "model.safetensors.index.json": compact(index),
        "m-1.safetensors": safetensors({"a": [2]}),
        "m-2.safetensors": safetensors({"b": [3, 1]})}))

    tokenizer = small_tokenizer()
    put("gguf", "model", gguf(DENSE_KEYS, DENSE))
    put("gguf", "two", gguf({"general.alignment": 64}, {"a": [32]}, 2, 1, 2))
    put("gguf", "tokenizer", gguf(tokenizer_keys(tokenizer), {}))
    split = lambda no: {"split.no": no, "split.count": 2, "split.tensors.count": 2}
    put("gguf", "split", several({
        "m-00001-of-00002.gguf": gguf(split(0), {"a": [4]}),
        "m-00002-of-00002.gguf": gguf(split(1), {"b": [4, 2]})}))

    for case in ("dense", "dense-old-keys", "top-3-of-7", "moe-old-keys", "head-dim-key"):
        put("config", case, (FIXTURES / case / "config.json").read_bytes())
    put("config", "both", several({
        "config.json": config("dense"),
        "generation_config.json": (FIXTURES / "dense" / "generation_config.json").read_bytes()}))

    put("tokenizer", "json", compact(tokenizer))
    put("tokenizer", "gguf", several({
        "m.gguf": gguf(tokenizer_keys(tokenizer), {}), "text": "in the <|im_end|> é 12345's\n\n".encode()}))

    for name in ("lfm2", "lfm25"):
        put("chat_template", name, (FIXTURES / f"{name}_chat_template.jinja").read_bytes())
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        call = {"type": "function", "id": "1", "function": {"name": "f", "arguments": {"a": 1.5}}}
        chat = {"tools": tools, "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "so"},
            {"role": "tool", "content": "{}"}]}
        put("chat_template", f"{name}-tools", several({
            "chat_template.jinja": (FIXTURES / f"{name}_chat_template.jinja").read_bytes(),
            "chat.json": compact(chat)}))
    named = [{"name": "default", "template": "{{ bos_token }}"}, {"name": "rag", "template": "x"}]
    put("chat_template", "named", several({"tokenizer_config.json": compact(
        {"bos_token": {"content": "<s>"}, "chat_template": named})}))

    for name in ("attention", "experts-stacked", "router", "all-linear"):
        folder = FIXTURES / "lora" / name
        named = ("adapter_config.json", "adapter_model.safetensors")
        put("lora", name, several({file: (folder / file).read_bytes() for file in named}))
        if (gguf_file := folder / "adapter.gguf").exists():
            put("lora", f"{name}-gguf", gguf_file.read_bytes())

    answers()

    files = {"config.json": config("dense"), "model.safetensors": safetensors(dense)}
    listed = [{"name": n, "bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in files.items()]
    manifest = {"format": "lfm2-wgpu package", "version": 1, "source": "s",
                "recipe": {"weights": "q4", "keep": {"head": "q8"}}, "files": listed}
    put("package", "whole", several(files | {"manifest.json": compact(manifest)}))
    put("package", "manifest", compact(manifest | {"files": listed[:1]}))
    put("package", "foreign", compact({"manifest_version": 3, "name": "extension"}))

    def request(name, **body):
        body = {"messages": [{"role": "user", "content": "Hi"}], **body}
        return compact({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})
    requests = b"\n".join([request("a"), request("b", temperature=0, stop=["x"])])
    put("batch", "requests", requests)
    put("batch", "answers", several({
        "requests.jsonl": requests, "answers.jsonl": b'{"id":"batch_req_0","custom_id":"a"}\n'}))

    user = {"role": "user", "content": "Hi"}
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}},
             {"name": "g"}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    turns = [{"role": "developer", "content": [{"type": "text", "text": "a"}]}, user,
             {"role": "assistant", "content": None, "tool_calls": [call]},
             {"role": "tool", "tool_call_id": "c", "content": "1"}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools[1:]}}
    schema = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}}
    for name, body in {
        "chat": {"messages": [user], "model": "m", "stream": True, "stream_options": {"include_usage": True},
                 "max_completion_tokens": 5, "stop": ["x"], "temperature": 0.5, "top_k": 3, "top_p": 0.9,
                 "min_p": 0.1, "repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": -0.3,
                 "seed": 7, "n": 2, "logprobs": True, "top_logprobs": 3, "logit_bias": {"5": -100}, "user": "u",
                 "ignore_eos": False, "reasoning_effort": "none"},
        "tools": {"messages": turns, "tools": tools, "tool_choice": choice, "parallel_tool_calls": False},
        "schema": {"messages": [user], "response_format": schema},
        "choice": {"messages": [user], "structured_outputs": {"choice": ["a", "b"]},
                   "chat_template_kwargs": {"x": 1}},
        "prefill": {"messages": [user, {"role": "assistant", "content": "We"}], "continue_final_message": True},
        "messages": {"max_tokens": 9, "system": [{"type": "text", "text": "s"}], "stop_sequences": ["x"],
                     "thinking": {"type": "enabled"}, "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
                     "tools": [{"name": "f", "input_schema": {"type": "object"}}], "messages": [
                         {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"},
                                                           {"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
                         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "r"}]}]},
        "responses": {"instructions": "s", "max_output_tokens": 9, "reasoning": {"effort": "low"},
                      "text": {"format": {"type": "json_schema", "schema": {}}}, "input": [
                          {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]},
                          {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                          {"type": "function_call_output", "call_id": "1", "output": "r"},
                          {"role": "user", "content": [{"type": "input_text", "text": "a"}]}],
                      "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]},
        "completion": {"prompt": ["a", [1, 2]], "echo": True, "logprobs": 1, "max_tokens": 0, "n": 2, "best_of": 2},
        "tokenize": {"prompt": "a", "add_special_tokens": False},
        "tokenize-llama": {"content": "a", "add_special": True},
        "detokenize": {"tokens": [1, 2, 3]},
    }.items():
        put("request", name, compact(body))

    grammars()

    header = compact({"model": "0123456789abcdef", "kv": "f16", "tokens": 2, "page_words": 3, "pools": 2,
                      "convolutions": 1, "snapshot": 4})
    words = 2 + 3 * 2 + 4
    put("state", "whole", b"LFM2KEPT" + struct.pack("<II", 1, len(header)) + header + bytes(4 * words + 8))


def grammars():
    suite = FIXTURES / "json_schema" / "draft4"
    for path in sorted(suite.glob("*.json")):
        for i, group in enumerate(json.loads(path.read_text())):
            put("grammar", f"{path.stem}-{i}", b"\0\0" + bytes([i]) + compact(group["schema"]))
    # An automaton with a state for each remainder, and rules that nest deeply.
    put("grammar", "divisor", b"\0\0\0" + compact({"type": "integer", "multipleOf": 123456789}))
    rules = ["start: a0"] + [f"a{i}: a{i + 1} a{i + 1}" for i in range(900)] + ['a900: "x"']
    put("grammar", "deep", b"\x01\0\0" + "\n".join(rules).encode())
    put("grammar", "lark", b"\x01\0\0" + b"""start: <|tool_list_start|> (WORD | pair | %json {"type": "null"}) ("," WORD)~0..3
pair[suffix="."]: /[a-z]+/ & ~/x.*/
WORD: "a".."f" | "yes"i
%ignore / /
""")
    put("grammar", "regex", b"\x02\0\0" + "[a-c]{2,3}(x|é)?\\d+".encode())
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {
        "type": "object", "required": ["s"], "properties": {
            "s": {"type": "string"}, "i": {"type": "integer", "minimum": 1}, "b": {"type": ["boolean", "null"]},
            "o": {"$ref": "#/$defs/o"}}, "$defs": {"o": {"type": "object", "properties": {"e": {"enum": ["x", 1]}}}}}}},
        {"name": "a b", "parameters": {"properties": {"a b": {}}, "anyOf": [{"required": ["a b"]}]}}, {"name": "now"}]
    for options in range(0, 32, 3):
        put("grammar", f"tools-{options}", b"\x03" + bytes([options, 7]) + compact(tools if not options & 4 else tools[2:]))


main()
