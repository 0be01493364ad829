//! `lfm2 perplexity` against its definition, computed from `lfm2 logits`.

use tempfile::TempDir;

use super::{lfm2, ok, refused, root, run, text};

const CONTEXT: usize = 24;

/// A text of a few hundred tokens that spells out a special token.
fn sample(dir: &TempDir) -> String {
    let words = |i: usize| format!("Count {i}: the dog saw {} cats and left.", i * 7 % 10);
    let lines: Vec<String> = (0..8).map(words).collect();
    let file = dir.path().join("text.txt");
    std::fs::write(&file, lines.join("\n") + " <|im_end|>\n").unwrap();
    file.to_str().unwrap().to_owned()
}

/// -ln p of each token of the second half of a chunk.
fn nlls(dir: &TempDir, chunk: &[u32]) -> Vec<f64> {
    let out = dir.path().join("logits.safetensors");
    let ids = serde_json::json!(chunk).to_string();
    ok(&["-q", "logits", "--tokens", &ids, "--out", out.to_str().unwrap()]);
    let file = std::fs::read(&out).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let tensor = file.tensor("logits").unwrap();
    let logits: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
    let score = |i: usize| {
        let row = &logits[i * tensor.shape()[1]..][..tensor.shape()[1]];
        let sum: f64 = row.iter().map(|l| f64::from(*l).exp()).sum();
        sum.ln() - f64::from(row[chunk[i + 1] as usize])
    };
    (CONTEXT / 2..CONTEXT - 1).map(score).collect()
}

#[test]
fn perplexity_scores_the_second_halves_of_chunks() {
    let dir = TempDir::new().unwrap();
    let file = sample(&dir);
    let json = |more: &[&str]| -> serde_json::Value {
        let context = CONTEXT.to_string();
        let args = ["-q", "-c", &context, "perplexity", "-f", &file, "-o", "json"];
        serde_json::from_str(&ok(&[&args[..], more].concat())).unwrap()
    };
    // The last newline is dropped, and the special token counts as about seven tokens of text.
    let whole = std::fs::read_to_string(&file).unwrap();
    let plain = whole.trim_end().replace("<|im_end|>", "");
    let ids: Vec<u32> = serde_json::from_str(&ok(&["tokenize", &plain])).unwrap();
    let all = json(&[]);
    assert!(all["tokens"].as_u64().unwrap() > ids.len() as u64 + 2, "{all}");
    assert_eq!(all["chunks"], all["tokens"].as_u64().unwrap() / CONTEXT as u64);

    let mut scored = Vec::new();
    for chunk in ids.chunks_exact(CONTEXT).take(3) {
        let mut chunk = chunk.to_vec();
        chunk[0] = 1;
        scored.extend(nlls(&dir, &chunk));
    }
    let n = scored.len() as f64;
    let mean = scored.iter().sum::<f64>() / n;
    let variance = scored.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
    let (want, error) = (mean.exp(), mean.exp() * (variance / (n - 1.0)).sqrt());
    let got = json(&["--chunks", "3"]);
    // The KV cache is f32 in `logits`, f16 here.
    let close = |key: &str, want: f64| {
        let got = got[key].as_f64().unwrap();
        assert!((got / want - 1.0).abs() < 5e-3, "{key}: got {got}, want {want}");
    };
    close("perplexity", want);
    close("standard_error", error);
    close("mean_nll", mean);
    assert_eq!((&got["scored_tokens"], &got["chunks"]), (&33.into(), &3.into()));

    let output = run(&["-c", "24", "perplexity", "-f", &file, "--chunks", "3"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let value = got["perplexity"].as_f64().unwrap();
    let spread = got["standard_error"].as_f64().unwrap();
    assert_eq!(stdout, format!("Final estimate: PPL = {value:.4} +/- {spread:.5}\n"));
    assert!(
        stderr.contains("[1/3] ") && stderr.contains(&format!("[3/3] {value:.4}\n")),
        "{stderr}"
    );
}

#[test]
fn bad_texts_and_options_are_refused() {
    let dir = TempDir::new().unwrap();
    let file = sample(&dir);
    refused(&mut lfm2(&["perplexity"]), &["--file"]);
    refused(&mut lfm2(&["perplexity", "-f", "/nonexistent"]), &["/nonexistent"]);
    // The message has both numbers.
    refused(
        &mut lfm2(&["perplexity", "-f", &file]),
        &["text.txt: has ", "tokens", "at least 1024"],
    );
    // 0 is the model's maximum.
    refused(&mut lfm2(&["perplexity", "-f", &file, "-c", "0"]), &["tokens", "--context 2048"]);
    for context in ["7", "4096"] {
        let mut command = lfm2(&["perplexity", "-f", &file, "-c", context]);
        refused(&mut command, &["--context", context, "8 to 2048"]);
    }
    refused(&mut lfm2(&["perplexity", "-f", &file, "--chunks", "0"]), &["--chunks"]);
    refused(&mut lfm2(&["perplexity", "-f", &file, "-o", "csv"]), &["--output"]);
    // A model without a tokenizer.
    let model = root("tests/fixtures/tiny-a");
    let mut command = lfm2(&["-m", model.to_str().unwrap(), "perplexity", "-f", &file]);
    refused(&mut command, &["tokenizer.json"]);
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    refused(&mut lfm2(&["perplexity", "-f", &file]), &["text.txt", "UTF-8"]);
}
