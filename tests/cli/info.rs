//! `lfm2 info`: memory plans, and advice if a model does not fit.

use super::{NO_DRIVER, lfm2, ok, refused, root, run, text};

fn plan(args: &[&str]) -> serde_json::Value {
    let json: serde_json::Value =
        serde_json::from_str(&ok(&[&["info", "--json"][..], args].concat())).unwrap();
    json["memory"].clone()
}

fn total(args: &[&str]) -> u64 {
    plan(args)["total"].as_u64().unwrap()
}

/// A shape with a fixed amount of memory, for any machine.
const SHAPE: [&str; 6] = ["--shape", "lfm2-8b-a1b", "--context", "32768", "--memory", "90G"];

#[test]
fn the_published_mixture_fits_in_5_6_gb() {
    for limits in ["adapter", "default"] {
        let memory = plan(&[&SHAPE[..], &["--limits", limits]].concat());
        assert!(memory["total"].as_u64().unwrap() <= 5_600_000_000, "{memory}");
        // Weights of 8.3 G parameters in 4.5 bits or more; KV cache of six layers.
        assert!(memory["weights"].as_u64().unwrap() > 4_600_000_000, "{memory}");
        assert_eq!(memory["kv"].as_u64().unwrap(), 32768 * 6 * 2 * 8 * 64 * 2, "{memory}");
        assert_eq!(memory["kv_bytes_per_token"], 6 * 2 * 8 * 64 * 2, "{memory}");
        assert_eq!((&memory["kv_format"], &memory["context"]), (&"f16".into(), &32768.into()));
    }
    let table = ok(&[&["info"][..], &SHAPE].concat());
    for line in [
        "Model lfm2-8b-a1b (lfm2_moe)",
        "GPU memory at context 32768",
        "f16, 12 KiB per token: 2.0 KiB in each of 6 attention layers",
        "in each of 18 convolutions",
        "of 90 GiB",
    ] {
        assert!(table.contains(line), "{line}: {table}");
    }
}

#[test]
fn weights_and_kv_change_the_plan() {
    let bytes = |args: &[&str], key: &str| plan(args)[key].as_u64().unwrap();
    assert_eq!(2 * bytes(&[], "kv"), bytes(&["--kv", "f32"], "kv"));
    // 32 values take 34 bytes in q8 and 64 in f16; a head of 32 is padded by half a word.
    assert_eq!(bytes(&["--kv", "q8"], "kv") * 64, bytes(&[], "kv") * 36);
    assert_eq!(
        32 * plan(&[&SHAPE[..], &["--kv", "q8"]].concat())["kv"].as_u64().unwrap(),
        17 * 402_653_184
    );
    assert!(bytes(&["--weights", "q4"], "weights") * 2 < bytes(&[], "weights"));
    assert!(bytes(&["-c", "512"], "kv") * 3 < bytes(&[], "kv"));
    // The plan is the same without an adapter.
    let output = lfm2(&["info", "--json", "--limits", "default"]).envs(NO_DRIVER).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["memory"]["kv"], plan(&["--limits", "default"])["kv"]);
    // The engine uses the planned memory.
    let planned = total(&["-c", "2048", "--kv", "f32"]);
    let answer = run(&["-c", "2048", "--kv", "f32", "generate", "-p", "x", "-n", "1"]);
    let mib = format!("{} MiB of ", (planned + (1 << 19)) >> 20);
    assert!(text(&answer.stderr).contains(&mib), "{mib}: {}", text(&answer.stderr));
}

