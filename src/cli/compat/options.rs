//! Options of other programs.

/// Equivalent of another program's option.
pub enum Equivalent {
    /// Our option, with the same value.
    Same(&'static str),
    /// A tip.
    Tip(&'static str),
}

pub const ALWAYS_ON_GPU: &str = "leave it out: the whole model is always on the GPU";
pub const NO_THREADS: &str = "leave it out: the model runs on the GPU, not on CPU threads";
pub const CHOSEN: &str = "leave it out: the engine chooses it for the GPU";
pub const KV: &str = "--kv f16, or --kv q8 for half the memory of the KV cache";
pub const ADAPTER: &str = "--adapter NAME chooses a GPU; `lfm2 info` lists them";
pub const CHAT: &str = "`lfm2 chat` is for conversations, `lfm2 generate` for single answers";
pub const SERVER: &str = "`lfm2 serve` is the server, which has this option";
pub const STRUCTURE: &str =
    "lfm2 generate --json-schema FILE, or --grammar FILE with a grammar in Lark's syntax";
pub const LORA: &str =
    "--lora PATH loads an adapter, --lora-scale X sets the factor of its addition";
pub const LORA_REQUESTS: &str =
    "leave it out: all --lora are loaded, and requests name one of them in `lora` or `model`";
pub const NO_SAMPLER: &str =
    "the samplers are --temperature, --top-k, --top-p, --min-p and three penalties";

/// Options of llama.cpp, ollama, mlx-lm, vLLM and mistral.rs.
pub const OPTIONS: &[(&[&str], Equivalent)] = &[
    (&["-hf", "-hfr", "--hf-repo", "--hf", "--model-id"], Equivalent::Same("--model")),
    (&["-sys", "--system-prompt"], Equivalent::Same("--system")),
    (&["-r"], Equivalent::Same("--stop")),
    (&["-ngl", "--n-gpu-layers", "--gpu-layers", "--num-gpu"], Equivalent::Tip(ALWAYS_ON_GPU)),
    (&["-t", "--threads", "-tb", "--threads-batch", "--num-thread"], Equivalent::Tip(NO_THREADS)),
    (&["-fa", "--flash-attn"], Equivalent::Tip(CHOSEN)),
    (
        &["-b", "-ub", "--batch-size", "--ubatch-size", "-cb", "--cont-batching"],
        Equivalent::Tip(CHOSEN),
    ),
    (&["-nkvo", "--no-kv-offload", "-sm", "--split-mode", "-ts"], Equivalent::Tip(ALWAYS_ON_GPU)),
    (&["--mlock", "--mmap", "--no-mmap", "--numa"], Equivalent::Tip(ALWAYS_ON_GPU)),
    (&["-ctk", "-ctv", "--cache-type-k", "--cache-type-v"], Equivalent::Tip(KV)),
    (&["-dev", "-mg", "--device", "--main-gpu", "--list-devices"], Equivalent::Tip(ADAPTER)),
    (&["-i", "--interactive", "-cnv", "--conversation", "-no-cnv", "-st"], Equivalent::Tip(CHAT)),
    (
        &["--interactive-first", "--no-conversation", "--single-turn", "--color"],
        Equivalent::Tip(CHAT),
    ),
    (&["-np"], Equivalent::Same("--parallel")),
    (&["--adapter-path", "--lora-modules", "--lora-paths"], Equivalent::Same("--lora")),
    (&["--lora-scaled", "--lora-base"], Equivalent::Tip(LORA)),
    (
        &["--lora-init-without-apply", "--enable-lora", "--max-loras", "--max-lora-rank"],
        Equivalent::Tip(LORA_REQUESTS),
    ),
    (&["--host", "--port", "--parallel", "--api-key"], Equivalent::Tip(SERVER)),
    (&["--grammar-file", "-j", "--format"], Equivalent::Tip(STRUCTURE)),
    (
        &["--mirostat", "--typical", "--xtc-probability", "--dry-multiplier"],
        Equivalent::Tip(NO_SAMPLER),
    ),
    (&["--repeat-last-n", "--samplers", "--top-nsigma"], Equivalent::Tip(NO_SAMPLER)),
];

/// The equivalent of an option with this name.
pub fn foreign(name: &str) -> Option<&'static Equivalent> {
    OPTIONS.iter().find(|(names, _)| names.contains(&name)).map(|(_, equivalent)| equivalent)
}
