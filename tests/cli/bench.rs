//! `lfm2 bench`.

use super::ok;

#[test]
fn bench_prints_json_tables_and_csv() {
    let json = ok(&["-q", "bench", "-p", "8,16", "-n", "4", "-d", "0,8", "-r", "2", "-o", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = rows.iter().map(|r| r["test"].as_str().unwrap()).collect();
    assert_eq!(names, ["pp8", "pp16", "tg4", "pp8 @ d8", "pp16 @ d8", "tg4 @ d8"]);
    for row in &rows {
        assert_eq!(row["samples_ts"].as_array().unwrap().len(), 2, "{row}");
        assert!(
            row["avg_ts"].as_f64().unwrap() > 0.0 && row["peak_gpu_bytes"].as_u64().unwrap() > 0
        );
        if row["n_gen"] != 0 {
            // Cached state of earlier tokens is copied before the first token, and kept after the last.
            let copies = if row["n_depth"] == 0 { 0.0 } else { 2.0 };
            assert_eq!(row["submissions_per_token"], 1.0 + copies / 5.0, "{row}");
            assert_eq!(row["readback_bytes_per_token"], 4.0, "{row}");
            for cost in ["cpu_us_per_token", "gpu_ms_per_token"] {
                assert!(row[cost].as_f64().unwrap() > 0.0, "{cost}: {row}");
            }
        }
    }
    assert!(ok(&["-q", "bench", "-p", "8", "-n", "0", "-r", "1"]).contains("| pp8 |"));
    assert!(
        ok(&["-q", "bench", "-p", "8", "-n", "0", "-r", "1", "-o", "csv"])
            .starts_with("build_commit,")
    );
}

/// Sequences that decode at once share dispatches. Each row chooses two of the demonstration model's eight experts.
#[test]
fn bench_decodes_several_sequences_at_once() {
    let bench = |args: &str| {
        let json = ok(&args.split(' ').collect::<Vec<_>>());
        serde_json::from_str::<Vec<serde_json::Value>>(&json).unwrap()
    };
    let rows =
        bench("-q bench -p 0 -n 3 -d 5 --parallel 1,3 --sampling greedy,nucleus -r 1 -o json");
    let names: Vec<_> = rows.iter().map(|r| r["test"].as_str().unwrap()).collect();
    let greedy = ["1 x tg3 @ d5", "3 x tg3 @ d5"];
    assert_eq!(names, [greedy, ["1 x tg3 @ d5, nucleus", "3 x tg3 @ d5, nucleus"]].concat());
    let of = |row: usize, name: &str| rows[row][name].as_f64().unwrap();
    assert_eq!(of(0, "distinct_experts"), 2.0);
    // Four passes, and the copies of the state behind which they begin and which is kept.
    assert_eq!(of(0, "submissions_per_token"), 6.0 / 4.0);
    assert!((2.0..=6.0).contains(&of(1, "distinct_experts")), "{rows:?}");
    assert!(of(1, "dispatches_per_token") < of(0, "dispatches_per_token"), "{rows:?}");
    assert!((of(1, "avg_ts") / of(1, "avg_ts_each") - 3.0).abs() < 1e-9);
    // More rows than a sequence has positions.
    let profile = &bench("-q bench -p 0 -n 1 --parallel 12 --profile -o json")[0];
    assert_eq!((&profile["rows"], &profile["n_parallel"]), (&12.into(), &12.into()));
    let kernels = profile["kernels"].as_array().unwrap();
    assert!(kernels.iter().all(|k| k["calls"].as_u64().unwrap() > 0), "{profile}");
    assert!(profile["whole_ms"].as_f64().unwrap() > 0.0, "{profile}");
}