#[test]
fn an_error_names_options_with_which_the_model_fits() {
    let whole = total(&SHAPE[..4]);
    let (whole, bytes) = (whole.to_string(), (whole - 1).to_string());
    let with = |args: &[&str], words: &[&str]| refused(lfm2(&["info"]).args(args), words);
    with(&[&SHAPE[..4], &["--memory", &bytes]].concat(), &["Try --context 16384, or --kv q8"]);
    with(
        &[&SHAPE[..4], &["--memory", &whole, "--kv", "f32"]].concat(),
        &["Try --context 16384, or --kv f16"],
    );
    with(&[&SHAPE[..4], &["--memory", "1G"]].concat(), &["Try a smaller model"]);
    // Commands that load the weights give the same advice.
    let half = total(&["-c", "2048", "--weights", "q4", "--kv", "f16"]).to_string();
    let mut command = lfm2(&["generate", "-p", "x"]);
    refused(
        command.args(["-c", "2048", "--memory", &half, "--kv", "f16"]),
        &["GPU memory", "--weights q4"],
    );
    let dense = root("tests/fixtures/dense");
    let dense = dense.to_str().unwrap();
    let least = total(&["-c", "256", "--weights", "q4", "--kv", "f16"]).to_string();
    with(
        &["-c", "512", "--kv", "f32", "--memory", &least],
        &["Try --weights q4 with --kv q8 with --context 256"],
    );
    with(&["--shape", "lfm2-8b-a1b", "-m", dense], &["--shape", "--model"]);
    with(&["--shape", "lfm3"], &["--shape", "lfm2-8b-a1b"]);
    with(&["--kv", "f8"], &["--kv"]);
    // A context too long for one binding of 128 MiB: the error names one that fits.
    let long = |context: &str, more: &[&str], words: &[&str]| {
        let args = ["--shape", "lfm2-8b-a1b", "--limits", "default", "--context", context];
        with(&[&args[..], more].concat(), words);
    };
    // 0 is the model's maximum.
    let own = plan(&["--shape", "lfm2-8b-a1b", "-c", "0", "--memory", "90G"]);
    assert_eq!(own["context"], 128_000, "{own}");
    long("99999", &["--kv", "f32"], &["got 99999, need 1 to 65536 on this device, or --kv f16"]);
    for context in ["200000", "131072", "128001"] {
        let words = ["need 1 to 128000 (this model was made for 128000)", context];
        long(context, &[], &words);
    }
    with(&["-m", dense, "--kv", "q8"], &["kv: got q8", "heads of 16"]);
}

/// The demonstration model has bf16 weights; with --weights q4, its products read nibbles.
#[test]
fn a_kernel_is_printed_in_the_variants_that_the_model_uses() {
    let printed = ok(&["info", "--kernel", "matvec"]);
    let headers: Vec<&str> =
        printed.lines().filter(|l| l.starts_with("// matvec reduce=")).collect();
    assert!(headers.len() > 3, "{headers:?}");
    // A router is always f32.
    let stored = |h: &&str| h.contains(" weights=bf16 ") || h.contains(" weights=f32 ");
    assert!(headers.iter().all(stored), "{headers:?}");
    assert_eq!(printed.matches("fn main(").count(), headers.len());
    assert!(!printed.contains("#import") && !printed.contains("#part"), "{printed}");
    // Each text is complete: naga parses it.
    for text in printed.split("// matvec reduce=").skip(1) {
        let (_, text) = text.split_once('\n').unwrap();
        naga::front::wgsl::parse_str(text).unwrap();
    }
    let q4 = ok(&["--weights", "q4", "info", "--kernel", "matvec"]);
    // On a GPU products take Q4 by pairs of words, on a software driver by blocks.
    let has_q4 = q4.contains(" weights=q4_pairs ") || q4.contains(" weights=q4 ");
    assert!(has_q4 && q4.contains(" weights=q8 "), "{q4}");
    // At the default limits a browser's text is the same as a native one, as it needs no feature.
    let args = ["--limits", "default", "info", "--kernel", "rms_norm"];
    let web = ok(&[&args[..], &["--web"]].concat());
    assert!(web.contains("// rms_norm reduce="), "{web}");
    assert_eq!(web, ok(&args));
    // A shape has no weights that could be read.
    let shape = ["info", "--shape", "lfm2-8b-a1b", "--kernel", "moe_group"];
    assert!(ok(&shape).contains("const EXPERTS = 32;"));
}

#[test]
fn an_unknown_kernel_is_refused_with_the_list() {
    let with = |args: &[&str], words: &[&str]| refused(lfm2(&["info"]).args(args), words);
    with(&["--kernel", "matvek"], &["matvek", "attention, ", "matvec, ", "short_conv"]);
    with(&["--web"], &["--kernel"]);
    let dense = root("tests/fixtures/dense");
    with(&["-m", dense.to_str().unwrap(), "--kernel", "moe_group"], &["moe_group", "matvec, "]);
}
