//! `lfm2 doctor`: forecasts before a download.

use serde_json::Value;

use super::hub::{Computer, demo};
use super::hub_server::{REPO, Server};
use super::{NO_DRIVER, lfm2, ok, refused, root, text};

const LFM25: &str = "LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0";

fn offline(args: &[&str]) -> Value {
    let output = lfm2(args).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_a_name_doctor_shows_the_built_in_and_a_published_model() {
    let report = offline(&["-q", "--memory", "16G", "doctor", "--json"]);
    assert_eq!(report["selftest"]["passed"], true, "{report}");
    for speed in ["copy_bytes_per_second", "weight_bytes_per_second", "seconds_per_kernel"] {
        assert!(report["speed"][speed].as_f64().unwrap() > 0.0, "{report}");
    }
    let models = report["models"].as_array().unwrap();
    let [built_in, published] = &models[..] else { panic!("{report}") };
    let command = "lfm2 chat --memory 16G".into();
    assert_eq!((&built_in["name"], &built_in["command"]), (&Value::Null, &command));
    assert_eq!(published["name"], LFM25);
    assert_eq!(published["command"], format!("lfm2 chat -m {LFM25} --memory 16G"));
    assert_eq!(published["parameters"], 8_467_856_128_u64);
    // Its file has 4836 MB.
    let weights = published["memory"]["weights"].as_f64().unwrap();
    assert!((4.7e9..5.0e9).contains(&weights), "{published}");
    let missing = published["download"]["missing"].as_f64().unwrap();
    assert!((4.7e9..5.0e9).contains(&missing), "{published}");
    assert_eq!(published["memory"]["context"], 32768);
    assert_eq!(published["longest"][0]["context"], 128_000);
    assert!(published["note"].as_str().unwrap().contains("HF_HUB_OFFLINE"));
    for model in models {
        let [slow, fast] = [0, 1].map(|i| model["tokens_per_second"][i].as_f64().unwrap());
        assert!(0.0 < slow && slow < fast, "{model}");
    }
}

#[test]
fn a_smaller_model_is_suggested_if_the_model_does_not_fit() {
    for (memory, sibling) in [
        ("3G", "LFM2.5-2.6B-GGUF"),
        ("1G", "LFM2.5-1.2B-Instruct-GGUF"),
        ("500M", "LFM2.5-350M-GGUF"),
    ] {
        let report = offline(&["-q", "--memory", memory, "doctor", LFM25, "--json"]);
        let model = &report["models"][0];
        assert_eq!(model["fits"], false, "{memory}: {model}");
        let named = model["sibling"]["name"].as_str().unwrap();
        assert_eq!(named, format!("LiquidAI/{sibling}:Q4_0"), "{memory}");
        assert_eq!(model["command"], format!("lfm2 chat -m {named}"));
    }
    let shown = lfm2(&["--memory", "3G", "doctor", LFM25]).env("HF_HUB_OFFLINE", "1").output();
    let shown = text(&shown.unwrap().stdout);
    for words in ["DOES NOT FIT", "instead", "LFM2.5-2.6B", "GiB", "run  "] {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }
    let nothing = offline(&["-q", "--memory", "20M", "doctor", LFM25, "--json"]);
    let nothing = &nothing["models"][0];
    assert!(nothing["sibling"].is_null() && nothing["command"].is_null(), "{nothing}");
}

/// For a model of the hub, only headers are read, and nothing is kept.
#[test]
fn a_model_of_the_hub_is_assessed_by_its_headers() {
    let files = demo();
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let server = Server::start(files);
    let computer = Computer::new(&server);
    let report: Value =
        serde_json::from_str(&computer.ok(&["-q", "doctor", REPO, "--json"])).unwrap();
    let model = &report["models"][0];
    assert_eq!((&model["known"], &model["fits"]), (&"on the hub".into(), &true.into()), "{model}");
    // A repository has more files than the model needs.
    let missing = model["download"]["missing"].as_u64().unwrap();
    assert!(missing > 6_000_000 && missing <= bytes as u64, "{missing} of {bytes}");
    assert_eq!(model["command"], format!("lfm2 chat -m {REPO}"));
    assert!(!computer.repo().exists());
    // After the download, nothing is missing.
    computer.ok(&["pull", REPO]);
    let report: Value =
        serde_json::from_str(&computer.ok(&["-q", "doctor", REPO, "--json"])).unwrap();
    assert!(report["models"][0]["download"].is_null(), "{report}");
    assert_eq!(report["models"][0]["known"], "downloaded");
}

#[test]
fn doctor_takes_files_and_reports_wrong_names_and_a_missing_gpu() {
    let tiny = root("tests/fixtures/tiny-a");
    let shown = ok(&["doctor", tiny.to_str().unwrap(), "--kv", "f32", "--context", "64"]);
    assert!(shown.contains("(on this disk)") && shown.contains("--context 64 --kv f32"), "{shown}");
    refused(&mut lfm2(&["doctor", "LFM2-8B-A1B"]), &["no such file"]);
    let mut unknown = lfm2(&["doctor", "owner/other"]);
    refused(unknown.env("HF_HUB_OFFLINE", "1"), &["owner/other", "HF_HUB_OFFLINE"]);
    let mut none = lfm2(&["doctor", LFM25]);
    let none = none.env("HF_HUB_OFFLINE", "1").envs(NO_DRIVER).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stdout).contains("download  4.8"), "{}", text(&none.stdout));
}

/// A chat prints the forecast in one line before the question about a download.
#[cfg(target_os = "linux")]
#[test]
fn a_chat_prints_the_forecast_before_it_offers_a_download() {
    use super::terminal::Terminal;
    let home = tempfile::TempDir::new().unwrap();
    let mut command = lfm2(&["--memory", "4G", "chat", "-m", "LiquidAI/LFM2.5-350M-GGUF"]);
    // No server listens there.
    command.env("HF_HOME", home.path()).env("HF_ENDPOINT", "http://127.0.0.1:9");
    let mut t = Terminal::of(&command, "");
    let report = t.wait("tokens a second");
    assert!(report.contains("LiquidAI/LFM2.5-350M-GGUF fits this GPU: "), "{report:?}");
    t.press("\x03");
    assert_eq!(t.exit_code(), Some(130));
}
